//! The fresh promotion of L3 and L4: the real one, alone, of what was approved, without faults and drift.

use countersign::protocol::{Effect, End, Promotion, Status};

use super::{Model, Outcome, remember};
use crate::{
    properties::Stage,
    world::{Consumer, Payload, State, TargetStatus, World},
};

impl Model {
    /// Whether it would succeed in this state.
    pub(super) fn fresh_succeeds(&self, state: &State) -> bool {
        let World { status, window_passed, targets, lease_held, .. } = state.world;
        let target = targets[0] != TargetStatus::Absent;
        self.fresh[status as usize][usize::from(window_passed)][usize::from(target)][usize::from(lease_held)]
    }

    /// All there is for it to depend on is tried once.
    pub(super) fn try_fresh_promotions(&self) -> [[[[bool; 2]; 2]; 2]; 5] {
        Status::ALL.map(|status| {
            [false, true].map(|window_passed| {
                [TargetStatus::Absent, TargetStatus::Settled].map(|target| {
                    [false, true].map(|lease_held| {
                        let mut world = World { status, window_passed, lease_held, ..World::new(0, 0) };
                        world.targets[0] = target;
                        self.runs_to_success(world)
                    })
                })
            })
        })
    }

    fn runs_to_success(&self, mut world: World) -> bool {
        let mut one = Consumer { stage: Stage::Running, held: Payload::Approved, ..Consumer::default() };
        let mut promotion = Promotion::begin(&self.flow, &self.requests[0], one.held.digest());
        while let Some(effect) = promotion.effect() {
            if matches!(effect, Effect::Lease { .. }) && self.leases_end {
                // It waits: fairness is owed to the end of a lease.
                world.lease_held = false;
            }
            // Consumer 0 is never the foreign one: that is the last of two or more.
            let Some(reply) = self.reply(effect, &mut world, &mut one, 0, Outcome::Happens) else {
                return false;
            };
            promotion.resume(reply);
            remember(&mut one, promotion.checkpoint());
        }
        matches!(promotion.end(), Some(End::Succeeded { .. }))
    }
}
