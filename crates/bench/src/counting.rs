//! An engine that counts what its works ask of the database, and writes the statements down when it is asked to.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use countersign::store::{
    StoreError,
    sql::{Dialect, Done, Engine, Mode, Row, Session, SqlError, SqlStore, Transaction, Value},
};

/// A statement, with what it was given.
pub(crate) type Statement = (&'static str, Vec<Value>);

/// Counts of the database's work.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    works: AtomicU64,
    attempts: AtomicU64,
    statements: AtomicU64,
    commits: AtomicU64,
    recorded: Mutex<Option<Vec<Statement>>>,
}

impl Counts {
    /// Number of retries of works.
    pub(crate) fn retries(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed).saturating_sub(self.works.load(Ordering::Relaxed))
    }

    /// Number of awaited replies: one for each statement, and one for the commit if there is one. The begin of a
    /// transaction goes out with its first statement, and a rollback is not awaited.
    pub(crate) fn round_trips(&self) -> u64 {
        self.statements.load(Ordering::Relaxed) + self.commits.load(Ordering::Relaxed)
    }

    /// From here on statements are written down.
    pub(crate) fn record(&self) {
        *self.recorded.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    /// The recorded statements. Ends the recording.
    pub(crate) fn recorded(&self) -> Vec<Statement> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    fn note(&self, sql: &'static str, parameters: &[Value]) {
        self.statements.fetch_add(1, Ordering::Relaxed);
        if let Some(recorded) = &mut *self.recorded.lock().unwrap_or_else(PoisonError::into_inner) {
            recorded.push((sql, parameters.to_vec()));
        }
    }
}

/// The engine of a store, counted.
pub(crate) struct Counting<E> {
    store: SqlStore<E>,
    counts: Arc<Counts>,
}

impl<E> Counting<E> {
    pub(crate) fn new(store: SqlStore<E>) -> Self {
        Self { store, counts: Arc::default() }
    }

    pub(crate) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }
}

impl<E: Engine> Engine for Counting<E> {
    async fn perform<W: Transaction>(&self, work: W) -> Result<W::Output, StoreError> {
        self.counts.works.fetch_add(1, Ordering::Relaxed);
        self.store.engine().perform(Counted { work, counts: Arc::clone(&self.counts) }).await
    }
}

struct Counted<W> {
    work: W,
    counts: Arc<Counts>,
}

impl<W: Transaction> Transaction for Counted<W> {
    type Output = W::Output;

    fn mode(&self) -> Mode {
        self.work.mode()
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<W::Output>, SqlError> {
        self.counts.attempts.fetch_add(1, Ordering::Relaxed);
        let done = self.work.run(&mut Noted { session, counts: &self.counts }).await;
        let in_transaction = matches!(self.mode(), Mode::Write | Mode::Serializable);
        if in_transaction && matches!(done, Ok(Done::Commit(_))) {
            self.counts.commits.fetch_add(1, Ordering::Relaxed);
        }
        done
    }
}

struct Noted<'a, S> {
    session: &'a mut S,
    counts: &'a Counts,
}

impl<S: Session> Session for Noted<'_, S> {
    const DIALECT: Dialect = S::DIALECT;

    async fn query(&mut self, sql: &'static str, parameters: &[Value]) -> Result<Vec<Row>, SqlError> {
        self.counts.note(sql, parameters);
        self.session.query(sql, parameters).await
    }

    async fn execute(&mut self, sql: &'static str, parameters: &[Value]) -> Result<u64, SqlError> {
        self.counts.note(sql, parameters);
        self.session.execute(sql, parameters).await
    }
}
