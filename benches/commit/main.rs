//! The cost of the commit of `atomic-commit` in memory, relative to its bare consume, on a million approvals in one
//! run.
//!
//! `cargo bench --bench commit` prints nanoseconds for each, and their ratio to the bare consume: the default
//! strategy's consume alone; the commit, which also judges and writes the target, copies the vault, writes the event
//! and the job under its team's lock; and the whole promotion by the driver, from its first read to its answer. The
//! million approvals are shuffled: once all of one team and its one stack, so that only the approvals' own records are
//! cold; and once of ten thousand teams with a stack each, which are cold, too.
//!
//! The three alternate, some ten thousand approvals at a time, so that other load on the machine slows all of them.
//! Single-threaded: the figures are the cost of the work, without contention.

#[expect(dead_code, reason = "the benchmark of the strategies measures the commit alone, too")]
mod compare;

use compare::{Given, Taken, compare, sizes};

fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    println!("{:>24} {:>8} {:>8}", "", "ns", "of bare");
    for teams in [1, 10_000] {
        let (approvals, chunk) = sizes(is_test);
        println!("{:>24}", if teams == 1 { "one team".to_owned() } else { format!("{teams} teams") });
        let compared = compare(&Given::new(approvals, teams), chunk);
        for taken in &compared {
            println!("{} {:>8.2}", line(taken), taken.median() / compared[0].median());
        }
    }
}

fn line(taken: &Taken) -> String {
    format!("{:>24} {:>8.0}", taken.what, taken.median())
}
