//! Liveness on small hand-written graphs, with and without starvation.

use std::ops::ControlFlow;

use super::*;
use crate::explorer::{Explorable, Findings, Limits, explore};

/// States are numbers from 0; the good has come about in `good`.
struct Drawing {
    edges: &'static [(u8, u8, FairnessClass)],
    good: u8,
}

impl stateright::Model for Drawing {
    type State = u8;
    type Action = (u8, u8, FairnessClass);

    fn init_states(&self) -> Vec<u8> {
        vec![0]
    }

    fn actions(&self, state: &u8, actions: &mut Vec<Self::Action>) {
        actions.extend(self.edges.iter().filter(|(from, ..)| from == state));
    }

    fn next_state(&self, _: &u8, (_, to, _): Self::Action) -> Option<u8> {
        Some(to)
    }
}

impl Explorable for Drawing {
    type Packed = u8;

    fn pack(&self, state: &u8) -> u8 {
        *state
    }

    fn unpack(&self, packed: &u8) -> u8 {
        *packed
    }

    fn judge(&self, state: &u8) -> Findings {
        Findings { pending: u8::from(*state != self.good), ..Findings::default() }
    }

    fn faults(&self, _: &u8) -> u32 {
        0
    }

    fn cost(&self, _: &u8) -> u32 {
        0
    }

    fn mover(&self, _: &u8, (.., mover): &Self::Action) -> FairnessClass {
        *mover
    }
}

/// The states of the lasso: stem, tail, cycle.
fn lasso(edges: &'static [(u8, u8, FairnessClass)], good: u8) -> Option<[Vec<u8>; 3]> {
    let explored = explore(&Drawing { edges, good }, Limits::default(), &mut |_| ControlFlow::Continue(()));
    let states = |ids: Vec<Id>| ids.into_iter().map(|id| *explored.packed(id)).collect();
    avoidable(&explored, 0, |_| 0, |ends| explored.path_to(*ends.iter().min().expect("there are some")))
        .map(|lasso| [states(lasso.stem), states(lasso.tail), states(lasso.cycle)])
}

const LEFT: FairnessClass = FairnessClass::Owed(0);
const RIGHT: FairnessClass = FairnessClass::Owed(1);

#[test]
fn a_cycle_without_starvation_is_a_violation() {
    // Left can only act in state 1, and so is not always able to: going round is fair, and the good never comes.
    let edges = &[(0, 1, RIGHT), (1, 0, RIGHT), (1, 2, LEFT)];
    assert_eq!(lasso(edges, 2), Some([vec![0], vec![0], vec![0, 1, 0]]));
}

#[test]
fn a_cycle_that_never_makes_an_enabled_owed_move_is_not_fair() {
    let edges = &[(0, 1, RIGHT), (1, 0, RIGHT), (1, 2, LEFT), (0, 2, LEFT)];
    assert_eq!(lasso(edges, 2), None);
}

#[test]
fn a_state_without_owed_moves_is_a_trap() {
    let edges = &[(0, 1, LEFT), (1, 2, FairnessClass::Optional)];
    assert_eq!(lasso(edges, 2), Some([vec![0], vec![0, 1], vec![]]));
}

#[test]
fn a_fault_that_might_help_does_not_count() {
    assert_eq!(lasso(&[(0, 1, FairnessClass::Fault)], 1), Some([vec![0], vec![0], vec![]]));
}

#[test]
fn a_fault_leads_to_where_the_good_can_be_avoided_but_not_round_again() {
    let edges = &[(0, 1, FairnessClass::Fault), (0, 3, LEFT), (1, 2, LEFT)];
    assert_eq!(lasso(edges, 3), Some([vec![0, 1], vec![1, 2], vec![]]));
}

#[test]
fn the_good_that_has_to_come_about_does() {
    let edges = &[(0, 1, LEFT), (1, 2, RIGHT), (0, 3, RIGHT), (3, 2, LEFT), (3, 3, FairnessClass::Optional)];
    assert_eq!(lasso(edges, 2), None);
}

#[test]
fn a_fair_cycle_gives_every_class_its_turn() {
    // Left moves on 0 → 1 only, right on 1 → 2 only, and from 2 either has to go back.
    let edges = &[(0, 1, LEFT), (0, 2, RIGHT), (1, 2, RIGHT), (1, 0, LEFT), (2, 0, LEFT), (2, 1, RIGHT)];
    let [_, _, cycle] = lasso(edges, 9).expect("there is no state 9");
    let took = |mover| cycle.windows(2).any(|pair| edges.contains(&(pair[0], pair[1], mover)));
    assert!(took(LEFT) && took(RIGHT), "{cycle:?}");
    assert_eq!(cycle.first(), cycle.last());
}
