//! Connections: how one is opened, its clock, and the schema that it finds or makes.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, functions::FunctionFlags,
};

use super::{Durability, MIGRATIONS, OpenError, SqliteOptions, SqliteStore, place};
use crate::store::{Clock, sql};

/// Says in a file's header whose it is: "CSGN".
const APPLICATION_ID: i64 = 0x4353_474E;

/// The bytes of a page in files that are made by this version; those that are there keep what they have.
const NEW_PAGE: u32 = 2 * 1_024;

/// Size of the log, in bytes of pages, at which it is copied into the file.
const LONGEST_LOG: u32 = 32 * 1_024 * 1_024;

/// A connection with the time by which its transactions go.
pub(super) struct Timed {
    pub(super) connection: Connection,
    clock: Arc<dyn Clock>,
    moment: Arc<AtomicU64>,
}

impl Timed {
    /// A connection that may write; creates the file if necessary.
    pub(super) fn to_write(
        path: &Path,
        clock: &Arc<dyn Clock>,
        options: SqliteOptions,
    ) -> Result<Self, OpenError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if !is_in_memory(path) {
            create_private(path);
        }
        let mut writer = Self::with_clock(Connection::open_with_flags(path, flags)?, clock, options)?;
        if !is_ours(&mut writer.connection)? {
            return Err(OpenError::NotOurs);
        }
        if !is_in_memory(path) {
            place::make_private(path);
        }
        let connection = &writer.connection;
        // Applies to a new file only. A commit writes whole pages, though it changes few bytes of each.
        connection.pragma_update(None, "page_size", NEW_PAGE)?;
        if !is_in_memory(path) {
            keep_a_log(connection, options.patience)?;
        }
        connection.pragma_update(
            None,
            "synchronous",
            match options.durability {
                Durability::Full => "FULL",
                Durability::Normal => "NORMAL",
            },
        )?;
        // For systems where a plain sync leaves the data in the disk's cache.
        connection.pragma_update(None, "fullfsync", true)?;
        // At SQLite's own thousand pages busy writers spend more on copying, which syncs twice, than on their commits.
        let page: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        connection.pragma_update(None, "wal_autocheckpoint", LONGEST_LOG / page)?;
        if let Some(pages) = options.most_pages {
            let set = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
            connection.pragma_update_and_check(None, "max_page_count", pages, set)?;
        }
        writer.at_this_moment();
        migrate(&mut writer.connection)?;
        Ok(writer)
    }

    /// A connection that only reads.
    pub(super) fn to_read(
        path: &Path,
        clock: &Arc<dyn Clock>,
        options: SqliteOptions,
    ) -> Result<Self, OpenError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Self::with_clock(Connection::open_with_flags(path, flags)?, clock, options)?;
        reader.connection.pragma_update(None, "query_only", true)?;
        Ok(reader)
    }

    fn with_clock(
        connection: Connection,
        clock: &Arc<dyn Clock>,
        options: SqliteOptions,
    ) -> Result<Self, OpenError> {
        connection.busy_timeout(options.patience)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // More than the number of statements: each is compiled once.
        connection.set_prepared_statement_cache_capacity(128);
        let moment = Arc::new(AtomicU64::new(clock.now().0));
        let now = Arc::clone(&moment);
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
        connection.create_scalar_function("countersign_now", 0, flags, move |_| {
            Ok(i64::try_from(now.load(Ordering::Relaxed)).unwrap_or(i64::MAX))
        })?;
        Ok(Self { connection, clock: Arc::clone(clock), moment })
    }

    /// From here on it is now: every statement until the next call goes by the same time.
    pub(super) fn at_this_moment(&self) {
        self.moment.store(self.clock.now().0, Ordering::Relaxed);
    }
}

/// Makes a file that only its owner can read, where there is none. SQLite gives the log and the index the same mode. Where
/// this fails, SQLite says why.
fn create_private(path: &Path) {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    drop(options.open(path));
}

/// Switches the file to a write-ahead log. While another process creates the same file, SQLite reports a lock
/// immediately, regardless of the busy timeout, and the switch has to be retried.
fn keep_a_log(connection: &Connection, patience: Duration) -> Result<(), OpenError> {
    const STEP: Duration = Duration::from_millis(5);
    let mut waited = Duration::ZERO;
    loop {
        let set = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", set) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => return Err(OpenError::NoWriteAheadLog),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && waited < patience => {
                thread::sleep(STEP);
                waited += STEP;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// True for the path of a database in memory.
pub(super) fn is_in_memory(path: &Path) -> bool {
    path == Path::new(SqliteStore::IN_MEMORY)
}

/// True if the database is empty, or this application's.
pub(super) fn is_ours(connection: &mut Connection) -> rusqlite::Result<bool> {
    // Tables that no later migration has changed. A dump keeps their text, and leaves the application's id out.
    const RESTORED: &str = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND instr(?1, sql || ';') > 0 \
                            AND name IN ('migrations', 'teams', 'vault', 'consumptions')";
    // From one snapshot: another process may be creating it.
    let look = Transaction::new(connection, TransactionBehavior::Deferred)?;
    let owner: i64 = look.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = look.query_one("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let first = MIGRATIONS.first().map_or("", |migration| migration.sql);
    let restored: i64 = look.query_one(RESTORED, [first], |row| row.get(0))?;
    Ok(owner == APPLICATION_ID || (owner == 0 && (tables == 0 || restored == 4)))
}

/// Brings the schema up to date, in one transaction that keeps every other process out.
fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    for migration in sql::to_apply(MIGRATIONS, &applied(&transaction)?).map_err(OpenError::Schema)? {
        transaction.execute_batch(migration.sql)?;
        transaction.execute(
            "INSERT INTO migrations (version, name, applied_at) VALUES (?1, ?2, countersign_now())",
            (migration.version, migration.name),
        )?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()?;
    Ok(())
}

/// The versions of the migrations that the file has seen.
pub(super) fn applied(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
    // Queries the file rather than the connection's cache: another process may have created the table since.
    let exists = "SELECT count(*) FROM sqlite_schema WHERE name = 'migrations'";
    let exists: i64 = connection.query_one(exists, [], |row| row.get(0))?;
    if exists == 0 {
        return Ok(Vec::new());
    }
    let mut versions = connection.prepare("SELECT version FROM migrations")?;
    versions.query_map([], |row| row.get(0))?.collect()
}
