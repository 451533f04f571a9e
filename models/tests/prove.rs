//! The prover held against the bounded search: its verdicts, and the views of every state that the search reaches.

use std::ops::ControlFlow;

use countersign::protocol::Flow;
use countersign_models::{
    explorer::{Explorable, Limits, explore},
    flows::BuiltIn,
    model::{Bounds, Model},
    properties::{Property, Set},
    prove::{self, AnyNumber, Proof, prove},
    verdict::Expectations,
};
use rayon::prelude::*;

/// Also what takes minutes.
const SLOW: bool = cfg!(feature = "slow");

/// Every property that the model judges.
fn all() -> Set {
    Property::MODELLED.iter().fold(0, |set, one| set | one.bit())
}

/// The properties that a flow's file expects to hold at the default bounds.
fn expected_to_hold(expectations: &Expectations) -> Set {
    expectations.broken.iter().fold(all(), |set, broken| set & !broken.bit())
}

fn proof(flow: &Flow, wanted: Set) -> Proof {
    prove(flow, wanted, prove::Limits::default(), &mut |_| ControlFlow::Continue(()))
}

/// The properties that some state within `bounds` violates. L1 and L2 are left out.
fn violated(flow: &Flow, bounds: Bounds) -> Set {
    let model = Model::new(flow.clone(), bounds);
    let explored = explore(&model, Limits::default(), &mut |_| ControlFlow::Continue(()));
    let is_violated =
        |one: &&Property| model.applies(**one) && explored.first_broken(**one as usize).is_some();
    Property::MODELLED.iter().filter(is_violated).fold(0, |set, one| set | one.bit())
}

/// Flows for which all properties together take minutes.
const LARGE: [&str; 2] = ["consume-last", "lease-unfenced"];

fn flows() -> Vec<BuiltIn> {
    BuiltIn::every().collect()
}

#[test]
fn what_holds_at_the_default_bounds_is_proved_for_any_number() {
    flows().par_iter().for_each(|flow| {
        let subject = flow.subject();
        let model = Model::new(subject.flow.clone(), Bounds::default());
        let wanted = expected_to_hold(&subject.expectations);
        let proof = proof(&subject.flow, wanted);
        for property in Property::MODELLED.iter().filter(|one| model.applies(**one)) {
            let expected = if wanted & property.bit() == 0 { AnyNumber::NotAsked } else { AnyNumber::Proved };
            assert_eq!(proof.of(*property), expected, "{} {property}", flow.name);
        }
    });
}

#[test]
fn nothing_is_proved_that_a_flow_is_known_to_violate() {
    flows().par_iter().filter(|flow| SLOW || !LARGE.contains(&flow.name)).for_each(|flow| {
        let subject = flow.subject();
        let proof = proof(&subject.flow, all());
        for property in &subject.expectations.broken {
            let open = proof.of(*property);
            assert!(matches!(open, AnyNumber::Open(_)), "{} {property}: {open:?}", flow.name);
        }
    });
}

#[test]
fn nothing_is_proved_that_more_callers_crashes_and_faults_violate() {
    let grid: &[(u8, u8, u8)] =
        if SLOW { &[(2, 2, 2), (3, 2, 2), (4, 1, 1), (4, 2, 2), (5, 1, 1)] } else { &[(2, 2, 2)] };
    flows().par_iter().for_each(|flow| {
        let subject = flow.subject();
        let proof = proof(&subject.flow, expected_to_hold(&subject.expectations));
        for &(consumers, crashes, faults) in grid {
            let bounds = Bounds { consumers, crashes, faults };
            if LARGE.contains(&flow.name) && consumers + crashes + faults > 7 {
                continue;
            }
            let violated = violated(&subject.flow, bounds);
            for property in Property::MODELLED.iter().filter(|one| violated & one.bit() != 0) {
                assert_ne!(proof.of(*property), AnyNumber::Proved, "{} {property}, {bounds:?}", flow.name);
            }
        }
    });
}

#[test]
fn every_view_of_every_state_within_bounds_is_in_the_fixpoint() {
    let grid: &[(u8, u8, u8)] =
        if SLOW { &[(2, 2, 2), (3, 1, 1), (4, 1, 1)] } else { &[(1, 2, 2), (2, 1, 1)] };
    flows().par_iter().for_each(|flow| {
        let subject = flow.subject();
        let proof = proof(&subject.flow, expected_to_hold(&subject.expectations));
        for &(consumers, crashes, faults) in grid {
            let bounds = Bounds { consumers, crashes, faults };
            if LARGE.contains(&flow.name) && consumers > 3 {
                continue;
            }
            let model = Model::new(subject.flow.clone(), bounds);
            let explored = explore(&model, Limits::default(), &mut |_| ControlFlow::Continue(()));
            let missing = explored.ids().find(|id| {
                let state = model.unpack(explored.packed(*id));
                !proof.covers(&model, &state)
            });
            let shown = missing.map(|id| model.unpack(explored.packed(id)));
            assert!(shown.is_none(), "{} {bounds:?}: {shown:?}", flow.name);
        }
    });
}

#[test]
fn a_limit_says_so_and_proves_nothing() {
    let flow = BuiltIn::find("consume-last").expect("a built-in flow").subject().flow;
    let limits = prove::Limits { max_bytes: 10_000 };
    let cut_off = prove(&flow, all(), limits, &mut |_| ControlFlow::Continue(()));
    let stopped = prove(&flow, all(), prove::Limits::default(), &mut |_| ControlFlow::Break(()));
    assert!(matches!(cut_off.of(Property::S2), AnyNumber::Stopped(prove::Stopped::Memory(_))));
    assert_eq!(stopped.of(Property::S2), AnyNumber::Stopped(prove::Stopped::Watch));
}
