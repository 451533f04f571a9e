//! The writer: what waits for it is committed together, and answered when that is on the disk.

use std::{
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::Receiver,
    },
    thread::yield_now,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode};

use super::{
    connection::Timed,
    session::report,
    task::{Left, Task},
};
use crate::store::StoreError;

/// Commits transactions, at most `batch` together, until the queue is closed.
pub(super) fn run(on: &mut Timed, tasks: &Receiver<Box<dyn Task>>, batch: usize, commits: &AtomicU64) {
    // A transaction interrupted by a panic is rolled back.
    roll_back(&on.connection);
    let mut window = BatchWindow::default();
    let mut together = Vec::new();
    loop {
        if together.is_empty() {
            match tasks.recv() {
                Ok(first) => together.push(first),
                Err(_) => break,
            }
        }
        window.gather(tasks, &mut together, batch);
        let begun = now();
        let committed = commit(on, &mut together);
        commits.fetch_add(committed.is_ok().into(), Ordering::Relaxed);
        let came = tasks.try_iter().take(batch).collect();
        let answered = std::mem::replace(&mut together, came);
        window.expect(answered.len() + together.len(), begun.elapsed());
        for task in answered {
            task.answer(committed.clone());
        }
    }
}

/// The batching window of the next commit.
#[derive(Clone, Copy, Debug, Default)]
struct BatchWindow {
    /// Number of writers that may join: those just answered, and those that arrived meanwhile.
    expected: usize,
    /// For how long they are worth waiting for.
    wait: Duration,
    /// Number of consecutive windows in which they did not arrive.
    consecutive_misses: u32,
    /// Number of commits to make without waiting, as a result.
    skip: u32,
}

impl BatchWindow {
    /// The longest wait is this fraction of a commit.
    const PART: u32 = 8;
    /// Upper bound of `consecutive_misses`.
    const MOST: u32 = 6;

    fn expect(&mut self, expected: usize, took: Duration) {
        self.expected = expected;
        self.wait = took / Self::PART;
    }

    /// Collects the rest of the batch. Callers just answered may be about to return: a sync without them makes them
    /// wait for all of it, and then the callers go on in two halves, each waiting for the other. So the writer waits
    /// for them, briefly, and less often after every miss.
    fn gather<T>(&mut self, tasks: &Receiver<T>, together: &mut Vec<T>, batch: usize) {
        yield_now();
        let expected = self.expected.min(batch);
        let hopes = self.skip == 0 && expected > together.len();
        self.skip = self.skip.saturating_sub(1);
        let begun = now();
        while together.len() < batch {
            let waits = hopes && together.len() < expected;
            let left = if waits { self.wait.saturating_sub(begun.elapsed()) } else { Duration::ZERO };
            let next = if left.is_zero() { tasks.try_recv().ok() } else { tasks.recv_timeout(left).ok() };
            let Some(task) = next else { break };
            together.push(task);
        }
        if hopes {
            let came = together.len() >= expected;
            self.consecutive_misses = if came { 0 } else { (self.consecutive_misses + 1).min(Self::MOST) };
            self.skip = (1 << self.consecutive_misses) - 1;
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it says how long to wait for other writers, and decides nothing else"
)]
fn now() -> Instant {
    Instant::now()
}

/// Runs them all in one transaction. An error is that of all of them: the transaction is gone.
fn commit(on: &mut Timed, together: &mut [Box<dyn Task>]) -> Result<(), StoreError> {
    let begun = on.connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([]));
    if let Err(error) = begun {
        report("a transaction could not begin", &error);
        return Err(StoreError::not_applied(error));
    }
    for task in together {
        if let Err(error) = run_alone(on, task.as_mut()) {
            report("a transaction was given up", &error);
            roll_back(&on.connection);
            return Err(StoreError::not_applied(error));
        }
    }
    let committed = on.connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
    committed.map(drop).map_err(|error| {
        report("a commit failed", &error);
        roll_back(&on.connection);
        match error.sqlite_error_code() {
            // The transaction failed before its commit record was written.
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy) => StoreError::not_applied(error),
            // The transaction may be in the file, and only the sync have failed: the next process to open it may find
            // it.
            _ => StoreError::unknown(error),
        }
    })
}

/// Runs one transaction: its writes are kept or undone regardless of the others.
fn run_alone(on: &mut Timed, task: &mut dyn Task) -> rusqlite::Result<()> {
    let say = |connection: &Connection, what: &str| connection.prepare_cached(what)?.execute([]).map(drop);
    say(&on.connection, "SAVEPOINT work")?;
    let left = task.run(on);
    if left == Left::Nothing {
        // On some errors SQLite takes the whole transaction back. Then this fails, and so do all of them.
        say(&on.connection, "ROLLBACK TO work")?;
    }
    say(&on.connection, "RELEASE work")
}

/// Rolls back the open transaction, if any.
fn roll_back(connection: &Connection) {
    if !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        report("a transaction could not be rolled back", &error);
    }
}

/// Leaves one file behind instead of two.
pub(super) fn close(on: &Timed) {
    if let Err(error) = on.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        report("the write-ahead log could not be emptied", &error);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::channel, thread};

    use super::*;

    /// Longer than any test.
    const FOR_EVER: Duration = Duration::from_secs(3_600);

    #[test]
    fn only_expected_writers_are_waited_for() {
        let (sender, tasks) = channel();
        let (mut window, mut together) = (BatchWindow::default(), vec![1]);
        window.expect(2, FOR_EVER);
        thread::scope(|scope| {
            scope.spawn(|| sender.send(2).expect("somebody waits"));
            window.gather(&tasks, &mut together, 8);
        });
        assert_eq!(together, [1, 2]);
    }

    #[test]
    fn a_lone_writer_does_not_wait_and_a_batch_is_bounded() {
        let (sender, tasks) = channel();
        let (mut window, mut together) = (BatchWindow::default(), vec![1]);
        window.expect(1, FOR_EVER);
        window.gather(&tasks, &mut together, 8);
        assert_eq!(together, [1]);
        for number in 2..6 {
            sender.send(number).expect("it is open");
        }
        window.expect(9, FOR_EVER);
        window.gather(&tasks, &mut together, 4);
        assert_eq!(together, [1, 2, 3, 4]);
    }

    #[test]
    fn absent_writers_are_waited_for_less_and_less_often() {
        let (_sender, tasks) = channel::<u8>();
        let mut window = BatchWindow::default();
        let waits = (0..500).filter(|_| {
            window.expect(2, Duration::from_nanos(8));
            let hopes = window.skip == 0;
            window.gather(&tasks, &mut vec![1], 8);
            hopes
        });
        // After 1, 3, 7, 15, 31 and then each time 63 commits without.
        assert_eq!(waits.count(), 12);
    }
}
