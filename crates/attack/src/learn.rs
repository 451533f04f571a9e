//! Maps the statements of one use to a flow file.
//!
//! The statements show which table holds the object, what its update compares, what shares a transaction, and in which
//! order it all happens. They do not show what the code checks in memory, what it does with a count of zero rows, and which
//! other systems it calls. Such lines are marked with `# ?`; [`Learnt::questions`] asks for them.

mod admits;
mod classify;
mod write;

use std::{collections::BTreeMap, fmt};

use crate::{
    proxy::{Recorded, TransactionStatus},
    schedule::catalog::Catalog,
    sql::{self, Kind},
    target::Target,
};
use classify::{Item, classify};

/// One successful use, as the proxy recorded it.
#[derive(Clone, Copy, Debug)]
pub struct UseTrace<'a> {
    /// The statements, in the order of arrival.
    pub recorded: &'a [Recorded],
    /// The target file's captures from the object, by name.
    pub captures: &'a BTreeMap<String, String>,
    /// The database's catalog: which columns are unique.
    pub catalog: &'a Catalog,
    /// The target's `about`.
    pub about: &'a str,
    /// The method of the use.
    pub method: &'a str,
    /// The roles of the target file.
    pub promised: &'a Promised,
}

/// What a target file promises of the object, by its roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promised {
    /// `object.noun`, if there is one.
    pub noun: Option<String>,
    /// `object.uses`.
    pub uses: u64,
    /// The approvals that it needs: 0 without `approve`.
    pub approvers: u64,
    /// `requester`
    pub separate: bool,
    /// `reject`
    pub revocable: bool,
    /// `drift`
    pub bound: bool,
    /// `other_owner`
    pub owner: bool,
    /// `expire`
    pub expires: bool,
    /// `audit`
    pub audited: bool,
    /// `object.failed_attempt` is `burn`.
    pub burn: bool,
    /// `use.key_header`
    pub key: bool,
}

impl Default for Promised {
    fn default() -> Self {
        Self {
            noun: None,
            uses: 1,
            approvers: 0,
            separate: false,
            revocable: false,
            bound: false,
            owner: false,
            expires: false,
            audited: false,
            burn: false,
            key: false,
        }
    }
}

impl From<&Target> for Promised {
    fn from(target: &Target) -> Self {
        let promise = &target.promise;
        Self {
            noun: Some(promise.noun.clone()).filter(|noun| noun != "object"),
            uses: promise.uses,
            approvers: target.approve.as_ref().map_or(0, |_| promise.approvers),
            separate: target.requester.is_some(),
            revocable: target.reject.is_some(),
            bound: target.drift.is_some(),
            owner: target.other_owner.is_some(),
            expires: target.expire.is_some(),
            audited: target.audit.is_some(),
            burn: promise.burn,
            key: target.usage.key_header.is_some(),
        }
    }
}

/// A flow file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// The file.
    pub toml: String,
    /// Questions that the statements leave open.
    pub questions: Vec<String>,
}

/// Why there is no flow file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LearnError {
    /// No statements were recorded.
    NoStatements,
    /// No statement changes anything.
    NoWrites,
}

impl fmt::Display for LearnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoStatements => {
                "the use sent no statement through the proxy (does the service connect to {database_url}?)"
            }
            Self::NoWrites => "no statement of the use writes anything (did it succeed?)",
        })
    }
}

impl std::error::Error for LearnError {}

/// Maps the statements of one use to a flow file.
///
/// # Errors
/// [`LearnError`]: the statements show no use.
pub fn flow_file(trace: UseTrace<'_>) -> Result<Learnt, LearnError> {
    if trace.recorded.is_empty() {
        return Err(LearnError::NoStatements);
    }
    let items = items(trace);
    if !items.iter().any(|item| matches!(item.shape.kind, Kind::Insert | Kind::Update | Kind::Delete)) {
        return Err(LearnError::NoWrites);
    }
    let classified = classify(trace, items);
    Ok(write::flow_file(trace, &classified))
}

