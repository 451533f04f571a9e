//! Every interleaving of the real strategies, by loom: what was explored is printed, and pinned from below.
//!
//! `cargo test --workspace --test loom` prints for each strategy and scenario how many executions there were, whether they were
//! all (`exhaustive`) or those with at most n preemptions (`bounded P=n`), and the outcomes that were seen.

mod cases;
mod controls;
mod primitives;
mod scenarios;
mod weakened;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use libtest_mimic::{Arguments, Trial};

/// Result of exploring a scenario.
struct Explored {
    executions: usize,
    outcomes: BTreeSet<String>,
}

/// Runs a scenario in every interleaving, or in those with at most `bound` preemptions.
fn explore(bound: Option<usize>, scenario: impl Fn() -> String + Send + Sync + 'static) -> Explored {
    let executions = Arc::new(AtomicUsize::new(0));
    // loom does not see these, and must not: they outlive each execution.
    let outcomes = Arc::new(Mutex::new(BTreeSet::new()));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = bound;
    // These two would stop it early, and call that a success.
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.check({
        let (executions, outcomes) = (Arc::clone(&executions), Arc::clone(&outcomes));
        move || {
            let outcome = scenario();
            executions.fetch_add(1, Ordering::Relaxed);
            outcomes.lock().expect("not poisoned").insert(outcome);
        }
    });
    let outcomes = outcomes.lock().expect("not poisoned").clone();
    Explored { executions: executions.load(Ordering::Relaxed), outcomes }
}

fn main() {
    let trials: Vec<Trial> =
        cases::trials().into_iter().chain(controls::trials()).chain(weakened::trials()).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
