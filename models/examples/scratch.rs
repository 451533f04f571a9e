use countersign::protocol::Flow;
use countersign_models::simulation::*;
use std::{hint::black_box, sync::Arc, time::Instant};
fn main() {
    let flow = Arc::new(Flow::atomic_commit());
    let n = 200_000u32;
    let p = |c| Action::Promotion { client: c, duplicate: false, outcome: Outcome::Happens };
    let w = Action::Worker { instance: 0, outcome: Outcome::Happens };
    let list = [
        Action::Approve { approval: 0 },
        p(0),
        p(1),
        p(2),
        p(0),
        p(1),
        p(0),
        p(1),
        p(0),
        w,
        w,
        Action::DeployEnds { approval: 0, failed: false },
        w,
    ];
    if std::env::args().len() > 1 {
        for _ in 0..n * 10 {
            let mut s = Simulation::new(flow.clone(), &Scenario::of_model(3), None);
            for a in &list {
                black_box(s.take(*a));
            }
        }
        return;
    }
    for k in 0..=list.len() {
        let t = Instant::now();
        for _ in 0..n {
            let mut s = Simulation::new(flow.clone(), &Scenario::of_model(3), None);
            for a in &list[..k] {
                black_box(s.take(*a));
            }
        }
        println!(
            "{k} {:?} {:.2} us",
            list.get(k.wrapping_sub(1)),
            t.elapsed().as_secs_f64() * 1e6 / f64::from(n)
        );
    }
}
