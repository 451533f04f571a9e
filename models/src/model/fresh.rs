//! The fresh attempt of L3 and L4: the real one, alone, of what was approved, without faults, drift and own refusals.
//!
//! Settled: it is a new caller's under a new key; everyone else stands still, and leases and markers that expire have.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering::Relaxed},
};

use countersign::protocol::{Effect, Outcome, Promotion};

use super::{Model, StepOutcome, remember};
use crate::{
    properties::Stage,
    world::{Attempt, Lease, Payload, State, TargetStatus},
};

/// Whether a fresh attempt succeeds, by what it depends on; 0 where it has not been tried.
#[derive(Clone, Debug)]
pub(super) struct Known(Arc<[AtomicU8]>);

/// Status, window, uses, a target, a lease that stays, and the keys of three acts.
const KNOWN: usize = 8 * 2 * 16 * 2 * 2 * 8;

impl Default for Known {
    fn default() -> Self {
        Self((0..KNOWN).map(|_| AtomicU8::new(0)).collect())
    }
}

impl Model {
    /// Whether it would succeed in this state.
    pub(super) fn fresh_succeeds(&self, state: &State) -> bool {
        let world = &state.world;
        let keys = world.keyed.iter().fold(0, |bits, keyed| bits << 1 | usize::from(keyed & 1 == 1));
        let keys = if self.flow.object().uses == 1 { keys } else { 0 };
        let stays = world.lease != Lease::Free && !self.lease_expires();
        let index = [
            (world.status as usize, 8),
            (usize::from(world.window_passed), 2),
            (usize::from(world.uses.min(15)), 16),
            (usize::from(world.found_target().is_some()), 2),
            (usize::from(stays), 2),
            (keys, 8),
        ];
        let index = index.into_iter().fold(0, |index, (value, size)| index * size + value);
        match self.fresh.0[index].load(Relaxed) {
            0 => {
                let succeeds = self.succeeds_alone(state, 0, true);
                self.fresh.0[index].store(1 + u8::from(succeeds), Relaxed);
                succeeds
            }
            known => known == 2,
        }
    }

    /// Whether this attempt, alone and as if its caller were new (`is_fresh`) or had a retry left, succeeds.
    pub(super) fn succeeds_alone(&self, state: &State, attempt: u8, is_fresh: bool) -> bool {
        let mut state = *state;
        state.world.drifted = false;
        state.world.target_drifted = false;
        if self.lease_expires() {
            state.world.lease = Lease::Free;
        }
        if is_fresh && state.world.lease != Lease::Free {
            // Another caller's, though the fresh attempt borrows the place of one that may hold it.
            state.world.lease = Lease::Held { by: u8::MAX, known: false };
        }
        let index = usize::from(attempt);
        let sibling = self.sibling(attempt).map(usize::from);
        if is_fresh {
            state.attempts[index] = Attempt::default();
            if let Some(other) = sibling {
                state.attempts[other] = Attempt::default();
            }
        }
        for one in &mut state.attempts {
            if self.markers_expire_for_fresh() {
                one.has_marker = false;
            }
        }
        let one = &mut state.attempts[index];
        *one = Attempt { stage: Stage::Running, held: Payload::Approved, ..*one };
        for target in &mut state.world.targets {
            if *target == TargetStatus::Building {
                *target = TargetStatus::Settled;
            }
        }
        // The first caller never asks for another payload: that is the last of two or more.
        let mut promotion = Promotion::begin(&self.flow, self.request(attempt), Payload::Approved.digest());
        while let Some(effect) = promotion.effect() {
            if let (Effect::Lease { .. }, true) = (effect, self.lease_expires()) {
                state.world.lease = Lease::Free;
            }
            let Some(reply) = self.reply(effect, &mut state, attempt, StepOutcome::Happens) else {
                return false;
            };
            promotion.resume(reply);
            remember(&mut state.attempts[index], promotion.checkpoint());
        }
        matches!(promotion.outcome(), Some(Outcome::Succeeded { .. }))
    }

    fn markers_expire_for_fresh(&self) -> bool {
        use countersign::protocol::StepAction;
        let expires = |action: &StepAction| matches!(action, StepAction::Recall { claim_expires: true, .. });
        self.flow.steps().iter().any(|step| expires(&step.action))
    }
}
