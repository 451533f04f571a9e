//! The fresh attempt of L3 and L4: the real one, alone, with the approved payload, without faults, drift and own
//! refusals.
//!
//! Settled: it is a new caller's under a new key; everyone else stands still, and leases and markers that expire have.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering::Relaxed},
};

use countersign::protocol::{Effect, Outcome, Promotion, Refusal, Reply};

use super::{Model, StepOutcome, remember};
use crate::{
    properties::PromotionState,
    world::{Attempt, Job, Lease, Payload, State, TargetStatus},
};

/// Outcome of an attempt that runs alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alone {
    /// The attempt succeeds.
    Succeeds,
    /// The attempt is refused, or waits for ever.
    Fails,
    /// The attempt meets a live holder's lease that does not expire.
    NotJudged,
}

/// Outcomes of fresh attempts, by the facts on which they depend; 0 if not yet computed.
#[derive(Clone, Debug)]
pub(super) struct Known(Arc<[AtomicU8]>);

/// Status, window, uses, a target, a lease that stays and whose holder lives, and the keys of three acts.
const KNOWN: usize = 8 * 2 * 16 * 2 * 3 * 8;

impl Default for Known {
    fn default() -> Self {
        Self((0..KNOWN).map(|_| AtomicU8::new(0)).collect())
    }
}

impl Model {
    /// True unless a fresh attempt fails in this state; one that is not judged counts as a success.
    pub(crate) fn fresh_succeeds(&self, state: &State) -> bool {
        let world = &state.world;
        let keys = world.keyed.iter().fold(0, |bits, keyed| bits << 1 | usize::from(keyed & 1 == 1));
        let keys = if self.flow.object().uses == 1 { keys } else { 0 };
        let stays = match world.lease {
            Lease::Held { .. } if !self.lease_runs_out(world) => 1 + usize::from(self.holder_lives(state)),
            Lease::Held { .. } | Lease::Free => 0,
        };
        let index = [
            (world.status as usize, 8),
            (usize::from(world.window_passed), 2),
            (usize::from(world.uses.min(15)), 16),
            (usize::from(world.found_target().is_some()), 2),
            (stays, 3),
            (keys, 8),
        ];
        let index = index.into_iter().fold(0, |index, (value, size)| index * size + value);
        match self.fresh.0[index].load(Relaxed) {
            0 => {
                let fails = self.alone(state, 0, true) == Alone::Fails;
                self.fresh.0[index].store(1 + u8::from(!fails), Relaxed);
                !fails
            }
            known => known == 2,
        }
    }

    /// Settled: a live holder's lease that does not run out is not judged, whether or not its holder knows of it.
    fn holder_lives(&self, state: &State) -> bool {
        self.leases_end && self.holder_runs(state)
    }

    /// Outcome of this attempt, alone and as if its caller were new (`is_fresh`) or had a retry left.
    pub(super) fn alone(&self, state: &State, attempt: u8, is_fresh: bool) -> Alone {
        match self.run_alone(state, attempt, is_fresh) {
            Err(alone) => alone,
            Ok(Outcome::Succeeded { .. }) => Alone::Succeeds,
            Ok(Outcome::Refused { .. } | Outcome::Unknown { .. }) => Alone::Fails,
        }
    }

    /// The refusal of this attempt, alone and as if its caller were new (`is_fresh`) or had a retry left.
    pub(super) fn refusal_alone(&self, state: &State, attempt: u8, is_fresh: bool) -> Option<Refusal> {
        match self.run_alone(state, attempt, is_fresh) {
            Ok(Outcome::Refused { refusal, .. }) => Some(refusal),
            Ok(Outcome::Succeeded { .. } | Outcome::Unknown { .. }) | Err(_) => None,
        }
    }

