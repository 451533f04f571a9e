//! How many instructions a try takes, counted by callgrind: the same on any machine, so that CI can hold it to a limit.
//!
//! `scripts/instructions.sh` runs it, prints the counts, and fails where one passes its limit. A limit is for all
//! [`TRIES`] tries together. Raise one in the commit that makes it necessary, and say why.

#[path = "../contenders/mod.rs"]
mod contenders;

use std::hint::black_box;

use contenders::{ENTRIES, Runner, ids};
use countersign::protocol::Timestamp;
use gungraun::{Callgrind, EventKind, prelude::*};
use uuid::Uuid;

/// How many tries are counted, each at another of so many approvals.
const TRIES: usize = 1_000;
/// When they are made.
const NOW: Timestamp = Timestamp(10);

/// A contender with approvals that nobody has touched.
fn fresh(name: &str) -> (Box<dyn Runner>, Vec<Uuid>) {
    let entry = ENTRIES.iter().find(|entry| entry.name == name).expect("it is in the list");
    (entry.build)(&ids(TRIES))
}

/// A contender with approvals that all have been consumed.
fn used(name: &str) -> (Box<dyn Runner>, Vec<Uuid>) {
    let (runner, ids) = fresh(name);
    assert_eq!(runner.consume_all(&ids, NOW), TRIES);
    (runner, ids)
}

/// So many instructions at most, by each of the tries.
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
        fn winner((runner, ids): (Box<dyn Runner>, Vec<Uuid>)) -> (usize, Box<dyn Runner>, Vec<Uuid>) {
            // Given back, so that it is dropped where nobody counts.
            (black_box(runner.consume_all(&ids, NOW)), runner, ids)
        }

        #[library_benchmark]
        $(#[bench::$name(args = (used($text)), config = at_most($loser))])+
        fn loser((runner, ids): (Box<dyn Runner>, Vec<Uuid>)) -> (usize, Box<dyn Runner>, Vec<Uuid>) {
            (black_box(runner.consume_all(&ids, NOW)), runner, ids)
        }

        #[library_benchmark]
        $(#[bench::$name(args = (fresh($text)), config = at_most($look))])+
        fn validate((runner, ids): (Box<dyn Runner>, Vec<Uuid>)) -> (usize, Box<dyn Runner>, Vec<Uuid>) {
            (black_box(runner.validate_all(&ids, NOW)), runner, ids)
        }
    };
}

// An actor's tries are made in two threads, and counted in neither as a whole: it has no limit.
count! {
    slot_in_id "slot-in-id": wins in 1_000, loses in 1_000, looks in 1_000;
    packed "packed": wins in 1_000, loses in 1_000, looks in 1_000;
    pointer_swap "pointer-swap": wins in 1_000, loses in 1_000, looks in 1_000;
    sharded "sharded": wins in 1_000, loses in 1_000, looks in 1_000;
    one_mutex "one-mutex": wins in 1_000, loses in 1_000, looks in 1_000;
    bare_cas "bare-cas": wins in 1_000, loses in 1_000, looks in 1_000;
    frozen_cas "frozen-cas": wins in 1_000, loses in 1_000, looks in 1_000;
    frozen_load_cas "frozen-load-cas": wins in 1_000, loses in 1_000, looks in 1_000;
    dashmap "dashmap": wins in 1_000, loses in 1_000, looks in 1_000;
    papaya "papaya": wins in 1_000, loses in 1_000, looks in 1_000;
    scc "scc": wins in 1_000, loses in 1_000, looks in 1_000;
}

library_benchmark_group!(name = consume, benchmarks = [winner, loser, validate]);
main!(library_benchmark_groups = consume);
