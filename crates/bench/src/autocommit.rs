//! The usual way to use SQLite: one connection for each client, one commit for each statement.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use countersign::store::{Clock, SystemClock, sql::Value};
use rusqlite::{Connection, functions::FunctionFlags, types::Value as Bound};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{counters::Ended, counting::Statement, gate::id_of, load::Consumer};

/// A wish, and where its answer goes.
type Wish = (u32, oneshot::Sender<Ended>);

/// SQLite's journal of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Journal {
    /// In a log, as our own store: one sync a commit.
    Wal,
    /// In a file that is gone afterwards, as SQLite does by default: several syncs a commit.
    Rollback,
}

impl Journal {
    pub(crate) const ALL: [Self; 2] = [Self::Wal, Self::Rollback];

    /// The contender's name.
    pub(crate) fn contender(self) -> &'static str {
        match self {
            Self::Wal => "autocommit",
            Self::Rollback => "autocommit_rollback_journal",
        }
    }

    pub(crate) fn mode(self) -> &'static str {
        match self {
            Self::Wal => "WAL",
            Self::Rollback => "DELETE",
        }
    }
}

/// A thread with a connection for each client.
pub(crate) struct Autocommit {
    clients: Vec<Sender<Wish>>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Autocommit {
    /// On this file, with the statement by which our own store has consumed `recorded`.
    pub(crate) fn open(
        path: &Path,
        clients: usize,
        statement: &Statement,
        recorded: Uuid,
        journal: Journal,
    ) -> rusqlite::Result<Self> {
        let mut open = Self { clients: Vec::new(), threads: Vec::new() };
        // A property of the file; it can be changed while the file has no other connection.
        Connection::open(path)?.pragma_update(None, "journal_mode", journal.mode())?;
        for _ in 0..clients {
            let (sender, wishes) = channel();
            let connection = connect(path.to_owned())?;
            let statement = statement.clone();
            open.threads.push(thread::spawn(move || serve(&connection, &statement, recorded, &wishes)));
            open.clients.push(sender);
        }
        Ok(open)
    }
}

impl Drop for Autocommit {
    fn drop(&mut self) {
        self.clients.clear();
        for thread in self.threads.drain(..) {
            // The thread has no result.
            thread.join().ok();
        }
    }
}

impl Consumer for Autocommit {
    async fn consume(&self, client: usize, approval: u32) -> Ended {
        let (sender, answer) = oneshot::channel();
        let sent = self.clients.get(client).is_some_and(|thread| thread.send((approval, sender)).is_ok());
        if sent { answer.await.unwrap_or(Ended::Unknown) } else { Ended::Failed }
    }
}

fn connect(path: PathBuf) -> rusqlite::Result<Connection> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.create_scalar_function("countersign_now", 0, FunctionFlags::SQLITE_UTF8, |_| {
        Ok(i64::try_from(SystemClock.now().0).unwrap_or(i64::MAX))
    })?;
    Ok(connection)
}

fn serve(connection: &Connection, (sql, parameters): &Statement, recorded: Uuid, wishes: &Receiver<Wish>) {
    while let Ok((approval, answer)) = wishes.recv() {
        let parameters = parameters.iter().map(|value| match value {
            Value::Id(id) if *id == recorded => Bound::Blob(id_of(approval).as_bytes().to_vec()),
            Value::Null => Bound::Null,
            Value::Bool(value) => Bound::Integer((*value).into()),
            Value::Int(value) => Bound::Integer(*value),
            Value::Text(value) => Bound::Text(value.clone()),
            Value::Bytes(value) => Bound::Blob(value.clone()),
            Value::Id(id) => Bound::Blob(id.as_bytes().to_vec()),
        });
        let won = consume(connection, sql, rusqlite::params_from_iter(parameters));
        // A client that no longer waits needs no answer.
        answer
            .send(match won {
                Ok(true) => Ended::Won,
                Ok(false) => Ended::Lost,
                Err(_) => Ended::Failed,
            })
            .ok();
    }
}

/// To the end of its rows, because that is where the commit is.
fn consume(connection: &Connection, sql: &str, parameters: impl rusqlite::Params) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut won = false;
    while rows.next()?.is_some() {
        won = true;
    }
    Ok(won)
}
