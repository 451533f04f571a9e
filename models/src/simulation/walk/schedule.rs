//! A walk: drawn from a seed, or played from a list of actions.

use super::{kinds::Kind, swarm::Swarm};
use crate::{
    explorer::Explorable as _,
    model::{Action, Bounds, Model},
    properties::{Inevitable, PromotionState},
    simulation::Found,
    world::{MAX_COUNT, State},
};

/// The model in one state, with the findings so far.
pub(super) struct Walk<'m> {
    pub(super) model: &'m Model,
    pub(super) state: State,
    pub(super) found: Found,
    /// The inevitable properties that are pending in this state: a bit for each.
    pub(super) pending: u8,
    /// The canary: the store counts each use and each effect twice.
    doubles: bool,
}

/// Result of one seed.
pub(super) struct Drawn {
    pub(super) bounds: Bounds,
    pub(super) taken: Vec<Action>,
    /// The actions of the liveness phase.
    pub(super) liveness_actions: Vec<Action>,
    pub(super) found: Found,
    /// By kind, the liveness phase included.
    pub(super) kinds: [u64; Kind::ALL.len()],
    /// The final stages of the attempts.
    pub(super) stages: Vec<PromotionState>,
}

/// Result of playing a list of actions.
pub(super) struct Played {
    pub(super) taken: Vec<Action>,
    pub(super) liveness_actions: Vec<Action>,
    /// Properties violated before the liveness phase, or pending then and never reached.
    pub(super) broken: u32,
}

impl<'m> Walk<'m> {
    pub(super) fn new(model: &'m Model, doubles: bool) -> Self {
        let mut walk = Self { model, state: model.initial(), found: Found::default(), pending: 0, doubles };
        walk.judge();
        walk
    }

    fn judge(&mut self) {
        let findings = self.model.judge(&self.state);
        self.found.broken |= findings.broken;
        self.found.exercised |= findings.exercised;
        self.pending = findings.pending;
    }

    /// Takes a candidate; false when it turns out to be impossible here.
    pub(super) fn take(&mut self, action: Action) -> bool {
        let Some(mut next) = self.model.apply(&self.state, action) else { return false };
        if self.doubles {
            double(&self.state, &mut next);
        }
        self.state = next;
        self.judge();
        true
    }

    /// The properties that these pending ones are, a bit for each.
    pub(super) fn never_reached(&self, pending: u8) -> u32 {
        let never = Inevitable::ALL.into_iter().filter(|one| pending >> *one as u8 & 1 == 1);
        never.fold(0, |set, one| set | one.property().bit())
    }

    /// A move by weight; `None` when every possible one has the weight 0.
    fn draw(&mut self, swarm: &mut Swarm, scratch: &mut Vec<Action>) -> Option<(Kind, Action)> {
        scratch.clear();
        self.model.candidates(&self.state, scratch);
        let weigh = |action: &Action| swarm.weights[Kind::of(self.model, &self.state, *action) as usize];
        let mut weights: Vec<u32> = scratch.iter().map(weigh).collect();
        loop {
            let total: u32 = weights.iter().sum();
            if total == 0 {
                return None;
            }
            let mut drawn = swarm.dice.below(total);
            let index = weights.iter().position(|weight| {
                let is_here = drawn < *weight;
                drawn = drawn.wrapping_sub(*weight);
                is_here
            })?;
            let kind = Kind::of(self.model, &self.state, scratch[index]);
            if self.take(scratch[index]) {
                return Some((kind, scratch[index]));
            }
            weights[index] = 0;
        }
    }
}

/// Counts what this move counted once more.
fn double(before: &State, after: &mut State) {
    let (before, after) = (&before.world, &mut after.world);
    let again = |before: u8, after: &mut u8| {
        if *after > before {
            *after = (*after + 1).min(MAX_COUNT);
        }
    };
    again(before.applied, &mut after.applied);
    for (before, after) in before.effects.iter().zip(&mut after.effects) {
        again(*before, after);
    }
}

/// Draws a walk from the seed, runs the liveness phase, and judges. `watch` receives every action with the state after it.
pub(super) fn draw(
    base: &Model,
    most_callers: u8,
    doubles: bool,
    seed: u64,
    watch: &mut dyn FnMut(Action, &Model, &State),
) -> Drawn {
    let mut swarm = Swarm::of(seed, most_callers);
    let model = base.crowded(swarm.bounds);
    let mut walk = Walk::new(&model, doubles);
    let (mut taken, mut scratch) = (Vec::new(), Vec::new());
    let mut kinds = [0; Kind::ALL.len()];
    while (taken.len() as u32) < swarm.actions {
        let Some((kind, action)) = walk.draw(&mut swarm, &mut scratch) else { break };
        kinds[kind as usize] += 1;
        watch(action, &model, &walk.state);
        taken.push(action);
    }
    let (liveness_actions, never) = walk.liveness_phase(&mut |kind| kinds[kind as usize] += 1);
    walk.found.broken |= walk.never_reached(never) & model.applied();
    let stages = walk.state.attempts[..model.cast().len()].iter().map(|one| one.stage).collect();
    Drawn { bounds: swarm.bounds, taken, liveness_actions, found: walk.found, kinds, stages }
}

/// Plays the actions that are possible at their turn, and then the liveness phase.
pub(super) fn play(model: &Model, doubles: bool, actions: &[Action]) -> Played {
    let mut walk = Walk::new(model, doubles);
    let mut scratch = Vec::new();
    let mut is_taken = |action: &Action| {
        scratch.clear();
        model.candidates(&walk.state, &mut scratch);
        // A file may name attempts and acts that do not exist: only a candidate is applied.
        scratch.contains(action) && walk.take(*action)
    };
    let taken = actions.iter().copied().filter(|action| is_taken(action)).collect();
    let before = walk.found.broken;
    let (liveness_actions, never) = walk.liveness_phase(&mut |_| {});
    let broken = before | (walk.never_reached(never) & model.applied());
    Played { taken, liveness_actions, broken }
}
