//! The prover held against the bounded search, on random flows over the whole vocabulary.

use std::ops::ControlFlow;

use countersign_models::{
    explorer::{Explorable, Limits, explore},
    flows::Subject,
    model::{Bounds, Model},
    properties::Property,
    prove::{self, AnyNumber, prove},
};
use countersign_testkit::slow;
use rayon::prelude::*;

use crate::generator;

/// Seeds of which an earlier prover left views out: a validation accepts a use of the same caller's earlier attempt; a job
/// that is not seen is open when its owner ends; a caller repeats its use, and undoes one.
const LEFT_OUT: [u64; 3] = [40, 255, 215];
/// How much of a flow is compared.
struct Effort {
    /// Flows that have more states are searched as far as this: what they violate so far is compared.
    max_states: usize,
    /// Views that take more are not finished.
    max_bytes: usize,
    /// Of the states every so many are looked for in the fixpoint.
    every: usize,
}

const SHORT: Effort = Effort { max_states: 3_000, max_bytes: 256 << 10, every: 11 };
const LONG: Effort = Effort { max_states: 30_000, max_bytes: 1 << 20, every: 1 };

/// Number of properties with each verdict.
#[derive(Clone, Copy, Default)]
struct Tally {
    proved: usize,
    violated: usize,
    /// Violated by a view, while no run within the bounds violates it.
    open: usize,
    not_finished: usize,
    /// States of which every view is in the fixpoint.
    covered: usize,
}

/// The tally, or the properties that are proved although a run violates them.
fn held_against_the_search((seed, consumers): (u64, u8)) -> Result<Tally, String> {
    let draft = generator::random_flow(seed);
    let [_, crashes, faults] = draft.bounds();
    let flow = Subject::read(draft.file().as_bytes()).expect("a valid file").flow;
    let bounds = Bounds { consumers, crashes, faults };
    let mut tally = Tally::default();
    if !Model::fits(&flow, bounds) {
        return Ok(tally);
    }
    let effort = if slow() || LEFT_OUT.contains(&seed) { LONG } else { SHORT };
    let model = Model::new(flow.clone(), bounds);
    let limits = Limits { max_states: effort.max_states, ..Limits::default() };
    let explored = explore(&model, limits, &mut |_| ControlFlow::Continue(()));
    let is_violated = |one: &&Property| explored.first_broken(**one as usize).is_some();
    let applying = || Property::MODELLED.iter().filter(|one| model.applies(**one));
    let violated = applying().filter(is_violated).fold(0, |set, one| set | one.bit());
    let all = applying().fold(0, |set, one| set | one.bit());
    // Violated properties are requested together with the rest, and the rest also without them.
    for wanted in [all, all & !violated] {
        let memory = prove::Limits { max_bytes: effort.max_bytes };
        let proof = prove(&flow, wanted, memory, &mut |_| ControlFlow::Continue(()));
        for id in explored.ids().step_by(effort.every) {
            let state = model.unpack(explored.packed(id));
            if !proof.covers(&model, &state) {
                return Err(format!("seed {seed}: a view is missing of {state:?}\n{}", draft.file()));
            }
            tally.covered += 1;
        }
        for property in applying().filter(|one| wanted & one.bit() != 0) {
            let is_violated = violated & property.bit() != 0;
            match proof.of(*property) {
                AnyNumber::Proved if is_violated => {
                    return Err(format!("seed {seed}: {property} is proved and violated\n{}", draft.file()));
                }
                AnyNumber::Proved => tally.proved += usize::from(wanted != all || violated == 0),
                AnyNumber::Open(_) if is_violated => tally.violated += 1,
                AnyNumber::Open(_) => tally.open += usize::from(wanted != all || violated == 0),
                AnyNumber::Stopped(_) => tally.not_finished += 1,
                AnyNumber::NotAsked => return Err(format!("seed {seed}: {property} was asked for")),
            }
        }
        if violated == 0 {
            break;
        }
    }
    Ok(tally)
}

#[test]
fn nothing_is_proved_of_a_random_flow_that_a_run_violates() {
    let callers = |seed| {
        let both = slow() || LEFT_OUT.contains(&seed);
        if both { vec![(seed, 2), (seed, 3)] } else { vec![(seed, 2 + (seed % 2) as u8)] }
    };
    // Those that take longest come first.
    let seeds: Vec<u64> =
        if slow() { (0..500).collect() } else { LEFT_OUT.into_iter().chain(0..10).collect() };
    let runs: Vec<(u64, u8)> = seeds.iter().copied().flat_map(callers).collect();
    let (wrong, tallies): (Vec<String>, Vec<Tally>) =
        runs.par_iter().with_max_len(1).partition_map(|one| held_against_the_search(*one).into());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let sum = |count: fn(&Tally) -> usize| tallies.iter().map(count).sum::<usize>();
    println!(
        "{} flows: {} proved, {} violated, {} open, {} not finished; 0 views missing of {} states",
        seeds.len(),
        sum(|one| one.proved),
        sum(|one| one.violated),
        sum(|one| one.open),
        sum(|one| one.not_finished),
        sum(|one| one.covered),
    );
    assert!(sum(|one| one.proved) > 0 && sum(|one| one.violated) > 0, "nothing was compared");
}
