//! Readiness of a file: one that is full, read-only, deleted, replaced, incomplete or older is not ready.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use countersign::store::{Operations, StoreError, Tenants, sqlite::SqliteOptions};
use countersign_models::fixtures::block_on;
use rusqlite::{Connection, backup::Backup};

use crate::platform::{Platform, TEAM, environment, open};

const NOT_READY: Result<(), &str> = Err("not ready");

fn is_ready(platform: &Platform) -> Result<(), &'static str> {
    block_on(platform.store.is_ready()).map_err(|error| {
        assert_eq!(error, StoreError::not_applied("any cause"));
        "not ready"
    })
}

fn on_file(options: SqliteOptions, claim: impl FnOnce(&Platform, &Path)) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gate.db");
    let platform = Platform::at(&path, options);
    for _ in 0..3 {
        assert_eq!(is_ready(&platform), Ok(()));
    }
    claim(&platform, &path);
}

#[test]
fn a_full_file_is_not_ready_until_there_is_room() {
    let options = SqliteOptions { most_pages: Some(240), ..SqliteOptions::default() };
    on_file(options, |platform, _| {
        let put = |key: usize, value: &str| {
            block_on(platform.store.put_vault(TEAM, &environment("staging"), &format!("key-{key}"), value))
        };
        let mut keys = 0..;
        for size in [100_000, 3_000, 300] {
            while put(keys.next().expect("enough"), &"x".repeat(size)).is_ok() {}
        }
        assert_eq!(is_ready(platform), NOT_READY);
        put(0, "").expect("a smaller value finds room");
        assert_eq!(is_ready(platform), Ok(()));
    });
}

#[test]
fn a_read_only_file_is_not_ready() {
    on_file(SqliteOptions::default(), |platform, path| {
        for mode in [0o444, 0o600] {
            fs::set_permissions(path, Permissions::from_mode(mode)).expect("its owner may");
            assert_eq!(is_ready(platform), if mode == 0o600 { Ok(()) } else { NOT_READY });
        }
    });
}

#[test]
fn a_deleted_or_replaced_file_is_not_ready() {
    for end in ["", "-wal", "-shm"] {
        on_file(SqliteOptions::default(), |platform, path| {
            let file = path.with_file_name(format!("gate.db{end}"));
            let aside = path.with_file_name("aside");
            fs::rename(&file, &aside).expect("it is there");
            assert_eq!(is_ready(platform), NOT_READY, "gate.db{end} is gone");
            fs::copy(&aside, &file).expect("it is there");
            assert_eq!(is_ready(platform), NOT_READY, "gate.db{end} is another file");
            fs::rename(&aside, &file).expect("it is there");
            assert_eq!(is_ready(platform), Ok(()));
        });
    }
}

#[test]
fn a_file_that_lacks_a_table_is_not_ready() {
    let mut tables = vec![None];
    while let Some(table) = tables.pop() {
        on_file(SqliteOptions::default(), |platform, path| {
            let raw = Connection::open(path).expect("it is there");
            let Some(table) = table else {
                let mut names = raw
                    .prepare(
                        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
                    )
                    .expect("it can be read");
                let names = names.query_map([], |row| row.get::<_, String>(0)).expect("it can be read");
                tables.extend(names.map(|name| Some(name.expect("a name"))));
                assert!(tables.len() > 10, "{tables:?}");
                return;
            };
            let drop = format!("PRAGMA foreign_keys = off; DROP TABLE {table}");
            raw.execute_batch(&drop).expect("it can be dropped");
            assert_eq!(is_ready(platform), NOT_READY, "{table} is missing");
        });
    }
}

#[test]
fn an_older_copy_in_place_of_the_database_is_not_ready_whatever_others_write() {
    on_file(SqliteOptions::default(), |platform, path| {
        let older = path.with_file_name("older.db");
        let copy = |from: &Path, to: &Path| {
            let (from, mut to) =
                (Connection::open(from).expect("a file"), Connection::open(to).expect("a file"));
            let backup = Backup::new(&from, &mut to).expect("two databases");
            backup.run_to_completion(1_000, std::time::Duration::ZERO, None).expect("it is copied");
        };
        copy(path, &older);
        assert_eq!(is_ready(platform), Ok(()));
        copy(&older, path);
        let store = open(path, &platform.clock, SqliteOptions::default()).expect("it is there");
        for _ in 0..9 {
            assert_eq!(block_on(store.is_ready()), Ok(()), "an instance that starts now knows no other");
            assert_eq!(is_ready(platform), NOT_READY);
        }
    });
}
