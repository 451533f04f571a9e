//! Maps the statements of one use to a flow file.
//!
//! The statements show which table holds the object, what its update compares, what shares a transaction, and in which
//! order it all happens. They do not show what the code checks in memory, what it does with a count of zero rows, and which
//! other systems it calls. Such lines are marked with `# ?`; [`Learnt::questions`] asks for them.

mod classify;
mod write;

use std::{collections::BTreeMap, fmt};

use crate::{
    proxy::{Recorded, TransactionStatus},
    schedule::catalog::Catalog,
    sql::{self, Kind},
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
        let mut is_snapshot = open.get(&unit.connection).is_some_and(|(_, is_snapshot)| *is_snapshot);
        let transaction = open.get(&unit.connection).map_or_else(
            || {
                next += 1;
                next
            },
            |(number, _)| *number,
        );
        let results = unit.answer.as_ref().map(|answer| answer.results.as_slice()).unwrap_or_default();
        let mut result = results.iter();
        let mut rolls_back = unit.answer.as_ref().is_some_and(|answer| answer.error.is_some());
        let mut of_unit = Vec::new();
        for statement in &unit.statements {
            for shape in sql::shapes(&statement.sql).unwrap_or_default().iter().cloned() {
                let rows = result.next().and_then(|result| result.rows);
                is_snapshot |= shape.snapshot.is_some() || shape.changes_snapshots;
                rolls_back |= shape.kind == (Kind::End { commits: false });
                let reads_system =
                    !shape.tables.is_empty() && shape.tables.iter().all(|table| table.starts_with("pg_"));
                let is_data = matches!(shape.kind, Kind::Select | Kind::Insert | Kind::Update | Kind::Delete);
                if is_data && !shape.tables.is_empty() && !reads_system {
                    of_unit.push(Item {
                        shape,
                        statement: statement.clone(),
                        rows,
                        transaction,
                        is_snapshot,
                    });
                }
            }
        }
        if rolls_back {
            // The results of its reads may still have been used; its writes are rolled back.
            items.retain(|item| item.transaction != transaction || item.shape.kind == Kind::Select);
            of_unit.retain(|item| item.shape.kind == Kind::Select);
        }
        items.extend(of_unit);
        match unit.answer.as_ref().and_then(|answer| answer.transaction) {
            Some(TransactionStatus::Idle) => open.remove(&unit.connection),
            Some(TransactionStatus::Open | TransactionStatus::Failed) => {
                open.insert(unit.connection, (transaction, is_snapshot))
            }
            None => None,
        };
    }
    items
}
