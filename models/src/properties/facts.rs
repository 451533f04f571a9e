//! The facts of a run that the properties are judged on.

use countersign::protocol::Status;

/// Stage of an attempt, or its outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PromotionState {
    /// Not begun.
    #[default]
    Waiting,
    /// Running.
    Running,
    /// 200 or 202.
    Succeeded,
    /// Refused by a guard, a lease, a marker or a unique key with a 409.
    Conflict,
    /// Refused by a 503 of a step that is not preflight.
    Refused,
    /// Refused by the preflight: a step's own judgement, or a 503.
    PreflightRefused,
    /// Outcome unknown.
    Unknown,
    /// Its process died.
    Killed,
    /// Succeeded, with a lost final answer.
    AnswerLost,
    /// Refused by a check of `validate` with a 409.
    PreflightConflict,
    /// Refused by a check of `validate` with a 404.
    PreflightAbsent,
    /// Refused by a check of `validate` otherwise.
    PreflightInvalid,
    /// Refused by a guard otherwise than with a 409.
    Gone,
}

impl PromotionState {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Waiting,
        Self::Running,
        Self::Succeeded,
        Self::Conflict,
        Self::Refused,
        Self::PreflightRefused,
        Self::Unknown,
        Self::Killed,
        Self::AnswerLost,
        Self::PreflightConflict,
        Self::PreflightAbsent,
        Self::PreflightInvalid,
        Self::Gone,
    ];

    /// True if the caller received a refusal.
    pub fn is_refused(self) -> bool {
        self.is_preflight() || matches!(self, Self::Conflict | Self::Gone | Self::Refused)
    }

    /// True if the preflight refused.
    pub fn is_preflight(self) -> bool {
        matches!(
            self,
            Self::PreflightRefused | Self::PreflightConflict | Self::PreflightAbsent | Self::PreflightInvalid
        )
    }

    /// True if S1 judges it: refused, other than by a 503 of a step that is not preflight.
    pub fn is_judged_by_s1(self) -> bool {
        self.is_refused() && self != Self::Refused
    }

    /// True if the object's rules refused with a 409.
    pub fn is_conflict(self) -> bool {
        matches!(self, Self::Conflict | Self::PreflightConflict)
    }

    /// The stage after an event that S3 excludes: the kinds of refusal are no longer read.
    #[must_use]
    pub fn merged(self) -> Self {
        match self {
            Self::PreflightConflict | Self::PreflightAbsent | Self::PreflightInvalid => {
                Self::PreflightRefused
            }
            Self::Gone => Self::Conflict,
            stage => stage,
        }
    }

    /// True if it succeeded, even if its answer was lost.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Succeeded | Self::AnswerLost)
    }

    /// True if it has begun and ended.
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running)
    }
}

/// Facts of one attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PromotionFacts {
    /// Its stage.
    pub stage: PromotionState,
    /// Requests another payload than the approved one.
    pub foreign: bool,
    /// The object was usable when it began.
    pub began_on_approved: bool,
    /// Its consume took effect, and was not undone.
    pub consumed: bool,
    /// Number of uses, where it may exceed one; 0 where only `consumed` is known.
    pub uses: u8,
    /// Wrote the target or the vault, without an undo.
    pub wrote: bool,
    /// Acted, without an undo. A written job counts.
    pub acted: bool,
    /// Repeats the outcome of an earlier attempt of the same caller.
    pub repeats: bool,
    /// Its next action consumes. It may be its first.
    pub at_consume: bool,
    /// Its next action writes the target, and another attempt has created one.
    pub at_contended_write: bool,
}

/// Facts of a run so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The object's status.
    pub status: Status,
    /// Its window has passed.
    pub window_passed: bool,
    /// The source has changed since the approval.
    pub drifted: bool,
    /// Number of uses, net of undos.
    pub executions: u8,
    /// Used from neither approved nor used-up.
    pub executed_unapproved: bool,
    /// Used after the window had passed.
    pub executed_late: bool,
    /// A final status was left for another one.
    pub final_left: bool,
    /// Number of winners among approve, reject and expire.
    pub decisions: u8,
    /// Number of executed events, net of releasing ones.
    pub executed_events: u8,
    /// Number of targets created.
    pub targets_created: u8,
    /// A vault key was written.
    pub vault_written: bool,
    /// A bit for each target that is building.
    pub building: u8,
    /// The effects of the act that took effect most often; all under one key count as one.
    pub launches: u8,
    /// An act took effect with another payload than the approved one.
    pub launched_other: bool,
    /// An act took effect more often than the object was used.
    pub launched_unexecuted: bool,
    /// An attempt, a job or a deploy is under way.
    pub under_way: bool,
    /// There was no fault, crash, expiry, rejection, revocation, drift, own refusal and retry, and only callers who ask
    /// for what was approved began, after it was usable.
    pub clean: bool,
    /// The attempts.
    pub promotions: &'a [PromotionFacts],
    /// Facts outside the model, and those about strangers, retries and scanners.
    pub extra: ExtraFacts,
    /// Facts of objects other than a deployment approval.
    pub more: More,
}

