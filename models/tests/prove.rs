//! The prover held against the bounded search: its verdicts, and the views of every state that the search reaches.

use std::ops::ControlFlow;

use countersign::protocol::Flow;
use countersign_models::{
    explorer::{Explorable, Limits, explore},
    flows::{BuiltIn, KEYED, Subject},
    model::{Bounds, Model},
    properties::{Property, Set},
    prove::{self, AnyNumber, Cutoff, Proof, prove},
    verdict::{Expectations, Verdict, verify},
};
use countersign_testkit::slow;
use rayon::prelude::*;

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

/// Every built-in flow. Those with keys have more states than a search at the default bounds finishes.
/// Those that take longest come first.
fn flows() -> Vec<BuiltIn> {
    KEYED.iter().copied().chain(BuiltIn::every()).collect()
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
    flows().par_iter().for_each(|flow| {
        let subject = flow.subject();
        let proof = proof(&subject.flow, all());
        for property in &subject.expectations.broken {
            let open = proof.of(*property);
            assert!(matches!(open, AnyNumber::Open(_)), "{} {property}: {open:?}", flow.name);
        }
    });
}

/// Flows in which the attempt that owes an act, or others of its kind, are over when the act is missed.
const OVER: [(&str, &str); 3] =
    [("", "guards = [\"status\"]"), ("uses = 2\n", "guards = [\"status\"]"), ("uses = 2\n", "guards = []")];

#[test]
fn an_act_that_is_owed_by_attempts_that_are_over_is_missed() {
    for (object, guards) in OVER {
        for failed_attempt in ["keep", "burn"] {
            let source = format!(
                "about = \"an act whose error is ignored\"\n[object]\napprovers = 0\nexpires = false\nbound = false\n\
                 owner = false\naudited = false\nfailed_attempt = \"{failed_attempt}\"\n{object}\
                 [[step]]\ndo = \"consume\"\n{guards}\n\
                 [[step]]\ndo = \"act\"\nname = \"payout\"\nvia = \"call\"\non_error = \"continue\"\n"
            );
            let flow = Subject::read(source.as_bytes()).expect("a flow file").flow;
            for wanted in [Property::L1.bit(), all()] {
                let verdict = proof(&flow, wanted).of(Property::L1);
                assert!(matches!(verdict, AnyNumber::Open(_)), "{verdict:?} in\n{source}");
            }
        }
    }
}

/// Bounds that take more states are compared as far as this.
const MAX_STATES: usize = 100_000;

fn limits() -> Limits {
    Limits { max_states: MAX_STATES, ..Limits::default() }
}

/// The comparison with one flow within one set of bounds.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Proved, and violated by no run.
    proved: usize,
    /// Open, and violated by a run.
    violated: usize,
    /// Open, and not violated within these bounds.
    open: usize,
    /// The prover or the search did not come to its end.
    unknown: usize,
}

impl Tally {
    fn and(self, other: Self) -> Self {
        Self {
            proved: self.proved + other.proved,
            violated: self.violated + other.violated,
            open: self.open + other.open,
            unknown: self.unknown + other.unknown,
        }
    }
}

/// The verdicts of the prover next to those of the search.
fn compared(flow: &BuiltIn, proofs: &[&Proof], bounds: Bounds) -> Tally {
    let subject = flow.subject();
    let model = Model::new(subject.flow.clone(), bounds);
    let report = verify(&model, &subject.expectations, limits(), &mut |_| ControlFlow::Continue(()));
    let mut tally = Tally::default();
    for property in Property::MODELLED.iter().filter(|one| model.applies(**one)) {
        let verdict = &report.of(*property).verdict;
        for proof in proofs {
            match (proof.of(*property), verdict) {
                (AnyNumber::NotAsked, _) => {}
                (AnyNumber::Proved, Verdict::Violated(run)) => {
                    panic!("{} {property} is proved, and violated within {bounds:?}: {run:?}", flow.name)
                }
                (AnyNumber::Proved, Verdict::Holds) => tally.proved += 1,
                (AnyNumber::Open(_), Verdict::Violated(_)) => tally.violated += 1,
                (AnyNumber::Open(_), Verdict::Holds) => tally.open += 1,
                (AnyNumber::Stopped(_), _) | (_, Verdict::Unknown | Verdict::DoesNotApply) => {
                    tally.unknown += 1;
                }
            }
        }
    }
    tally
}

