//! A store in a database, under test: its tables are read, compared and put back as JSON, whatever the database.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use countersign::{
    protocol::{Environment, Refusal, Timestamp},
    store::{
        Job, Resource, Service, Stack,
        sql::{Engine, SqlStore},
    },
};
use countersign_models::replay::{About, Records, Rig};
use uuid::Uuid;

use crate::{
    backend::{Backend, Executor},
    rows,
};

/// Every table of the schema but the migrations, in an order in which rows may be written; the clock, which is none of
/// the schema's, comes last.
pub(crate) const TABLES: [&str; 12] = [
    "teams",
    "stacks",
    "resources",
    "vault",
    "approvals",
    "consumptions",
    "audit",
    "jobs",
    "notices",
    "idempotency_keys",
    "deploy_logs",
    CLOCK,
];

/// The table that the clock is read from.
pub(crate) const CLOCK: &str = "hand_clock";

/// The rows of each of the tables, as a JSON array of objects.
pub(crate) type Dump = [Arc<str>; TABLES.len()];

/// What is done to a database behind its store's back.
pub(crate) trait Database: Send + Sync + 'static {
    fn set_clock(&self, now: Timestamp) -> impl Future<Output = ()> + Send;

    fn read(&self) -> impl Future<Output = Dump> + Send;

    /// Replaces the rows of those tables that there is something for.
    fn write(&self, tables: [Option<Arc<str>>; TABLES.len()]) -> impl Future<Output = ()> + Send;
}

pub(crate) struct InDatabase<E: Engine, D> {
    pub(crate) store: SqlStore<E>,
    pub(crate) database: D,
}

impl<E: Engine, D: Database> Backend for InDatabase<E, D> {
    type Store = SqlStore<E>;

    const SEQUENCES: usize = 40;

    fn store(&self) -> &SqlStore<E> {
        &self.store
    }

    async fn set_clock(&self, now: Timestamp) {
        self.database.set_clock(now).await;
    }

    async fn adopt_stack(&self, team: Uuid, stack: Uuid, parent: Uuid) {
        assert_eq!(self.store.adopt_stack(team, stack, parent).await, Ok(true), "both are there");
    }

    async fn put_services(&self, team: Uuid, stack: Uuid, services: Vec<Service>) {
        assert_eq!(self.store.put_services(team, stack, services).await, Ok(true), "it is there");
    }

    fn begin_outage(&self, team: Uuid, refusal: &Refusal) {
        self.store.begin_outage(team, refusal.clone());
    }

    fn end_outage(&self, team: Uuid, refusal: &Refusal) {
        self.store.end_outage(team, refusal);
    }

    async fn stacks(&self, team: Uuid) -> Vec<Stack> {
        self.store.stacks(team).await.expect("nothing fails")
    }

    async fn resources(&self, team: Uuid) -> Vec<Resource> {
        self.store.resources(team).await.expect("nothing fails")
    }

    async fn job(&self, team: Uuid, approval: Uuid) -> Option<Job> {
        self.store.job(team, approval).await.expect("nothing fails")
    }

    async fn vault(&self, team: Uuid, env: &Environment, key: &str) -> Option<String> {
        self.store.vault(team, env, key).await.expect("nothing fails")
    }

    async fn everything(&self) -> BTreeMap<String, String> {
        let dump = self.database.read().await;
        let named = TABLES.iter().zip(dump).map(|(table, rows)| ((*table).to_owned(), rows.to_string()));
        named.filter(|(table, _)| table != CLOCK).collect()
    }
}

/// A store in a database, taken back by writing the rows of those tables that differ.
pub(crate) struct OnRig<E: Engine, D> {
    pub(crate) backend: InDatabase<E, D>,
    pub(crate) executor: Executor,
    /// What the tables have, unless the store has been asked for something since.
    pub(crate) known: Mutex<Option<Dump>>,
}

impl<E: Engine, D: Database> OnRig<E, D> {
    pub(crate) fn new(backend: InDatabase<E, D>, executor: Executor) -> Self {
        Self { backend, executor, known: Mutex::default() }
    }

    fn dump(&mut self) -> Dump {
        let known = self.known.get_mut().expect("nobody panics with it");
        known.get_or_insert_with(|| self.executor.handle().block_on(self.backend.database.read())).clone()
    }
}

impl<E: Engine, D: Database> Rig for OnRig<E, D> {
    type Store = SqlStore<E>;
    type Saved = Dump;

    fn store(&self) -> &SqlStore<E> {
        &self.backend.store
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        *self.known.lock().expect("nobody panics with it") = None;
        self.executor.handle().block_on(work)
    }

    fn save(&mut self) -> Dump {
        self.dump()
    }

    fn restore(&mut self, saved: &Dump) {
        let current = self.dump();
        let mut differ: [Option<Arc<str>>; TABLES.len()] = Default::default();
        for ((differs, saved), current) in differ.iter_mut().zip(saved).zip(&current) {
            *differs = (saved != current).then(|| Arc::clone(saved));
        }
        if differ.iter().any(Option::is_some) {
            self.executor.handle().block_on(self.backend.database.write(differ));
        }
        *self.known.get_mut().expect("nobody panics with it") = Some(saved.clone());
    }

    fn set_clock(&mut self, now: Timestamp) {
        self.wait(self.backend.database.set_clock(now));
    }

    fn adopt_stack(&mut self, team: Uuid, stack: Uuid, parent: Uuid) {
        self.wait(self.backend.adopt_stack(team, stack, parent));
    }

    fn begin_outage(&self, team: Uuid, refusal: &Refusal) {
        self.backend.begin_outage(team, refusal);
    }

    fn end_outage(&self, team: Uuid, refusal: &Refusal) {
        self.backend.end_outage(team, refusal);
    }

    fn look(&mut self, about: &About) -> Records {
        rows::records(&self.dump(), about)
    }
}

/// The statement that reads every table, a column each, as PostgreSQL has it.
pub(crate) fn reading() -> String {
    let mut sql = "SELECT ".to_owned();
    for (number, table) in TABLES.iter().enumerate() {
        let comma = if number == 0 { "" } else { ", " };
        write!(sql, "{comma}(SELECT coalesce(json_agg(t ORDER BY t)::TEXT, '[]') FROM {table} AS t)")
            .expect("a string takes everything");
    }
    sql
}
