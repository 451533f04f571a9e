//! A store under test: its clock and its outages moved by hand, and what is in it read behind its back.

use std::{collections::BTreeMap, sync::Arc};

use countersign::{
    protocol::{Environment, Refusal, Timestamp},
    store::{Job, Resource, Service, Stack},
};
use tokio::runtime::{Builder, Handle, Runtime};
use uuid::Uuid;

use crate::erased::{Erased, Later};

/// A store, and the hands around it.
pub(crate) trait Backend: Send + Sync {
    fn store(&self) -> &Erased;

    /// How many arbitrary sequences of acts it is put through.
    fn sequences(&self) -> usize;

    /// Moves the store's clock.
    fn set_clock(&self, now: Timestamp) -> Later<'_, ()>;

    /// Makes a stack a member of another one's family.
    fn adopt_stack(&self, team: Uuid, stack: Uuid, parent: Uuid) -> Later<'_, ()>;

    /// A new build of a whole stack.
    fn put_services(&self, team: Uuid, stack: Uuid, services: Vec<Service>) -> Later<'_, ()>;

    /// From now on this part of the platform fails for the team, wherever a step lists its refusal.
    fn begin_outage(&self, team: Uuid, refusal: &Refusal);

    /// It works again.
    fn end_outage(&self, team: Uuid, refusal: &Refusal);

    fn stacks(&self, team: Uuid) -> Later<'_, Vec<Stack>>;

    fn resources(&self, team: Uuid) -> Later<'_, Vec<Resource>>;

    fn job(&self, team: Uuid, approval: Uuid) -> Later<'_, Option<Job>>;

    fn vault<'a>(&'a self, team: Uuid, env: &'a Environment, key: &'a str) -> Later<'a, Option<String>>;

    /// All that is kept, as text, by the name of where: to be searched, and to be compared.
    fn everything(&self) -> Later<'_, BTreeMap<String, String>>;
}

/// Something that makes an empty store, again and again.
pub(crate) trait Maker: Send + Sync {
    /// The store's name and its strategy's.
    fn names(&self) -> (&'static str, &'static str);

    /// An empty store.
    fn make(&self) -> Later<'_, Arc<dyn Backend>>;
}

/// What runs the futures of all stores: with threads of its own, so that those who compete do so really.
#[derive(Clone)]
pub(crate) struct Executor(Arc<Runtime>);

impl Executor {
    pub(crate) fn named(name: &str) -> Self {
        const THREADS: usize = 4;
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(THREADS).thread_name(name).enable_all().build();
        Self(Arc::new(runtime.expect("threads can be started")))
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.0.handle()
    }
}
