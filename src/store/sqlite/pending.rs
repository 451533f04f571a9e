//! A dry run of opening a file.

use std::{
    ffi::OsString,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};

use super::{
    MIGRATIONS, OpenError, SqliteEngine, SqliteOptions,
    connection::{applied, is_in_memory, is_ours},
};
use crate::store::sql::{self, SqlStore};

impl SqlStore<SqliteEngine> {
    /// Number of migrations that [`SqliteStore::open`](super::SqliteStore::open) would apply to this file; `None` if it
    /// would create the tables. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError`], in the cases where opening fails too.
    pub fn pending_migrations(path: impl AsRef<Path>) -> Result<Option<usize>, OpenError> {
        let path = path.as_ref();
        let exists = path.try_exists().map_err(|error| OpenError::Database(error.into()))?;
        if is_in_memory(path) || !exists {
            return Ok(None);
        }
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(address(path), flags)?;
        connection.busy_timeout(SqliteOptions::default().patience)?;
        if !is_ours(&mut connection)? {
            return Err(OpenError::NotOurs);
        }
        let applied = applied(&connection)?;
        let missing = sql::to_apply(MIGRATIONS, &applied).map_err(OpenError::Schema)?;
        Ok((!applied.is_empty()).then_some(missing.len()))
    }
}

/// The file as a URI. An unused file is opened as immutable, so that SQLite creates no files next to it.
fn address(path: &Path) -> String {
    let mut address = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'.' | b'-' | b'_' => address.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => address.push(char::from(*byte)),
            // Writing to a text does not fail.
            byte => drop(write!(address, "%{byte:02X}")),
        }
    }
    if !has_log(path) {
        address.push_str("?immutable=1");
    }
    address
}

/// True if there is a log: a process has the file open, or crashed.
fn has_log(path: &Path) -> bool {
    log_of(path).metadata().is_ok_and(|log| log.len() > 0)
}

/// The path of the database's log: next to the file itself, after following links.
fn log_of(database: &Path) -> PathBuf {
    let mut log: OsString = database.canonicalize().unwrap_or_else(|_| database.to_owned()).into();
    log.push("-wal");
    log.into()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, ffi::OsString, path::PathBuf};

    use super::{super::SqliteStore, *};

    /// A file with these migrations, named so that an address has something to escape.
    fn made(folder: &Path, migrations: &[sql::Migration]) -> PathBuf {
        let path = folder.join("a b%20c?d#e.db");
        let file = Connection::open(&path).expect("a new one");
        file.create_scalar_function(
            "countersign_now",
            0,
            rusqlite::functions::FunctionFlags::default(),
            |_| Ok(0),
        )
        .expect("nothing fails");
        for migration in migrations {
            file.execute_batch(migration.sql).expect("nothing fails");
            file.execute("INSERT INTO migrations VALUES (?1, ?2, 0)", (migration.version, migration.name))
                .expect("nothing fails");
        }
        path
    }

    fn files(folder: &Path) -> BTreeSet<OsString> {
        let entries = folder.read_dir().expect("it is there");
        entries.map(|entry| entry.expect("it can be read").file_name()).collect()
    }

    #[test]
    fn what_is_missing_is_counted_and_nothing_is_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = made(folder.path(), &MIGRATIONS[..1]);
        let file = Connection::open(&path).expect("it is there");
        file.pragma_update(None, "application_id", 0x4353_474E).expect("nothing fails");
        file.pragma_update(None, "journal_mode", "WAL").expect("nothing fails");
        drop(file);
        let before = (files(folder.path()), std::fs::read(&path).expect("it is there"));
        let pending = SqliteStore::pending_migrations(&path).expect("it is one of ours");
        assert_eq!(pending, Some(MIGRATIONS.len() - 1));
        assert_eq!((files(folder.path()), std::fs::read(&path).expect("it is there")), before);
    }

    #[test]
    fn what_another_one_has_just_written_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = made(folder.path(), MIGRATIONS);
        let file = Connection::open(&path).expect("it is there");
        file.pragma_update(None, "application_id", 0x4353_474E).expect("nothing fails");
        file.pragma_update(None, "journal_mode", "WAL").expect("nothing fails");
        assert_eq!(SqliteStore::pending_migrations(&path).expect("it is one of ours"), Some(0));
        file.execute("INSERT INTO migrations VALUES (1000, 'tomorrow', 0)", []).expect("nothing fails");
        let refused = SqliteStore::pending_migrations(&path);
        assert!(matches!(refused, Err(OpenError::Schema(sql::SchemaError::Newer { .. }))), "{refused:?}");
    }

    #[test]
    fn what_is_not_there_is_not_made_and_what_is_not_ours_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let nothing = SqliteStore::pending_migrations(folder.path().join("gate.db"));
        assert!(matches!(nothing, Ok(None)), "{nothing:?}");
        assert_eq!(files(folder.path()).len(), 0);
        let path = made(folder.path(), MIGRATIONS);
        let restored = SqliteStore::pending_migrations(&path);
        assert!(matches!(restored, Ok(Some(0))), "a dump has no application's id: {restored:?}");
        let file = Connection::open(&path).expect("it is there");
        file.pragma_update(None, "application_id", 1).expect("nothing fails");
        let theirs = SqliteStore::pending_migrations(path);
        assert!(matches!(theirs, Err(OpenError::NotOurs)), "{theirs:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_log_is_next_to_the_file_and_not_to_a_link() {
        let dir = tempfile::tempdir().expect("a folder");
        let (database, link) = (dir.path().join("gate.db"), dir.path().join("link.db"));
        std::fs::write(&database, "")
            .and_then(|()| std::os::unix::fs::symlink(&database, &link))
            .expect("made");
        assert_eq!(log_of(&link), log_of(&database));
    }
}
