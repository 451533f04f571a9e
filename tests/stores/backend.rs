//! A store under test: its clock and its outages moved by hand, and what is in it read behind its back.

use std::{collections::BTreeMap, sync::Arc};

use countersign::{
    protocol::{Environment, Refusal, Timestamp},
    store::{Job, Operations, Resource, Service, Stack, Store, Tenants},
};
use tokio::runtime::Handle;
use uuid::Uuid;

/// A store, and the hands around it.
pub(crate) trait Backend: Send + Sync + 'static {
    type Store: Store + Tenants + Operations + 'static;

    /// How many arbitrary sequences of acts it is put through.
    const SEQUENCES: usize;

    fn store(&self) -> &Self::Store;

    /// Moves the store's clock.
    fn set_clock(&self, now: Timestamp) -> impl Future<Output = ()> + Send;

    /// Makes a stack a member of another one's family.
    fn adopt_stack(&self, team: Uuid, stack: Uuid, parent: Uuid) -> impl Future<Output = ()> + Send;

    /// A new build of a whole stack.
    fn put_services(
        &self,
        team: Uuid,
        stack: Uuid,
        services: Vec<Service>,
    ) -> impl Future<Output = ()> + Send;

    /// From now on this part of the platform fails for the team, wherever a step lists its refusal.
    fn begin_outage(&self, team: Uuid, refusal: &Refusal);

    /// It works again.
    fn end_outage(&self, team: Uuid, refusal: &Refusal);

    fn stacks(&self, team: Uuid) -> impl Future<Output = Vec<Stack>> + Send;

    fn resources(&self, team: Uuid) -> impl Future<Output = Vec<Resource>> + Send;

    fn job(&self, team: Uuid, approval: Uuid) -> impl Future<Output = Option<Job>> + Send;

    fn vault(&self, team: Uuid, env: &Environment, key: &str) -> impl Future<Output = Option<String>> + Send;

    /// All that is kept, as text, by the name of where: to be searched, and to be compared.
    fn everything(&self) -> impl Future<Output = BTreeMap<String, String>> + Send;
}

/// Something that makes an empty store, again and again.
pub(crate) trait Maker: Send + Sync + 'static {
    type Backend: Backend;

    /// The store's name and its strategy's.
    fn names(&self) -> (&'static str, &'static str);

    /// An empty store.
    fn make(&self) -> impl Future<Output = Self::Backend> + Send;
}

/// What runs the futures of all stores: with threads of its own, so that those who compete do so really.
#[derive(Clone)]
pub(crate) struct Executor(pub(crate) Arc<tokio::runtime::Runtime>);

impl Executor {
    pub(crate) fn named(name: &str) -> Self {
        const THREADS: usize = 4;
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(THREADS).thread_name(name).enable_all().build();
        Self(Arc::new(runtime.expect("threads can be started")))
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.0.handle()
    }
}
