//! The parameters that a seed draws first: participants, budgets, length, and the weight of each kind of move.

use super::kinds::Kind;
use crate::{model::Bounds, simulation::swarm::Dice};

/// Parameters of one seed.
pub(super) struct Swarm {
    pub(super) bounds: Bounds,
    /// The most actions.
    pub(super) actions: u32,
    /// By kind; moves of a kind with weight 0 do not happen.
    pub(super) weights: [u32; Kind::ALL.len()],
    pub(super) dice: Dice,
}

impl Swarm {
    /// The fewest callers, where the flow has room for them.
    const FEWEST: u8 = 4;

    pub(super) fn of(seed: u64, most_callers: u8) -> Self {
        let mut dice = Dice::of(seed);
        let fewest = Self::FEWEST.min(most_callers);
        let consumers = fewest + dice.below(u32::from(most_callers - fewest) + 1) as u8;
        let bounds = Bounds { consumers, crashes: 1 + dice.below(3) as u8, faults: 1 + dice.below(4) as u8 };
        let actions = 16 << dice.below(5);
        // S3 is about runs in which nothing but callers and the worker moves.
        let is_calm = dice.one_in(4);
        let mut weights = [0; Kind::ALL.len()];
        for (weight, kind) in weights.iter_mut().zip(Kind::ALL) {
            let of: &[u32] = match kind {
                Kind::Request | Kind::Step | Kind::Approval => &[4, 16, 64],
                Kind::Worker | Kind::DeployEnds => &[1, 4, 16],
                Kind::LeaseEnds => &[0, 1, 4],
                _ if is_calm => &[0],
                _ => &[0, 0, 1, 4, 16],
            };
            *weight = dice.pick(of).unwrap_or_default();
        }
        Self { bounds, actions, weights, dice }
    }
}
