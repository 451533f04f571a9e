//! A store in a database, under test: its tables are read, compared and restored as JSON.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use countersign::{
    platform::Environment,
    protocol::{Refusal, Timestamp},
    store::{
        Job, Resource, Stack, StoreError,
        sql::{Engine, SqlStore},
    },
};
use countersign_contract::{AnyStore, Backend, Later};
use countersign_models::replay::{About, Records, StoreHarness};
use countersign_testkit::{Faulty, SqlPeek};
use uuid::Uuid;

use crate::{
    backend::{Executor, Maker},
    broken::Mistake,
    rows,
};

/// Every table of the schema but the migrations, in an order in which rows may be written; the clock, which is none of
/// the schema's, comes last.
pub(crate) const TABLES: [&str; 15] = [
    "teams",
    "stacks",
    "resources",
    "vault",
    "glass_broken",
    "approvals",
    "further_keys",
    "links",
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

/// Direct access to a database, bypassing its store.
pub(crate) trait Database: Send + Sync {
    fn set_clock(&self, now: Timestamp) -> Later<'_, ()>;

    fn read(&self) -> Later<'_, Dump>;

    /// Replaces the rows of those tables that there is something for.
    fn write(&self, tables: [Option<Arc<str>>; TABLES.len()]) -> Later<'_, ()>;
}

/// Access to a store in a database that the contract does not offer, and the outages of its parts.
pub(crate) trait Hands: Send + Sync {
    fn bind_targets(&self);
    fn fail(&self, team: Uuid, refusal: Refusal);
    fn mend(&self, team: Uuid, refusal: &Refusal);
    fn all_stacks(&self, team: Uuid) -> Later<'_, Result<Vec<Stack>, StoreError>>;
    fn all_resources(&self, team: Uuid) -> Later<'_, Result<Vec<Resource>, StoreError>>;
    fn its_job(&self, team: Uuid, approval: Uuid) -> Later<'_, Result<Option<Job>, StoreError>>;
    fn kept<'a>(
        &'a self,
        team: Uuid,
        env: &'a Environment,
        key: &'a str,
    ) -> Later<'a, Result<Option<String>, StoreError>>;
}

impl<E: Engine> Hands for Faulty<SqlStore<E>> {
    fn fail(&self, team: Uuid, refusal: Refusal) {
        self.begin_outage(team, refusal);
    }

    fn bind_targets(&self) {
        Faulty::bind_targets(self);
    }

    fn mend(&self, team: Uuid, refusal: &Refusal) {
        self.end_outage(team, refusal);
    }

    fn all_stacks(&self, team: Uuid) -> Later<'_, Result<Vec<Stack>, StoreError>> {
        Box::pin(self.stacks(team))
    }

    fn all_resources(&self, team: Uuid) -> Later<'_, Result<Vec<Resource>, StoreError>> {
        Box::pin(self.resources(team))
    }

    fn its_job(&self, team: Uuid, approval: Uuid) -> Later<'_, Result<Option<Job>, StoreError>> {
        Box::pin(self.job(team, approval))
    }

    fn kept<'a>(
        &'a self,
        team: Uuid,
        env: &'a Environment,
        key: &'a str,
    ) -> Later<'a, Result<Option<String>, StoreError>> {
        Box::pin(self.vault(team, env, key))
    }
}

/// A store in a database, whichever.
pub(crate) struct InDatabase {
    store: AnyStore,
    hands: Arc<dyn Hands>,
    database: Arc<dyn Database>,
}

impl InDatabase {
    pub(crate) fn new<E: Engine>(store: SqlStore<E>, database: Arc<dyn Database>) -> Self {
        let store = Arc::new(Faulty::new(|outages| store.with_checks(outages)));
        Self { store: AnyStore::new(Arc::clone(&store)), hands: store, database }
    }
}

impl Backend for InDatabase {
    fn store(&self) -> &AnyStore {
        &self.store
    }

    fn sequences(&self) -> usize {
        40
    }

    fn set_clock(&self, now: Timestamp) -> Later<'_, ()> {
        self.database.set_clock(now)
    }

    fn bind_targets(&self) {
        self.hands.bind_targets();
    }

    fn begin_outage(&self, team: Uuid, refusal: &Refusal) {
        self.hands.fail(team, refusal.clone());
    }

    fn end_outage(&self, team: Uuid, refusal: &Refusal) {
        self.hands.mend(team, refusal);
    }

    fn stacks(&self, team: Uuid) -> Later<'_, Vec<Stack>> {
        Box::pin(async move { self.hands.all_stacks(team).await.expect("nothing fails") })
    }

    fn resources(&self, team: Uuid) -> Later<'_, Vec<Resource>> {
        Box::pin(async move { self.hands.all_resources(team).await.expect("nothing fails") })
    }

    fn job(&self, team: Uuid, approval: Uuid) -> Later<'_, Option<Job>> {
        Box::pin(async move { self.hands.its_job(team, approval).await.expect("nothing fails") })
    }

    fn vault<'a>(&'a self, team: Uuid, env: &'a Environment, key: &'a str) -> Later<'a, Option<String>> {
        Box::pin(async move { self.hands.kept(team, env, key).await.expect("nothing fails") })
    }

    fn everything(&self) -> Later<'_, BTreeMap<String, String>> {
        Box::pin(async {
            let dump = self.database.read().await;
            let named = TABLES.iter().zip(dump).map(|(table, rows)| ((*table).to_owned(), rows.to_string()));
            named.filter(|(table, _)| table != CLOCK).collect()
        })
    }
}

/// Something that makes stores in databases.
pub(crate) trait DatabaseMaker: Send + Sync {
    /// The database's name and the strategy's.
    fn names(&self) -> (&'static str, &'static str);

    /// An empty store, with this mistake if there is to be one.
    fn make(&self, mistake: Option<Mistake>) -> Later<'_, InDatabase>;
}

impl Maker for Arc<dyn DatabaseMaker> {
    fn names(&self) -> (&'static str, &'static str) {
        (**self).names()
    }

    fn make(&self) -> Later<'_, Arc<dyn Backend>> {
        Box::pin(async { Arc::new((**self).make(None).await) as Arc<dyn Backend> })
    }
}

/// A store in a database, taken back by writing the rows of those tables that differ.
pub(crate) struct OnRig {
    backend: InDatabase,
    executor: Executor,
    /// The content of the tables, unless the store has been called since.
    known: Mutex<Option<Dump>>,
}

impl OnRig {
    pub(crate) fn new(backend: InDatabase, executor: Executor) -> Self {
        Self { backend, executor, known: Mutex::default() }
    }

    fn dump(&mut self) -> Dump {
        let known = self.known.get_mut().expect("not poisoned");
        let read = || self.executor.block_on(self.backend.database.read());
        known.get_or_insert_with(read).clone()
    }
}

impl StoreHarness for OnRig {
    type Store = AnyStore;
    type Saved = Dump;

    fn store(&self) -> &AnyStore {
        &self.backend.store
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        *self.known.lock().expect("not poisoned") = None;
        self.executor.block_on(work)
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
            self.executor.block_on(self.backend.database.write(differ));
        }
        *self.known.get_mut().expect("not poisoned") = Some(saved.clone());
    }

    fn set_clock(&mut self, now: Timestamp) {
        self.wait(self.backend.set_clock(now));
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
