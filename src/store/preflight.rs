//! The checks behind a step's refusals.

use super::Committed;
use crate::platform::{ApprovalRecord, PromotionRequest, Seal, TenantState, check_behind};
use crate::protocol::{
    ApprovalState, Change, Commit, Fences, Guards, Member, Refusal, Step, StepAction, Swap, Timestamp,
    consume,
};

/// Judges the refusals that a step lists. A store calls it under its lock, or inside its transaction, with what the team
/// has at that moment.
pub trait StoreChecks: Send + Sync {
    /// True if a check is behind this refusal. A flow with a step that lists another one is refused when it is loaded.
    fn can_produce(&self, refusal: &Refusal) -> bool;

    /// True if this refusal applies to `ask`. Returning `false` for a refusal without a check lets the request pass.
    fn refuses(&self, tenant_state: &TenantState, ask: &PromotionRequest, refusal: &Refusal) -> bool;

    /// True if an approval binds the version of its target: a later write to the target refuses its use.
    fn binds_target(&self) -> bool {
        true
    }
}

/// The platform's own checks: services, images, vault references, twins, and the plan's cap.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlatformChecks;

impl StoreChecks for PlatformChecks {
    fn can_produce(&self, refusal: &Refusal) -> bool {
        check_behind(refusal).is_some()
    }

    fn refuses(&self, tenant_state: &TenantState, ask: &PromotionRequest, refusal: &Refusal) -> bool {
        tenant_state.refuses(ask, refusal)
    }
}

/// The refusals of a request that cannot be used later either: what would mend them is another digest, or impossible.
const HOPELESS: [Refusal; 3] = [Refusal::NO_SERVICES, Refusal::MISSING_IMAGE_REF, Refusal::TWIN_EXISTS];

/// Why an approval of this could never be used.
pub(super) fn hopeless(
    preflight: &dyn StoreChecks,
    tenant_state: &TenantState,
    ask: &PromotionRequest,
) -> Option<Refusal> {
    HOPELESS.into_iter().find(|refusal| preflight.refuses(tenant_state, ask, refusal))
}

/// The first of the step's refusals that applies.
pub(super) fn first_refusal(
    preflight: &dyn StoreChecks,
    tenant_state: &TenantState,
    ask: &PromotionRequest,
    step: &Step,
) -> Option<Refusal> {
    step.refusals().find(|refusal| preflight.refuses(tenant_state, ask, refusal)).cloned()
}

/// A commit that is about to be judged, with everything that it is judged by.
pub(super) struct Judgement<'a> {
    pub(super) preflight: &'a dyn StoreChecks,
    pub(super) tenant_state: &'a TenantState,
    pub(super) ask: &'a PromotionRequest,
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
        self.tenant_state.unbound(self.ask, bound, &self.seal, self.preflight.binds_target())
    }

    /// Why the change at this index refuses by its own judgement, if it does.
    fn write_refused(&self, index: usize) -> Option<Refusal> {
        let Self { preflight, tenant_state, ask, step, commit, .. } = *self;
        let own = || {
            let applies = |refusal: &&Refusal| preflight.refuses(tenant_state, ask, refusal);
            own_refusals(step, index).iter().find(applies).cloned()
        };
        match commit.ops.get(index)? {
            Change::WriteTarget { trust_look } => self.unbound().or_else(own).or_else(|| {
                let target = if *trust_look {
                    commit.target.map(|target| target.id)
                } else {
                    tenant_state.target(ask)
                };
                (target.is_none() && tenant_state.is_full(ask)).then_some(Refusal::DEPLOYMENT_LIMIT_REACHED)
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
