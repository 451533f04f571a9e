//! The judgement of each property on the facts of a state.

use countersign::protocol::Status;

use super::{Facts, PromotionState, Property};

impl Property {
    /// True if this state violates the property. `fresh_succeeds` returns the outcome of one fresh attempt of the
    /// approved payload, alone, without faults and drift.
    ///
    /// L1 and L2 are liveness: no single state violates them.
    #[inline]
    pub fn is_violated(self, facts: &Facts<'_>, fresh_succeeds: impl Fn() -> bool) -> bool {
        let most = facts.more.max_uses;
        match self {
            Self::S1 => facts.any(|one| one.stage.is_judged_by_s1() && one.consumed),
            Self::S2 => {
                facts.successes() > usize::from(most) || facts.executions > most || facts.launches > most
            }
            Self::S3 if !facts.clean => false,
            Self::S3 => {
                // If no work is left, an attempt that still runs waits for ever.
                let is_over = |stage: PromotionState| {
                    stage.has_ended() || (!facts.under_way && stage == PromotionState::Running)
                };
                let over = facts.count(|one| is_over(one.stage));
                let answered = facts.count(|one| one.stage.is_success() || one.stage.is_conflict());
                answered < over
                    || facts.successes() > usize::from(most)
                    || (!facts.under_way && facts.successes() < over.min(usize::from(most)))
            }
            Self::S4 => facts.executed_unapproved,
            Self::S5 => facts.executed_late,
            Self::S6 => facts.launched_other || facts.extra.other_services,
            Self::S7 => facts.any(|one| one.stage.is_refused() && (one.wrote || one.acted)),
            Self::S8 => {
                let uses = facts.more.stored_uses.unwrap_or(u8::from(facts.status == Status::Executed));
                !facts.under_way && facts.executed_events != uses
            }
            Self::S9 => facts.final_left,
            Self::S10 => facts.decisions > 1,
            Self::S11 => facts.targets_created > 1 || facts.extra.cap_passed,
            Self::S12 => facts.extra.other_tenant_answered,
            Self::S13 => facts.extra.retry_differs,
            Self::S14 => facts.extra.stale_worker_acted,
            Self::S15 => facts.extra.moved_by_a_look,
            Self::S16 => facts.extra.token_found,
            Self::S17 => facts.launched_unexecuted,
            Self::S18 => facts.more.too_few,
            Self::S19 => facts.more.requester_approved,
            Self::S20 => facts.more.used_revoked,
            Self::S21 => facts.more.not_burnt,
            Self::S22 => facts.more.used_stale,
            Self::S23 => facts.extra.deploys_overlapped,
            Self::L1 | Self::L2 => false,
            Self::L3 => facts.retry_is_promised() && !fresh_succeeds(),
            Self::L4 => facts.progress_is_promised() && (facts.more.retry_fails || !fresh_succeeds()),
        }
    }
}
