//! `serve --check`: whether all of it would work. Nothing is made, and nothing is changed.

use std::{fs, io, path::Path};

use countersign::store::{postgres::PostgresStore, sqlite::SqliteStore};

use super::{listen, open, settings::Settings, values::StoreAddress};
use crate::{input::BadInput, say::say};

/// Says that it would, or what would not; and what would be done to the store.
pub(crate) async fn check(settings: &Settings) -> Result<(), BadInput> {
    let change = store(settings).await?;
    drop(listen(&settings.listen).await?);
    say!("all of it would work, with {} in {}", settings.order.name, settings.store);
    if let Some(change) = change {
        say!("{change}");
    }
    Ok(())
}

/// Whether files can be made in this folder, or where the folder would be made.
pub(crate) fn folder_or_its_parent(path: &Path) -> io::Result<()> {
    for place in path.ancestors().map(or_here) {
        if place.try_exists()? {
            return folder(place);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Whether files can be made in this folder. The one that is tried has no name.
fn folder(path: &Path) -> io::Result<()> {
    tempfile::tempfile_in(path).map(drop)
}

/// The folder that it is in.
fn parent(path: &Path) -> &Path {
    or_here(path.parent().unwrap_or(path))
}

/// No path at all is the folder that it runs in.
fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// What would be done to the store.
async fn store(settings: &Settings) -> Result<Option<String>, BadInput> {
    let address = &settings.store;
    open::strategy_is_there(settings)?;
    let pending = match address {
        StoreAddress::Memory => return Ok(None),
        StoreAddress::Sqlite(path) => {
            if path != Path::new(SqliteStore::IN_MEMORY) {
                // Beside the file there is its log.
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

/// Whether this file can be written to, if it is there.
fn can_be_written(path: &Path) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}
