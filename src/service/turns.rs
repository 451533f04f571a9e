//! Turns: how a promotion waits while somebody else has its approval's lease.

use std::{
    future::{Future, poll_fn},
    task::Poll,
};

use uuid::Uuid;

/// Says when a promotion that has to wait for an approval's lease asks for it again.
///
/// It only spares the store questions: who asks too early is told to wait once more, and who asks late loses time.
pub trait Turns: Send + Sync {
    /// Takes a place among those who may have to wait, when this is called: before the store is asked, so that who gives
    /// the lease back between its answer and the waiting is heard. What is returned waits until it may be worth asking
    /// again; dropped, it leaves the place. It must give way to others, and come back even when the lease's holder has
    /// died.
    fn wait(&self, approval: Uuid) -> impl Future<Output = ()> + Send;

    /// Whoever had an approval's lease, or had waited for it, has come to an end: the next one may ask.
    fn next(&self, approval: Uuid);
}

/// Asks again at once, after everybody else who can go on has had a turn. For tests, and for whoever polls by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AskAgain;

impl Turns for AskAgain {
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
