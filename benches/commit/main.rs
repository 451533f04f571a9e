//! What the commit of `atomic-commit` costs in memory, against the bare consume in it, on a million approvals in one run.
//!
//! `cargo bench --bench commit` prints nanoseconds for each, and what they are of the bare consume: the default
//! strategy's consume and nothing else; the commit, which also judges and writes the target, copies the vault, writes
//! the event and the job under its team's lock; and the whole promotion by the driver, from its first read to its
//! answer. A million approvals in an order that was shuffled: once all of one team and its one stack, so that what is
//! cold is what is kept of an approval; and once of ten thousand teams with a stack each, which are cold, too.
//!
//! The three take turns, some ten thousand approvals at a time, so that whatever else the machine does slows all of
//! them. Nobody else is there: this is the cost of the work, not of the contention.

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
