//! `countersign-gate archive`: old approvals as lines of JSON, deleted once they are written.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::Path,
    sync::Arc,
};

use countersign::store::{
    RandomIds, StoreError,
    sql::{Engine, SqlStore},
};
use countersign_terminal::{BadInput, Exit, print_error};
use tokio::task::JoinSet;

use crate::{
    args::ArchiveArgs,
    serve::{
        config::Config,
        folders::parent,
        open::{self, Opened},
        runtime,
        settings::StoreSettings,
        values::StoreAddress,
    },
};

/// The approvals that are read together, and deleted concurrently.
const BATCH: usize = 64;

pub(crate) fn run(args: &ArchiveArgs) -> Result<Exit, BadInput> {
    // Neither a secret nor a deploy command is needed, or looked for.
    let settings = StoreSettings::of(&args.serve, &Config::of(&args.serve)?)?;
    let age_ms = u64::try_from(args.older_than.as_millis()).unwrap_or(u64::MAX);
    runtime()?.block_on(async {
        let expected = "expected the store of a gate, as in `--store sqlite:countersign.db`";
        let nothing = || BadInput::plain("a store in memory has nothing to archive", expected);
        if settings.address == StoreAddress::Memory {
            return Err(nothing());
        }
        if open::pending(&settings).await?.is_none() {
            let found = format!("{}: there is no store of a gate", settings.address);
            return Err(BadInput::plain(&found, expected));
        }
        let mut output = Output::open(args.output.as_deref())?;
        let archived = match open::open(&settings, Arc::new(RandomIds::new())).await? {
            Opened::Memory(_) => return Err(nothing()),
            Opened::Sqlite(store) => archive(&store, age_ms, &mut output).await,
            Opened::Postgres(store) => archive(&store, age_ms, &mut output).await,
        }?;
        match archived {
            1 => print_error!("1 approval was archived"),
            _ => print_error!("{archived} approvals were archived"),
        }
        Ok(Exit::Expected)
    })
}

/// Where the lines go.
struct Output {
    file: File,
    /// It is on a disk; a pipe or a terminal is not.
    is_synced: bool,
}

impl Output {
    fn open(path: Option<&Path>) -> Result<Self, BadInput> {
        let name = path.map_or("standard output".into(), |path| path.display().to_string());
        let opened = path.map_or_else(standard_output, continued).and_then(|file| {
            let is_synced = file.metadata()?.is_file();
            Ok(Self { file, is_synced })
        });
        opened.map_err(|error| {
            BadInput::plain(
                &format!("{name}: the archive cannot be written: {error}"),
                "expected a file that can be made or appended to",
            )
        })
    }

    /// Returns when the lines are written, and on the disk where this is a file.
    fn write(&mut self, lines: &str) -> io::Result<()> {
        self.file.write_all(lines.as_bytes())?;
        if self.is_synced { self.file.sync_all() } else { Ok(()) }
    }
}

fn standard_output() -> io::Result<File> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

/// The file, to be appended to. A line that an earlier run left unfinished is ended.
fn continued(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    if file.metadata()?.is_file() {
        let (mut before, mut last) = (File::open(path)?, [b'\n']);
        if before.seek(SeekFrom::End(-1)).is_ok() {
            before.read_exact(&mut last)?;
        }
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
        // A new file is found again after a loss of power once its folder is on the disk.
        File::open(parent(path))?.sync_all()?;
    }
    Ok(file)
}

/// Writes and deletes one batch after another; how many approvals that were.
async fn archive<E: Engine>(
    store: &Arc<SqlStore<E>>,
    age_ms: u64,
    output: &mut Output,
) -> Result<usize, BadInput> {
    let failed = |error: StoreError| {
        BadInput::plain(
            &format!("the store failed: {error}"),
            "run it again: what is written twice is deleted once",
        )
    };
    let mut count = 0;
    loop {
        let batch = store.archivable(age_ms, BATCH).await.map_err(failed)?;
        if batch.is_empty() {
            return Ok(count);
        }
        let lines: String = batch.iter().map(|archived| archived.line() + "\n").collect();
        output.write(&lines).map_err(|error| {
            BadInput::plain(
                &format!("the archive cannot be written: {error}"),
                "nothing was deleted that is not in the archive; make room, and run it again",
            )
        })?;
        let mut deleting = JoinSet::new();
        for archived in batch {
            let store = Arc::clone(store);
            deleting.spawn(async move { store.delete_archived(&archived).await });
        }
        while let Some(deleted) = deleting.join_next().await {
            // One that was written about meanwhile is in the next batch.
            count += usize::from(deleted.expect("no panic in a delete").map_err(failed)?);
        }
    }
}
