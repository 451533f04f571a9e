//! The model checker against the oracle: the same verdicts, and the same costs of the best runs.

use std::{collections::BTreeSet, ops::ControlFlow};

use countersign_models::{
    explorer::{Explorable as _, Limits},
    flows::{BUILT_IN, CASES, Subject},
    model::{self, Model},
    verdict::{self, verify},
};
use rayon::prelude::*;
use stateright::Model as _;

use crate::{
    MAX_RANDOM_WORLDS, MAX_WORLDS, generator,
    properties::Property,
    search::{self, Cost, Verdict, Verdicts},
    settled,
    world::Bounds,
};

/// Where the two are known to disagree: a settled sentence or a built-in flow, the properties, and why. A line that is no
/// longer true fails, too.
const DISAGREE: &[(&str, &[&str], &str)] =
    &[("of a consume: only if it is still this attempt's use", &["S1"], LAST_USER)];

const LAST_USER: &str =
    "the checker gives a use back though another attempt has used the object since, the text does not";

fn checker(file: &str, [consumers, crashes, faults]: [u8; 3]) -> Verdicts {
    let subject = Subject::read(file.as_bytes()).unwrap_or_else(|problem| panic!("{problem} in\n{file}"));
    let model = Model::new(subject.flow, model::Bounds { consumers, crashes, faults });
    let report = verify(&model, &subject.expectations, Limits::default(), &mut |_| ControlFlow::Continue(()));
    let cost = |run: &verdict::Run| {
        let apply = |state, &action| model.next_state(&state, action).expect("a run's actions are possible");
        let shown = run.actions.iter().fold(model.initial(), apply);
        Cost { harms: model.harm(&shown) as u8, length: run.actions.len() as u16 }
    };
    let judgements = report.judgements.iter().map(|judgement| {
        let verdict = match &judgement.verdict {
            verdict::Verdict::Holds => Verdict::Holds,
            verdict::Verdict::DoesNotApply => Verdict::DoesNotApply,
            verdict::Verdict::Broken(run) => Verdict::Violated(cost(run)),
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

/// Compares named flows: they differ exactly where [`DISAGREE`] says so.
fn agree(flows: &[(&'static str, String, [u8; 3])]) {
    let compared: Vec<_> = flows
        .par_iter()
        .map(|(name, file, bounds)| {
            let differences = differences(file, *bounds, MAX_WORLDS).expect("fewer worlds than allowed");
            (*name, differences)
        })
        .collect();
    let is_known =
        |name: &str, id: &str| DISAGREE.iter().any(|(known, ids, _)| *known == name && ids.contains(&id));
    let mut seen = BTreeSet::new();
    let mut unknown = Vec::new();
    for (name, differences) in &compared {
        for (id, what) in differences {
            seen.insert((*name, *id));
            if !is_known(name, id) {
                unknown.push(format!("{name} {what}"));
            }
        }
    }
    assert!(unknown.is_empty(), "{} differences:\n{}", unknown.len(), unknown.join("\n"));
    let names: BTreeSet<_> = flows.iter().map(|(name, ..)| *name).collect();
    for (name, ids, why) in DISAGREE.iter().filter(|(name, ..)| names.contains(name)) {
        let agreed: Vec<_> = ids.iter().filter(|id| !seen.contains(&(*name, **id))).collect();
        assert!(
            agreed.is_empty(),
            "the two agree now on {agreed:?} of \"{name}\" (\"{why}\"): remove it from the list"
        );
    }
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

#[test]
fn every_known_difference_names_a_flow() {
    let built_in = BUILT_IN.iter().chain(CASES.iter().flat_map(|case| case.flows)).map(|flow| flow.name);
    let names: BTreeSet<_> = settled::all().map(|one| one.says).chain(built_in).collect();
    let missing: Vec<_> = DISAGREE.iter().filter(|(name, ..)| !names.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Random flows to compare. How many agree is pinned from below: the differences of [`DISAGREE`] are among them.
const COMPARED: u64 = 100;
const AGREE_AT_LEAST: usize = 75;

#[test]
fn random_flows_get_the_same_verdicts_and_costs() {
    let compared: Vec<_> = (0..COMPARED)
        .into_par_iter()
        .filter_map(|seed| {
            let draft = generator::random_flow(seed);
            Some((seed, differences(&draft.file(), draft.bounds(), MAX_RANDOM_WORLDS)?))
        })
        .collect();
    let disagree: Vec<_> = compared.iter().filter(|(_, differences)| !differences.is_empty()).collect();
    for (seed, differences) in &disagree {
        differences.iter().for_each(|(_, what)| println!("seed {seed} {what}"));
    }
    let agree = compared.len() - disagree.len();
    println!("{agree} of {} flows agree, {} left out", compared.len(), COMPARED as usize - compared.len());
    assert!(agree >= AGREE_AT_LEAST, "{agree} of {} agree", compared.len());
}