/// The statements that read or write data and were not rolled back, with the transaction of each.
fn items(trace: UseTrace<'_>) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut open: BTreeMap<u64, (usize, bool)> = BTreeMap::new();
    let mut next = 0;
    for unit in trace.recorded {
        let opened = open.get(&unit.connection).copied();
        let mut is_open = opened.is_some();
        let (mut transaction, mut is_snapshot) = opened.unwrap_or_else(|| {
            next += 1;
            (next, false)
        });
        let results = unit.answer.as_ref().map(|answer| answer.results.as_slice()).unwrap_or_default();
        let mut result = results.iter();
        for statement in &unit.statements {
            for shape in sql::shapes(&statement.sql).unwrap_or_default().iter().cloned() {
                let rows = result.next().and_then(|result| result.rows);
                is_snapshot |= shape.snapshot.is_some() || shape.changes_snapshots;
                let reads_system =
                    !shape.tables.is_empty() && shape.tables.iter().all(|table| table.starts_with("pg_"));
                let is_data = matches!(shape.kind, Kind::Select | Kind::Insert | Kind::Update | Kind::Delete);
                let reads_or_writes = is_data && !shape.tables.is_empty() && !reads_system;
                is_open |= shape.kind == Kind::Begin;
                if reads_or_writes || locks(&shape).is_some() {
                    let statement = statement.clone();
                    items.push(Item { shape, statement, rows, transaction, is_snapshot });
                    continue;
                }
                let chains = ends_and_begins(&statement.sql);
                let commits = match shape.kind {
                    Kind::End { commits } => commits,
                    Kind::Other if chains => !statement.sql.trim_start().to_uppercase().starts_with('R'),
                    _ => continue,
                };
                if !commits {
                    rolled_back(&mut items, transaction);
                }
                // One unit may hold several transactions.
                next += 1;
                (transaction, is_snapshot, is_open) = (next, chains && is_snapshot, chains);
            }
        }
        if unit.answer.as_ref().is_some_and(|answer| answer.error.is_some()) {
            rolled_back(&mut items, transaction);
        }
        let status = unit.answer.as_ref().and_then(|answer| answer.transaction);
        if status.map_or(is_open, |status| status != TransactionStatus::Idle) {
            open.insert(unit.connection, (transaction, is_snapshot));
        } else {
            open.remove(&unit.connection);
        }
    }
    items
}

/// The results of a transaction's reads may still have been used; its writes are rolled back.
fn rolled_back(items: &mut Vec<Item>, transaction: usize) {
    items.retain(|item| item.transaction != transaction || item.shape.kind == Kind::Select);
}

/// `COMMIT AND CHAIN`: the next transaction begins at the end of this one.
fn ends_and_begins(sql: &str) -> bool {
    let words: Vec<String> =
        sql.trim_end_matches([';', ' ', '\n']).split_whitespace().map(str::to_uppercase).collect();
    let ends =
        words.first().is_some_and(|word| ["COMMIT", "END", "ROLLBACK", "ABORT"].contains(&word.as_str()));
    ends && words.ends_with(&["AND".to_owned(), "CHAIN".to_owned()])
}

/// The advisory lock that a statement takes, if it does nothing else.
fn locks(shape: &sql::Shape) -> Option<Lock> {
    let name = shape.functions.iter().find(|name| {
        let taken = name.strip_prefix("pg_try_advisory_").or_else(|| name.strip_prefix("pg_advisory_"));
        taken.is_some_and(|kind| ["lock", "xact_lock"].contains(&kind))
    })?;
    let is_alone = shape.kind == Kind::Select && shape.tables.is_empty();
    is_alone.then(|| Lock { waits: !name.contains("try"), until_commit: name.contains("xact") })
}

/// An advisory lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lock {
    /// While another transaction holds it, rather than to be refused.
    waits: bool,
    /// Ends with the transaction, rather than with the connection or by a call.
    until_commit: bool,
}

#[cfg(test)]
mod tests;
