//! From single tries to a run's figures, and whether every approval had exactly one winner.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use super::document::{Latency, rounded};

/// Outcome of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The try consumed the approval.
    Won,
    /// The try was refused.
    Lost,
    /// The store had no answer, and it certainly has not.
    Failed,
    /// The store had no answer, and it may have.
    Unknown,
}

/// One try.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Try {
    pub(crate) approval: u32,
    pub(crate) client: usize,
    pub(crate) ended: Ended,
    /// From when it was due to its answer.
    pub(crate) took: Duration,
}

/// All tries of a run.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    pub(crate) all: Vec<Try>,
    /// From the first start to the last answer.
    pub(crate) wall: Duration,
}

/// Result for the approvals that were tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) won_again: u64,
    pub(crate) never_won: u64,
    /// Fewer than are known to have been won, or more than can have been.
    pub(crate) store_disagrees: bool,
}

impl Judgement {
    pub(crate) fn is_exactly_one_winner(self) -> bool {
        self == Self::default()
    }
}

impl Tries {
    pub(crate) fn count(&self, ended: Ended) -> u64 {
        self.all.iter().filter(|one| one.ended == ended).count() as u64
    }

    pub(crate) fn errors(&self) -> u64 {
        self.count(Ended::Failed) + self.count(Ended::Unknown)
    }

    pub(crate) fn wins_per_second(&self) -> f64 {
        self.count(Ended::Won) as f64 / self.wall.as_secs_f64().max(1e-9)
    }

    pub(crate) fn latency(&self, ended: Ended) -> Option<Latency> {
        latency(self.all.iter().filter(|one| one.ended == ended).map(|one| one.took))
    }

    /// Share of each client.
    pub(crate) fn win_share(&self, clients: usize) -> Vec<f64> {
        let mut wins = vec![0_u64; clients];
        for one in self.all.iter().filter(|one| one.ended == Ended::Won) {
            if let Some(wins) = wins.get_mut(one.client) {
                *wins += 1;
            }
        }
        let all = wins.iter().sum::<u64>().max(1) as f64;
        wins.into_iter().map(|wins| rounded(wins as f64 / all)).collect()
    }

    /// Compares the clients' answers with each other, and with the number of approvals that the store says are executed.
    pub(crate) fn judge(&self, executed_in_store: u64) -> Judgement {
        let mut approvals: BTreeMap<u32, Approval> = BTreeMap::new();
        for one in &self.all {
            let approval = approvals.entry(one.approval).or_default();
            match one.ended {
                Ended::Won => approval.wins += 1,
                Ended::Lost => {}
                Ended::Failed => approval.failed = true,
                Ended::Unknown => approval.unknown = true,
            }
        }
        let count = |what: fn(&Approval) -> bool| approvals.values().filter(|one| what(one)).count() as u64;
        let won = count(|approval| approval.wins > 0);
        // A client whose answer was lost may have won, and then all others have lost.
        let perhaps = count(|approval| approval.wins == 0 && approval.unknown);
        Judgement {
            won_again: approvals.values().map(|approval| approval.wins.saturating_sub(1)).sum(),
            never_won: count(|approval| approval.wins == 0 && !approval.failed && !approval.unknown),
            store_disagrees: !(won..=won + perhaps).contains(&executed_in_store),
        }
    }
}

#[derive(Default)]
struct Approval {
    wins: u64,
    failed: bool,
    unknown: bool,
}

/// Latency of these tries; `None` for no tries.
pub(crate) fn latency(took: impl Iterator<Item = Duration>) -> Option<Latency> {
    /// Percentiles of the curve's points.
    const CURVE: [f64; 13] = [0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.9, 99.99, 100.0];
    const DIGITS: u8 = 3;
    let mut histogram = Histogram::<u64>::new(DIGITS).ok()?;
    for took in took {
        // The histogram resizes itself.
        histogram.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)).ok()?;
    }
    if histogram.is_empty() {
        return None;
    }
    let at = |percentile: f64| rounded(histogram.value_at_percentile(percentile) as f64 / 1_000.0);
    // The tail of few tries is one try: a point beyond what they can tell apart would only repeat it.
    let tries = histogram.len();
    let tells = |percentile: f64| percentile == 100.0 || (100.0 - percentile) / 100.0 * tries as f64 >= 1.0;
    Some(Latency {
        tries,
        p50: at(50.0),
        p99: at(99.0),
        p999: at(99.9),
        max: rounded(histogram.max() as f64 / 1_000.0),
        curve: CURVE.into_iter().filter(|one| tells(*one)).map(|one| (one, at(one))).collect(),
    })
}

/// The middle one; of two middle ones the smaller.
pub(crate) fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(all: &[(u32, usize, Ended)]) -> Tries {
        let took = Duration::from_micros(10);
        let one = |&(approval, client, ended): &(u32, usize, Ended)| Try { approval, client, ended, took };
        Tries { all: all.iter().map(one).collect(), wall: Duration::from_secs(1) }
    }

    #[test]
    fn any_single_winner_of_each_approval_is_right() {
        let right =
            tries(&[(1, 0, Ended::Won), (1, 1, Ended::Lost), (2, 1, Ended::Won), (2, 0, Ended::Lost)]);
        assert!(right.judge(2).is_exactly_one_winner());
        assert_eq!(right.win_share(2), [0.5, 0.5]);
    }

    #[test]
    fn a_second_winner_is_counted() {
        let wrong = tries(&[(1, 0, Ended::Won), (1, 1, Ended::Won), (1, 2, Ended::Won)]);
        assert_eq!(wrong.judge(1).won_again, 2);
        assert!(!wrong.judge(1).is_exactly_one_winner());
    }

    #[test]
    fn an_approval_without_a_winner_is_counted_unless_a_try_failed() {
        assert_eq!(tries(&[(1, 0, Ended::Lost), (1, 1, Ended::Lost)]).judge(0).never_won, 1);
        assert!(tries(&[(1, 0, Ended::Lost), (1, 1, Ended::Failed)]).judge(0).is_exactly_one_winner());
    }

    #[test]
    fn the_store_has_the_last_word() {
        let right = tries(&[(1, 0, Ended::Won)]);
        assert!(right.judge(0).store_disagrees, "told that it won, and the store has forgotten it");
        assert!(right.judge(2).store_disagrees, "executed, and nobody was told");
    }

    #[test]
    fn a_lost_answer_may_have_been_a_win() {
        let unknown = tries(&[(1, 0, Ended::Unknown), (1, 1, Ended::Lost)]);
        assert!(unknown.judge(0).is_exactly_one_winner());
        assert!(unknown.judge(1).is_exactly_one_winner());
        assert!(unknown.judge(2).store_disagrees);
    }

    #[test]
    fn percentiles_are_in_microseconds_and_no_finer_than_the_tries() {
        let found = latency((1..=100).map(Duration::from_micros)).expect("a hundred of them");
        assert_eq!(found.tries, 100);
        assert!((49.9..=50.1).contains(&found.p50), "{}", found.p50);
        assert!((98.9..=99.2).contains(&found.p99), "{}", found.p99);
        assert!(found.curve.iter().all(|(percentile, _)| *percentile <= 99.0 || *percentile == 100.0));
        assert!(latency(std::iter::empty()).is_none());
    }

    #[test]
    fn the_median_of_an_even_number_is_the_smaller_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }
}
