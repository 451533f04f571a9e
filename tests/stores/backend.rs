//! The makers of stores under test, and the executors of their futures.

use std::sync::Arc;

use countersign_contract::{Backend, Later};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

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
