//! A request or a promotion under an idempotency key: whoever asks again is told the same outcome.
//!
//! Nothing is kept but what the approval's own execution says, and that is written in the transaction that consumes
//! it: there is no second record that could disagree, and none that could be left behind in flight. A refusal is
//! never kept: what was refused can be asked for again.

use std::pin::pin;

use super::{AskAgain, Deployer, Turns, promote_in_turn};
use crate::{
    protocol::{Digest, Flow, Outcome, Refusal, RefusalKind},
    store::{Ask, Requested, Store, StoreError},
};

/// What the caller is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How the promotion ended: this one, or the one that it repeats.
    pub end: Outcome,
    /// It is the outcome of an earlier promotion under the same key.
    pub replayed: bool,
}

/// As [`promote`](super::promote), but when the ask has a key, and a promotion under this key has executed the approval,
/// then that promotion's outcome is given again and nothing happens. The same key for something else is a 422.
///
/// Only a flow that [ends with its consume](Flow::ends_with_consume) can promise this: in any other one an executed
/// approval does not say that its promotion succeeded. There it is [`promote`](super::promote), and a retry is told 409.
pub fn promote_once<S: Store, D: Deployer>(
    flow: &Flow,
    ask: &Ask,
    source: Digest,
    store: &S,
    deployer: &D,
) -> impl Future<Output = Answer> {
    promote_once_in_turn(flow, ask, source, store, deployer, &AskAgain)
}

/// As [`promote_once`]; who has to wait for the approval's lease waits as `turns` says.
pub async fn promote_once_in_turn<S: Store, D: Deployer, T: Turns>(
    flow: &Flow,
    ask: &Ask,
    source: Digest,
    store: &S,
    deployer: &D,
    turns: &T,
) -> Answer {
    let repeatable = ask.key.is_some() && flow.ends_with_consume();
    if repeatable && let Some(end) = earlier(ask, store).await {
        return Answer { end, replayed: true };
    }
    // Who is given a reference need not move it.
    let end = pin!(promote_in_turn(flow, ask, source, store, deployer, turns)).await;
    // A duplicate that was under way at the same time may have been quicker.
    let lost = matches!(&end, Outcome::Refused { refusal, .. } if refusal.status() == 409);
    if repeatable
        && lost
        && let Some(end) = earlier(ask, store).await
    {
        return Answer { end, replayed: true };
    }
    Answer { end, replayed: false }
}

/// Asks for an approval; under a key that has asked before it is that one.
///
/// # Errors
/// The store's. Within, 422 when the key has asked for something else.
pub async fn request_once<S: Store>(ask: &Ask, store: &S) -> Result<Result<Requested, Refusal>, StoreError> {
    let requested = store.request_approval(ask).await?;
    let record = &requested.record;
    if record.payload != ask.payload || record.approval.binding != *ask.binding() {
        return Ok(Err(Refusal::IDEMPOTENCY_KEY_REUSED));
    }
    Ok(Ok(requested))
}

/// What the caller is told because of what its key has done before.
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
