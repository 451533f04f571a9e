//! Requests and attempts under an idempotency key: a repeated request gets the same outcome.
//!
//! The steps of the flow do this: `recall` finds the outcome that `remember` has stored in the transaction of the
//! consume. There is no second record that could disagree. A refusal is never stored: a refused request can be repeated.

use std::pin::pin;

use uuid::Uuid;

use super::{Deployer, Driver, Lookup, Waiter};
use crate::{
    protocol::{Digest, Outcome, Refusal},
    store::{Approvals, AttemptStore, Operations, PromotionRequest, Requested, StoreError},
};

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Outcome of this attempt, or of the repeated one.
    pub end: Outcome,
    /// True if the outcome is that of an earlier attempt under the same key.
    pub replayed: bool,
}

impl<S: AttemptStore, D: Deployer, W: Waiter, P: Lookup> Driver<'_, S, D, W, P> {
    /// As [`promote`](Self::promote), and says whether the outcome is that of an earlier attempt under the same key.
    ///
    /// A flow without [`recall`](crate::protocol::Flow::recalls) replays nothing: there a retry gets a 409. So does an
    /// attempt that overlaps with another one under its key and loses; repeated, it gets the outcome.
    pub async fn promote_once(self, approval: Uuid, ask: &PromotionRequest, source: Digest) -> Answer {
        // Pinned on the stack, so that the future is not moved.
        let end = pin!(self.promote(approval, ask, source)).await;
        let replayed = matches!(end, Outcome::Succeeded { repeats: true, .. });
        Answer { end, replayed }
    }
}

/// Asks for a person's decision: as [`request_once`], and a request for what is pending or usable already is that approval.
///
/// # Errors
/// The store's. Within, 422 when the key has asked for something else, and the refusals of
/// [`Operations::request_decision`].
pub async fn request_decision<S: Operations>(
    ask: &PromotionRequest,
    most_pending: usize,
    store: &S,
) -> Result<Result<Requested, Refusal>, StoreError> {
    let requested = store.request_decision(ask, most_pending).await?;
    Ok(requested.and_then(|requested| of_this_ask(ask, requested)))
}

/// Asks for an approval; under a key that has asked before it is that one.
///
/// # Errors
/// The store's. Within, 422 when the key has asked for something else.
pub async fn request_once<S: Approvals>(
    ask: &PromotionRequest,
    store: &S,
) -> Result<Result<Requested, Refusal>, StoreError> {
    Ok(of_this_ask(ask, store.request_approval(ask).await?))
}

fn of_this_ask(ask: &PromotionRequest, requested: Requested) -> Result<Requested, Refusal> {
    let record = &requested.record;
    if record.payload != ask.payload || record.binding != ask.binding {
        return Err(Refusal::IDEMPOTENCY_KEY_REUSED);
    }
    Ok(requested)
}
