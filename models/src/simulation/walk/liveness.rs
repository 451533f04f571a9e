//! The liveness phase: no faults any more, and every owed move in its turn.

use super::{kinds::Kind, schedule::Walk};
use crate::{
    explorer::{Explorable as _, FairnessClass},
    model::{Action, StepOutcome},
};

impl Walk<'_> {
    /// Plays rounds, in each of which every fairness class moves once if it can, until none can or the rounds repeat.
    /// Returns the actions, and the inevitable properties that are then never reached: a bit for each.
    ///
    /// A class that stays able to move does so in every round, so that the run is weakly fair.
    pub(super) fn liveness_phase(&mut self, count: &mut dyn FnMut(Kind)) -> (Vec<Action>, u8) {
        let mut actions = Vec::new();
        // Brent's algorithm: a cycle of rounds returns to a state that was remembered at a power of two.
        let (mut remembered, mut rounds, mut until) = (self.state, 0_u32, 1_u32);
        let mut pending = self.pending;
        loop {
            let before = actions.len();
            for class in self.owed_classes() {
                if let Some((kind, action)) = self.owed(class) {
                    count(kind);
                    actions.push(action);
                    pending &= self.pending;
                }
            }
            if actions.len() == before {
                return (actions, self.pending);
            }
            if self.state == remembered {
                return (actions, pending);
            }
            rounds += 1;
            if rounds == until {
                until *= 2;
                (remembered, pending) = (self.state, self.pending);
            }
        }
    }

    /// The classes to which a move is owed in this state.
    fn owed_classes(&self) -> Vec<u8> {
        let mut candidates = Vec::new();
        self.model.candidates(&self.state, &mut candidates);
        let owed = candidates.iter().filter_map(|action| match self.model.mover(&self.state, action) {
            FairnessClass::Owed(class) => Some(class),
            FairnessClass::Fault | FairnessClass::Optional => None,
        });
        let mut classes: Vec<u8> = owed.collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    /// Takes an owed move of this class.
    fn owed(&mut self, class: u8) -> Option<(Kind, Action)> {
        let mut candidates = Vec::new();
        self.model.candidates(&self.state, &mut candidates);
        let own_refusal =
            |action: &Action| matches!(action, Action::Promotion { outcome: StepOutcome::Refuses, .. });
        for action in candidates {
            let is_owed = self.model.mover(&self.state, &action) == FairnessClass::Owed(class);
            if is_owed && !own_refusal(&action) {
                let kind = Kind::of(self.model, &self.state, action);
                if self.take(action) {
                    return Some((kind, action));
                }
            }
        }
        None
    }
}
