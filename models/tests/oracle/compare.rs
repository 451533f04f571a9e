//! The model checker against the oracle: the same verdicts, and the same costs of the best runs.

use std::{collections::BTreeSet, ops::ControlFlow};

use countersign_models::{
    explorer::{Explorable as _, Limits},
    flows::{BUILT_IN, CASES, Subject},
    model::{self, Model},
    verdict::{self, verify},
};
use countersign_testkit::slow;
use rayon::prelude::*;
use stateright::Model as _;

use crate::{
    MAX_RANDOM_WORLDS, MAX_WORLDS, generator,
    properties::Property,
    search::{self, Cost, Verdict, Verdicts},
    settled,
    world::Bounds,
};

fn checker(file: &str, [consumers, crashes, faults]: [u8; 3]) -> Verdicts {
    let subject = Subject::read(file.as_bytes()).unwrap_or_else(|problem| panic!("{problem} in\n{file}"));
    let model = Model::new(subject.flow, model::Bounds { consumers, crashes, faults });
    let report = verify(&model, &subject.expectations, Limits::default(), &mut |_| ControlFlow::Continue(()));
    let cost = |run: &verdict::Run| {
        let apply = |state, &action| model.next_state(&state, action).expect("a run's actions are possible");
        let shown = run.actions.iter().fold(model.initial(), apply);
        let callers: Vec<u8> = run.actions.iter().filter_map(|action| model.caller(action)).collect();
        let switches = callers.windows(2).filter(|pair| pair[0] != pair[1]).count() as u16;
        Cost { faults: model.faults(&shown) as u8, length: run.actions.len() as u16, switches }
    };
    let judgements = report.judgements.iter().map(|judgement| {
        let verdict = match &judgement.verdict {
            verdict::Verdict::Holds => Verdict::Holds,
            verdict::Verdict::DoesNotApply => Verdict::DoesNotApply,
            verdict::Verdict::Violated(run) => Verdict::Violated(cost(run)),
            verdict::Verdict::Unknown => unreachable!("nothing was cut off"),
        };
        (judgement.property.id(), verdict)
    });
    judgements.collect()
}

/// The properties on which the two say different things, and what; nothing when the oracle finds too many worlds.
fn differences(file: &str, bounds: [u8; 3], max_worlds: usize) -> Option<Vec<(&'static str, String)>> {
    let [callers, crashes, faults] = bounds;
    let expected = search::judge(file, Bounds { callers, crashes, faults }, max_worlds)?;
    let found = checker(file, bounds);
    let ids = Property::ALL.iter().map(|property| property.id());
    let differ = ids.filter(|id| expected[id] != found[id]);
    let say = |id| (id, format!("{bounds:?} {id}: oracle {:?}, checker {:?}", expected[id], found[id]));
    Some(differ.map(say).collect())
}

/// Compares named flows.
fn agree(flows: &[(&'static str, String, [u8; 3])]) {
    let different: Vec<String> = flows
        .par_iter()
        .flat_map_iter(|(name, file, bounds)| {
            let differences = differences(file, *bounds, MAX_WORLDS).expect("fewer worlds than allowed");
            differences.into_iter().map(move |(_, what)| format!("{name} {what}"))
        })
        .collect();
    assert!(different.is_empty(), "{} differences:\n{}", different.len(), different.join("\n"));
}

#[test]
fn both_judge_the_same_properties() {
    let modelled: Vec<_> =
        countersign_models::properties::Property::MODELLED.iter().map(|p| p.id()).collect();
    let ours: Vec<_> = Property::ALL.iter().map(|property| property.id()).collect();
    assert_eq!(ours, modelled);
}

#[test]
fn settled_questions_get_the_same_verdicts_and_costs() {
    let flows: Vec<_> = settled::all().map(|one| (one.says, one.file(), one.bounds)).collect();
    agree(&flows);
}

#[test]
fn built_in_flows_get_the_same_verdicts_and_costs() {
    let bounds = [[1, 0, 0], [1, 1, 1], [2, 0, 1], [2, 1, 0], [2, 1, 1]];
    let every = BUILT_IN.iter().chain(CASES.iter().flat_map(|case| case.flows));
    let flows: Vec<_> =
        every.flat_map(|flow| bounds.map(|bounds| (flow.name, flow.source.to_owned(), bounds))).collect();
    agree(&flows);
}

/// Random flows that are compared. In the slow tier more than 500 of them are small enough.
fn compared() -> u64 {
    if slow() { 600 } else { 60 }
}
/// Seeds beyond these on which the two had disagreed once.
const ONCE_DIFFERENT: [u64; 24] = [
    94, 109, 121, 127, 153, 172, 174, 193, 198, 208, 285, 287, 290, 340, 342, 372, 407, 415, 416, 448, 452,
    458, 466, 475,
];

#[test]
fn random_flows_get_the_same_verdicts_and_costs() {
    let seeds: BTreeSet<u64> = (0..compared()).chain(ONCE_DIFFERENT).collect();
    let mut drafts: Vec<_> = seeds.into_iter().map(generator::random_flow).collect();
    if slow() {
        drafts.extend(generator::rare_flows());
    }
    let compared: Vec<_> = drafts
        .par_iter()
        .filter_map(|draft| {
            let compared = differences(&draft.file(), draft.bounds(), MAX_RANDOM_WORLDS)?;
            Some((draft.name(), compared))
        })
        .collect();
    println!(
        "{} flows compared, {} with too many worlds left out",
        compared.len(),
        drafts.len() - compared.len()
    );
    let different: Vec<_> = compared
        .iter()
        .flat_map(|(name, differences)| differences.iter().map(move |(_, what)| format!("{name} {what}")))
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}
