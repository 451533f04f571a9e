//! The condition of each property that shows that a run could have violated it.

use countersign::protocol::Status;

use super::{Facts, PromotionFacts, PromotionState, Property};

impl Property {
    /// True if this state exercises the property.
    #[inline]
    pub fn is_exercised(self, facts: &Facts<'_>) -> bool {
        let used = facts.executions > 0 || facts.status == Status::Executed;
        let acted = facts.launches > 0;
        match self {
            Self::S1 => facts.any(|one| one.stage.is_judged_by_s1()),
            Self::S2 => {
                // One that found it usable and comes too late, or one whose first action it is. Where nothing uses the
                // object, two that succeed.
                let comes_late =
                    |one: &PromotionFacts| one.began_on_approved || one.stage == PromotionState::Waiting;
                (used && facts.any(|one| one.at_consume && comes_late(one)))
                    || facts.successes() > 1
                    || (used && facts.any(|one| one.stage.is_conflict()))
                    || facts.launches > facts.more.max_uses
            }
            Self::S3 => {
                let all = facts.successes() == usize::from(facts.more.max_uses);
                facts.clean
                    && (all || facts.successes() > 1)
                    && facts.count(|one| one.stage.has_ended()) > facts.successes()
                    || facts.clean && facts.successes() > usize::from(facts.more.max_uses)
            }
            Self::S4 => used,
            Self::S5 => facts.window_passed && (facts.any(|one| one.at_consume) || facts.executed_late),
            Self::S6 => {
                acted
                    && (facts.drifted || facts.any(|one| one.foreign && one.stage != PromotionState::Waiting))
            }
            Self::S7 => {
                (facts.targets_created > 0 || facts.vault_written || acted)
                    && facts.any(|one| one.stage.is_refused())
            }
            Self::S8 => used && !facts.under_way,
            Self::S9 => facts.status.is_final() && facts.any(|one| one.stage.is_refused()),
            Self::S10 => facts.decisions > 0,
            Self::S11 => facts.any(|one| one.at_contended_write),
            Self::S12 => facts.extra.other_tenant_asked,
            Self::S13 => facts.extra.retried,
            Self::S14 => facts.extra.stale_worker_tried,
            Self::S15 => facts.extra.looked_at,
            Self::S16 => facts.extra.searched,
            Self::S17 => acted,
            Self::S18 | Self::S19 => {
                facts.decisions > 0 || facts.more.too_few || facts.more.requester_approved
            }
            Self::S20 => {
                facts.status == Status::Revoked && facts.any(|one| one.stage != PromotionState::Waiting)
            }
            Self::S21 => facts.any(|one| one.stage.is_refused() && one.began_on_approved),
            Self::S22 => {
                facts.more.target_drifted && facts.any(|one| one.at_consume || one.stage.has_ended())
            }
            Self::S23 => facts.extra.deploy_followed,
            Self::L1 => used || facts.launch_is_owed(),
            Self::L2 => facts.building != 0,
            Self::L3 => facts.retry_is_promised(),
            Self::L4 => facts.progress_is_promised() && facts.any(|one| one.stage != PromotionState::Waiting),
        }
    }
}
