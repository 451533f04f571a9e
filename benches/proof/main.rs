//! The time of proofs for any number of callers, of the built-in flows and of random ones.
//!
//! `cargo bench --bench proof` measures the proofs of two flows; before that it times every built-in flow and the random
//! flows of 500 seeds, and prints each that misses its goal. `PROOF_FLOWS=50` takes fewer random ones. Each proof is asked
//! for what `verify` asks for: the properties that no run within the default bounds violates.

/// The random flows of the oracle.
#[path = "../../models/tests/oracle"]
mod oracle {
    #[expect(dead_code, unused_imports, reason = "the benchmark counts neither words nor bounds")]
    pub(crate) mod generator;
}

use std::{
    hint::black_box,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use countersign::protocol::Flow;
use countersign_models::{
    explorer,
    flows::{BuiltIn, KEYED, Subject},
    model::{Bounds, Model},
    properties::{Property, Set},
    prove::{AnyNumber, Limits, Proof, prove},
    verdict::{Expectations, Verdict, verify},
};
use criterion::{Criterion, criterion_group, criterion_main};
use rayon::prelude::*;

/// The goals: every built-in flow, 95 % of the random ones, and of both the memory of `Limits::default`.
const BUILT_IN: Duration = Duration::from_millis(50);
const RANDOM: Duration = Duration::from_secs(1);
/// A proof that takes longer is stopped: it has missed its goal.
const MOST: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;
/// The most states of the search before a random flow's proof.
const MOST_STATES: usize = 100_000;

fn all() -> Set {
    Property::MODELLED.iter().fold(0, |set, one| set | one.bit())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn timed(flow: &Flow, wanted: Set) -> (Proof, Duration) {
    let begun = Instant::now();
    let proof = prove(flow, wanted, Limits::default(), &mut |_| {
        if begun.elapsed() < MOST { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    (proof, begun.elapsed())
}

/// Why a proof was stopped, if it was.
fn stopped(proof: &Proof) -> Option<String> {
    Property::MODELLED.iter().find_map(|one| match proof.of(*one) {
        AnyNumber::Stopped(why) => Some(why.to_string()),
        AnyNumber::Proved | AnyNumber::Open(_) | AnyNumber::NotAsked => None,
    })
}

fn built_in() {
    let mut missed = 0;
    let flows: Vec<BuiltIn> = BuiltIn::every().chain(KEYED.iter().copied()).collect();
    for flow in &flows {
        let subject = flow.subject();
        // As `verify` asks: for what no run within the bounds violates.
        let holds = subject.expectations.broken.iter().fold(all(), |set, one| set & !one.bit());
        let best = (0..ROUNDS).map(|_| timed(&subject.flow, holds).1).min().unwrap_or(MOST);
        if best > BUILT_IN || flow.name.starts_with("atomic-commit") {
            let (proof, _) = timed(&subject.flow, holds);
            let millis = best.as_secs_f64() * 1e3;
            println!("{}: {millis:.1} ms, {} views, {:?}", flow.name, proof.views(), stopped(&proof));
        }
        missed += usize::from(best > BUILT_IN);
    }
    println!("{missed} of {} built-in flows take more than {BUILT_IN:?} (best of {ROUNDS})", flows.len());
}

/// The properties that no run within the default bounds violates, as far as the search comes.
fn not_violated(flow: &Flow) -> Set {
    let bounds = Bounds::default();
    if !Model::fits(flow, bounds) {
        return all();
    }
    let limits = explorer::Limits { max_states: MOST_STATES, ..explorer::Limits::default() };
    let report = verify(&Model::new(flow.clone(), bounds), &Expectations::default(), limits, &mut |_| {
        ControlFlow::Continue(())
    });
    let violated = report.judgements.iter().filter(|one| matches!(one.verdict, Verdict::Violated(_)));
    violated.fold(all(), |set, one| set & !one.property.bit())
}

fn random() {
    let flows = std::env::var("PROOF_FLOWS").ok().and_then(|text| text.parse().ok()).unwrap_or(500);
    let mut within = 0;
    let flow_of = |seed| {
        Subject::read(oracle::generator::random_flow(seed).file().as_bytes()).expect("a valid file").flow
    };
    // As `verify` does, and before a clock runs.
    let wanted: Vec<Set> = (0..flows).into_par_iter().map(|seed| not_violated(&flow_of(seed))).collect();
    for (seed, wanted) in (0..).zip(wanted) {
        let (proof, took) = timed(&flow_of(seed), wanted);
        let stopped = stopped(&proof);
        if took <= RANDOM && stopped.is_none() {
            within += 1;
        } else {
            println!("random flow {seed}: {:.2} s, {} views, {stopped:?}", took.as_secs_f64(), proof.views());
        }
    }
    let share = 100.0 * within as f64 / flows as f64;
    println!("{share:.1} % of {flows} random flows take at most {RANDOM:?}; the goal is 95 %\n");
}

fn goals(_: &mut Criterion) {
    println!();
    built_in();
    random();
}

fn proofs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("prove");
    group.sample_size(20);
    for name in ["atomic-commit", "atomic-commit-lease"] {
        let flow = BuiltIn::find(name).expect("it is built in").subject().flow;
        group.bench_function(name, |bencher| bencher.iter(|| black_box(timed(&flow, all()).0.views())));
    }
    group.finish();
}

criterion_group!(benches, goals, proofs);
criterion_main!(benches);
