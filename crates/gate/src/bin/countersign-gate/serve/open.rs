//! Opens the configured store, or explains the failure.

use std::{fmt::Display, sync::Arc};

use countersign::store::{
    MemoryStore,
    postgres::PostgresStore,
    sqlite::{SqliteOptions, SqliteStore},
};
use countersign_gate::{
    http::Metrics,
    instance::system_clock::{SecretIds, SystemClock},
};

use super::{
    Listeners,
    gate::Gate,
    settings::{Settings, strategy_name},
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
pub(crate) async fn open(settings: &Settings, ids: Arc<SecretIds>) -> Result<Opened, BadInput> {
    let address = &settings.store;
    strategy_is_there(settings)?;
    match address {
        StoreAddress::Memory => Ok(Opened::Memory(Arc::new(MemoryStore::new(Arc::new(SystemClock), ids)))),
        StoreAddress::Sqlite(path) => {
            let options = SqliteOptions { cas: settings.cas, ..SqliteOptions::default() };
            let store = SqliteStore::open(path, Arc::new(SystemClock), ids, options);
            store.map(|store| Opened::Sqlite(Arc::new(store))).map_err(|error| refused(address, &error))
        }
        StoreAddress::Postgres(url) => {
            let store = PostgresStore::connect(url, ids, &settings.postgres).await;
            store.map(|store| Opened::Postgres(Arc::new(store))).map_err(|error| refused(address, &error))
        }
    }
}

/// The error for a store that cannot be opened.
pub(crate) fn refused(address: &StoreAddress, error: &dyn Display) -> BadInput {
    let expected = match address {
        StoreAddress::Memory => "memory, which is always there",
        StoreAddress::Sqlite(_) => {
            "a file that can be made or written to, as in `--store sqlite:countersign.db`"
        }
        StoreAddress::Postgres(_) => {
            "a server that answers, as in `--store postgres://user:password@host/database`"
        }
    };
    BadInput::plain(
        &format!("{address}: the store cannot be opened: {error}"),
        &format!("expected {expected}"),
    )
}

/// Refuses a strategy that means nothing in SQLite, and says which do. The other stores have all of them, or none.
pub(crate) fn strategy_is_there(settings: &Settings) -> Result<(), BadInput> {
    let is_sqlite = matches!(settings.store, StoreAddress::Sqlite(_));
    if !is_sqlite || SqliteStore::STRATEGIES.contains(&settings.cas) {
        return Ok(());
    }
    let names = SqliteStore::STRATEGIES.map(strategy_name).join(", ");
    Err(BadInput::plain(
        &format!("SQLite has no strategy {}", strategy_name(settings.cas)),
        &format!("expected one of {names}; with PostgreSQL there are all"),
    ))
}
