//! The cost of many concurrent requests for one approval: wasted preflights and time, for each contention policy.
//!
//! `cargo bench --bench wasted_work` runs the real driver over the store in memory, on tokio's paused clock: everything
//! takes no time except a preflight, which takes 100 ms and fails with some probability, and a lease, which expires
//! after 30 s. All contenders arrive within 10 ms, in an order that the seed decides and not the runtime. The figures
//! are the same on every machine: they depend on seeds only.
//!
//! - `WASTED_JSON=FILE` writes the result (the schema is in `benches/README.md`).
//! - `--test`: three runs of each race, and each twice, with identical results.

mod contention;
#[path = "../facts/mod.rs"]
mod facts;
mod race;
mod report;

use std::sync::Arc;

use contention::Contention;
use countersign::{protocol::Flow, store::APPROVAL_LEASE_MS};
use countersign_models::flows::BuiltIn;
use race::{Finish, PREFLIGHT_MS, Race};
use rayon::prelude::*;
use report::{Races, Report};

const CONTENDERS: [usize; 6] = [2, 4, 8, 16, 32, 64];
const FAILING_PERCENT: [u64; 6] = [0, 10, 20, 30, 40, 50];
const RUNS: u64 = 10_000;

fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let runs = if is_test { 3 } else { RUNS };
    broken_orders_are_noticed();
    let races = all(runs);
    if is_test {
        assert!(races == all(runs), "the same seeds must give the same races");
    }
    let report = Report { runs, races };
    print!("{report}");
    if let Some(path) = std::env::var_os("WASTED_JSON") {
        std::fs::write(&path, report.json()).expect("the file named by WASTED_JSON can be written");
    }
}

fn race(contention: Contention) -> Race {
    let flow = match contention {
        Contention::Optimistic | Contention::SingleFlight => Flow::atomic_commit(),
        Contention::Lease => Flow::atomic_commit_lease(),
    };
    Race {
        contention,
        flow: Arc::new(flow),
        contenders: 2,
        failing_percent: 0,
        preflight_ms: PREFLIGHT_MS,
        first_dies: false,
        seed: 0,
    }
}

fn all(runs: u64) -> Vec<Races> {
    let mut races = Vec::new();
    for contention in Contention::ALL {
        for contenders in CONTENDERS {
            let with_luck = FAILING_PERCENT.map(|failing_percent| (failing_percent, false));
            for (failing_percent, first_dies) in with_luck.into_iter().chain([(0, true)]) {
                let race = Race { contenders, failing_percent, first_dies, ..race(contention) };
                let finish = |seed| Race { seed, ..race.clone() }.run();
                let finishes: Result<Vec<Finish>, String> = (0..runs).into_par_iter().map(finish).collect();
                let finishes = finishes.unwrap_or_else(|wrong| panic!("{}: {wrong}", contention.name()));
                races.push(Races { contention, contenders, failing_percent, first_dies, finishes });
            }
        }
    }
    races
}

/// If these were not, no other result would mean anything.
fn broken_orders_are_noticed() {
    let broken = |name: &str, race: Race| {
        let flow = Arc::new(BuiltIn::find(name).expect("it is built in").subject().flow);
        Race { flow, ..race }.run().expect_err("this order is broken, and that was not noticed")
    };
    let burned = broken("consume-first", Race { failing_percent: 100, ..race(Contention::Optimistic) });
    assert!(burned.contains("whose preflight failed"), "{burned}");
    // The preflight outlasts its lease, and does not check for an overtaking attempt.
    let slow = Race { preflight_ms: APPROVAL_LEASE_MS + 10_000, ..race(Contention::Lease) };
    let twice = broken("lease-unfenced", slow.clone());
    assert!(twice.contains("executed 2 times"), "{twice}");
    let fenced = slow.run().expect("who was overtaken is refused");
    assert_eq!(fenced.preflights, 2, "{fenced:?}");
}
