//! Opens the store that was asked for, or says why it cannot.

use std::sync::Arc;

use countersign::{
    instance::wall::{SecretIds, WallClock},
    store::{
        MemoryStore,
        postgres::PostgresStore,
        sqlite::{SqliteOptions, SqliteStore},
    },
};

use tokio::net::TcpListener;

use super::{gate::Gate, settings::Settings, values::StoreAddress};
use crate::input::BadInput;

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
        listener: TcpListener,
    ) -> Result<Gate, BadInput> {
        match self {
            Self::Memory(store) => Gate::open(settings, store, ids, listener),
            Self::Sqlite(store) => Gate::open(settings, store, ids, listener),
            Self::Postgres(store) => Gate::open(settings, store, ids, listener),
        }
    }
}

/// Opens it, and brings its tables up to date.
pub(crate) async fn open(settings: &Settings, ids: Arc<SecretIds>) -> Result<Opened, BadInput> {
    let address = &settings.store;
    let refused = |error: &dyn std::fmt::Display, help: &str| {
        BadInput::plain(&format!("{address}: the store cannot be opened: {error}"), help)
    };
    match address {
        StoreAddress::Memory => Ok(Opened::Memory(Arc::new(MemoryStore::new(Arc::new(WallClock), ids)))),
        StoreAddress::Sqlite(path) => {
            let options = SqliteOptions { cas: settings.cas, ..SqliteOptions::default() };
            let store = SqliteStore::open(path, Arc::new(WallClock), ids, options);
            store.map(|store| Opened::Sqlite(Arc::new(store))).map_err(|error| {
                refused(
                    &error,
                    "expected a file that can be made or written to, as in `--store sqlite:countersign.db`",
                )
            })
        }
        StoreAddress::Postgres(url) => {
            let store = PostgresStore::connect(url, ids, &settings.postgres).await;
            store.map(|store| Opened::Postgres(Arc::new(store))).map_err(|error| {
                refused(
                    &error,
                    "expected a server that answers, as in `--store postgres://user:password@host/database`",
                )
            })
        }
    }
}