/// Facts of an object that may be used several times, revoked, burnt, or bound to a target. The default is a deployment
/// approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct More {
    /// Number of permitted uses.
    pub max_uses: u8,
    /// The stored count of uses; `None` where the status says it all.
    pub stored_uses: Option<u8>,
    /// An act of a used object has yet to take effect; `None` where the status says it all.
    pub is_act_owed: Option<bool>,
    /// A refused attempt uses it up.
    pub burns: bool,
    /// Used after it was revoked.
    pub used_revoked: bool,
    /// Used with another target than the approved one.
    pub used_stale: bool,
    /// The target has changed since the approval.
    pub target_drifted: bool,
    /// Approved by too few people.
    pub too_few: bool,
    /// Its requester is one of the approvers.
    pub requester_approved: bool,
    /// A refused attempt has left it usable.
    pub not_burnt: bool,
    /// The retry of a caller with the approved payload would not succeed, alone and without faults.
    pub retry_fails: bool,
}

impl Default for More {
    fn default() -> Self {
        Self {
            max_uses: 1,
            stored_uses: None,
            is_act_owed: None,
            burns: false,
            used_revoked: false,
            used_stale: false,
            target_drifted: false,
            too_few: false,
            requester_approved: false,
            not_burnt: false,
            retry_fails: false,
        }
    }
}

/// Facts of a run with several teams, keys, instances, a cap and a surface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ExtraFacts {
    /// A launched target has other services than the approved ones.
    pub other_services: bool,
    /// A team has more stacks than its plan allows.
    pub cap_passed: bool,
    /// A stranger's attempt has ended.
    pub other_tenant_asked: bool,
    /// The stranger changed something, or received another answer than a 404.
    pub other_tenant_answered: bool,
    /// The retry of an attempt that had taken effect has ended.
    pub retried: bool,
    /// The retry did not return the outcome, or took effect again.
    pub retry_differs: bool,
    /// A worker whose lease another one had taken over tried to act.
    pub stale_worker_tried: bool,
    /// The stale worker succeeded.
    pub stale_worker_acted: bool,
    /// A worker started a deploy for a target to which another object's had been deployed.
    pub deploy_followed: bool,
    /// That one had not ended.
    pub deploys_overlapped: bool,
    /// The link was opened, or another safe method was used, while that could have changed something.
    pub looked_at: bool,
    /// That request changed something.
    pub moved_by_a_look: bool,
    /// Lists, events, logs and errors were searched for the link's token.
    pub searched: bool,
    /// The token was found.
    pub token_found: bool,
}

impl Facts<'_> {
    pub(super) fn count(&self, wanted: impl Fn(&PromotionFacts) -> bool) -> usize {
        self.promotions.iter().filter(|promotion| wanted(promotion)).count()
    }

    pub(super) fn any(&self, wanted: impl Fn(&PromotionFacts) -> bool) -> bool {
        self.promotions.iter().any(wanted)
    }

    /// Attempts that succeeded, other than those that repeat an earlier outcome.
    pub(super) fn successes(&self) -> usize {
        self.count(|promotion| promotion.stage.is_success() && !promotion.repeats)
    }

    /// L1 has yet to be kept.
    pub fn launch_is_owed(&self) -> bool {
        self.more.is_act_owed.unwrap_or(self.status == Status::Executed && self.launches == 0)
    }

    /// True if L3 promises the success of a fresh attempt.
    pub(super) fn retry_is_promised(&self) -> bool {
        !self.window_passed
            && !matches!(self.status, Status::Revoked | Status::Rejected | Status::Expired)
            && self.any(|promotion| {
                let own = promotion.uses.max(u8::from(promotion.consumed));
                let others = self.executions.saturating_sub(own);
                promotion.stage.is_preflight() && promotion.began_on_approved && others == 0
            })
    }

    /// True if L4 promises the success of a fresh attempt.
    pub(super) fn progress_is_promised(&self) -> bool {
        self.status == Status::Approved && !self.window_passed
    }
}
