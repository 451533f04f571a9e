//! Promotes that a platform rule approves, through the same gate.
//!
//! The platform requests an approval, its own rule approves it, and the attempt uses it: like any other it is bound to
//! its payload, used once, audited and launched by the worker. The audit names the rule.

use uuid::Uuid;

use super::{Answer, Deployer, Driver, Lookup, Waiter, request_once};
use crate::{
    protocol::{Digest, Outcome, Refusal, Status},
    store::{AttemptStore, Decision, PromotionRequest, Requested, StoreError},
};

/// The approver, in the audit of a promote that a rule approved.
pub const POLICY: &str = "policy:development";

/// The most approvals that one key may use up, when its request changed each time before it was used.
const MAX_TRIES: usize = 16;

impl<S: AttemptStore, D: Deployer, W: Waiter, P: Lookup> Driver<'_, S, D, W, P> {
    /// Requests an approval, approves it by the platform's rule, and promotes with it. Returns the approval and the
    /// attempt's outcome.
    ///
    /// A retry under the same key gets the same outcome. A refusal is not stored as an outcome: if the request has
    /// changed since, or the approval has expired, a new approval is requested.
    ///
    /// # Errors
    /// The store's, before there is an approval. Within, 422 if the key belongs to another request.
    pub async fn promote_auto_approved(
        self,
        ask: &PromotionRequest,
        source: Digest,
    ) -> Result<Result<(Uuid, Answer), Refusal>, StoreError> {
        let mut tries = 1;
        loop {
            // No caller's key contains a blank.
            let key = ask
                .key
                .as_ref()
                .map(|key| if tries == 1 { key.clone() } else { format!("{key} {tries}").into() });
            let requested = match request_once(&PromotionRequest { key, ..ask.clone() }, self.store).await? {
                Ok(Requested { record, .. }) => record.approval,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let approval = requested.id;
            if requested.status == Status::Pending {
                let decision = Decision::Policy { team: ask.team, approval, by: POLICY };
                // A concurrent request may have decided: the attempt sees how.
                let _ = self.store.decide(decision).await?;
            }
            let answer = self.promote_once(approval, ask, source).await;
            let is_useless =
                matches!(requested.status, Status::Rejected | Status::Expired) || is_stale(&answer.end);
            // Another promotion into the same target was first: no key has been used up.
            let is_behind = matches!(&answer.end, Outcome::Refused { refusal, .. } if *refusal == Refusal::TARGET_CHANGED);
            if !(is_behind || is_useless && ask.key.is_some()) || tries == MAX_TRIES {
                return Ok(Ok((approval, answer)));
            }
            tries += 1;
        }
    }
}

/// True if the approval is unused, and can never be used for this request.
fn is_stale(end: &Outcome) -> bool {
    match end {
        Outcome::Refused { refusal, .. } => {
            let stale =
                [Refusal::APPROVAL_EXPIRED, Refusal::APPROVAL_PAYLOAD_MISMATCH, Refusal::TARGET_CHANGED];
            stale.contains(refusal)
        }
        Outcome::Succeeded { .. } | Outcome::Unknown { .. } => false,
    }
}
