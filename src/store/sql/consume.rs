//! The consume: the compare-and-swap approved → executed, by one of several strategies.
//!
//! A strategy is a `.sql` file for each database with named statements, which this module executes:
//!
//! | strategy | statements | what keeps two consumers apart |
//! |---|---|---|
//! | conditional update | `consume` | the row's lock while one statement compares and swaps |
//! | version column | `read`, `write` | the write finds the version that was read, or begins again |
//! | for update | `read`, `write` | the row's lock from the read on |
//! | serializable | `read`, `write` | the database refuses one of two transactions that collide |
//! | advisory lock | `lock`, `read`, `write` | a lock with the approval's name |
//! | consumption row | `read`, `claim`, `write` | the primary key of the consumptions |
//!
//! All but the first let [`protocol::consume`](crate::protocol::consume) judge the row that they read. The first
//! repeats that rule in its WHERE clause, so that the whole consume is one statement; the contract suite and the edge
//! replay run over every strategy and compare the clause with the rule. When no row changes, the row is read and the
//! rule selects the refusal.
//!
//! Every write also compares the status that was read. Strategies with different locks can thus share an approval: one
//! of two consumers loses. Targets are protected by the team's lock, which [`Serializable`](Cas::Serializable) does not
//! take: it cannot share a database with the other strategies ([`Cas::locks_teams`]).
//!
//! In SQLite a write transaction locks the whole database: a row lock means that lock there, and a strategy that
//! differs only in its kind of lock has no file.

use std::{collections::BTreeMap, fmt};

use uuid::Uuid;

use super::{
    Mode, Row, Session, SqlError, Value,
    rows::{Columns, first, values},
};
use crate::{
    protocol::{self, ApprovalState, Digest, Fences, Guards, Refusal, Status, Timestamp},
    store::Execution,
};

/// A compare-and-swap strategy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cas {
    /// One statement that compares and swaps.
    #[default]
    ConditionalUpdate,
    /// Optimistic: a version that every change counts up.
    VersionColumn,
    /// Pessimistic: the row is locked before it is read.
    ForUpdate,
    /// Optimistic: the database finds out who collided.
    Serializable,
    /// Pessimistic: a lock in addition to the row.
    AdvisoryLock,
    /// A row that only one can insert.
    ConsumptionRow,
}

impl Cas {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ConditionalUpdate,
        Self::VersionColumn,
        Self::ForUpdate,
        Self::Serializable,
        Self::AdvisoryLock,
        Self::ConsumptionRow,
    ];

    /// Its name, which is that of its file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConditionalUpdate => "conditional_update",
            Self::VersionColumn => "version_column",
            Self::ForUpdate => "for_update",
            Self::Serializable => "serializable",
            Self::AdvisoryLock => "advisory_lock",
            Self::ConsumptionRow => "consumption_row",
        }
    }

    /// The strategy of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cas| cas.as_str() == name)
    }

    /// The statements that its file has to have.
    fn statements(self) -> &'static [&'static str] {
        match self {
            Self::ConditionalUpdate => &["consume"],
            Self::VersionColumn | Self::ForUpdate | Self::Serializable => &["read", "write"],
            Self::AdvisoryLock => &["lock", "read", "write"],
            Self::ConsumptionRow => &["read", "claim", "write"],
        }
    }

    /// True if commits take the team's lock. A commit that takes it and one that does not may each create a target.
    pub fn locks_teams(self) -> bool {
        self != Self::Serializable
    }

    /// Transaction mode of a commit with several changes.
    pub(super) fn mode(self) -> Mode {
        if self == Self::Serializable { Mode::Serializable } else { Mode::Write }
    }

    /// The mode of a commit that only consumes.
    pub(super) fn mode_alone(self) -> Mode {
        if self == Self::ConditionalUpdate { Mode::OneStatement } else { self.mode() }
    }
}

impl fmt::Display for Cas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A strategy's file lacks a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingStatement {
    /// Which strategy.
    pub cas: Cas,
    /// Which statement.
    pub name: &'static str,
}

impl fmt::Display for MissingStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.sql has no statement with the mark \"-- name: {}\"", self.cas, self.name)
    }
}

impl std::error::Error for MissingStatement {}

/// The approval to consume, and the values to compare.
#[derive(Clone, Copy, Debug)]
pub(super) struct Swap {
    pub(super) approval: Uuid,
    pub(super) guards: Guards,
    /// The digest that the promotion holds.
    pub(super) digest: Digest,
    /// The fencing number of the promotion's lease.
    pub(super) fence: Option<u64>,
}

/// A strategy with its statements.
#[derive(Clone, Debug)]
pub struct Consume {
    cas: Cas,
    statements: BTreeMap<&'static str, &'static str>,
}

impl Consume {
    /// Reads a strategy's file: each statement follows a line `-- name: …`.
    ///
    /// # Errors
    /// [`MissingStatement`] when the file lacks one that this strategy needs.
    pub fn new(cas: Cas, file: &'static str) -> Result<Self, MissingStatement> {
        let statements = named(file);
        match cas.statements().iter().find(|name| !statements.contains_key(**name)) {
            Some(name) => Err(MissingStatement { cas, name }),
            None => Ok(Self { cas, statements }),
        }
    }

    /// Which strategy it is.
    pub fn cas(&self) -> Cas {
        self.cas
    }

