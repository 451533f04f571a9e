//! The timer: how a worker waits, and how it comes to know that its time is over.

use std::future::{Future, ready};

/// Time that passes for a worker. The service names no runtime.
pub trait Timer: Send + Sync {
    /// Waits so long.
    fn pause(&self, ms: u64) -> impl Future<Output = ()> + Send;

    /// What the work gives; none when it has not come to an end after so long. It is dropped then, wherever it was.
    ///
    /// A work that goes on longer than that holds what is somebody else's by then.
    fn within<T: Send>(
        &self,
        ms: u64,
        work: impl Future<Output = T> + Send,
    ) -> impl Future<Output = Option<T>> + Send;
}

/// Time that never passes: no pause is waited for, and nothing takes too long. For tests, and for whoever polls by hand.
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
