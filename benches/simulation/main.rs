//! What the simulator's own executor is worth: the same scenario on it, and on tokio with its clock paused.
//!
//! `cargo bench --bench simulation` prints schedules a second on one thread, and their ratio. Both sides run the real
//! driver, worker and store: three clients of an approval that was given, one of them for another stack, and a worker
//! that launches and sees the deploy through: one that ends at once, and one of ten minutes, with a lease of thirty
//! seconds that is renewed twice in its length. The simulator begins each schedule with a copy of what it keeps, as in a
//! campaign, where tokio's side builds it; it also keeps its ledgers and judges every property after every step, where
//! tokio judges nothing.

mod dozing;

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use countersign::protocol::Flow;
use countersign_models::simulation::{Action, Campaign, Fault, Outcome, Scenario, Seeds, Stage};

const CLIENTS: u8 = 3;
const ROUNDS: u32 = 5;
/// As often is a lease of thirty seconds renewed in ten minutes.
const TEN_MINUTES: u32 = 40;

/// Draws that are good enough to mix an order.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn simulated(stage: &mut Stage, scenario: &Scenario, seed: u64, renewals: u32) -> u64 {
    let mut dice = Dice(seed);
    let mut simulation = stage.begin(scenario);
    let mut steps = u64::from(simulation.take(Action::Approve { approval: 0 }).is_some());
    let worker = Action::Worker { instance: 0, outcome: Outcome::Happens };
    let request = |client| Action::Promotion { client, duplicate: false, outcome: Outcome::Happens };
    let mut requests: Vec<u8> = (0..CLIENTS).collect();
    let mut renewed = 0;
    loop {
        // Any request that has not ended, or the worker; it has nothing to do before somebody has committed.
        let mover = dice.below(requests.len() as u64 + 1) as usize;
        let taken = match requests.get(mover) {
            Some(client) => simulation.take(request(*client)),
            None => simulation.take(worker),
        };
        match taken {
            Some(taken) => {
                steps += 1;
                renewed += u32::from(taken.fault == Some(Fault::SlowDeploy));
            }
            None if mover < requests.len() => {
                requests.remove(mover);
            }
            None if requests.is_empty() => break,
            None => {}
        }
        if renewed == renewals {
            steps += u64::from(simulation.take(Action::DeployEnds { approval: 0, failed: false }).is_some());
        }
    }
    assert!(simulation.facts(0).executions == 1 && simulation.found().broken == 0);
    steps
}

fn timed(work: impl FnOnce()) -> Duration {
    #[expect(clippy::disallowed_methods, reason = "this is a benchmark")]
    let start = Instant::now();
    work();
    start.elapsed()
}

fn a_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn main() {
    let flow = Arc::new(Flow::atomic_commit());
    let scenario = Scenario::of_model(CLIENTS);
    let mut stage = Stage::new(Arc::clone(&flow), None);
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().expect("a runtime can be started")
    };
    println!("{:>24} {:>12} {:>12} {:>8}", "deploy", "simulator/s", "tokio/s", "ratio");
    for (deploy, renewals, schedules) in
        [("that ends at once", 0, 20_000), ("of ten minutes", TEN_MINUTES, 5_000)]
    {
        for _ in 0..ROUNDS {
            let ours = timed(|| {
                for seed in 0..schedules {
                    black_box(simulated(&mut stage, &scenario, seed, renewals));
                }
            });
            let theirs = timed(|| {
                for seed in 0..schedules / 4 {
                    runtime().block_on(dozing::schedule(&flow, seed, renewals));
                }
            });
            let (ours, theirs) = (a_second(schedules, ours), a_second(schedules / 4, theirs));
            println!("{deploy:>24} {ours:>12.0} {theirs:>12.0} {:>8.1}", ours / theirs);
        }
    }
    let file = countersign_models::flows::BuiltIn::find("atomic-commit").expect("it is built in").source;
    let campaign =
        Campaign { flow, name: "atomic-commit".to_owned(), flow_file: file.to_owned(), mutant: None };
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be started");
    let seeds = Seeds { from: 0, to: 100_000, shard: 0, shards: 1 };
    let mut steps = 0;
    let time = timed(|| {
        let go_on = &mut |_: &_| std::ops::ControlFlow::Continue(());
        steps = one.install(|| campaign.run(seeds, go_on)).actions;
    });
    println!("a campaign on one thread: {:.2} million steps a second", a_second(steps, time) / 1e6);
}
