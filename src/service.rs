//! The service: drives promotions of any flow against a store and a deployer. It names no runtime.
//!
//! [`promote`] is the endpoint's work, [`promote_once`] for callers that ask again; [`promote_in_turn`] and
//! [`promote_once_in_turn`] say how to wait for an approval's lease. [`step`] is one atomic action of it, for whoever
//! decides what happens in between. [`request_once`] asks for an approval, [`promote_at_once`] needs nobody's.
//! [`supports`] says whether a flow can be run at all; ask it once, where a flow enters.
//! [`under_key`] keeps two requests under one idempotency key apart. [`work`] is the worker's; [`take`],
//! [`see_through`] and [`give_back`] are its parts, for one that may have to stop in between.

mod admission;
mod at_once;
mod deployer;
mod key;
mod once;
mod supports;
mod timer;
mod turns;
mod worker;

pub use admission::{Caller, admit, admit_source};
pub use at_once::{POLICY, promote_at_once, runs_at_once};
pub use deployer::{Deployer, InMemoryDeployer, Launch, Running};
pub use key::{IdempotencyKey, InvalidKey, Use, under_key};
pub use once::{Answer, promote_once, promote_once_in_turn, request_once};
pub use supports::{UnsupportedStep, supports};
pub use timer::{NoTime, Timer};
pub use turns::{AskAgain, Turns};
pub use worker::{Held, Terms, Worked, give_back, launch, see_through, take, work};

use crate::{
    protocol::{Digest, Effect, Flow, Observed, Outcome, Promotion, Refusal, Reply, StepAction, Timestamp},
    store::{Ask, Committed, Leased, Store, StoreError, StoreErrorKind},
};

/// Makes one attempt to use the approval that `ask` names, to its end. `source` is the digest of what it would launch
/// now. Who has to wait for the approval's lease asks for it again and again: see [`promote_in_turn`].
pub fn promote<S: Store, D: Deployer>(
    flow: &Flow,
    ask: &Ask,
    source: Digest,
    store: &S,
    deployer: &D,
) -> impl Future<Output = Outcome> {
    promote_in_turn(flow, ask, source, store, deployer, &AskAgain)
}

/// As [`promote`]; who has to wait for the approval's lease waits as `turns` says. A lease that was taken is given back
/// at the end, whatever that is, and the next one is called.
pub async fn promote_in_turn<S: Store, D: Deployer, T: Turns>(
    flow: &Flow,
    ask: &Ask,
    source: Digest,
    store: &S,
    deployer: &D,
    turns: &T,
) -> Outcome {
    let mut promotion = Promotion::begin(flow, &ask.request, source);
    let mut has_waited = false;
    let end = loop {
        let asks_for_lease = promotion.step().is_some_and(|step| matches!(step.action, StepAction::Lease(_)));
        let turn = asks_for_lease.then(|| turns.wait(ask.request.approval));
        let held = step(&mut promotion, ask, store, deployer).await;
        // Where nobody has to wait, its turn is not moved about.
        if held.is_some()
            && let Some(turn) = turn
        {
            has_waited = true;
            turn.await;
        }
        if let Some(end) = promotion.outcome() {
            break end.clone();
        }
    };
    if let Some(fence) = promotion.checkpoint().fence {
        // One that cannot be given back runs out.
        let _ = store.release_approval(ask, fence).await;
    }
    // Who was called and finds the approval used takes no lease, and others still wait.
    if has_waited || promotion.checkpoint().fence.is_some() {
        turns.next(ask.request.approval);
    }
    end
}

/// One atomic action: asks the promotion what it wants, has it done, and tells it what became of it. Nothing happens
/// when it has ended. When somebody else has the approval's lease, the time until which: the promotion is where it was.
pub async fn step<S: Store, D: Deployer>(
    promotion: &mut Promotion<'_>,
    ask: &Ask,
    store: &S,
    deployer: &D,
) -> Option<Timestamp> {
    let Some(step) = promotion.step() else {
        // The answer is the one effect that belongs to no step.
        if promotion.effect().is_some() {
            promotion.resume(Reply::Done);
        }
        return None;
    };
    match promotion.effect()? {
        Effect::Validate { .. } | Effect::ReadApproval { .. } => match store.read_approval(ask).await {
            Ok(reading) => promotion.resume(Reply::Approval {
                approval: reading.approval.as_deref(),
                digest: reading.digest,
                fence: reading.fence,
                now: reading.now,
                observed: Observed::default(),
            }),
            Err(_) => promotion.resume(Reply::Failed),
        },
        // A read that failed changed nothing, whatever the store says.
        Effect::Check => promotion.resume(match store.check(ask, step).await {
            Ok(Ok(digest)) => Reply::Read { digest },
            Ok(Err(refusal)) => Reply::Refused(refusal),
            Err(_) => Reply::Failed,
        }),
        Effect::Lease { .. } => match store.lease_approval(ask).await {
            Ok(Leased::Taken { fence }) => promotion.resume(Reply::Leased { fence }),
            Ok(Leased::Held { until }) => {
                promotion.resume(Reply::LeaseHeld);
                return Some(until);
            }
            Ok(Leased::Absent) => promotion.resume(Reply::NotConsumed(Refusal::APPROVAL_NOT_FOUND)),
            Err(error) => promotion.resume(failed(&error)),
        },
        Effect::FindTarget => promotion.resume(match store.find_target(ask, step).await {
            Ok(Ok(target)) => Reply::Target(target),
            Ok(Err(refusal)) => Reply::Refused(refusal),
            Err(_) => Reply::Failed,
        }),
        Effect::Commit(commit) => promotion.resume(match store.commit(ask, step, commit).await {
            Ok(Committed::Applied { target }) => Reply::Committed { target, own_use: false },
            Ok(Committed::Refused(refusal)) => Reply::Refused(refusal),
            Ok(Committed::NotConsumed(refusal)) => Reply::NotConsumed(refusal),
            Err(error) => failed(&error),
        }),
        Effect::Launch { digest, target, .. } => {
            let target = target.map(|target| target.id);
            deployer.launch(&Launch { approval: ask.request.approval, key: None, digest, target }).await;
            promotion.resume(Reply::Done);
        }
        // `supports` refuses a flow with these.
        Effect::Recall { .. } | Effect::Call { .. } | Effect::Prepare { .. } | Effect::Undo { .. } => {
            promotion.resume(Reply::Failed);
        }
        Effect::Answer => promotion.resume(Reply::Done),
    }
    None
}

/// What a promotion is told of a change that the store failed to make.
fn failed(error: &StoreError) -> Reply<'static> {
    match error.kind() {
        StoreErrorKind::NotApplied => Reply::Failed,
        StoreErrorKind::Unknown => Reply::OutcomeUnknown,
    }
}
