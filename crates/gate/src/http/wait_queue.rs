//! The queue of promotions that wait for an approval's lease: in order of arrival, without polling the store.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};
use uuid::Uuid;

use countersign::service::Waiter;

/// Time after which a waiting promotion retries without being called: the lease's holder may be another instance, or
/// have crashed.
const PATIENCE: Duration = Duration::from_millis(250);

/// The queues, by approval.
#[derive(Debug, Default)]
pub(super) struct WaitQueue(Mutex<BTreeMap<Uuid, Queue>>);

#[derive(Debug, Default)]
struct Queue {
    waiting: usize,
    wakeup: Arc<Notify>,
}

impl Waiter for WaitQueue {
    fn wait(&self, approval: Uuid) -> impl Future<Output = ()> + Send {
        let ticket = Ticket::take(self, approval);
        async move {
            // After the timeout it retries anyway.
            let _ = timeout(PATIENCE, ticket.wakeup.notified()).await;
        }
    }

    fn next(&self, approval: Uuid) {
        if let Some(queue) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&approval) {
            queue.wakeup.notify_one();
        }
    }
}

/// A position in the queue, left on drop.
struct Ticket<'a> {
    wait_queue: &'a WaitQueue,
    approval: Uuid,
    wakeup: Arc<Notify>,
}

impl<'a> Ticket<'a> {
    fn take(wait_queue: &'a WaitQueue, approval: Uuid) -> Self {
        let mut queues = wait_queue.0.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(approval).or_default();
        queue.waiting += 1;
        Self { wait_queue, approval, wakeup: Arc::clone(&queue.wakeup) }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut queues = self.wait_queue.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get_mut(&self.approval) {
            queue.waiting -= 1;
            if queue.waiting == 0 {
                queues.remove(&self.approval);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPROVAL: Uuid = Uuid::from_u128(1);

    #[tokio::test(start_paused = true)]
    async fn waiters_are_called_in_order_and_leave_the_queue() {
        let wait_queue = WaitQueue::default();
        let begun = tokio::time::Instant::now();
        let order = Mutex::new(Vec::new());
        let wait = async |name| {
            wait_queue.wait(APPROVAL).await;
            order.lock().expect("not poisoned").push(name);
            wait_queue.next(APPROVAL);
        };
        let call = async { wait_queue.next(APPROVAL) };
        tokio::join!(wait(1), wait(2), wait(3), call);
        assert_eq!(*order.lock().expect("not poisoned"), [1, 2, 3]);
        assert_eq!(begun.elapsed(), Duration::ZERO, "each is called by the one before");
        assert!(wait_queue.0.lock().expect("not poisoned").is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_called_before_waiting_does_not_wait() {
        let wait_queue = WaitQueue::default();
        let begun = tokio::time::Instant::now();
        let turn = wait_queue.wait(APPROVAL);
        wait_queue.next(APPROVAL);
        turn.await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert!(wait_queue.0.lock().expect("not poisoned").is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_called_and_has_left_passes_the_call_on() {
        let wait_queue = WaitQueue::default();
        let begun = tokio::time::Instant::now();
        let mut first = Box::pin(wait_queue.wait(APPROVAL));
        let mut second = Box::pin(wait_queue.wait(APPROVAL));
        assert!(futures_are_pending(&mut first, &mut second).await);
        wait_queue.next(APPROVAL);
        drop(first);
        second.await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    /// Both are polled once.
    async fn futures_are_pending(
        first: &mut (impl Future<Output = ()> + Unpin),
        second: &mut (impl Future<Output = ()> + Unpin),
    ) -> bool {
        tokio::select! {
            biased;
            () = first => false,
            () = second => false,
            () = std::future::ready(()) => true,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_never_called_asks_again() {
        let wait_queue = WaitQueue::default();
        let begun = tokio::time::Instant::now();
        wait_queue.wait(APPROVAL).await;
        assert_eq!(begun.elapsed(), PATIENCE);
    }
}
