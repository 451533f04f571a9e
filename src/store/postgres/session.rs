//! A transaction on a connection: begun with its first statement; its owner commits it or rolls it back.

use tokio_postgres::error::SqlState;

use super::{
    connection::{Connection, Failure},
    value::values_of,
};
use crate::store::{
    StoreError,
    sql::{Dialect, Mode, Row, Session, SqlError, Value},
};

/// End of a transaction, with its error.
#[derive(Debug)]
pub(super) enum Ended {
    /// Committed, or rolled back, as requested.
    Done,
    /// Nothing changed, and a retry on this connection may succeed.
    Conflict(StoreError),
    /// Nothing changed, and another connection may succeed.
    Disconnected(StoreError),
    /// Nothing changed, and a retry would fail too.
    Failed(StoreError),
    /// The change may have happened.
    Unknown(StoreError),
}

/// Why a statement that the server never answered has no result.
const LATE: &str = "the server did not answer in time";

/// A transaction, or one statement without an explicit transaction.
pub(super) struct PgSession<'a> {
    connection: &'a mut Connection,
    /// The statement that begins the transaction, if any.
    begin: Option<&'static str>,
    /// A statement was sent, so that the transaction has begun.
    begun: bool,
    /// A statement was carried out that may have changed something.
    changed: bool,
    /// Why the first of those that were not was not. From then on the transaction can only be undone.
    failure: Option<Failure>,
    /// The session only reads.
    reads: bool,
}

impl<'a> PgSession<'a> {
    pub(super) fn new(connection: &'a mut Connection, mode: Mode) -> Self {
        let begin = match mode {
            Mode::Read => Some("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
            // The connection's default: read committed. A transaction locks the rows that it reads before it writes.
            Mode::Write => Some("BEGIN"),
            Mode::Serializable => Some("BEGIN ISOLATION LEVEL SERIALIZABLE"),
            Mode::OneStatement | Mode::OneRead => None,
        };
        let reads = matches!(mode, Mode::Read | Mode::OneRead);
        Self { connection, begin, begun: false, changed: false, failure: None, reads }
    }

    /// Keeps what was written.
    pub(super) async fn commit(self) -> Ended {
        if self.failure.is_some() {
            return self.rollback().await;
        }
        if !self.begun || self.begin.is_none() {
            return Ended::Done;
        }
        if self.reads {
            // There is nothing to commit, and no reply to wait for.
            self.connection.post("COMMIT");
            return Ended::Done;
        }
        match self.connection.run("COMMIT").await {
            Ok(()) => Ended::Done,
            Err(Failure::Refused(code, error)) => refused(&code, error),
            Err(Failure::Broken(error)) => Ended::Unknown(error),
            Err(Failure::Late) => Ended::Unknown(StoreError::unknown(LATE)),
        }
    }

    /// Undoes what was written, whether its transaction wants that or could not go on.
    pub(super) async fn rollback(self) -> Ended {
        let in_transaction = self.begin.is_some();
        if in_transaction && self.begun && !matches!(self.failure, Some(Failure::Broken(_) | Failure::Late)) {
            self.connection.post("ROLLBACK");
        }
        // Without a transaction each statement commits by itself: one that was sent may have changed something.
        let may_stay = !in_transaction && !self.reads;
        match self.failure {
            None => Ended::Done,
            Some(Failure::Broken(error)) if may_stay && self.begun => Ended::Unknown(error),
            Some(Failure::Late) if may_stay && self.begun => Ended::Unknown(StoreError::unknown(LATE)),
            Some(Failure::Refused(_, error)) if may_stay && self.changed => {
                Ended::Unknown(StoreError::unknown(error))
            }
            Some(Failure::Broken(error)) => Ended::Disconnected(error.into_not_applied()),
            // After this timeout, another connection would not get a reply sooner.
            Some(Failure::Late) => Ended::Failed(StoreError::not_applied(LATE)),
            Some(Failure::Refused(code, error)) => refused(&code, error),
        }
    }

    fn before(&mut self) -> Result<Option<&'static str>, SqlError> {
        if self.failure.is_some() {
            // The server would refuse it, too.
            return Err(SqlError::failed("an earlier statement of the transaction failed"));
        }
        let begin = if self.begun { None } else { self.begin };
        Ok(begin)
    }

    fn noted<T>(&mut self, done: Result<T, Failure>) -> Result<T, SqlError> {
        match done {
            Ok(value) => Ok(value),
            Err(failure) => {
                let told = match &failure {
                    Failure::Refused(code, error) if is_collision(code) => SqlError::Conflict(error.clone()),
                    Failure::Refused(_, error) => SqlError::Failed(error.clone()),
                    Failure::Broken(error) => SqlError::Failed(error.clone().into_not_applied()),
                    Failure::Late => SqlError::failed(LATE),
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
        let prepared = self.connection.prepare(sql).await;
        let statement = self.noted(prepared)?;
        self.begun = true;
        let done = self.connection.query(begin, &statement, parameters).await;
        let rows = self.noted(done)?;
        // A statement that changes something and returns no rows is not queried for them.
        self.changed |= !rows.is_empty();
        rows.iter().map(values_of).collect::<Result<_, _>>().map_err(|error| {
            let error = StoreError::not_applied(error);
            self.failure = Some(Failure::Refused(SqlState::DATATYPE_MISMATCH, error.clone()));
            SqlError::Failed(error)
        })
    }

    async fn execute(&mut self, sql: &'static str, parameters: &[Value]) -> Result<u64, SqlError> {
        let begin = self.before()?;
        let prepared = self.connection.prepare(sql).await;
        let statement = self.noted(prepared)?;
        self.begun = true;
        let done = self.connection.execute(begin, &statement, parameters).await;
        let rows = self.noted(done)?;
        self.changed |= rows > 0;
        Ok(rows)
    }
}

/// The meaning of a server error for the transaction that it ends.
fn refused(code: &SqlState, error: StoreError) -> Ended {
    // The schema has changed since the statement was prepared: another connection prepares it anew.
    if *code == SqlState::FEATURE_NOT_SUPPORTED {
        return Ended::Disconnected(error);
    }
    if is_collision(code) { Ended::Conflict(error) } else { Ended::Failed(error) }
}

/// True for a collision with another transaction, which a retry may avoid.
fn is_collision(code: &SqlState) -> bool {
    const COLLIDED: [SqlState; 3] = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        // Two transactions have written the first row of its kind: the second attempt finds it.
        SqlState::UNIQUE_VIOLATION,
    ];
    COLLIDED.contains(code)
}
