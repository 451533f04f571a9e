//! The model as stateright takes it, for its checkers and its Explorer.

use stateright::Property as Checked;

use super::{Action, Model};
use crate::{properties::Property, world::State};

/// One `always` and one `sometimes` for each: stateright takes function pointers, so each is written out.
macro_rules! checked {
    ($($id:ident),+) => {
        vec![
            // stateright stops as soon as every property has a discovery; this one never has.
            Checked::always("every state is visited", |_, _| true),
            $(
                Checked::always(Property::$id.title(), |model: &Model, state| !model.violates(Property::$id, state)),
                Checked::sometimes(concat!(stringify!($id), " is exercised"), |model: &Model, state| {
                    model.exercises(Property::$id, state)
                }),
            )+
        ]
    };
}

impl stateright::Model for Model {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.initial()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.candidates(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.apply(state, action)
    }

    fn format_action(&self, action: &Action) -> String {
        self.describe(*action)
    }

    fn format_step(&self, last: &State, action: Action) -> Option<String> {
        self.apply(last, action).map(|next| format!("{}\n{next:?}", self.narrate(last, action)))
    }

    /// The safety properties. L1 and L2 are liveness: `countersign verify` judges them on the whole graph.
    fn properties(&self) -> Vec<Checked<Self>> {
        checked!(
            S1, S2, S3, S4, S5, S6, S7, S8, S9, S10, S11, S12, S13, S15, S17, S18, S19, S20, S21, S22, L3, L4
        )
    }
}
