//! More threads than loom can take: 12 consumers, an operator and 4 rejecters on each strategy, and the async driver.
//!
//! Schedules are drawn, at random and by PCT. A schedule that fails is printed by shuttle, and its seed with it, to be
//! run again with `shuttle::replay`.

mod driver;
mod primitives;
mod strategies;

use countersign_testkit::slow;
use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};

/// Schedules for each strategy and scheduler.
fn schedules() -> usize {
    if slow() { 10_000 } else { 1_500 }
}

/// Number of priority changes in one schedule of PCT.
const PCT_DEPTH: usize = 3;
/// The same schedules in every run.
const SEED: u64 = 11;

/// Scheduling algorithm.
#[derive(Clone, Copy, Debug)]
enum Draw {
    AtRandom,
    ByPct,
}

impl Draw {
    /// Runs the scenario in [`schedules`] schedules.
    fn check(self, scenario: impl Fn() + Send + Sync + 'static) {
        fn run<S: Scheduler + 'static>(scheduler: S, scenario: impl Fn() + Send + Sync + 'static) {
            Runner::new(scheduler, Config::new()).run(scenario);
        }
        // Shown when the test fails, with the schedule that shuttle prints.
        println!("{self:?}, seed {SEED}");
        match self {
            Self::AtRandom => run(RandomScheduler::new_from_seed(SEED, schedules()), scenario),
            Self::ByPct => run(PctScheduler::new_from_seed(SEED, PCT_DEPTH, schedules()), scenario),
        }
    }
}
