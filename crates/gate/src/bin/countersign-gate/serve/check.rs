//! `countersign-gate check`: validates the configuration, without changes.

use std::path::Path;

use countersign::store::{postgres::PostgresStore, sqlite::SqliteStore};

use super::{
    Listeners,
    folders::{can_be_written, folder, parent},
    open,
    settings::Settings,
    values::StoreAddress,
};
use countersign_terminal::{BadInput, print_line};

/// Says that it would, or what would not; and what would be done to the store.
pub(crate) async fn check(settings: &Settings) -> Result<(), BadInput> {
    let change = store(settings).await?;
    drop(Listeners::open(settings).await?);
    print_line!("all of it would work, with {} in {}", settings.order.name, settings.store);
    if let Some(change) = change {
        print_line!("{change}");
    }
    Ok(())
}

/// The changes that a start would make to the store.
async fn store(settings: &Settings) -> Result<Option<String>, BadInput> {
    let address = &settings.store;
    open::strategy_is_there(settings)?;
    let pending = match address {
        StoreAddress::Memory => return Ok(None),
        StoreAddress::Sqlite(path) => {
            if path != Path::new(SqliteStore::IN_MEMORY) {
                // The log is next to the file.
                folder(parent(path))
                    .and_then(|()| can_be_written(path))
                    .map_err(|error| open::refused(address, &error))?;
            }
            SqliteStore::pending_migrations(path).map_err(|error| open::refused(address, &error))?
        }
        StoreAddress::Postgres(url) => {
            let pending = PostgresStore::pending_migrations(url, &settings.postgres).await;
            pending.map_err(|error| open::refused(address, &error))?
        }
    };
    Ok(match pending {
        None => Some("its tables would be made".to_owned()),
        Some(0) => None,
        Some(1) => Some("1 migration would be applied".to_owned()),
        Some(several) => Some(format!("{several} migrations would be applied")),
    })
}
