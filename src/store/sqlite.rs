//! A store in one SQLite file: one writer with group commit, and readers that see all acknowledged writes.
//!
//! Every transaction that may write goes to the writer's thread. It takes all waiting transactions, runs them in one transaction with
//! a savepoint each, and replies when their shared COMMIT is on the disk: eight concurrent callers pay for one sync.
//! Works that only read run in reader threads on separate snapshots; a snapshot that begins after a reply includes its
//! write. Several processes may share a file: they wait for each other.
//!
//! The log grows by 256 KiB at a time, because overwriting is synced faster than appending.
//!
//! A transaction reads the clock once, at its start.
//!
//! Supported strategies of [`Cas`]: conditional update, version column, for update and consumption row. SQLite's
//! transactions are always serializable, and the writer locks the whole database, so that [`Cas::Serializable`] and
//! [`Cas::AdvisoryLock`] would be the same as [`Cas::ForUpdate`].

mod connection;
mod engine;
mod pending;
mod place;
mod session;
mod task;
mod writer;

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use self::engine::SqliteEngine;
use super::{
    Clock, Ids,
    sql::{Cas, Consume, Migration, MissingStatement, SchemaError, SqlStore},
};

/// Approvals and everything that they are about, in a SQLite file.
pub type SqliteStore = SqlStore<SqliteEngine>;

/// When a write counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it is on the disk. What was answered survives the loss of power.
    #[default]
    Full,
    /// When the operating system has it. What was answered survives a crash of the process, but the loss of power may
    /// take back the last commits, and with them the consume of an approval: **not single-use after a crash** of the
    /// machine. For tests and demonstrations.
    Normal,
}

/// Options of a store in SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// When a write counts as done.
    pub durability: Durability,
    /// By which strategy approvals move.
    pub cas: Cas,
    /// Number of reader threads. A database in memory has none.
    pub readers: usize,
    /// Maximum number of writes in one commit.
    pub batch: usize,
    /// Time limit for waiting for another process's lock.
    pub patience: Duration,
    /// The most pages that the file may have, of 2 KiB in a new file; none: as many as the disk has room for.
    pub most_pages: Option<u32>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Full,
            cas: Cas::ConditionalUpdate,
            readers: 2,
            batch: 256,
            patience: Duration::from_secs(5),
            most_pages: None,
        }
    }
}

/// Why a SQLite store could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// SQLite says why.
    Database(Box<dyn Error + Send + Sync>),
    /// Its schema is not one that this program can use.
    Schema(SchemaError),
    /// A database of another application.
    NotOurs,
    /// Write-ahead logging is impossible in the file's place, for example on a network's file system.
    NoWriteAheadLog,
    /// SQLite does not support the strategy.
    NoSuchStrategy(Cas),
    /// The strategy's file lacks a statement.
    Statement(MissingStatement),
    /// No thread could be started.
    Thread(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(why) => write!(f, "SQLite cannot open it: {why}"),
            Self::Schema(why) => why.fmt(f),
            Self::NotOurs => f.write_str("the file is another program's database (choose another path)"),
            Self::NoWriteAheadLog => f.write_str("SQLite cannot keep a write-ahead log where the file is"),
            Self::NoSuchStrategy(cas) => write!(f, "SQLite has no strategy {cas}"),
            Self::Statement(why) => why.fmt(f),
            Self::Thread(why) => write!(f, "no thread can be started: {why}"),
        }
    }
}

impl Error for OpenError {}

impl From<io::Error> for OpenError {
    fn from(why: io::Error) -> Self {
        Self::Database(why.into())
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(why: rusqlite::Error) -> Self {
        Self::Database(why.into())
    }
}

impl SqlStore<SqliteEngine> {
    /// The path that makes [`SqliteStore::open`] use a database in memory, dropped with the store.
    pub const IN_MEMORY: &str = ":memory:";

    /// The strategies that mean something here.
    pub const STRATEGIES: [Cas; 4] =
        [Cas::ConditionalUpdate, Cas::VersionColumn, Cas::ForUpdate, Cas::ConsumptionRow];

    /// Opens the database in this file, and makes or migrates it where that is needed.
    ///
    /// # Errors
    /// [`OpenError`] says why not. Nothing has changed then.
    pub fn open(
        path: impl AsRef<Path>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        options: SqliteOptions,
    ) -> Result<Self, OpenError> {
        let file = consume_file(options.cas).ok_or(OpenError::NoSuchStrategy(options.cas))?;
        let consume = Consume::new(options.cas, file).map_err(OpenError::Statement)?;
        Self::open_with(path, clock, ids, options, consume)
    }

    /// The files of the database in this file that other users can read or write. [`SqliteStore::open`] takes them away
    /// from these users if it may, and logs which.
    pub fn open_to_others(path: impl AsRef<Path>) -> Vec<PathBuf> {
        place::open_to_others(path.as_ref()).into_iter().map(|(file, _)| file).collect()
    }

