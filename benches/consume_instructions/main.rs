//! The number of instructions of a try, counted by callgrind: machine-independent, so that CI can enforce a limit.
//!
//! `scripts/instructions.sh` runs it, prints the counts, and fails if one exceeds its limit. A limit covers all
//! [`TRIES`] tries together, 5 % above the measured count, as a margin for the compiler's next version. Raise one in
//! the commit that makes it necessary, and say why.

#![expect(missing_docs, reason = "what the macros of gungraun make has none")]

#[path = "../contenders/mod.rs"]
mod contenders;

use std::hint::black_box;

use contenders::{Built, ENTRIES, ids};
use countersign::protocol::Timestamp;
use gungraun::{Callgrind, EventKind, prelude::*};

/// Number of counted tries, each on another approval.
const TRIES: usize = 1_000;
/// When they are made.
const NOW: Timestamp = Timestamp(10);

/// A contender with untouched approvals.
fn fresh(name: &str) -> Built {
    let entry = ENTRIES.iter().find(|entry| entry.name == name).expect("it is in the list");
    (entry.build)(&ids(TRIES))
}

/// A contender with approvals that all have been consumed.
fn used(name: &str) -> Built {
    let (runner, ids) = fresh(name);
    assert_eq!(runner.consume_all(&ids, NOW), TRIES);
    (runner, ids)
}

/// A limit for all tries together.
fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions * TRIES as u64)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

macro_rules! count {
    ($($name:ident $text:literal: wins in $winner:literal, loses in $loser:literal, looks in $look:literal;)+) => {
        #[library_benchmark]
        $(#[bench::$name(args = (fresh($text)), config = at_most($winner))])+
        fn winner((runner, ids): Built) -> (usize, Built) {
            // Returned, so that the drop is not counted.
            (black_box(runner.consume_all(&ids, NOW)), (runner, ids))
        }

        #[library_benchmark]
        $(#[bench::$name(args = (used($text)), config = at_most($loser))])+
        fn loser((runner, ids): Built) -> (usize, Built) {
            (black_box(runner.consume_all(&ids, NOW)), (runner, ids))
        }

        #[library_benchmark]
        $(#[bench::$name(args = (fresh($text)), config = at_most($look))])+
        fn validate((runner, ids): Built) -> (usize, Built) {
            (black_box(runner.validate_all(&ids, NOW)), (runner, ids))
        }
    };
}

// An actor's tries are made in two threads, and counted in neither as a whole: it has no limit.
count! {
    slot_in_id "slot-in-id": wins in 90, loses in 77, looks in 76;
    packed "packed": wins in 165, loses in 154, looks in 162;
    pointer_swap "pointer-swap": wins in 388, loses in 172, looks in 158;
    sharded "sharded": wins in 199, loses in 190, looks in 146;
    one_mutex "one-mutex": wins in 182, loses in 173, looks in 132;
    bare_cas "bare-cas": wins in 16, loses in 16, looks in 16;
    frozen_cas "frozen-cas": wins in 85, loses in 85, looks in 91;
    frozen_load_cas "frozen-load-cas": wins in 98, loses in 84, looks in 91;
    dashmap "dashmap": wins in 129, loses in 112, looks in 129;
    papaya "papaya": wins in 165, loses in 149, looks in 166;
    scc "scc": wins in 198, loses in 182, looks in 171;
}

library_benchmark_group!(name = consume, benchmarks = [winner, loser, validate]);
main!(library_benchmark_groups = consume);
