//! The benefit of the simulator's own executor: the same scenario on it, and on tokio with its clock paused.
//!
//! `cargo bench --bench simulation` prints schedules a second on one thread, and their ratio. Both sides run the real
//! driver, worker and store: three clients of an approved approval, one of them for another stack, and a worker that
//! launches and completes the deploy: one that ends immediately, and others of a minute, five minutes, ten minutes and
//! three hours, with a lease of thirty seconds that is renewed twice in its length. A campaign's schedules are about as
//! long, on average, as that of the minute. The simulator begins each schedule with the cached scenario of the one
//! before, as in a campaign, where tokio's side builds it; it also keeps its ledgers and judges every property after
//! every step, where tokio judges nothing.
//!
//! The two alternate in short rounds, so that other load on the machine meets both. Printed are the medians of all
//! rounds, and the smallest and the largest ratio.

mod dozing;

use std::{
    hint::black_box,
    ops::{ControlFlow, Range},
    sync::Arc,
    time::{Duration, Instant},
};

use countersign::protocol::Flow;
use countersign_models::simulation::{Action, CallOutcome, Campaign, Fault, Scenario, Seeds, Simulation};

const CLIENTS: u8 = 3;
const ROUNDS: u64 = 41;
const CAMPAIGNS: u64 = 7;

/// One measured case.
struct Length {
    deploy: &'static str,
    /// Number of renewals of the thirty-second lease before the deploy ends.
    renewals: u32,
    /// Schedules of the simulator in one round; tokio plays a quarter.
    schedules: u64,
}

const LENGTHS: [Length; 5] = [
    Length { deploy: "that ends at once", renewals: 0, schedules: 4_000 },
    Length { deploy: "of a minute", renewals: 4, schedules: 3_000 },
    Length { deploy: "of five minutes", renewals: 20, schedules: 2_000 },
    Length { deploy: "of ten minutes", renewals: 40, schedules: 1_200 },
    Length { deploy: "of three hours", renewals: 720, schedules: 100 },
];

/// Draws that are good enough to mix an order.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The high half of a product: no division.
        ((self.0 >> 32) * end) >> 32
    }
}

fn simulated(flow: &Arc<Flow>, scenario: &Scenario, seed: u64, renewals: u32) -> u64 {
    let mut dice = Dice(seed);
    let mut simulation = Simulation::new(Arc::clone(flow), scenario, None);
    let mut steps = u64::from(simulation.take(Action::Approve { approval: 0 }).is_some());
    let worker = Action::Worker { instance: 0, outcome: CallOutcome::Happens };
    let request = |client| Action::Promotion { client, duplicate: false, outcome: CallOutcome::Happens };
    let mut clients: [u8; CLIENTS as usize] = std::array::from_fn(|client| client as u8);
    let mut requests = clients.len();
    let (mut renewed, mut ended, mut finished) = (0, false, false);
    loop {
        // Any request that has not ended, or the worker, which is idle until the first commit.
        let has_work = !finished && simulation.facts(0).executions > 0;
        let movers = requests + usize::from(has_work);
        if movers == 0 {
            break;
        }
        let mover = dice.below(movers as u64) as usize;
        if let Some(client) = clients[..requests].get(mover) {
            match simulation.take(request(*client)) {
                Some(_) => steps += 1,
                None => {
                    clients.swap(mover, requests - 1);
                    requests -= 1;
                }
            }
            continue;
        }
        match simulation.take(worker) {
            Some(taken) => {
                steps += 1;
                renewed += u32::from(taken.fault == Some(Fault::SlowDeploy));
            }
            None => finished = true,
        }
        if renewed == renewals && !ended {
            ended = simulation.take(Action::DeployEnds { approval: 0, failed: false }).is_some();
            steps += u64::from(ended);
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

/// The median of what was measured, and the smallest and the largest of it.
fn spread(mut measured: Vec<f64>) -> (f64, f64, f64) {
    measured.sort_by(f64::total_cmp);
    (measured[measured.len() / 2], measured[0], measured[measured.len() - 1])
}

/// One length on both sides, as a line of the table.
fn compare(flow: &Arc<Flow>, length: &Length) {
    let Length { deploy, renewals, schedules } = *length;
    let scenario = Scenario::of_model(CLIENTS);
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().expect("a runtime can be started")
    };
    let mut steps = 0;
    let mut round = |seeds: Range<u64>| {
        let (all, quarter) = (seeds.end - seeds.start, (seeds.end - seeds.start) / 4);
        let ours = timed(|| {
            for seed in seeds.clone() {
                steps += black_box(simulated(flow, &scenario, seed, renewals));
            }
        });
        let theirs = timed(|| {
            for seed in seeds.take(quarter as usize) {
                runtime().block_on(dozing::schedule(flow, seed, renewals));
            }
        });
        (a_second(all, ours), a_second(quarter, theirs))
    };
    // The first one only warms up.
    let rounds: Vec<(f64, f64)> =
        (0..=ROUNDS).map(|place| round(place * schedules..(place + 1) * schedules)).skip(1).collect();
    let (ours, ..) = spread(rounds.iter().map(|(ours, _)| *ours).collect());
    let (theirs, ..) = spread(rounds.iter().map(|(_, theirs)| *theirs).collect());
    let (ratio, least, most) = spread(rounds.iter().map(|(ours, theirs)| ours / theirs).collect());
    let steps = steps as f64 / ((ROUNDS + 1) * schedules) as f64;
    println!("{deploy:>18} {steps:>8.1} {ours:>12.0} {theirs:>10.0} {ratio:>7.2} {least:>7.2} {most:>7.2}");
}

fn main() {
    let flow = Arc::new(Flow::atomic_commit());
    println!(
        "{:>18} {:>8} {:>12} {:>10} {:>7} {:>7} {:>7}",
        "deploy", "steps", "simulator/s", "tokio/s", "ratio", "least", "most"
    );
    for length in &LENGTHS {
        compare(&flow, length);
    }
    let file = countersign_models::flows::BuiltIn::find("atomic-commit").expect("it is built in").source;
    let campaign =
        Campaign { flow, name: "atomic-commit".to_owned(), flow_file: file.to_owned(), mutant: None };
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be started");
    let round = |place: u64| {
        let seeds = Seeds { from: place * 50_000, to: (place + 1) * 50_000, shard: 0, shards: 1 };
        let mut steps = 0;
        let time = timed(|| {
            let go_on = &mut |_: &_| ControlFlow::Continue(());
            steps = one.install(|| campaign.run(seeds, go_on)).actions;
        });
        a_second(steps, time) / 1e6
    };
    let (median, least, most) = spread((0..CAMPAIGNS).map(round).collect());
    println!("a campaign on one thread: {median:.2} million steps a second ({least:.2} to {most:.2})");
}
