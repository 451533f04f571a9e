//! The common part of the SQL stores: one [`Transaction`] for each method of the contract, run by an [`Engine`].
//!
//! A transaction is written once, against a [`Session`] of either database. It loads the records of a request,
//! applies the protocol's rules and the [`TenantState`](super::TenantState), and writes the changes. The databases differ in the
//! engine, the schema's types, and the compare-and-swap strategies, which are a `.sql` file each.
//!
//! The clock is the database's: statements that need the time call `countersign_now()`, milliseconds since the Unix
//! epoch: the database's own clock in production, a manual clock in tests.

mod approvals;
mod archive;
mod commit;
mod consume;
mod leases;
mod migrations;
mod operations;
mod outbox;
mod preflight;
mod readiness;
mod rows;
mod store;
mod tenants;

use std::future::Future;

pub use archive::Archived;
pub use consume::{Cas, Consume, MissingStatement};
#[cfg(test)]
pub(crate) use migrations::assert_unchanged;
pub use migrations::{Migration, SchemaError, to_apply};
pub use store::SqlStore;

use uuid::Uuid;

use super::StoreError;

/// A parameter of a statement, or a column of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// No value.
    Null,
    /// A yes or a no.
    Bool(bool),
    /// A number: a time in milliseconds, say.
    Int(i64),
    /// A text, or a document in JSON.
    Text(String),
    /// A digest, or a hash.
    Bytes(Vec<u8>),
    /// An id.
    Id(Uuid),
}

/// The values of one row, in the order of its columns.
pub type Row = Vec<Value>;

/// Why a statement was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SqlError {
    /// Transactions collided: nothing changed, and a retry may succeed. A transaction may return this too.
    Conflict(StoreError),
    /// Another failure; the transaction was rolled back.
    Failed(StoreError),
}

impl SqlError {
    /// A collision with another transaction, reported by `source`: nothing changed.
    pub fn conflict(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Conflict(StoreError::not_applied(source))
    }

    /// The statement failed because of `source`: nothing changed.
    pub fn failed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(StoreError::not_applied(source))
    }
}

/// A transaction under way.
pub trait Session: Send {
    /// The dialect, for statements whose text differs between databases.
    const DIALECT: Dialect;

    /// Carries out a statement, and returns its rows. Parameters are `$1`, `$2`, … in the order of their first use.
    fn query(
        &mut self,
        sql: &'static str,
        parameters: &[Value],
    ) -> impl Future<Output = Result<Vec<Row>, SqlError>> + Send;

    /// Carries out a statement, and returns how many rows it changed.
    fn execute(
        &mut self,
        sql: &'static str,
        parameters: &[Value],
    ) -> impl Future<Output = Result<u64, SqlError>> + Send;
}

/// The database of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// Transaction mode of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reads only, from one snapshot.
    Read,
    /// Reads only, in one statement without an explicit transaction.
    OneRead,
    /// May write; several statements in one transaction.
    Write,
    /// May write, in one statement without an explicit transaction.
    OneStatement,
    /// May write, in a transaction that the database keeps serializable by refusing one of two that collide.
    Serializable,
}

/// One method of the contract, with all that it was asked for. It may be run again when it met a conflict.
pub trait Transaction: Send + Sync + 'static {
    /// The result.
    type Output: Send + 'static;

    /// Its transaction mode.
    fn mode(&self) -> Mode;

    /// Runs the transaction. Its writes are rolled back if it returns [`Done::Rollback`] or an error.
    fn run<S: Session>(
        &self,
        session: &mut S,
    ) -> impl Future<Output = Result<Done<Self::Output>, SqlError>> + Send;
}

/// End of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done<T> {
    /// Commits.
    Commit(T),
    /// Rolls back: a refusal changes nothing.
    Rollback(T),
}

/// Runs transactions against a database.
pub trait Engine: Send + Sync + 'static {
    /// Runs it, again while it meets conflicts and patience lasts.
    ///
    /// # Errors
    /// [`StoreErrorKind::Unknown`](super::StoreErrorKind::Unknown) when the commit was sent and its answer did not come;
    /// after everything else [`StoreErrorKind::NotApplied`](super::StoreErrorKind::NotApplied).
    fn perform<W: Transaction>(&self, work: W) -> impl Future<Output = Result<W::Output, StoreError>> + Send;

    /// Checks that the database is still the opened one.
    ///
    /// # Errors
    /// Why what is written now would not be found there.
    fn is_in_place(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
