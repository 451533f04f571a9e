//! The cost of a consume in memory: every strategy and the baselines, in one run, with exactly one winner asserted.
//!
//! `cargo bench --bench consume` compares all of them first, round by round, each contender once a round, and prints
//! ratios. Then criterion measures each alone, as `consume/<contender>/<scenario>`; with a filter, only that.
//!
//! - `CONSUME_JSON=FILE` writes the comparison (the schema is in `benches/README.md`), and skips criterion.
//! - `CONSUME_ROUNDS=N`: number of rounds, nine by default.
//! - `CONSUME_INSTRUCTIONS=FILE`: the counts of `scripts/instructions.sh`, to be shown with the times; by default
//!   `target/consume-instructions.txt`.

#[path = "../commit/compare.rs"]
mod commit;
#[path = "../contenders/mod.rs"]
mod contenders;
#[path = "../facts/mod.rs"]
mod facts;
mod report;
mod scenarios;

use std::time::Duration;

use contenders::{ENTRIES, Kind, allocator::Counting};
use countersign::store::memory::strategy::{DefaultStrategy, Strategy};
use criterion::{BenchmarkGroup, Criterion, SamplingMode, measurement::WallTime};
use report::{Compared, Report};
use scenarios::{Loaded, Pass, Scenario, Sizes, judge};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROUNDS: usize = 9;
/// Number of racing threads when every try is timed.
const TIMED_RACERS: usize = 2;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let json = std::env::var_os("CONSUME_JSON");
    let is_test = arguments.iter().any(|argument| argument == "--test");
    if arguments.is_empty() || is_test || json.is_some() {
        let rounds = std::env::var("CONSUME_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
        let (sizes, rounds) =
            if is_test { (Sizes::SMALL, 2) } else { (Sizes::FULL, rounds.unwrap_or(ROUNDS)) };
        let compared = compare(sizes, rounds);
        // A test is over too soon for that: two who race may never meet.
        assert!(
            is_test || wrong_is_seen(&compared),
            "what consumes twice was not noticed: no result means anything"
        );
        let report = Report::new(sizes, rounds, compared, commits(is_test));
        print!("{report}");
        if let Some(path) = json {
            std::fs::write(&path, report.json()).expect("the file named by CONSUME_JSON can be written");
            return;
        }
    }
    let mut criterion = Criterion::default().configure_from_args();
    each_alone(&mut criterion, if is_test { Sizes::SMALL } else { Sizes::FULL });
    the_commit_alone(&mut criterion, is_test);
    criterion.final_summary();
}

/// Every contender once a round, in every scenario.
fn compare(sizes: Sizes, rounds: usize) -> Vec<Compared> {
    let mut loaded: Vec<Loaded> = ENTRIES.iter().map(|entry| Loaded::new(*entry, sizes)).collect();
    let mut compared: Vec<Compared> = loaded.iter().map(Compared::new).collect();
    for scenario in Scenario::ALL {
        let mut passes = vec![Vec::<Pass>::new(); loaded.len()];
        for round in 1..=rounds {
            eprint!("\r{:<12} round {round} of {rounds} ", scenario.name());
            for (loaded, passes) in loaded.iter_mut().zip(&mut passes) {
                passes.push(loaded.pass(scenario));
            }
        }
        for (compared, passes) in compared.iter_mut().zip(passes) {
            judge(&compared.entry, scenario, &passes);
            compared.add(scenario, passes);
        }
    }
    for (loaded, compared) in loaded.iter_mut().zip(&mut compared) {
        eprint!("\rlatencies of {:<20}", loaded.entry.name);
        compared.add_latencies(loaded.latencies(TIMED_RACERS));
    }
    eprintln!();
    compared
}

/// True if the control, which consumes twice, was caught.
fn wrong_is_seen(compared: &[Compared]) -> bool {
    compared.iter().filter(|one| one.entry.kind == Kind::Wrong).all(|one| one.consumed_again() > 0)
}

/// The cost of the commit of `atomic-commit` and of the whole promotion, relative to their bare consume.
fn commits(is_test: bool) -> [commit::Taken; 3] {
    let (approvals, chunk) = commit::sizes(is_test);
    eprintln!("the commit of atomic-commit");
    commit::compare(&commit::Given::new(approvals, 1), chunk)
}

fn unhurried<'a>(criterion: &'a mut Criterion, strategy: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(format!("consume/{strategy}"));
    group
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    group
}

/// By criterion, one after another.
fn each_alone(criterion: &mut Criterion, sizes: Sizes) {
    for entry in ENTRIES {
        let mut group = unhurried(criterion, entry.name);
        // Built when the first of its scenarios is measured: with a filter, most are not.
        let mut loaded = None;
        for scenario in Scenario::ALL {
            group.bench_function(scenario.name(), |bencher| {
                let loaded = loaded.get_or_insert_with(|| Loaded::new(*entry, sizes));
                bencher.iter_custom(|tries| {
                    let pass = loaded.pass(scenario);
                    judge(entry, scenario, std::slice::from_ref(&pass));
                    // A pass is over a million approvals, or over a hot one: scaled to `tries`.
                    pass.wall.mul_f64(tries as f64 / pass.tries as f64)
                });
            });
        }
        group.finish();
    }
}

/// By criterion: the commit of `atomic-commit`, on the store's own strategy.
fn the_commit_alone(criterion: &mut Criterion, is_test: bool) {
    let (approvals, chunk) = commit::sizes(is_test);
    let mut group = unhurried(criterion, DefaultStrategy::NAME);
    let mut given: Option<(commit::Given, std::ops::Range<usize>)> = None;
    group.bench_function("commit-of-atomic-commit", |bencher| {
        bencher.iter_custom(|tries| {
            // An approval is good for one commit: when all are used up, there are new ones.
            let left = given.as_mut().and_then(|(given, chunks)| given.commits_alone(chunks, chunk));
            let each = left.unwrap_or_else(|| {
                let (fresh, chunks) = given.insert((commit::Given::new(approvals, 1), 0..approvals / chunk));
                fresh.commits_alone(chunks, chunk).expect("none is used up yet")
            });
            Duration::from_secs_f64(each * tries as f64 / 1e9)
        });
    });
    group.finish();
}
