//! The writer: what waits for it is committed together, and answered when that is on the disk.

use std::{
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, TryRecvError},
    },
    thread::yield_now,
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
    while let Ok(first) = tasks.recv() {
        let mut together = vec![first];
        // Whoever was answered just now is about to come back: to sync the disk for the first of them alone would
        // let all the others wait for it.
        for patience in [true, false] {
            while together.len() < batch {
                match tasks.try_recv() {
                    Ok(task) => together.push(task),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            if patience {
                yield_now();
            }
        }
        let committed = commit(&mut on, &mut together);
        commits.fetch_add(committed.is_ok().into(), Ordering::Relaxed);
        for task in together {
            task.answer(committed);
        }
    }
    close(&on.connection);
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
