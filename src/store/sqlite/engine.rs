//! The engine: passes transactions to its threads, returns their results, and shuts down.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{Builder, JoinHandle},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    OpenError, SqliteOptions,
    connection::{Timed, is_in_memory},
    place::Place,
    session::report,
    task::{Left, Task, Waiting},
    writer,
};
use crate::store::{
    Clock, StoreError,
    sql::{Engine, Mode, Transaction},
};

/// One writer and some readers. Dropped, it finishes what was sent to it, and waits for that.
pub struct SqliteEngine {
    to_write: Option<Sender<Box<dyn Task>>>,
    /// `None` if all transactions go to the writer: a database in memory is visible to its connection only.
    to_read: Option<Sender<Box<dyn Task>>>,
    /// The readers before the writer, which has to be the last to close the file.
    threads: Vec<JoinHandle<()>>,
    commits: Arc<AtomicU64>,
    /// None for a database in memory.
    place: Option<Place>,
}

impl SqliteEngine {
    pub(super) fn open(
        path: &Path,
        clock: &Arc<dyn Clock>,
        options: SqliteOptions,
    ) -> Result<Self, OpenError> {
        // The writer first: it makes the file, and the readers open what it has made.
        let writer = Timed::to_write(path, clock, options)?;
        let readers = if is_in_memory(path) { 0 } else { options.readers.max(1) };
        let place = if is_in_memory(path) { None } else { Some(Place::of(path)?) };
        let mut engine =
            Self { to_write: None, to_read: None, threads: Vec::new(), commits: Arc::default(), place };
        if readers > 0 {
            let (sender, tasks) = channel();
            let tasks = Arc::new(Mutex::new(tasks));
            engine.to_read = Some(sender);
            for _ in 0..readers {
                let (reader, tasks) = (Timed::to_read(path, clock, options)?, Arc::clone(&tasks));
                let mut reader = reader;
                engine
                    .start("countersign-read", move || again_after_a_panic(|| read(&mut reader, &tasks)))?;
            }
        }
        let (sender, tasks) = channel();
        engine.to_write = Some(sender);
        let commits = Arc::clone(&engine.commits);
        let mut writer = writer;
        engine.start("countersign-write", move || {
            again_after_a_panic(|| writer::run(&mut writer, &tasks, options.batch.max(1), &commits));
            writer::close(&writer);
        })?;
        Ok(engine)
    }

    /// Number of commits so far; lower than the number of writes under load.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    fn start(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
        let thread = Builder::new().name(name.to_owned()).spawn(run).map_err(OpenError::Thread)?;
        self.threads.push(thread);
        Ok(())
    }
}

/// The error after the thread that owned the connection has panicked.
const STOPPED: &str = "the thread that runs statements has stopped";

/// Restarts the loop after a panic: the current transaction fails, later ones are unaffected.
fn again_after_a_panic(mut run: impl FnMut()) {
    while catch_unwind(AssertUnwindSafe(&mut run)).is_err() {
        tracing::error!("a thread of the store has panicked, and goes on");
    }
}

impl Engine for SqliteEngine {
    async fn perform<W: Transaction>(&self, work: W) -> Result<W::Output, StoreError> {
        let reads = matches!(work.mode(), Mode::Read | Mode::OneRead);
        let readers = self.to_read.as_ref().filter(|_| reads);
        let queue = readers.or(self.to_write.as_ref());
        let (sender, answer) = oneshot::channel();
        let task = Box::new(Waiting::new(work, sender));
        let sent = queue.is_some_and(|queue| queue.send(task).is_ok());
        if !sent {
            return Err(StoreError::not_applied(STOPPED));
        }
        let lost = |_| if reads { StoreError::not_applied(STOPPED) } else { StoreError::unknown(STOPPED) };
        answer.await.map_err(lost).flatten()
    }

    fn is_in_place(&self) -> Result<(), StoreError> {
        self.place.as_ref().map_or(Ok(()), Place::check)
    }
}

impl Drop for SqliteEngine {
    fn drop(&mut self) {
        self.to_read = None;
        self.to_write = None;
        for thread in self.threads.drain(..) {
            // A panic there has been told already.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for SqliteEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteEngine").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

/// Runs reads, each on its own snapshot, until the queue is closed.
fn read(on: &mut Timed, tasks: &Mutex<Receiver<Box<dyn Task>>>) {
    loop {
        // Held while waiting: one reader waits for the next task, the others for the lock.
        let next = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(mut task) = next else { return };
        let read = as_of_one_moment(on, task.as_mut());
        task.answer(read.map_err(|error| {
            report("a snapshot could not be read", &error);
            StoreError::not_applied(error)
        }));
    }
}

fn as_of_one_moment(on: &mut Timed, task: &mut dyn Task) -> rusqlite::Result<()> {
    let say = |connection: &Connection, what: &str| connection.prepare_cached(what)?.execute([]).map(drop);
    if !on.connection.is_autocommit() {
        say(&on.connection, "ROLLBACK")?;
    }
    say(&on.connection, "BEGIN")?;
    let (Left::Changes | Left::Nothing) = task.run(on);
    say(&on.connection, "ROLLBACK")
}
