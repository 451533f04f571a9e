//! The timer of a worker: pauses and time limits.

use std::future::{Future, ready};

/// Time that passes for a worker. The service names no runtime.
pub trait Timer: Send + Sync {
    /// Waits for `ms` milliseconds.
    fn pause(&self, ms: u64) -> impl Future<Output = ()> + Send;

    /// Result of the work; `None` if it takes longer than the limit. Then the work is dropped at its current await.
    ///
    /// Work that exceeds the limit would hold a lease that another worker may have by then.
    fn within<T: Send>(
        &self,
        ms: u64,
        work: impl Future<Output = T> + Send,
    ) -> impl Future<Output = Option<T>> + Send;
}

/// Time that never passes: pauses end immediately, and no limit is reached. For tests, and for manual polling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoopTimer;

impl Timer for NoopTimer {
    fn pause(&self, _: u64) -> impl Future<Output = ()> + Send {
        ready(())
    }

    async fn within<T: Send>(&self, _: u64, work: impl Future<Output = T> + Send) -> Option<T> {
        Some(work.await)
    }
}
