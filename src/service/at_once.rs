//! Promotes that need nobody's approval: which these are, and how they go through the same gate all the same.
//!
//! The platform asks for an approval, its own rule says yes, and the promotion uses it: so it is bound to what runs,
//! used once, audited and launched by the worker as any other one. The audit says that a rule approved it, and which.

use uuid::Uuid;

use super::{Answer, Deployer, Turns, promote_once_in_turn, request_once};
use crate::{
    protocol::{Digest, Environment, Flow, Outcome, Refusal, Status},
    store::{Ask, Decision, Requested, Store, StoreError},
};

/// Who has approved, in the audit of a promote that needs nobody.
pub const POLICY: &str = "policy:development";

/// How many approvals one key may go through, when what it had asked for has changed each time before it was used.
const MOST_TRIES: usize = 16;

/// Whether a promote into this environment runs at once.
pub fn runs_at_once(to: &Environment) -> bool {
    to.as_str() == "development"
}

/// Asks for an approval, approves it by the platform's rule, and promotes with it; the approval, and how it ended.
///
/// Asked again under the same key it gives the same outcome. A refusal is not an outcome: when what was asked for has
/// changed since, or its window has passed, the next approval is asked for. Who has to wait for an approval's lease,
/// because the same key is used twice at once, waits as `turns` says.
///
/// # Errors
/// The store's, before there is an approval to speak of. Within, 422 when the key has asked for something else.
pub async fn promote_at_once<S: Store, D: Deployer, T: Turns>(
    flow: &Flow,
    ask: &Ask,
    source: Digest,
    store: &S,
    deployer: &D,
    turns: &T,
) -> Result<Result<(Uuid, Answer), Refusal>, StoreError> {
    let mut tries = 1;
    loop {
        // No caller's key has a blank in it.
        let key = ask
            .key
            .as_ref()
            .map(|key| if tries == 1 { key.clone() } else { format!("{key} {tries}").into() });
        let requested = match request_once(&Ask { key, ..ask.clone() }, store).await? {
            Ok(Requested { record, .. }) => record.approval,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let approval = requested.id;
        if requested.status == Status::Pending {
            let decision = Decision::Policy { team: ask.request.team, approval, by: POLICY };
            // Whoever was quicker has decided: the promotion will see how.
            let _ = store.decide(decision).await?;
        }
        let mut with_it = ask.clone();
        with_it.request.approval = approval;
        let answer = promote_once_in_turn(flow, &with_it, source, store, deployer, turns).await;
        let of_no_use =
            matches!(requested.status, Status::Rejected | Status::Expired) || is_stale(&answer.end);
        if !of_no_use || ask.key.is_none() || tries == MOST_TRIES {
            return Ok(Ok((approval, answer)));
        }
        tries += 1;
    }
}

/// Whether the approval was given, can never be used for what is asked now, and nobody has used it.
fn is_stale(end: &Outcome) -> bool {
    match end {
        Outcome::Refused { refusal, .. } => {
            [Refusal::APPROVAL_EXPIRED, Refusal::APPROVAL_PAYLOAD_MISMATCH].contains(refusal)
        }
        Outcome::Succeeded { .. } | Outcome::Unknown { .. } => false,
    }
}
