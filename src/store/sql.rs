//! What stores in SQL databases share: one [`Work`] for each method of the contract, run by an [`Engine`].
//!
//! A work is written once, against a [`Session`], which is a transaction of whatever database it is. It loads what an
//! ask is about, lets the protocol's rules and the [`Estate`](super::Estate) judge, and writes down what has changed.
//! What differs from database to database is the engine, the schema's types, and the compare-and-swap strategies,
//! which are a `.sql` file each.
//!
//! The clock is the database's: every statement that needs the time asks `countersign_now()`, milliseconds since the
//! Unix epoch, which is the database's own clock in production and a clock that is moved by hand in tests.

mod approvals;
mod commit;
mod consume;
mod leases;
mod migrations;
mod operations;
mod outbox;
mod preflight;
mod rows;
mod store;
mod tenants;

use std::future::Future;

pub use consume::{Cas, Consume, MissingStatement};
#[cfg(test)]
pub(crate) use migrations::assert_unchanged;
pub use migrations::{Migration, SchemaError, to_apply};
pub use store::SqlStore;

use uuid::Uuid;

use super::StoreError;

/// A value that goes into a statement or comes out of a row.
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
    /// Transactions got into each other's way: nothing changed, and trying again may help. A work may say so, too.
    Conflict(StoreError),
    /// It failed for another reason, and the transaction is gone.
    Failed(StoreError),
}

impl SqlError {
    /// Another transaction was in the way, as `source` says: nothing changed.
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
    /// What kind of database it is, where a statement's text has to differ.
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

/// What kind of database a session belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// How a work is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It only reads, as of one moment.
    Read,
    /// It only reads, and is one statement: no transaction has to be opened around it.
    OneRead,
    /// It may write; several statements in one transaction.
    Write,
    /// It may write, and is one statement: no transaction has to be opened around it.
    OneStatement,
    /// It may write, in a transaction that the database keeps serializable by refusing one of two that collide.
    Serializable,
}

/// One method of the contract, with all that it was asked for. It may be run again when it met a conflict.
pub trait Work: Send + Sync + 'static {
    /// What it gives.
    type Output: Send + 'static;

    /// How it is to be run.
    fn mode(&self) -> Mode;

    /// Does it. What it has written is undone when this says so, as after an error.
    fn run<S: Session>(
        &self,
        session: &mut S,
    ) -> impl Future<Output = Result<Done<Self::Output>, SqlError>> + Send;
}

/// How a work has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done<T> {
    /// What was written is to be kept.
    Keep(T),
    /// What was written is to be undone: a refusal changes nothing.
    Undo(T),
}

/// Runs works against a database, each in a transaction of its own.
pub trait Engine: Send + Sync + 'static {
    /// Runs it, again while it meets conflicts and patience lasts.
    ///
    /// # Errors
    /// [`StoreErrorKind::Unknown`](super::StoreErrorKind::Unknown) when the commit was sent and its answer did not come;
    /// after everything else [`StoreErrorKind::NotApplied`](super::StoreErrorKind::NotApplied).
    fn perform<W: Work>(&self, work: W) -> impl Future<Output = Result<W::Output, StoreError>> + Send;
}
