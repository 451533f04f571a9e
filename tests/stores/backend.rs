//! A store under test: its clock and its outages moved by hand, and what is in it read behind its back.

use std::{collections::BTreeMap, sync::Arc};

use countersign::{
    protocol::{Environment, Refusal, Timestamp},
    store::{Job, Resource, Stack},
};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};
use uuid::Uuid;

use crate::erased::{Erased, Later};

/// A store, and the hands around it.
pub(crate) trait Backend: Send + Sync {
    fn store(&self) -> &Erased;

    /// Number of random sequences of acts.
    fn sequences(&self) -> usize;

    /// Moves the store's clock.
    fn set_clock(&self, now: Timestamp) -> Later<'_, ()>;

    /// From now on this part of the platform fails for the team, wherever a step lists its refusal.
    fn begin_outage(&self, team: Uuid, refusal: &Refusal);

    /// Ends the outage.
    fn end_outage(&self, team: Uuid, refusal: &Refusal);

    /// From now on approvals are bound to the version of their target.
    fn bind_targets(&self);

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

/// The executor of the stores' futures.
#[derive(Clone)]
pub(crate) struct Executor(Arc<Runtime>);

impl Executor {
    /// Multi-threaded, so that competitors run in parallel.
    pub(crate) fn named(name: &str) -> Self {
        const THREADS: usize = 4;
        let mut builder = Builder::new_multi_thread();
        Self::built(builder.worker_threads(THREADS).thread_name(name))
    }

    /// On the thread that waits. One after another is faster so.
    pub(crate) fn alone() -> Self {
        Self::built(&mut Builder::new_current_thread())
    }

    fn built(builder: &mut Builder) -> Self {
        Self(Arc::new(builder.enable_all().build().expect("a runtime can be had")))
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.0.block_on(work)
    }

    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.0.spawn(work)
    }
}
