//! The waiter: how an attempt waits while another one holds its approval's lease.

use std::{
    future::{Future, poll_fn},
    task::Poll,
};

use uuid::Uuid;

/// Decides when an attempt that waits for an approval's lease retries.
///
/// Only efficiency depends on it: an attempt that retries too early waits again, one that retries late loses time.
pub trait Waiter: Send + Sync {
    /// Joins the queue when this is called: before the store is queried, so that a release between its reply and the
    /// wait is not missed. The future waits until a retry may succeed; dropping it leaves the queue. It must yield, and
    /// return even if the lease's holder has crashed.
    fn wait(&self, approval: Uuid) -> impl Future<Output = ()> + Send;

    /// An attempt that held an approval's lease, or waited for it, has ended: the next one may ask.
    fn next(&self, approval: Uuid);
}

/// Asks again immediately, after every other task that is ready has run. For tests, and for drivers that poll by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryImmediately;

impl Waiter for RetryImmediately {
    async fn wait(&self, _: Uuid) {
        let mut waited = false;
        poll_fn(|context| {
            if waited {
                return Poll::Ready(());
            }
            waited = true;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    fn next(&self, _: Uuid) {}
}