    /// The outcome of this attempt, or what became of one without an outcome.
    fn run_alone(&self, state: &State, attempt: u8, is_fresh: bool) -> Result<Outcome, Alone> {
        let mut holder_lives = self.holder_lives(state);
        let mut state = *state;
        state.world.drifted = false;
        state.world.target_drifted = false;
        if self.lease_runs_out(&state.world) {
            Self::free_lease(&mut state.world);
        }
        if is_fresh && state.world.lease != Lease::Free {
            // Another caller's, though the fresh attempt uses the slot of one that may hold it.
            state.world.lease = Lease::Held { by: u8::MAX, known: false };
            state.world.lease_shared = false;
        }
        let index = usize::from(attempt);
        let sibling = self.sibling(attempt).map(usize::from);
        if is_fresh {
            state.attempts[index] = Attempt::default();
            if self.flow.object().uses != 1 {
                // Its use is a new one, and so is its key.
                for act in 0..state.world.keyed.len() {
                    state.world.keyed[act] &= !(1 << index);
                    state.world.jobs[act][index] = Job::default();
                }
            }
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
        *one = Attempt { stage: PromotionState::Running, held: Payload::Approved, ..*one };
        for target in &mut state.world.targets {
            if *target == TargetStatus::Building {
                *target = TargetStatus::Settled;
            }
        }
        // The first caller never requests another payload: that is the last of two or more.
        let mut promotion = Promotion::begin(&self.flow, self.request(attempt), Payload::Approved.digest());
        while let Some(effect) = promotion.effect() {
            if let (Effect::Lease { .. }, Lease::Held { by, .. }) = (effect, state.world.lease)
                && by == attempt
            {
                // The attempt waits for its own lease.
                holder_lives = false;
                if self.lease_runs_out(&state.world) {
                    Self::free_lease(&mut state.world);
                }
            }
            let reply = self.reply(effect, &mut state, attempt, StepOutcome::Happens);
            if matches!((effect, &reply), (Effect::Lease { .. }, None | Some(Reply::LeaseHeld)))
                && holder_lives
            {
                return Err(Alone::NotJudged);
            }
            let reply = reply.ok_or(Alone::Fails)?;
            promotion.resume(reply);
            remember(&mut state.attempts[index], promotion.position());
        }
        promotion.outcome().cloned().ok_or(Alone::Fails)
    }

    fn markers_expire_for_fresh(&self) -> bool {
        use countersign::protocol::StepAction;
        let expires = |action: &StepAction| matches!(action, StepAction::Recall { claim_expires: true, .. });
        self.flow.steps().iter().any(|step| expires(&step.action))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::{
        explorer::{Explorable, Limits, explore},
        flows::{BuiltIn, Subject},
        model::Bounds,
    };

    /// Flows with more states are compared as far as this.
    const MAX_STATES: usize = 2_000;

    /// Compares what is kept with what every state says. The number of states.
    fn compared(source: &str, name: &str) -> usize {
        let Ok(subject) = Subject::read(source.as_bytes()) else { return 0 };
        let bounds = Bounds { consumers: 2, crashes: 1, faults: 1 };
        if !Model::fits(&subject.flow, bounds) {
            return 0;
        }
        let model = Model::new(subject.flow, bounds);
        let limits = Limits { max_states: MAX_STATES, ..Limits::default() };
        let explored = explore(&model, limits, &mut |_| ControlFlow::Continue(()));
        for id in explored.ids() {
            let state = model.unpack(explored.packed(id));
            let succeeds = model.alone(&state, 0, true) != Alone::Fails;
            assert_eq!(model.fresh_succeeds(&state), succeeds, "{name}: {state:?}");
        }
        explored.states()
    }

    #[test]
    fn a_fresh_attempt_depends_on_nothing_but_what_its_result_is_kept_by() {
        let (mut once, mut several) = (0, 0);
        for flow in BuiltIn::every() {
            once += compared(flow.source, flow.name);
            // With several uses the keys of the attempt whose index is borrowed are cleared first.
            several += compared(&flow.source.replacen("[object]\n", "[object]\nuses = 2\n", 1), flow.name);
        }
        assert!(once > 0 && several > 0, "nothing was compared");
    }
}
