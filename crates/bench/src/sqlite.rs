//! SQLite as a bed: a file of its own for each measurement.

use std::{
    fs,
    io::Write,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use countersign::store::{
    SystemClock,
    sql::{Cas, Consume, SqlStore},
    sqlite::{Durability, SqliteEngine, SqliteOptions, SqliteStore},
};
use rusqlite::{Connection, functions::FunctionFlags};
use tempfile::TempDir;

use super::{
    bench_store::{BenchStore, Contender, FIRST},
    counters::median,
    counting::Counting,
    gate::{self, Template, id_of, template},
};
use countersign_terminal::{BadInput, Stopwatch};

pub(crate) struct Sqlite {
    path: PathBuf,
    template: Option<Template>,
    /// Removed with everything in it.
    _folder: Option<TempDir>,
}

impl Sqlite {
    /// In this file, which must not be there yet; none: in a temporary folder.
    pub(crate) fn new(path: Option<&Path>) -> Result<Self, BadInput> {
        match path {
            Some(path) if path.exists() => Err(BadInput::plain(
                &format!(
                    "{}: there is such a file already, and a measurement would overwrite it",
                    path.display()
                ),
                "name one that does not exist: it is made, measured and removed",
            )),
            Some(path) => Ok(Self { path: path.to_owned(), template: None, _folder: None }),
            None => {
                let folder = tempfile::Builder::new().prefix("countersign-bench-").tempdir();
                let folder = folder.map_err(|error| failed("no temporary folder can be made", &error))?;
                let path = folder.path().join("bench.db");
                Ok(Self { path, template: None, _folder: Some(folder) })
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Microseconds until a page that is written at the end of a file is on the disk: the least that a commit takes which
    /// makes its log longer.
    pub(crate) fn sync_us(&self) -> std::io::Result<f64> {
        const PAGE: [u8; 4096] = [0; 4096];
        const TIMES: usize = 201;
        let path = with_end(&self.path, "-sync");
        let mut file = fs::File::create_new(&path)?;
        let mut times = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            file.write_all(&PAGE)?;
            let begun = Stopwatch::start();
            file.sync_data()?;
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        fs::remove_file(path)?;
        Ok(median(times).unwrap_or_default())
    }

    fn store(&self, cas: Cas, durability: Durability) -> Result<SqliteStore, BadInput> {
        let options = SqliteOptions { cas, durability, ..SqliteOptions::default() };
        SqliteStore::open(&self.path, Arc::new(SystemClock), gate::ids(), options)
            .map_err(|error| failed(&self.path.display().to_string(), &error))
    }

    fn copy(&self, template: &Template, approvals: u32) -> rusqlite::Result<()> {
        let connection = Connection::open(&self.path)?;
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
        connection
            .create_scalar_function("id_of", 1, flags, |call| Ok(id_of(call.get(0)?).as_bytes().to_vec()))?;
        connection.create_scalar_function("hash_of", 1, flags, |call| {
            Ok(id_of(call.get(0)?).as_bytes().repeat(2))
        })?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        let mut columns = Vec::new();
        connection.pragma(None, "table_info", "approvals", |row| {
            columns.push(row.get::<_, String>("name")?);
            Ok(())
        })?;
        let copied: Vec<&str> = columns
            .iter()
            .map(|column| match column.as_str() {
                "id" => "id_of(number)",
                "token_hash" => "hash_of(number)",
                other => other,
            })
            .collect();
        let copy = format!(
            "WITH RECURSIVE numbers (number) AS (SELECT ?1 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?2) \
             INSERT INTO approvals ({}) SELECT {} FROM numbers, approvals AS one WHERE one.id = ?3",
            columns.join(", "),
            copied.join(", "),
        );
        let last = FIRST + approvals.max(1) - 1;
        connection.execute(&copy, (FIRST, last, template.approval.as_bytes()))?;
        // So that no measured client has to write this to the disk.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }

    /// The files of the database.
    fn remove(&self) {
        for end in ["", "-wal", "-shm", "-journal", "-sync"] {
            // Missing files need not be removed.
            fs::remove_file(with_end(&self.path, end)).ok();
        }
    }
}

/// Size of the header and the frames in a write-ahead log, by <https://sqlite.org/fileformat2.html#walformat>: every
/// frame repeats the header's salts. The rest belongs to an older log, or is free space.
fn written(log: &[u8]) -> u64 {
    const HEADER: usize = 32;
    const FRAME_HEADER: usize = 24;
    const PAGE_SIZE: Range<usize> = 8..12;
    const SALTS: Range<usize> = 16..24;
    const FRAME_SALTS: Range<usize> = 8..16;
    let Some((header, frames)) = log.split_at_checked(HEADER) else { return 0 };
    let page = header[PAGE_SIZE].iter().fold(0, |size, byte| size << 8 | usize::from(*byte));
    let frame = FRAME_HEADER + page;
    let ours = |frame: &&[u8]| frame[FRAME_SALTS] == header[SALTS];
    (HEADER + frames.chunks_exact(frame).take_while(ours).count() * frame) as u64
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

pub(crate) fn failed(what: &str, error: &dyn std::fmt::Display) -> BadInput {
    BadInput::plain(&format!("{what}: {error}"), "nothing was measured there")
}

impl BenchStore for Sqlite {
    type Engine = SqliteEngine;

    const NAME: &'static str = "sqlite";

    fn takes(entry: &Contender) -> bool {
        // Its one writer is alone: what others do in between cannot happen.
        SqliteStore::STRATEGIES.contains(&entry.cas) && entry.name != "check_then_act"
    }

    async fn fill(&mut self, approvals: u32) -> Result<(), BadInput> {
        self.remove();
        let store = self.store(Cas::ConditionalUpdate, Durability::Full)?;
        let made = template(&store).await;
        drop(store);
        let made = made.map_err(|error| failed("the template", &error))?;
        self.copy(&made, approvals).map_err(|error| failed("the approvals cannot be made", &error))?;
        self.template = Some(made);
        Ok(())
    }

    fn template(&self) -> &Template {
        self.template.as_ref().unwrap_or_else(|| unreachable!("it is filled before it is used"))
    }

    async fn open(&self, entry: &Contender, _: usize) -> Result<SqlStore<Counting<SqliteEngine>>, BadInput> {
        let durability = if entry.durable { Durability::Full } else { Durability::Normal };
        let store = self.store(entry.cas, durability)?;
        let consume = match entry.broken {
            Some(file) => Consume::new(entry.cas, file).map_err(|error| failed(entry.name, &error))?,
            None => store.consume().clone(),
        };
        Ok(SqlStore::new(Counting::new(store), gate::ids(), consume))
    }

    async fn executed(&mut self) -> Result<u64, BadInput> {
        const COUNT: &str = "SELECT count(*) FROM approvals WHERE status = 'executed'";
        let count = |connection: Connection| connection.query_one(COUNT, [], |row| row.get::<_, i64>(0));
        let counted = Connection::open(&self.path).and_then(count);
        counted.map(i64::unsigned_abs).map_err(|error| failed("the approvals cannot be counted", &error))
    }

    async fn log_position(&mut self) -> Result<u64, BadInput> {
        // There is no log before the first write.
        Ok(fs::read(with_end(&self.path, "-wal")).map_or(0, |log| written(&log)))
    }

    fn durability(&self, entry: &Contender) -> (String, bool) {
        let synchronous = if entry.durable { "FULL" } else { "NORMAL" };
        (format!("synchronous={synchronous}"), entry.durable)
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::written;

    #[test]
    fn what_was_written_to_a_log_ends_where_its_frames_do() {
        let (salts, older) = ([7; 8], [8; 8]);
        let header = [&[0; 8][..], &512_u32.to_be_bytes(), &[0; 4], &salts, &[0; 8]].concat();
        let frame = |salts: &[u8]| [&[0; 8][..], salts, &[0; 8], &[1; 512]].concat();
        let log = [header, frame(&salts), frame(&salts), frame(&older), vec![0; 10_000]].concat();
        assert_eq!(written(&log), 32 + 2 * 536);
        assert_eq!((written(&[]), written(&log[..32])), (0, 32));
    }
}