    /// The statement of this name, for comparisons such as benchmarks.
    pub fn statement(&self, name: &str) -> Option<&'static str> {
        self.statements.get(name).copied()
    }

    /// Makes the approval executed if the rule allows it, and returns the time by which it was judged.
    pub(super) async fn exchange<S: Session>(
        &self,
        session: &mut S,
        swap: Swap,
        execution: &Execution,
    ) -> Result<Result<Timestamp, Refusal>, SqlError> {
        if self.cas == Cas::ConditionalUpdate {
            self.in_one_statement(session, swap, execution).await
        } else {
            self.read_then_write(session, swap, execution).await
        }
    }

    async fn in_one_statement<S: Session>(
        &self,
        session: &mut S,
        swap: Swap,
        execution: &Execution,
    ) -> Result<Result<Timestamp, Refusal>, SqlError> {
        let Swap { approval, guards, digest, fence } = swap;
        let parameters = values![
            Status::Executed,
            execution,
            approval,
            Status::Approved,
            !guards.status,
            !guards.expiry,
            digest,
            !guards.digest,
            fence,
            !guards.lease,
        ];
        let changed = session.query(self.named("consume")?, &parameters).await?;
        if let Some(at) = first(changed)? {
            return Ok(Ok(at));
        }
        // Find the refusal. If the rule allows it now, a concurrent update has won in between.
        let seen = Seen::read(session, SEEN, approval).await?;
        Ok(Err(seen.map_or(Refusal::APPROVAL_NOT_FOUND, |seen| {
            seen.judge(swap).err().unwrap_or(Refusal::APPROVAL_ALREADY_EXECUTED)
        })))
    }

    async fn read_then_write<S: Session>(
        &self,
        session: &mut S,
        swap: Swap,
        execution: &Execution,
    ) -> Result<Result<Timestamp, Refusal>, SqlError> {
        let approval = swap.approval;
        if self.cas == Cas::AdvisoryLock {
            session.execute(self.named("lock")?, &values![lock_name(approval)]).await?;
        }
        let Some(seen) = Seen::read(session, self.named("read")?, approval).await? else {
            return Ok(Err(Refusal::APPROVAL_NOT_FOUND));
        };
        if let Err(refusal) = seen.judge(swap) {
            return Ok(Err(refusal));
        }
        if self.cas == Cas::ConsumptionRow {
            let claimed = session.execute(self.named("claim")?, &values![approval, seen.now]).await?;
            if claimed == 0 && swap.guards.status {
                return Ok(Err(Refusal::APPROVAL_ALREADY_EXECUTED));
            }
        }
        // The status is compared in addition to the strategy's own check: another instance may use another strategy.
        let status = seen.standing.status;
        let mut parameters = values![Status::Executed, seen.now, execution, approval, status].to_vec();
        match self.cas {
            Cas::VersionColumn => parameters.push(Value::Int(seen.version)),
            // These two hold no lock that a concurrent lease would wait for.
            Cas::AdvisoryLock | Cas::ConsumptionRow => parameters.push(seen.fence.into()),
            Cas::ConditionalUpdate | Cas::ForUpdate | Cas::Serializable => {}
        }
        match session.execute(self.named("write")?, &parameters).await? {
            0 => Err(SqlError::conflict("another transaction changed the approval")),
            _ => Ok(Ok(seen.now)),
        }
    }

    fn named(&self, name: &str) -> Result<&'static str, SqlError> {
        self.statement(name)
            .ok_or_else(|| SqlError::failed(format!("the strategy has no statement {name:?}")))
    }
}

/// The state of an approval, in every strategy's order of columns.
const SEEN: &str =
    "SELECT status, expires_at, digest, countersign_now(), version, lease_fence FROM approvals WHERE id = $1";

/// State of an approval at one moment.
struct Seen {
    standing: ApprovalState,
    now: Timestamp,
    version: i64,
    fence: u64,
}

impl Seen {
    async fn read<S: Session>(
        session: &mut S,
        sql: &'static str,
        approval: Uuid,
    ) -> Result<Option<Self>, SqlError> {
        let rows = session.query(sql, &values![approval]).await?;
        rows.into_iter().next().map(Self::from_row).transpose()
    }

    fn from_row(row: Row) -> Result<Self, SqlError> {
        let mut columns = Columns::of(row);
        let (status, expires_at, digest) = (columns.take()?, columns.take()?, columns.take()?);
        let standing = ApprovalState { status, expires_at, digest };
        Ok(Self { standing, now: columns.take()?, version: columns.take()?, fence: columns.take()? })
    }

    fn judge(&self, swap: Swap) -> Result<(), Refusal> {
        let fences = Fences { held: swap.fence, latest: self.fence };
        protocol::consume(self.standing, fences, swap.guards, swap.digest, self.now)
    }
}

/// A number for the lock. Two approvals with the same number only wait for each other.
fn lock_name(approval: Uuid) -> i64 {
    let (high, low) = approval.as_u64_pair();
    (high ^ low).cast_signed()
}

/// The statements of a file by name. Text before the first name is ignored.
fn named(file: &'static str) -> BTreeMap<&'static str, &'static str> {
    file.split("-- name:")
        .skip(1)
        .filter_map(|part| part.split_once('\n'))
        .map(|(name, sql)| (name.trim(), sql.trim()))
        .filter(|(_, sql)| !sql.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_statement_is_refused_by_name() {
        let file = "-- About it.\n\n-- name: read\nSELECT 1\n\n-- name: write\n\n";
        let missing = Consume::new(Cas::VersionColumn, file).expect_err("the write is empty");
        assert_eq!(missing, MissingStatement { cas: Cas::VersionColumn, name: "write" });
        assert!(missing.to_string().contains("version_column.sql"), "{missing}");
        let consume = Consume::new(Cas::VersionColumn, "-- name: read\nA\n-- name: write\nB\nC\n");
        assert_eq!(consume.expect("complete").statement("write"), Some("B\nC"));
    }

    #[test]
    fn a_strategy_is_found_by_its_name() {
        for cas in Cas::ALL {
            assert_eq!(Cas::parse(cas.as_str()), Some(cas));
        }
        assert_eq!(Cas::parse("hope"), None);
    }
}