    /// As [`SqliteStore::open`], with other statements: for tests which show that wrong ones are detected.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn open_with(
        path: impl AsRef<Path>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        options: SqliteOptions,
        consume: Consume,
    ) -> Result<Self, OpenError> {
        Ok(Self::new(SqliteEngine::open(path.as_ref(), &clock, options)?, ids, consume))
    }
}

/// Every step of the schema, in its order.
const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "initial", sql: include_str!("sqlite/migrations/0001_initial.sql") },
    Migration { version: 2, name: "lease", sql: include_str!("sqlite/migrations/0002_lease.sql") },
    Migration { version: 3, name: "targets", sql: include_str!("sqlite/migrations/0003_targets.sql") },
    Migration { version: 4, name: "readiness", sql: include_str!("sqlite/migrations/0004_readiness.sql") },
    Migration {
        version: 5,
        name: "break_glass",
        sql: include_str!("sqlite/migrations/0005_break_glass.sql"),
    },
    Migration { version: 6, name: "bound", sql: include_str!("sqlite/migrations/0006_bound.sql") },
    Migration {
        version: 7,
        name: "further_keys",
        sql: include_str!("sqlite/migrations/0007_further_keys.sql"),
    },
    Migration { version: 8, name: "decisions", sql: include_str!("sqlite/migrations/0008_decisions.sql") },
    Migration {
        version: 9,
        name: "lease_lengths",
        sql: include_str!("sqlite/migrations/0009_lease_lengths.sql"),
    },
    Migration { version: 10, name: "fair_order", sql: include_str!("sqlite/migrations/0010_fair_order.sql") },
    Migration { version: 11, name: "lists", sql: include_str!("sqlite/migrations/0011_lists.sql") },
    Migration { version: 12, name: "restorable", sql: include_str!("sqlite/migrations/0012_restorable.sql") },
];

/// The statements of a strategy, if it means anything in SQLite.
fn consume_file(cas: Cas) -> Option<&'static str> {
    match cas {
        Cas::ConditionalUpdate => Some(include_str!("sqlite/consume/conditional_update.sql")),
        Cas::VersionColumn => Some(include_str!("sqlite/consume/version_column.sql")),
        Cas::ForUpdate => Some(include_str!("sqlite/consume/for_update.sql")),
        Cas::ConsumptionRow => Some(include_str!("sqlite/consume/consumption_row.sql")),
        Cas::Serializable | Cas::AdvisoryLock => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_here_has_all_of_its_statements() {
        let here: Vec<_> = Cas::ALL.into_iter().filter(|cas| consume_file(*cas).is_some()).collect();
        assert_eq!(here, SqliteStore::STRATEGIES);
        for cas in here {
            assert!(Consume::new(cas, consume_file(cas).unwrap_or_default()).is_ok(), "{cas}");
        }
    }

    #[test]
    fn migrations_are_numbered_without_a_gap() {
        for (place, migration) in (1..).zip(MIGRATIONS) {
            assert_eq!(migration.version, place, "{}", migration.name);
        }
    }

    #[test]
    fn migrations_that_databases_have_seen_are_never_changed() {
        crate::store::sql::assert_unchanged(
            MIGRATIONS,
            &[
                "92e5823e24f7251d90edf677a25a6da1ffec57b7a6c84545bd5e877f00805c8e",
                "bfaf61ccb7a6d3bafc55c331dac4356b532e599199a83d10153af6e80e4ca858",
                "5e375174d96c195e3f46ee10d05f6535a8f54dbad5affa0cb9a45bd7ad9188f5",
                "1c2652867fbf1391a2a5cc2f7efd464bfec382d8017ce6dd8893fd1b1f9e331a",
                "34215cfd1fe7b460b82ace71b819e5fc129647e6cc1cce603f8f76d5f2e1e662",
                "1f52db43421d695ec86446ca9635c14ae6ffb1f520a2d66e8743856191b1c5de",
                "e280acc791d6d3110429f1630e638dd45fe8c822c6a066ca83d8fba2185b0fba",
                "a8415eb7dc6a0a6e4ec753c3600d46c11e073a3f966a0cbcb479c3745d747f78",
                "057bd083de2882a8f8b9cb0383f53c304899024cfc4da403c349ac44979f01da",
                "4aaec527d86f2646ef1e11a7d48b2b3ddb18c370a9be8e1b87c05e9be6b1f212",
                "19b8197c0300a31fd095777e4cf4a9ade83be9fa88eceaea64017d8d08f8a4de",
                "be2d23dde571b30ac1a85bc3470c3789125ca36fb3d4ce3fe863acbf2e748167",
            ],
        );
    }
}
