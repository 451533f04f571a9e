//! Requests and attempts under an idempotency key: a repeated request gets the same outcome.
//!
//! The outcome is read from the approval's own execution, which is written in the transaction that consumes it: there is
//! no second record that could disagree, and none that could be left in flight. A refusal is never stored: a refused
//! request can be repeated.

use std::pin::pin;

use super::{Deployer, Driver, Preflight, Waiter};
use crate::{
    protocol::{Digest, Outcome, Refusal, RefusalKind},
    store::{Ask, Requested, Store, StoreError},
};

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Outcome of this attempt, or of the repeated one.
    pub end: Outcome,
    /// True if the outcome is that of an earlier attempt under the same key.
    pub replayed: bool,
}

impl<S: Store, D: Deployer, W: Waiter, P: Preflight> Driver<'_, S, D, W, P> {
    /// As [`promote`](Self::promote), but if the ask has a key, and an attempt under this key has executed the
    /// approval, returns that attempt's outcome and changes nothing. The same key for another request is a 422.
    ///
    /// Only a flow that [ends with its consume](crate::protocol::Flow::ends_with_consume) can promise this: in any
    /// other flow an executed approval does not imply a successful attempt. There it is [`promote`](Self::promote), and
    /// a retry gets a 409.
    pub async fn promote_once(self, ask: &Ask, source: Digest) -> Answer {
        let repeatable = ask.key.is_some() && self.flow.ends_with_consume();
        if repeatable && let Some(end) = earlier(ask, self.store).await {
            return Answer { end, replayed: true };
        }
        // Pinned on the stack, so that the future is not moved.
        let end = pin!(self.promote(ask, source)).await;
        // A concurrent duplicate may have been first.
        let lost = matches!(&end, Outcome::Refused { refusal, .. } if refusal.status() == 409);
        if repeatable
            && lost
            && let Some(end) = earlier(ask, self.store).await
        {
            return Answer { end, replayed: true };
        }
        Answer { end, replayed: false }
    }
}

/// Asks for a person's decision: as [`request_once`], and a request for what is pending or usable already is that approval.
///
/// # Errors
/// The store's. Within, 422 when the key has asked for something else, and the refusals of
/// [`Store::request_decision`].
pub async fn request_decision<S: Store>(
    ask: &Ask,
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
pub async fn request_once<S: Store>(ask: &Ask, store: &S) -> Result<Result<Requested, Refusal>, StoreError> {
    Ok(of_this_ask(ask, store.request_approval(ask).await?))
}

fn of_this_ask(ask: &Ask, requested: Requested) -> Result<Requested, Refusal> {
    let record = &requested.record;
    if record.payload != ask.payload || record.approval.binding != *ask.binding() {
        return Err(Refusal::IDEMPOTENCY_KEY_REUSED);
    }
    Ok(requested)
}

/// The outcome of an earlier attempt under the same key; `None` when the key has not executed the approval.
async fn earlier<S: Store>(ask: &Ask, store: &S) -> Option<Outcome> {
    let refused = |refusal| Outcome::Refused { refusal, kind: RefusalKind::Conflict };
    match store.execution(ask.request.team, ask.request.approval).await {
        Err(_) => Some(refused(Refusal::LOOKUP_FAILED)),
        Ok(Some(execution)) if execution.key == ask.key && execution.payload == ask.payload => {
            Some(Outcome::Succeeded { target: execution.target, repeats: true })
        }
        Ok(Some(execution)) if execution.key == ask.key => Some(refused(Refusal::IDEMPOTENCY_KEY_REUSED)),
        Ok(_) => None,
    }
}
