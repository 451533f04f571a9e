//! The driver: runs one attempt of a flow against a store, a deployer and a preflight.

use uuid::Uuid;

use super::{
    CheckRequest, Deployer, Launch, Lookup, NoPreflight, RetryImmediately, UnsupportedStep, Waiter,
    supports_with,
};
use crate::{
    protocol::{
        Digest, Effect, Flow, Observed, Outcome, Promotion, Refusal, Reply, Request, Step, StepAction,
        Timestamp,
    },
    store::{
        Approvals, AttemptReads, AttemptStore, Committed, Leased, PromotionRequest, StoreError,
        StoreErrorKind,
    },
};

/// The order of the steps, and everything that an attempt runs against. Every driver carries its whole flow out: a flow
/// with another step, or with a refusal that no check produces, is refused by name when the driver is made.
#[derive(Debug)]
pub struct Driver<'a, S, D, W = RetryImmediately, P = NoPreflight> {
    pub(crate) flow: &'a Flow,
    pub(crate) store: &'a S,
    pub(crate) deployer: &'a D,
    pub(crate) waiter: &'a W,
    pub(crate) preflight: &'a P,
}

impl<S, D, W, P> Clone for Driver<'_, S, D, W, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, D, W, P> Copy for Driver<'_, S, D, W, P> {}

impl<'a, S: AttemptStore, D: Deployer> Driver<'a, S, D> {
    /// Without a preflight in addition to the store's; an attempt that finds a lease held retries immediately.
    ///
    /// # Errors
    /// [`UnsupportedStep`] names the first part of the flow that is not carried out.
    pub fn new(flow: &'a Flow, store: &'a S, deployer: &'a D) -> Result<Self, UnsupportedStep> {
        Self::with_preflight(flow, store, deployer, &NoPreflight)
    }
}

impl<'a, S: AttemptReads, D, P: Lookup> Driver<'a, S, D, RetryImmediately, P> {
    /// As [`new`](Driver::new), with checks besides the store's.
    ///
    /// # Errors
    /// [`UnsupportedStep`] names the first part of the flow that is not carried out.
    pub fn with_preflight(
        flow: &'a Flow,
        store: &'a S,
        deployer: &'a D,
        preflight: &'a P,
    ) -> Result<Self, UnsupportedStep> {
        supports_with(flow, store, preflight)?;
        Ok(Self { flow, store, deployer, waiter: &RetryImmediately, preflight })
    }
}

