//! Opens the configured store, or explains the failure.

use std::{fmt::Display, sync::Arc};

use countersign::store::{
    Ids, MemoryStore,
    postgres::{self, PostgresStore},
    sqlite::{SqliteOptions, SqliteStore},
};
use countersign_gate::{
    http::Metrics,
    instance::system_clock::{SecretIds, SystemClock},
};

use super::{
    Listeners,
    gate::Gate,
    settings::{Settings, StoreSettings, strategy_name},
    values::StoreAddress,
};
use countersign_terminal::BadInput;

/// A store, of whichever kind.
pub(crate) enum Opened {
    Memory(Arc<MemoryStore>),
    Sqlite(Arc<SqliteStore>),
    Postgres(Arc<PostgresStore>),
}

impl Opened {
    /// A gate on it.
    pub(crate) fn open_gate(
        self,
        settings: Settings,
        ids: Arc<SecretIds>,
        listeners: Listeners,
        metrics: Metrics,
    ) -> Result<Gate, BadInput> {
        match self {
            Self::Memory(store) => Gate::open(settings, store, ids, listeners, metrics),
            Self::Sqlite(store) => Gate::open(settings, store, ids, listeners, metrics),
            Self::Postgres(store) => Gate::open(settings, store, ids, listeners, metrics),
        }
    }
}

/// Opens it, and brings its tables up to date.
pub(crate) async fn open(settings: &StoreSettings, ids: Arc<dyn Ids>) -> Result<Opened, BadInput> {
    let address = &settings.address;
    strategy_is_there(settings)?;
    match address {
        StoreAddress::Memory => Ok(Opened::Memory(Arc::new(MemoryStore::new(Arc::new(SystemClock), ids)))),
        StoreAddress::Sqlite(path) => {
            let patience = settings.busy_timeout;
            let options = SqliteOptions { cas: settings.cas, patience, ..SqliteOptions::default() };
            let store = SqliteStore::open(path, Arc::new(SystemClock), ids, options);
            store.map(|store| Opened::Sqlite(Arc::new(store))).map_err(|error| no_file(address, &error))
        }
        StoreAddress::Postgres(url) => {
            let store = PostgresStore::connect(url, ids, &settings.postgres).await;
            store.map(|store| Opened::Postgres(Arc::new(store))).map_err(|error| no_server(address, &error))
        }
    }
}

/// Number of migrations that a start would apply; `None` if it would create the tables. Changes nothing.
pub(crate) async fn pending(settings: &StoreSettings) -> Result<Option<usize>, BadInput> {
    let address = &settings.address;
    match address {
        StoreAddress::Memory => Ok(None),
        StoreAddress::Sqlite(path) => {
            SqliteStore::pending_migrations(path).map_err(|error| no_file(address, &error))
        }
        StoreAddress::Postgres(url) => {
            let pending = PostgresStore::pending_migrations(url, &settings.postgres).await;
            pending.map_err(|error| no_server(address, &error))
        }
    }
}

/// The error for a file that is no store.
pub(crate) fn no_file(address: &StoreAddress, error: &dyn Display) -> BadInput {
    refused(
        address,
        error,
        "expected a file that can be made or written to, as in `--store sqlite:countersign.db`",
    )
}

fn no_server(address: &StoreAddress, error: &postgres::OpenError) -> BadInput {
    use postgres::OpenError;
    let mend = match error {
        OpenError::Url(_) | OpenError::TimedOut => {
            "expected a server that answers, as in `--store postgres://user:password@host/database`"
        }
        OpenError::Server(error) if error.as_db_error().is_none() => {
            "expected a server that answers, as in `--store postgres://user:password@host/database`"
        }
        OpenError::Server(_) => "expected a database that this role may log in to and create tables in",
        OpenError::Tls(_) => "`sslmode`, `sslrootcert`, `sslcert` and `sslkey` mean what they mean to libpq",
        OpenError::MayNot(_) => "grant it to the role, or start the gate with another role once",
        OpenError::TooOld(_)
        | OpenError::Schema(_)
        | OpenError::Volatile(_)
        | OpenError::OtherStrategy { .. }
        | OpenError::Statement(_)
        | OpenError::Thread(_) => "nothing was changed",
    };
    refused(address, error, mend)
}

fn refused(address: &StoreAddress, error: &dyn Display, mend: &str) -> BadInput {
    BadInput::plain(&format!("{address}: the store cannot be opened: {error}"), mend)
}

/// Refuses a strategy that means nothing in SQLite, and says which do. The other stores have all of them, or none.
pub(crate) fn strategy_is_there(settings: &StoreSettings) -> Result<(), BadInput> {
    let is_sqlite = matches!(settings.address, StoreAddress::Sqlite(_));
    if !is_sqlite || SqliteStore::STRATEGIES.contains(&settings.cas) {
        return Ok(());
    }
    let names = SqliteStore::STRATEGIES.map(strategy_name).join(", ");
    Err(BadInput::plain(
        &format!("SQLite has no strategy {}", strategy_name(settings.cas)),
        &format!("expected one of {names}; with PostgreSQL there are all"),
    ))
}
