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

/// Commits what comes, at most so many at once, until nobody can send anything more.
pub(super) fn run(mut on: Timed, tasks: &Receiver<Box<dyn Task>>, batch: usize, commits: &AtomicU64) {
    let mut company = Company::default();
    let mut together = Vec::new();
    loop {
        if together.is_empty() {
            match tasks.recv() {
                Ok(first) => together.push(first),
                Err(_) => break,
            }
        }
        company.gather(tasks, &mut together, batch);
        let begun = now();
        let committed = commit(&mut on, &mut together);
        commits.fetch_add(committed.is_ok().into(), Ordering::Relaxed);
        let came = tasks.try_iter().take(batch).collect();
        let answered = std::mem::replace(&mut together, came);
        company.expect(answered.len() + together.len(), begun.elapsed());
        for task in answered {
            task.answer(committed);
        }
    }
    close(&on.connection);
}

/// With whom the next commit may be shared.
#[derive(Clone, Copy, Debug, Default)]
struct Company {
    /// How many may come: those who are answered now, and those who came meanwhile.
    expected: usize,
    /// For how long they are worth waiting for.
    patience: Duration,
    /// How often in a row they did not come.
    disappointments: u32,
    /// How many commits are made without waiting, because of that.
    skip: u32,
}

impl Company {
    /// This part of a commit is waited for company, at most.
    const PART: u32 = 8;
    /// After so many disappointments it gets no worse.
    const MOST: u32 = 6;

    fn expect(&mut self, expected: usize, took: Duration) {
        self.expected = expected;
        self.patience = took / Self::PART;
    }

    /// Whatever else is to be committed with those who are there. Whoever was answered just now may be about to come
    /// back: to sync the disk without them lets them wait for all of it, and then all go on in two halves, each waiting
    /// for the other. So they are waited for, but not for long, and more and more rarely where they do not come.
    fn gather(&mut self, tasks: &Receiver<Box<dyn Task>>, together: &mut Vec<Box<dyn Task>>, batch: usize) {
        yield_now();
        let expected = self.expected.min(batch);
        let hopes = self.skip == 0 && expected > together.len();
        self.skip = self.skip.saturating_sub(1);
        let begun = now();
        while together.len() < batch {
            let waits = hopes && together.len() < expected;
            let left = if waits { self.patience.saturating_sub(begun.elapsed()) } else { Duration::ZERO };
            let next = if left.is_zero() { tasks.try_recv().ok() } else { tasks.recv_timeout(left).ok() };
            let Some(task) = next else { break };
            together.push(task);
        }
        if hopes {
            let came = together.len() >= expected;
            self.disappointments = if came { 0 } else { (self.disappointments + 1).min(Self::MOST) };
            self.skip = (1 << self.disappointments) - 1;
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it says how long to wait for company, and decides nothing else"
)]
fn now() -> Instant {
    Instant::now()
}

/// Runs them all in one transaction. An error is that of all of them: the transaction is gone.
fn commit(on: &mut Timed, together: &mut [Box<dyn Task>]) -> Result<(), StoreError> {
    let begun = on.connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([]));
    if let Err(error) = begun {
        report("a transaction could not begin", &error);
        return Err(StoreError::NotApplied);
    }
    for task in together {
        if let Err(error) = run_alone(on, task.as_mut()) {
            report("a transaction was given up", &error);
            roll_back(&on.connection);
            return Err(StoreError::NotApplied);
        }
    }
    let committed = on.connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
    committed.map(drop).map_err(|error| {
        report("a commit failed", &error);
        roll_back(&on.connection);
        match error.sqlite_error_code() {
            // It did not get as far as the mark that makes it count.
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy) => StoreError::NotApplied,
            // All of it may be in the file, and only the sync have failed: whoever opens the file next may find it.
            _ => StoreError::Unknown,
        }
    })
}

/// One of them: what it has left is kept or undone, whatever becomes of the others.
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

/// Whatever is under way is undone. When there is nothing, there is nothing to do.
fn roll_back(connection: &Connection) {
    if !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        report("a transaction could not be rolled back", &error);
    }
}

/// Leaves one file behind instead of two.
fn close(connection: &Connection) {
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        report("the write-ahead log could not be emptied", &error);
    }
}
