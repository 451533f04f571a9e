//! The store in SQLite, under test: a file in a directory of its own, with a clock that is moved by hand.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use countersign::{
    protocol::Timestamp,
    store::{
        Clock,
        sql::Cas,
        sqlite::{Durability, SqliteOptions, SqliteStore},
    },
};
use countersign_contract::{Later, world::OPENS};
use countersign_models::fixtures::{CountingIds, HandClock};
use rusqlite::{Connection, types::ValueRef};
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::{
    broken::Mistake,
    database::{CLOCK, Database, DatabaseMaker, Dump, InDatabase, TABLES},
};

/// Makes stores in files.
#[derive(Clone, Copy)]
pub(crate) struct InSqlite(pub(crate) Cas);

/// The database without the store.
pub(crate) struct File {
    connection: Mutex<Connection>,
    clock: Arc<HandClock>,
    _directory: TempDir,
}

impl DatabaseMaker for InSqlite {
    fn names(&self) -> (&'static str, &'static str) {
        ("sqlite", self.0.as_str())
    }

    fn make(&self, mistake: Option<Mistake>) -> Later<'_, InDatabase> {
        let directory = directory().expect("a directory for temporary files");
        let path = directory.path().join("countersign.db");
        let clock = Arc::new(HandClock::at(OPENS));
        // Losses of power are not tested here.
        let options =
            SqliteOptions { cas: self.0, durability: Durability::Normal, ..SqliteOptions::default() };
        let store = SqliteStore::open(&path, clock.clone(), Arc::new(CountingIds::default()), options);
        let store = store.unwrap_or_else(|error| panic!("{error}"));
        let connection = Connection::open(&path).expect("the file is there");
        // Rows are put back without the checks that guard what a store may write.
        let settings = "PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF";
        connection.execute_batch(settings).expect("two settings");
        connection.set_prepared_statement_cache_capacity(64);
        let database = File { connection: Mutex::new(connection), clock, _directory: directory };
        Box::pin(std::future::ready(match mistake {
            None => InDatabase::new(store, Arc::new(database)),
            Some(mistake) => InDatabase::new(mistake.put_into(store), Arc::new(database)),
        }))
    }
}

/// In memory, where there is a file system in memory.
fn directory() -> std::io::Result<TempDir> {
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("countersign-sqlite-").tempdir_in(parent)
}

impl File {
    fn rows(&self, table: &str) -> rusqlite::Result<String> {
        if table == CLOCK {
            return Ok(format!("[{{\"now_ms\":{}}}]", self.clock.now().0));
        }
        let connection = self.connection.lock().expect("not poisoned");
        let mut statement = connection.prepare_cached(&format!("SELECT * FROM {table}"))?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let mut object = Map::new();
            for (column, name) in names.iter().enumerate() {
                object.insert(name.clone(), to_json(row.get_ref(column)?));
            }
            found.push(Value::Object(object));
        }
        Ok(Value::Array(found).to_string())
    }

    fn replace(&self, table: &str, rows: &str) -> rusqlite::Result<()> {
        let rows: Vec<Map<String, Value>> = serde_json::from_str(rows).expect("an array of objects");
        if table == CLOCK {
            self.clock.set(Timestamp(rows[0]["now_ms"].as_u64().expect("a time")));
            return Ok(());
        }
        let connection = self.connection.lock().expect("not poisoned");
        connection.prepare_cached(&format!("DELETE FROM {table}"))?.execute([])?;
        for row in rows {
            let names: Vec<&str> = row.keys().map(String::as_str).collect();
            let places: Vec<String> = (1..=names.len()).map(|place| format!("?{place}")).collect();
            let insert = format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), places.join(", "));
            connection
                .prepare_cached(&insert)?
                .execute(rusqlite::params_from_iter(row.values().map(from_json)))?;
        }
        Ok(())
    }
}

impl Database for File {
    fn set_clock(&self, now: Timestamp) -> Later<'_, ()> {
        self.clock.set(now);
        Box::pin(std::future::ready(()))
    }

    fn read(&self) -> Later<'_, Dump> {
        let rows = |place: usize| self.rows(TABLES[place]).expect("a table of the schema").into();
        Box::pin(std::future::ready(std::array::from_fn(rows)))
    }

    fn write(&self, tables: [Option<Arc<str>>; TABLES.len()]) -> Later<'_, ()> {
        let all = |sql: &str| {
            self.connection.lock().expect("not poisoned").execute_batch(sql).expect("it is alone");
        };
        all("BEGIN IMMEDIATE");
        for (table, rows) in TABLES.iter().zip(tables) {
            if let Some(rows) = rows {
                self.replace(table, &rows).expect("rows that were there before");
            }
        }
        all("COMMIT");
        Box::pin(std::future::ready(()))
    }
}

/// In PostgreSQL's format, except for ids, which are bytes here.
fn to_json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\\x{hex}").into()
        }
    }
}

fn from_json(value: &Value) -> rusqlite::types::Value {
    match value {
        Value::Null => rusqlite::types::Value::Null,
        Value::Bool(yes) => i64::from(*yes).into(),
        Value::Number(number) => number.as_i64().expect("no fraction").into(),
        Value::String(text) => match text.strip_prefix("\\x") {
            Some(hex) => {
                let byte = |place| u8::from_str_radix(&hex[place..place + 2], 16).expect("hex");
                (0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>().into()
            }
            None => text.clone().into(),
        },
        Value::Array(_) | Value::Object(_) => unreachable!("no column has one"),
    }
}