impl<'a, S: AttemptStore, D: Deployer, W: Waiter, P: Lookup> Driver<'a, S, D, W, P> {
    /// The same driver, with another way to wait for an approval's lease.
    pub fn waiting<V: Waiter>(self, waiter: &'a V) -> Driver<'a, S, D, V, P> {
        let Self { flow, store, deployer, preflight, .. } = self;
        Driver { flow, store, deployer, waiter, preflight }
    }

    /// Makes one attempt to use `approval` for `ask`, to its end. `source` is the digest of the current
    /// payload. A lease that was acquired is released at the end, in any case, and the next waiter is called.
    pub async fn promote(self, approval: Uuid, ask: &PromotionRequest, source: Digest) -> Outcome {
        let Self { flow, store, waiter, .. } = self;
        let request = Request { approval, team: ask.team };
        let mut promotion = Promotion::begin(flow, &request, source);
        let mut has_waited = false;
        let outcome = loop {
            let takes_lease =
                promotion.step().is_some_and(|step| matches!(step.action, StepAction::Lease(_)));
            let turn = takes_lease.then(|| waiter.wait(approval));
            let held = step_with(&mut promotion, ask, store, self.deployer, self.preflight).await;
            // The future is only moved where it is awaited.
            if held.is_some()
                && let Some(turn) = turn
            {
                has_waited = true;
                turn.await;
            }
            if let Some(outcome) = promotion.outcome() {
                break outcome.clone();
            }
        };
        if let Some(fence) = promotion.position().fence {
            // A lease that cannot be released expires.
            let _ = store.release_approval(ask.team, approval, fence).await;
        }
        // A waiter that was called and finds the approval used takes no lease, and others still wait.
        if has_waited || promotion.position().fence.is_some() {
            waiter.next(approval);
        }
        outcome
    }
}

/// One atomic action: reads the promotion's effect, carries it out, and resumes the promotion with the reply. A no-op once
/// the promotion has ended. When another attempt holds the approval's lease, returns its expiry: the promotion has not
/// moved.
pub async fn step<S: AttemptStore, D: Deployer>(
    promotion: &mut Promotion<'_>,
    ask: &PromotionRequest,
    store: &S,
    deployer: &D,
) -> Option<Timestamp> {
    step_with(promotion, ask, store, deployer, &NoPreflight).await
}

async fn step_with<S: AttemptStore, D: Deployer, P: Lookup>(
    promotion: &mut Promotion<'_>,
    ask: &PromotionRequest,
    store: &S,
    deployer: &D,
    preflight: &P,
) -> Option<Timestamp> {
    let Some(step) = promotion.step() else {
        // The answer is the one effect that belongs to no step.
        if promotion.effect().is_some() {
            promotion.resume(Reply::Done);
        }
        return None;
    };
    let approval = promotion.request().approval;
    match promotion.effect()? {
        Effect::Validate { .. } | Effect::ReadApproval { .. } => {
            match store.read_approval(approval, ask).await {
                Ok(reading) => promotion.resume(Reply::Approval {
                    approval: reading.approval.as_deref(),
                    digest: reading.digest,
                    fence: reading.fence,
                    now: reading.now,
                    observed: Observed {
                        same_binding: reading.binding.as_ref() == Some(&ask.binding),
                        ..Observed::default()
                    },
                }),
                Err(_) => promotion.resume(Reply::Failed),
            }
        }
        // A failed read changed nothing, regardless of the store's error kind.
        Effect::Check => promotion.resume(match check(approval, ask, step, store, preflight).await {
            Ok(Ok(digest)) => Reply::Read { digest },
            Ok(Err(refusal)) => Reply::Refused(refusal),
            Err(_) => Reply::Failed,
        }),
        Effect::Lease { .. } => match store.lease_approval(ask.team, approval).await {
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
            deployer.launch(&Launch { approval, key: None, digest, target, fence: 0 }).await;
            promotion.resume(Reply::Done);
        }
        // `supports` refuses a flow that claims.
        Effect::Recall { .. } => promotion.resume(recall(approval, ask, store).await),
        // `supports` refuses a flow with these.
        Effect::Call { .. } | Effect::Prepare { .. } | Effect::Undo { .. } => {
            promotion.resume(Reply::Failed);
        }
        Effect::Answer => promotion.resume(Reply::Done),
    }
    None
}

/// The outcome that an earlier attempt under the same key has stored. A request without a key has none.
async fn recall<S: Approvals>(approval: Uuid, ask: &PromotionRequest, store: &S) -> Reply<'static> {
    if ask.key.is_none() {
        return Reply::NotRecalled;
    }
    match store.execution(ask.team, approval).await {
        Ok(Some(found)) if found.key != ask.key => Reply::NotRecalled,
        Ok(Some(found)) if found.payload != ask.payload => Reply::Refused(Refusal::IDEMPOTENCY_KEY_REUSED),
        Ok(Some(found)) => Reply::Recalled { target: found.target },
        Ok(None) => Reply::NotRecalled,
        Err(_) => Reply::Failed,
    }
}

/// The preflight's own checks, then the store's.
async fn check<S: AttemptReads, P: Lookup>(
    approval: Uuid,
    ask: &PromotionRequest,
    step: &Step,
    store: &S,
    preflight: &P,
) -> Result<Result<Digest, Refusal>, StoreError> {
    let request =
        CheckRequest { approval, by: &ask.requested_by, step: step.name.as_deref().unwrap_or("check") };
    if step.refusals().any(|refusal| preflight.can_produce(refusal)) {
        let facts = preflight.look_up(&request).await?;
        let applies =
            |refusal: &&Refusal| preflight.can_produce(refusal) && preflight.applies(refusal, &facts);
        if let Some(refusal) = step.refusals().find(applies) {
            return Ok(Err(refusal.clone()));
        }
    }
    store.check(approval, ask, step).await
}

/// The reply for a change that the store failed to make.
fn failed(error: &StoreError) -> Reply<'static> {
    match error.kind() {
        StoreErrorKind::NotApplied => Reply::Failed,
        StoreErrorKind::Unknown => Reply::OutcomeUnknown,
    }
}
