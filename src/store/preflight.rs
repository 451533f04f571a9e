//! The moments at which a store asks its checks: a request, a `check` step, and a commit.

use super::Committed;
use crate::platform::{ApprovalRecord, Seal, TenantFacts};
use crate::protocol::{
    ApprovalState, Change, Commit, Fences, Guards, Member, Preflight, Refusal, Step, StepAction, Swap,
    Timestamp, consume,
};

/// The checks that a store makes under its lock or inside its transaction, on what the team has at that moment:
/// [`PlatformChecks`](crate::platform::PlatformChecks), or others in their place.
pub type StoreChecks = dyn for<'a> Preflight<TenantFacts<'a>>;

/// The refusals of a request that cannot be used later either: what would mend them is another digest, or impossible.
const HOPELESS: [Refusal; 3] = [Refusal::NO_SERVICES, Refusal::MISSING_IMAGE_REF, Refusal::TWIN_EXISTS];

/// Why an approval of this could never be used.
pub(super) fn hopeless(preflight: &StoreChecks, facts: &TenantFacts<'_>) -> Option<Refusal> {
    HOPELESS.into_iter().find(|refusal| preflight.applies(refusal, facts))
}

/// The first of the step's refusals that applies.
pub(super) fn first_refusal(
    preflight: &StoreChecks,
    facts: &TenantFacts<'_>,
    step: &Step,
) -> Option<Refusal> {
    step.refusals().find(|refusal| preflight.applies(refusal, facts)).cloned()
}

/// A commit that is about to be judged, with everything that it is judged by.
pub(super) struct Judgement<'a> {
    pub(super) preflight: &'a StoreChecks,
    pub(super) facts: TenantFacts<'a>,
    pub(super) step: &'a Step,
    pub(super) commit: Commit<'a>,
    /// The approval; `None` if it does not exist.
    pub(super) standing: Option<ApprovalState>,
    /// The record of the team's own approval.
    pub(super) approved: Option<&'a ApprovalRecord>,
    pub(super) seal: Seal,
    pub(super) fences: Fences,
    pub(super) now: Timestamp,
}

impl Judgement<'_> {
    /// The guards of its consume, if it has one; or the refusal of the first change that refuses.
    pub(super) fn guards(&self) -> Result<Option<Guards>, Committed> {
        let mut guards = None;
        for (index, op) in self.commit.ops.iter().enumerate() {
            if let Change::Consume(Swap { guards: wanted, .. }) = op {
                if let Some(standing) = self.standing {
                    consume(standing, self.fences, *wanted, self.commit.digest, self.now)
                        .map_err(Committed::NotConsumed)?;
                }
                guards = Some(*wanted);
            }
            if let Some(refusal) = self.write_refused(index) {
                return Err(Committed::Refused(refusal));
            }
        }
        Ok(guards)
    }

    /// Why the target is not what the approval is bound to, for a promotion that holds what was approved. Judged in the
    /// transaction that uses the approval, after the rules of the use: in any other one, the attempt's own write or that of
    /// a winner would look like a change from outside.
    fn unbound(&self) -> Option<Refusal> {
        if !self.commit.ops.iter().any(|change| matches!(change, Change::Consume(_))) {
            return None;
        }
        let record = self.approved.filter(|record| record.approval.digest == self.commit.digest)?;
        let bound = record.bound.as_deref()?;
        let facts = TenantFacts { bound: Some(bound), ..self.facts };
        if self.preflight.applies(&Refusal::TARGET_CHANGED, &facts) {
            return Some(Refusal::TARGET_CHANGED);
        }
        let has_other_values = facts.state.has_other_values(facts.ask, bound, &self.seal);
        has_other_values.then_some(Refusal::APPROVAL_PAYLOAD_MISMATCH)
    }

    /// Why the change at this index refuses by its own judgement, if it does.
    fn write_refused(&self, index: usize) -> Option<Refusal> {
        let Self { preflight, facts, step, commit, .. } = *self;
        let own = || {
            let applies = |refusal: &&Refusal| preflight.applies(refusal, &facts);
            own_refusals(step, index).iter().find(applies).cloned()
        };
        match commit.ops.get(index)? {
            Change::WriteTarget { trust_look } => self.unbound().or_else(own).or_else(|| {
                let target = if *trust_look {
                    commit.target.map(|target| target.id)
                } else {
                    facts.state.target(facts.ask)
                };
                (target.is_none() && facts.state.is_full(facts.ask))
                    .then_some(Refusal::DEPLOYMENT_LIMIT_REACHED)
            }),
            Change::WriteVault => own(),
            Change::Consume(_)
            | Change::Audit
            | Change::Enqueue { .. }
            | Change::Row { .. }
            | Change::Remember => None,
        }
    }
}

/// The refusals that belong to this change of the step.
fn own_refusals(step: &Step, op: usize) -> &[Refusal] {
    match &step.action {
        StepAction::Write(write) => &write.refusals,
        StepAction::Atomic(members) => match members.get(op) {
            Some(Member::Write(write)) => &write.refusals,
            Some(Member::Consume(_) | Member::Act(_) | Member::Audit | Member::Remember) | None => &[],
        },
        StepAction::Validate { .. }
        | StepAction::Check { .. }
        | StepAction::Recall { .. }
        | StepAction::Lease(_)
        | StepAction::Consume(_)
        | StepAction::Act(_)
        | StepAction::Audit
        | StepAction::Remember => &[],
    }
}
