//! A transaction on a connection: begun with its first statement, and kept or undone by whoever runs the work.

use tokio_postgres::error::SqlState;

use super::{
    value::values_of,
    wire::{Failure, Wire},
};
use crate::store::{
    StoreError,
    sql::{Dialect, Mode, Row, Session, SqlError, Value},
};

/// How a transaction ended, and what its work is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// What was asked for has happened: it is kept, or it is undone.
    Done,
    /// Certainly nothing changed, and another attempt on this connection may go better.
    Conflict,
    /// Certainly nothing changed, and the connection is no more, or no good.
    Disconnected,
    /// Certainly nothing changed, and another attempt would fare no better.
    Failed,
    /// Nobody knows whether anything changed.
    Unknown,
}

/// A transaction, or one statement that is a transaction by itself.
pub(super) struct PgSession<'a> {
    wire: &'a mut Wire,
    /// What begins the transaction; none when there is none to begin.
    begin: Option<&'static str>,
    /// A statement was sent, so that the transaction has begun.
    begun: bool,
    /// A statement was carried out that may have changed something.
    changed: bool,
    /// Why the first of those that were not was not. From then on the transaction can only be undone.
    failure: Option<Failure>,
    /// It reads only.
    reads: bool,
}

impl<'a> PgSession<'a> {
    pub(super) fn new(wire: &'a mut Wire, mode: Mode) -> Self {
        let begin = match mode {
            Mode::Read => Some("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
            // As the connection has it: read committed. What a work reads before it writes, it locks.
            Mode::Write => Some("BEGIN"),
            Mode::Serializable => Some("BEGIN ISOLATION LEVEL SERIALIZABLE"),
            Mode::OneStatement | Mode::OneRead => None,
        };
        let reads = matches!(mode, Mode::Read | Mode::OneRead);
        Self { wire, begin, begun: false, changed: false, failure: None, reads }
    }

    /// Keeps what was written.
    pub(super) async fn keep(self) -> Ended {
        if self.failure.is_some() {
            return self.undo().await;
        }
        if !self.begun || self.begin.is_none() {
            return Ended::Done;
        }
        if self.reads {
            // There is nothing to keep, and no answer to wait for.
            self.wire.post("COMMIT");
            return Ended::Done;
        }
        match self.wire.run("COMMIT").await {
            Ok(()) => Ended::Done,
            Err(Failure::Refused(code)) => refused(&code),
            Err(Failure::Broken | Failure::Late) => Ended::Unknown,
        }
    }

    /// Undoes what was written, whether its work wants that or could not go on.
    pub(super) async fn undo(self) -> Ended {
        let in_transaction = self.begin.is_some();
        if in_transaction && self.begun && !matches!(self.failure, Some(Failure::Broken | Failure::Late)) {
            self.wire.post("ROLLBACK");
        }
        match self.failure {
            None => Ended::Done,
            // Each statement has been a transaction by itself.
            Some(Failure::Broken | Failure::Late) if !in_transaction && !self.reads && self.begun => {
                Ended::Unknown
            }
            Some(Failure::Refused(_)) if !in_transaction && !self.reads && self.changed => Ended::Unknown,
            Some(Failure::Broken) => Ended::Disconnected,
            // Whoever does not answer for so long will not answer sooner on another connection.
            Some(Failure::Late) => Ended::Failed,
            Some(Failure::Refused(code)) => refused(&code),
        }
    }

    fn before(&mut self) -> Result<Option<&'static str>, SqlError> {
        if self.failure.is_some() {
            // The server would refuse it, too.
            return Err(SqlError::Failed(StoreError::NotApplied));
        }
        let begin = if self.begun { None } else { self.begin };
        Ok(begin)
    }

    fn noted<T>(&mut self, done: Result<T, Failure>) -> Result<T, SqlError> {
        match done {
            Ok(value) => Ok(value),
            Err(failure) => {
                let told = match &failure {
                    Failure::Refused(code) if refused(code) == Ended::Conflict => SqlError::Conflict,
                    Failure::Refused(_) | Failure::Broken | Failure::Late => {
                        SqlError::Failed(StoreError::NotApplied)
                    }
                };
                self.failure = Some(failure);
                Err(told)
            }
        }
    }
}

impl Session for PgSession<'_> {
    const DIALECT: Dialect = Dialect::Postgres;

    async fn query(&mut self, sql: &'static str, parameters: &[Value]) -> Result<Vec<Row>, SqlError> {
        let begin = self.before()?;
        let prepared = self.wire.prepare(sql).await;
        let statement = self.noted(prepared)?;
        self.begun = true;
        let done = self.wire.query(begin, &statement, parameters).await;
        let rows = self.noted(done)?;
        // What changes something and says nothing of it is not asked for its rows.
        self.changed |= !rows.is_empty();
        rows.iter().map(values_of).collect::<Result<_, _>>().map_err(|_| {
            self.failure = Some(Failure::Refused(SqlState::DATATYPE_MISMATCH));
            SqlError::Failed(StoreError::NotApplied)
        })
    }

    async fn execute(&mut self, sql: &'static str, parameters: &[Value]) -> Result<u64, SqlError> {
        let begin = self.before()?;
        let prepared = self.wire.prepare(sql).await;
        let statement = self.noted(prepared)?;
        self.begun = true;
        let done = self.wire.execute(begin, &statement, parameters).await;
        let rows = self.noted(done)?;
        self.changed |= rows > 0;
        Ok(rows)
    }
}

/// What a refusal of the server's means for the transaction that it ends.
fn refused(code: &SqlState) -> Ended {
    // The schema has changed since the statement was prepared: another connection prepares it anew.
    if *code == SqlState::FEATURE_NOT_SUPPORTED {
        return Ended::Disconnected;
    }
    const COLLIDED: [SqlState; 3] = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        // Two transactions have written the first row of its kind: the second attempt finds it.
        SqlState::UNIQUE_VIOLATION,
    ];
    if COLLIDED.contains(code) { Ended::Conflict } else { Ended::Failed }
}
