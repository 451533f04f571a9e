//! Prints the time between the first and the last of 32 requests at a server on loopback: released by their last byte,
//! over HTTP/2 in one packet, and sent one after the other.

use std::time::Duration;

use countersign_attack::{
    Clock,
    canary::{Canary, Window},
    client::{self, Protocol, Wire},
};

const CALLERS: usize = 32;
const ROUNDS: usize = 50;

fn summary(name: &str, mut spreads_us: Vec<u64>) {
    spreads_us.sort_unstable();
    let ms = |us: u64| us as f64 / 1_000.0;
    println!(
        "{name}: median {:.2} ms (min {:.2}, max {:.2}, n = {})",
        ms(spreads_us[spreads_us.len() / 2]),
        ms(spreads_us[0]),
        ms(spreads_us[spreads_us.len() - 1]),
        spreads_us.len()
    );
}

fn spread_us(arrivals_ns: &[u64]) -> u64 {
    let (first, last) = (arrivals_ns.iter().min(), arrivals_ns.iter().max());
    first.zip(last).map_or(0, |(first, last)| (last - first) / 1_000)
}

fn main() {
    let clock = Clock::start();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        let canary = Canary::start(Window::Closed, Duration::ZERO, clock).expect("a port is free");
        for (protocol, name) in [
            (Protocol::Http1, "32 requests, last byte together"),
            (Protocol::Http2, "32 requests, HTTP/2 in one packet"),
        ] {
            let mut together = Vec::new();
            for _ in 0..ROUNDS {
                together.push(spread_us(&canary.race(protocol, CALLERS, clock).await.arrivals_ns));
            }
            summary(name, together);
        }
        let mut one_by_one = Vec::new();
        for _ in 0..ROUNDS {
            let mut sends = Vec::new();
            let (address, authority) = (canary.address(), canary.address().to_string());
            let start_ns = clock.now_ns();
            for _ in 0..CALLERS {
                let wire = Wire::new("POST", "/sequential", &authority, &[], None);
                sends.push(tokio::spawn(async move {
                    client::send(&address.into(), &wire, Duration::from_secs(10), clock).await
                }));
            }
            let mut last_ns = start_ns;
            let mut first_ns = u64::MAX;
            for send in sends {
                let sent = send.await.expect("a send does not panic");
                first_ns = first_ns.min(sent.released_ns);
                last_ns = last_ns.max(sent.released_ns);
            }
            one_by_one.push((last_ns - first_ns) / 1_000);
        }
        summary("32 requests, connect and send (at the client)", one_by_one);
    });
}
