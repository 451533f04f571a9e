//! A model of two callers who use one approval: check-then-act against a conditional update, with exact state counts.
//!
//! The rule is the library's own `consume`; the model adds the order of the callers' reads and writes. For flows with
//! crashes, retries and acts, `countersign verify` has a larger model.

use countersign::protocol::{ApprovalState, Digest, Fences, Guards, Status, Timestamp, consume};
use stateright::{Checker, Model, Property};

const DIGEST: Digest = Digest([1; 32]);

/// Order of a caller's steps.
#[derive(Clone, Copy, Debug)]
enum Endpoint {
    /// Reads the status, and later writes what it concluded from it.
    CheckThenAct,
    /// `UPDATE … WHERE status = 'approved'`, and looks at the number of changed rows.
    ConditionalUpdate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Caller {
    Begins,
    HasRead,
    Succeeded,
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    status: Status,
    callers: [Caller; 2],
}

/// The caller of this number does its next atomic action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moves(usize);

/// True if the rule allows the use.
fn is_usable(status: Status) -> bool {
    let approval = ApprovalState { status, expires_at: Timestamp(2), digest: DIGEST };
    consume(approval, Fences::default(), Guards::ALL, DIGEST, Timestamp(1)).is_ok()
}

impl Model for Endpoint {
    type State = State;
    type Action = Moves;

    fn init_states(&self) -> Vec<State> {
        vec![State { status: Status::Approved, callers: [Caller::Begins; 2] }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Moves>) {
        let can_move = |index: &usize| matches!(state.callers[*index], Caller::Begins | Caller::HasRead);
        actions.extend((0..2).filter(can_move).map(Moves));
    }

    fn next_state(&self, state: &State, Moves(index): Moves) -> Option<State> {
        let State { mut status, mut callers } = state.clone();
        let caller = &mut callers[index];
        *caller = match (self, *caller) {
            (Self::CheckThenAct, Caller::Begins) if is_usable(status) => Caller::HasRead,
            (Self::CheckThenAct, Caller::HasRead) => {
                status = Status::Executed;
                Caller::Succeeded
            }
            (Self::ConditionalUpdate, Caller::Begins) if is_usable(status) => {
                status = Status::Executed;
                Caller::Succeeded
            }
            (_, Caller::Begins) => Caller::Refused,
            (_, Caller::HasRead | Caller::Succeeded | Caller::Refused) => return None,
        };
        Some(State { status, callers })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("at most one caller succeeds", |_, state| succeeded(state) <= 1),
            Property::sometimes("a caller succeeds", |_, state| succeeded(state) == 1),
        ]
    }
}

fn succeeded(state: &State) -> usize {
    state.callers.iter().filter(|caller| **caller == Caller::Succeeded).count()
}

fn main() {
    let checked = Endpoint::ConditionalUpdate.checker().spawn_bfs().join();
    checked.assert_properties();
    assert_eq!(checked.unique_state_count(), 5);
    println!("conditional update: 5 states, at most one caller succeeds");

    let checked = Endpoint::CheckThenAct.checker().spawn_bfs().join();
    let path = checked.assert_any_discovery("at most one caller succeeds").into_actions();
    assert_eq!(path.len(), 4);
    println!("check-then-act: both callers succeed after {path:?}");
}
