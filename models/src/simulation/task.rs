//! The polled tasks: a client's request at the real driver, and an instance's worker. Neither depends on the
//! simulation.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use countersign::{
    protocol::{Digest, Outcome},
    service::{Answer, Driver, Terms, Worked, work},
    store::StoreError,
};

use super::{
    LEASE_MS,
    platform::{At, Platform},
};
use crate::fixtures::UseRequest;

/// Something that is under way, up to its end.
pub(super) type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A client's request, up to the answer.
pub(super) fn request(platform: &Arc<Platform>, ask: &Arc<UseRequest>, source: Digest) -> Task<Answer> {
    let (platform, ask) = (Arc::clone(platform), Arc::clone(ask));
    Box::pin(async move {
        let driver = Driver::new(&platform.flow, &*platform, &*platform);
        let driver = driver.expect("only flows that the driver carries out are played");
        let answer = pin!(driver.promote_once(ask.approval, &ask, source)).await;
        if matches!(answer.end, Outcome::Succeeded { .. }) {
            // Until the client has it, the process may die.
            platform.answer().await;
        }
        answer
    })
}

/// One turn of an instance's worker, with `skew_ms` between the store's clock and its own.
pub(super) fn worker(platform: &Arc<Platform>, skew_ms: i64) -> Task<Result<Worked, StoreError>> {
    let platform = Arc::clone(platform);
    Box::pin(async move {
        let terms = Terms { clock: &*platform.clock, lease_ms: LEASE_MS.saturating_add_signed(skew_ms) };
        pin!(work(&*platform, &*platform, terms)).await
    })
}

/// Polls a task once: it goes as far as the next step gate.
pub(super) fn poll<T>(task: &mut Task<T>) -> Option<T> {
    match task.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

impl Platform {
    async fn answer(&self) {
        self.pass(At::Elsewhere).await;
        self.answers_success();
    }
}
