//! Lengths of the model's shortest counterexamples, and of the same runs in the simulator.

use std::{collections::BTreeMap, ops::ControlFlow, ops::RangeInclusive};

use countersign::protocol::Flow;

use crate::{
    explorer::{Explorable, FairnessClass, Findings, Id, Limits, explore},
    liveness::avoidable,
    model::{Action, Bounds, Cast, Model},
    properties::{Inevitable, PromotionState, Property},
    world::{Attempt, Packed, State},
};

/// The model's shortest run that violates a property, with any number of faults and crashes: the shrinker
/// leaves out actions, and does not look for a run without faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortest {
    /// Its actions in the model.
    pub actions: usize,
    /// Number of its actions here: one action of the model can be two here, and vice versa.
    pub here: RangeInclusive<usize>,
}

impl Shortest {
    /// One for each property that the flow violates in the model at the default bounds.
    pub fn of(flow: &Flow) -> BTreeMap<Property, Self> {
        // The action that ends an attempt releases its lease, too; here these are two.
        let given_back = if flow.takes_lease() { Bounds::default().consumers.into() } else { 0 };
        let by_length = ByLength(Model::new(flow.clone(), Bounds::default()));
        let model = &by_length.0;
        let explored = explore(&by_length, Limits::default(), &mut |_| ControlFlow::Continue(()));
        let stem = |inevitable: Inevitable| {
            let cost = |id: &Id| (model.cost(&model.unpack(explored.packed(*id))), *id);
            let cheapest = |ends: &[Id]| {
                ends.iter().min_by_key(|id| cost(id)).map(|id| explored.path_to(*id)).unwrap_or_default()
            };
            avoidable(&explored, inevitable as u8, |_| 0, cheapest).map(|lasso| lasso.stem)
        };
        let path = |property: Property| match explored.first_broken(property as usize) {
            Some(first) => Some(explored.path_to(first)),
            None => Inevitable::ALL.iter().find(|one| one.property() == property).and_then(|one| stem(*one)),
        };
        let applicable = Property::MODELLED.iter().filter(|property| model.applies(**property));
        let shortest = applicable.filter_map(|&property| {
            let path = path(property)?;
            let states: Vec<State> = path.iter().map(|id| model.unpack(explored.packed(*id))).collect();
            let ends_job = |pair: &&[State]| {
                let mut moves = model.moves(&pair[0]).filter(|(next, _)| *next == pair[1]);
                moves.any(|(_, action)| matches!(action, Action::JobDeployEnds { .. }))
            };
            // A job's deploy ends, and its worker notices: here these are two.
            let noticed = states.windows(2).filter(ends_job).count();
            // A request is sent again, and its attempt begins: the same.
            let has_begun =
                |cast: &Cast, one: &Attempt| cast.retry_of.is_some() && one.stage != PromotionState::Waiting;
            let resent = states.last().map_or(0, |last| {
                model.cast().iter().zip(&last.attempts).filter(|(cast, one)| has_begun(cast, one)).count()
            });
            let actions = path.len() - 1;
            let here = actions - given_back.min(actions)..=actions + noticed + resent;
            Some((property, Self { actions, here }))
        });
        shortest.collect()
    }
}

/// The model, with counterexamples ordered by length alone.
struct ByLength(Model);

impl stateright::Model for ByLength {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.0.init_states()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.0.actions(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.0.next_state(state, action)
    }
}

impl Explorable for ByLength {
    type Packed = Packed;

    fn pack(&self, state: &State) -> Packed {
        self.0.pack(state)
    }

    fn unpack(&self, packed: &Packed) -> State {
        self.0.unpack(packed)
    }

    fn judge(&self, state: &State) -> Findings {
        self.0.judge(state)
    }

    fn faults(&self, _: &State) -> u32 {
        0
    }

    fn cost(&self, state: &State) -> u32 {
        self.0.cost(state)
    }

    fn mover(&self, state: &State, action: &Action) -> FairnessClass {
        self.0.mover(state, action)
    }
}
