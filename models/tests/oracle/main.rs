//! The model checker against the oracle: the same verdicts and the same shortest lengths, on hundreds of random flows.

mod generator;
mod judge;

use std::ops::ControlFlow;

use countersign_models::{
    explorer::Limits,
    flows::{BUILT_IN, Subject},
    model::{self, Model},
    properties::Property,
    verdict::{Verdict, verify},
};
use judge::{Bounds, PROPERTIES, Verdicts, judge};
use rayon::prelude::*;

/// Random flows to compare.
const FLOWS: u64 = 500;
/// Those that take a lease.
const FLOWS_WITH_LEASES: u64 = 200;
/// More than any of these flows has.
const MAX_WORLDS: usize = 10_000_000;

fn oracle(file: &str, [consumers, crashes, faults]: [u8; 3]) -> Verdicts {
    judge(file, Bounds { consumers, crashes, faults }, MAX_WORLDS).expect("fewer worlds than allowed")
}

fn checker(file: &str, [consumers, crashes, faults]: [u8; 3]) -> Verdicts {
    let subject = Subject::read(file.as_bytes()).unwrap_or_else(|problem| panic!("{problem} in\n{file}"));
    let model = Model::new(subject.flow, model::Bounds { consumers, crashes, faults });
    let report = verify(&model, &subject.expectations, Limits::default(), &mut |_| ControlFlow::Continue(()));
    assert_eq!(report.cut_off, None);
    let judgements = report.judgements.iter().map(|judgement| {
        let length = match &judgement.verdict {
            Verdict::Holds | Verdict::DoesNotApply => None,
            Verdict::Broken(run) => Some(run.actions.len()),
            Verdict::Unknown => unreachable!("nothing was cut off"),
        };
        (judgement.property.id(), length)
    });
    judgements.collect()
}

#[test]
fn both_judge_the_same_properties() {
    let modelled: Vec<_> = Property::MODELLED.iter().map(|property| property.id()).collect();
    assert_eq!(PROPERTIES, modelled[..]);
}

#[test]
fn the_oracle_finds_what_is_published_of_consume_last() {
    let file = BUILT_IN.iter().find(|flow| flow.name == "consume-last").expect("it is built in").source;
    let found: Vec<_> =
        oracle(file, [2, 1, 1]).into_iter().filter_map(|(id, length)| Some((id, length?))).collect();
    let published = [("L1", 7), ("L2", 5), ("S11", 9), ("S5", 8), ("S6", 9), ("S7", 5), ("S8", 7)];
    assert_eq!(found, published);
}

#[test]
fn built_in_flows_get_the_same_verdicts_and_lengths() {
    BUILT_IN.par_iter().for_each(|flow| {
        for bounds in [[1, 0, 0], [1, 1, 1], [2, 0, 1], [2, 1, 0], [2, 1, 1], [2, 2, 2], [3, 1, 1]] {
            assert_eq!(checker(flow.source, bounds), oracle(flow.source, bounds), "{} {bounds:?}", flow.name);
        }
    });
}

/// The verdicts on so many random flows, on which both agree.
fn judged_by_both(flows: u64, random_flow: fn(u64) -> String) -> Vec<Verdicts> {
    (0..flows)
        .into_par_iter()
        .map(|seed| {
            let file = random_flow(seed);
            // Now and then with a third consumer, whose worlds are many.
            let bounds = if seed % 50 == 0 { [3, 1, 1] } else { [2, 1, 1] };
            let expected = oracle(&file, bounds);
            assert_eq!(checker(&file, bounds), expected, "seed {seed}, {bounds:?}:\n{file}");
            expected
        })
        .collect()
}

#[test]
fn random_flows_with_leases_get_the_same_verdicts_and_lengths() {
    let judged = judged_by_both(FLOWS_WITH_LEASES, generator::random_flow_with_lease);
    for id in ["S2", "S3", "S5", "S6", "S8", "L1", "L2"] {
        let broken = judged.iter().filter(|verdicts| verdicts[id].is_some()).count();
        assert!((1..judged.len()).contains(&broken), "{id} is broken by {broken} of the flows");
    }
}

#[test]
fn random_flows_get_the_same_verdicts_and_lengths() {
    let judged = judged_by_both(FLOWS, generator::random_flow);
    // What no flow can break, only a wrong table of transitions does: `tests/mutants.rs`.
    for id in PROPERTIES {
        let broken = judged.iter().filter(|verdicts| verdicts[id].is_some()).count();
        assert_eq!(broken == 0, id == "S10", "{id} is broken by {broken} of the flows");
    }
}
