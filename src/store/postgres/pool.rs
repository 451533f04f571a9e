//! The connection pool: a bounded number, each used by one work at a time, and closed if its state is uncertain.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};
use tokio_postgres::Config;

use super::{
    watchdog::Watchdog,
    wire::{Wire, report},
};
use crate::store::StoreError;

/// Open connections without a user; the most recently used is taken first.
pub(super) struct Pool {
    config: Config,
    /// The statements that set up a new connection.
    setup: String,
    places: Semaphore,
    /// Number of connections opened so far.
    opened: AtomicU32,
    idle: Mutex<Vec<Wire>>,
    /// Time limit for getting a connection.
    wait: Duration,
    watchdog: Arc<Watchdog>,
}

/// A connection in use. Dropping it closes the connection, because an interrupted work leaves it in an unknown state;
/// returning it keeps it open.
pub(super) struct Borrowed<'a> {
    pub(super) wire: Wire,
    pool: &'a Pool,
    _place: SemaphorePermit<'a>,
}

impl Pool {
    /// A pool of at most `size` connections. `wait` limits getting one; the watchdog limits the reply.
    pub(super) fn new(
        config: Config,
        setup: String,
        size: usize,
        wait: Duration,
        watchdog: Arc<Watchdog>,
    ) -> Self {
        let (places, opened) = (Semaphore::new(size), AtomicU32::default());
        Self { config, setup, places, opened, idle: Mutex::default(), wait, watchdog }
    }

    /// A connection that the server has not closed as far as the client can tell.
    pub(super) async fn borrow(&self) -> Result<Borrowed<'_>, StoreError> {
        /// The server may have gone without a word, but hardly since so short a time ago.
        const FRESH: Duration = Duration::from_secs(1);
        let place = timeout(self.wait, self.places.acquire()).await;
        let place = place.map_err(StoreError::not_applied)?.map_err(StoreError::not_applied)?;
        loop {
            let Some(mut wire) = self.idle().pop() else { break };
            if wire.is_open() && (wire.seen_at.elapsed() < FRESH || wire.answers().await) {
                return Ok(Borrowed { wire, pool: self, _place: place });
            }
        }
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let connecting = Wire::connect(&self.config, &self.setup, Arc::clone(&self.watchdog), number);
        let wire = timeout(self.wait, connecting).await.map_err(|late| {
            tracing::warn!("cannot connect to PostgreSQL: no answer in {:?}", self.wait);
            StoreError::not_applied(late)
        })?;
        let wire = wire.map_err(|error| {
            report("cannot connect to PostgreSQL", &error);
            StoreError::not_applied(error)
        })?;
        Ok(Borrowed { wire, pool: self, _place: place })
    }

    /// The server has closed a connection: it has not closed that one alone.
    pub(super) fn forget_idle(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Wire>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Borrowed<'_> {
    /// Returns the connection; a closed one is dropped.
    pub(super) fn give_back(self) {
        let Self { mut wire, pool, _place } = self;
        if wire.is_open() {
            wire.seen_at = Instant::now();
            pool.idle().push(wire);
        }
    }
}
