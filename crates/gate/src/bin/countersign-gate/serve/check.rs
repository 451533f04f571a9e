//! `countersign-gate check`: validates the configuration, without changes.

use std::{io, path::Path, time::Duration};

use countersign::store::sqlite::SqliteStore;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{
    descriptors,
    folders::{can_be_written, folder, parent},
    not_there, open,
    settings::{Settings, StoreSettings},
    values::{Listen, StoreAddress},
};
use countersign_terminal::{BadInput, print_error, print_line};

/// Says that it would, or what would not; what would be done to the store; and what was not tried.
pub(crate) async fn check(mut settings: Settings) -> Result<(), BadInput> {
    let change = store(&settings.store).await?;
    let remarks = listeners(&settings).await?;
    descriptors::reserve(&mut settings)?;
    print_line!("all of it would work, with {} in {}", settings.order.name, settings.store.address);
    for remark in change.into_iter().chain(remarks) {
        print_line!("{remark}");
    }
    if let Some(remote) = settings.notifier.remote() {
        print_line!("not tried: {remote}");
    }
    Ok(())
}

/// Binds each address for a moment, unless a gate that runs has it.
async fn listeners(settings: &Settings) -> Result<Vec<String>, BadInput> {
    let mut taken = Vec::new();
    for listen in settings.probe_listen.iter().chain([&settings.listen]) {
        if let Err(error) = TcpListener::bind(&listen.0).await {
            if !is_served_by_a_gate(listen).await {
                return Err(not_there(listen, &error));
            }
            taken.push(format!("a running gate has {}", listen.0));
        }
    }
    Ok(taken)
}

/// True if what listens there answers as a gate does. The probes' address has only probes, and the main one may have none.
async fn is_served_by_a_gate(Listen(listen): &Listen) -> bool {
    const PATIENCE: Duration = Duration::from_secs(2);
    const LONGEST: u64 = 4_096;
    let ask = async {
        let mut stream = TcpStream::connect(listen).await?;
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(LONGEST).read_to_end(&mut answer).await?;
        io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = timeout(PATIENCE, ask).await;
    answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.contains(OK) || answer.contains(PROBLEM)))
}

/// The answer of `/livez`, and the one of an address without it.
const OK: &str = "{\"ok\":true}";
const PROBLEM: &str = "urn:countersign:problem:";

/// The changes that a start would make to the store.
async fn store(settings: &StoreSettings) -> Result<Option<String>, BadInput> {
    let address = &settings.address;
    open::strategy_is_there(settings)?;
    if let StoreAddress::Sqlite(path) = address
        && path != Path::new(SqliteStore::IN_MEMORY)
    {
        // The log is next to the file.
        folder(parent(path))
            .and_then(|()| can_be_written(path))
            .map_err(|error| open::no_file(address, &error))?;
        for file in SqliteStore::open_to_others(path) {
            print_error!(
                "WARNING: other users can read or write {} (chmod go= it; a start does so if it may)",
                file.display()
            );
        }
    }
    if *address == StoreAddress::Memory {
        return Ok(None);
    }
    Ok(match open::pending(settings).await? {
        None => Some("its tables would be made".to_owned()),
        Some(0) => None,
        Some(1) => Some("1 migration would be applied".to_owned()),
        Some(several) => Some(format!("{several} migrations would be applied")),
    })
}