#[test]
fn the_prover_and_the_search_agree_wherever_both_speak() {
    let grid: Vec<Bounds> = if slow() {
        let all = (2..=5).flat_map(|consumers| (0..=2).map(move |crashes| (consumers, crashes)));
        all.flat_map(|(consumers, crashes)| (0..=2).map(move |faults| Bounds { consumers, crashes, faults }))
            .collect()
    } else {
        vec![Bounds { consumers: 2, crashes: 2, faults: 2 }]
    };
    // With keys no search within these bounds is whole: the search would not speak.
    let flows: Vec<BuiltIn> = BuiltIn::every().collect();
    let tallies: Vec<Tally> = flows
        .par_iter()
        .map(|flow| {
            let subject = flow.subject();
            let holding = proof(&subject.flow, expected_to_hold(&subject.expectations));
            // All properties together, too, so that some are open.
            let everything = proof(&subject.flow, all());
            let tallies = grid.iter().map(|bounds| compared(flow, &[&holding, &everything], *bounds));
            let tally = tallies.fold(Tally::default(), Tally::and);
            println!("{}: {tally:?}", flow.name);
            tally
        })
        .collect();
    let tally = tallies.into_iter().fold(Tally::default(), Tally::and);
    println!("{} bounds of each flow: {tally:?}", grid.len());
    assert!(tally.proved > 0 && tally.violated > 0, "nothing was compared");
}

#[test]
fn every_view_of_every_state_within_bounds_is_in_the_fixpoint() {
    // Smaller budgets of crashes and faults reach a part of the same states.
    let most = if slow() { 5 } else { 2 };
    let checked: Vec<(usize, bool)> = flows()
        .par_iter()
        .flat_map(|flow| {
            let subject = flow.subject();
            let proof = proof(&subject.flow, expected_to_hold(&subject.expectations));
            let most = if flow.name == "atomic-commit" && slow() { 6 } else { most };
            let of_flow = (2..=most).map(|consumers| {
                let budget = if slow() { 2 } else { 1 };
                let bounds = Bounds { consumers, crashes: budget, faults: budget };
                let model = Model::new(subject.flow.clone(), bounds);
                let explored = explore(&model, limits(), &mut |_| ControlFlow::Continue(()));
                let missing = explored
                    .ids()
                    .map(|id| model.unpack(explored.packed(id)))
                    .find(|state| !proof.covers(&model, state));
                assert!(missing.is_none(), "{} {bounds:?}: {missing:?}", flow.name);
                let is_whole = explored.cut_off().is_none();
                if !is_whole {
                    println!("{} {bounds:?}: the first {} states", flow.name, explored.states());
                }
                (explored.states(), is_whole)
            });
            of_flow.collect::<Vec<_>>()
        })
        .collect();
    let states: usize = checked.iter().map(|(states, _)| states).sum();
    let whole = checked.iter().filter(|(_, is_whole)| *is_whole).count();
    println!("0 views missing of {states} states; {whole} of {} searches were whole", checked.len());
    assert!(whole > 0, "nothing was checked");
}

#[test]
fn the_cutoff_is_found_for_two_flows_of_three() {
    let max_states = if slow() { 100_000 } else { Cutoff::STATES };
    let cutoffs: Vec<(&str, Option<Cutoff>)> = flows()
        .par_iter()
        .map(|flow| {
            let subject = flow.subject();
            let proof = proof(&subject.flow, expected_to_hold(&subject.expectations));
            (flow.name, proof.cutoff(max_states))
        })
        .collect();
    cutoffs.iter().for_each(|(name, cutoff)| println!("{name}: {cutoff:?}"));
    let of = |name: &str| cutoffs.iter().find(|(flow, _)| *flow == name).and_then(|(_, cutoff)| *cutoff);
    assert_eq!(of("atomic-commit"), Some(Cutoff::Callers(2)));
    assert_eq!(of("01-librechat-invite-buggy"), Some(Cutoff::Callers(3)));
    let is_found = |cutoff: &Option<Cutoff>| matches!(cutoff, Some(Cutoff::Callers(_)));
    let found = cutoffs.iter().filter(|(_, cutoff)| is_found(cutoff)).count();
    assert!(3 * found >= 2 * cutoffs.len(), "{found} of {}", cutoffs.len());
}

#[test]
fn a_search_for_the_cutoff_that_is_stopped_says_so() {
    let flow = BuiltIn::find("atomic-commit").expect("a built-in flow").subject().flow;
    let cutoff = proof(&flow, all()).cutoff(10);
    assert!(matches!(cutoff, Some(Cutoff::Unknown { reached, views, .. }) if reached < views), "{cutoff:?}");
}

#[test]
fn a_limit_says_so_and_proves_nothing() {
    let flow = BuiltIn::find("atomic-commit-lease").expect("a built-in flow").subject().flow;
    let limits = prove::Limits { max_bytes: 10_000 };
    let cut_off = prove(&flow, all(), limits, &mut |_| ControlFlow::Continue(()));
    let stopped = prove(&flow, all(), prove::Limits::default(), &mut |_| ControlFlow::Break(()));
    assert!(matches!(cut_off.of(Property::S2), AnyNumber::Stopped(prove::Stopped::Memory(_))));
    assert_eq!(stopped.of(Property::S2), AnyNumber::Stopped(prove::Stopped::Watch));
}
