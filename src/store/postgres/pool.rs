//! The connections: a bounded number, each used by one transaction at a time, and closed when there is any doubt about it.
//!
//! `deadpool` counts, queues and keeps them. Its own pool for PostgreSQL is not used: that one runs each connection in a task
//! of its own, puts back what was dropped half way, and does not know when an answer comes too late.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use deadpool::{
    Runtime,
    managed::{
        self, BuildError, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult, Timeouts,
    },
};
use tokio::time::Instant;

use super::{
    connection::{Connection, report},
    tls::Server,
    watchdog::Watchdog,
};
use crate::store::StoreError;

/// Open connections that no work uses. The one that was used last is used first.
pub(super) struct Pool(managed::Pool<Connections>);

/// How a connection is made, and found to be alive.
pub(super) struct Connections {
    pub(super) server: Server,
    /// The statements that make a connection ready for use.
    pub(super) setup: String,
    pub(super) watchdog: Arc<Watchdog>,
    /// The number of connections that there have been.
    pub(super) opened: AtomicU32,
}

/// A connection in use. It is closed when this is dropped, unless it is given back: what a transaction that was dropped half
/// way has left on it is unknown.
pub(super) struct Borrowed(Option<Object<Connections>>);

impl managed::Manager for Connections {
    type Type = Connection;
    type Error = tokio_postgres::Error;

    async fn create(&self) -> Result<Connection, Self::Error> {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        Connection::connect(&self.server, &self.setup, Arc::clone(&self.watchdog), number).await
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<Self::Error> {
        /// The server may have gone without a word, but hardly since so short a time ago.
        const FRESH: Duration = Duration::from_secs(1);
        if connection.is_open() && (connection.seen_at.elapsed() < FRESH || connection.answers().await) {
            return Ok(());
        }
        Err(RecycleError::message("the connection is closed"))
    }
}

impl Pool {
    /// A pool of `size` connections at most, each of which is waited for, and made, within `wait`. The watchdog says how
    /// long answers are waited for.
    pub(super) fn new(
        connections: Connections,
        size: NonZeroUsize,
        wait: Duration,
    ) -> Result<Self, BuildError> {
        managed::Pool::builder(connections)
            .max_size(size.get())
            .queue_mode(QueueMode::Lifo)
            .timeouts(Timeouts { wait: Some(wait), create: Some(wait), recycle: None })
            .runtime(Runtime::Tokio1)
            .build()
            .map(Self)
    }

    /// A connection that the server has not closed as far as the client can tell.
    pub(super) async fn borrow(&self) -> Result<Borrowed, StoreError> {
        match self.0.get().await {
            Ok(object) => Ok(Borrowed(Some(object))),
            Err(PoolError::Backend(error)) => {
                report("cannot connect to PostgreSQL", &error);
                Err(StoreError::not_applied(error))
            }
            Err(error) => {
                tracing::warn!("no connection to PostgreSQL: {error}");
                Err(StoreError::not_applied(error.to_string()))
            }
        }
    }

    /// The server has closed a connection: it has probably closed the others, too.
    pub(super) fn forget_idle(&self) {
        self.0.retain(|_, _| false);
    }
}

impl Borrowed {
    pub(super) fn connection(&mut self) -> &mut Connection {
        self.0.as_mut().expect("it is given back only by value")
    }

    /// The connection is as it was, or it is closed.
    pub(super) fn release(mut self) {
        let connection = self.connection();
        if connection.is_open() {
            connection.seen_at = Instant::now();
            drop(self.0.take());
        }
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}
