//! The scenarios: each is one pass over a contender, with the number of consumes of every approval checked.

use std::{
    sync::Barrier,
    time::{Duration, Instant},
};

use countersign::protocol::Timestamp;
use uuid::Uuid;

use crate::contenders::{Draw, Entry, Kind, Runner, Try, ids};

/// A way to come to the approvals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// One thread, every approval once, in an order that is not that of their making.
    Uncontended,
    /// Two threads, each on its own half.
    Distinct,
    /// This many threads on one approval, repeatedly: all tries but the first lose.
    Hot(usize),
    /// This many threads, all over the same list.
    Race(usize),
    /// Two threads, of a hundred tries five consume and the rest validates, few approvals being asked for often.
    Mixed,
}

impl Scenario {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Uncontended,
        Self::Distinct,
        Self::Hot(2),
        Self::Hot(8),
        Self::Race(2),
        Self::Race(8),
        Self::Mixed,
    ];

    /// Name in reports.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Uncontended => "uncontended".to_owned(),
            Self::Distinct => "distinct-2".to_owned(),
            Self::Hot(threads) => format!("hot-{threads}"),
            Self::Race(threads) => format!("race-{threads}"),
            Self::Mixed => "mixed-95-5".to_owned(),
        }
    }

    /// Number of concurrent threads.
    pub(crate) fn threads(self) -> usize {
        match self {
            Self::Uncontended => 1,
            Self::Distinct | Self::Mixed => 2,
            Self::Hot(threads) | Self::Race(threads) => threads,
        }
    }

    /// True if more than one thread tries an approval.
    pub(crate) fn is_contended(self) -> bool {
        match self {
            Self::Uncontended | Self::Distinct => false,
            Self::Hot(_) | Self::Race(_) | Self::Mixed => true,
        }
    }
}

/// Sizes of the scenarios.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Approvals that there are.
    pub(crate) approvals: usize,
    /// Approvals that are raced for.
    pub(crate) raced: usize,
    /// Approvals that are hot, one after the other.
    pub(crate) hot: usize,
    /// Tries at each of them, by all threads together.
    pub(crate) tries_at_hot: usize,
    /// Tries of a mix, by each thread.
    pub(crate) mixed: usize,
}

impl Sizes {
    /// The sizes of a recorded run.
    pub(crate) const FULL: Self =
        Self { approvals: 1_000_000, raced: 200_000, hot: 16, tries_at_hot: 400_000, mixed: 500_000 };
    /// To see that everything works.
    pub(crate) const SMALL: Self =
        Self { approvals: 2_000, raced: 1_000, hot: 4, tries_at_hot: 2_000, mixed: 2_000 };
}

/// A contender with its approvals.
pub(crate) struct Loaded {
    /// The contender.
    pub(crate) entry: Entry,
    runner: Box<dyn Runner>,
    /// In the order of their making.
    made: Vec<Uuid>,
    /// In the order of their use.
    used: Vec<Uuid>,
    tries: [Vec<Try>; 2],
    sizes: Sizes,
    /// Memory of each approval, by the requests to the allocator.
    pub(crate) bytes_per_record: f64,
}

/// Result of a pass.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pass {
    /// From the first start to the last end.
    pub(crate) wall: Duration,
    /// Number of tries by all threads.
    pub(crate) tries: usize,
    /// Number of wins of each thread.
    pub(crate) wins: Vec<usize>,
    /// Number of consumes of an already consumed approval.
    pub(crate) consumed_again: usize,
    /// Number of approvals that were tried, and never consumed.
    pub(crate) never_consumed: usize,
}

impl Pass {
    /// True if each approval had exactly one winner.
    pub(crate) fn is_right(&self) -> bool {
        self.consumed_again == 0 && self.never_consumed == 0
    }
}

/// The time of the move by a thread. None of them is that of the approval.
fn now(thread: usize) -> Timestamp {
    Timestamp(10 + thread as u64)
}

impl Loaded {
    /// Builds the contender with all approvals.
    pub(crate) fn new(entry: Entry, sizes: Sizes) -> Self {
        let ids = ids(sizes.approvals);
        let before = crate::contenders::allocator::bytes_in_use();
        let (runner, made) = (entry.build)(&ids);
        let after = crate::contenders::allocator::bytes_in_use();
        // The list of ids is the caller's.
        let bytes = after - before - made.capacity() * size_of::<Uuid>();
        let mut used = made.clone();
        Draw::new(9).shuffle(&mut used);
        let tries = [1, 2].map(|seed| mixed_tries(seed, sizes.mixed / entry.thinned, sizes.approvals));
        Self {
            entry,
            runner,
            made,
            used,
            tries,
            sizes,
            bytes_per_record: bytes as f64 / sizes.approvals as f64,
        }
    }

    /// Every approval that the scenario consumes can be consumed again.
    fn start_over(&mut self, scenario: Scenario) {
        if self.entry.rebuilt {
            let again = (self.entry.build)(&ids(self.sizes.approvals));
            (self.runner, self.made) = again;
            return;
        }
        match scenario {
            Scenario::Uncontended | Scenario::Distinct if self.entry.thinned == 1 => {
                // In the order of their making, which is the quicker one.
                self.runner.reset_all(&self.made);
            }
            Scenario::Uncontended | Scenario::Distinct => {
                self.runner.reset_all(&self.used[..self.used.len() / self.entry.thinned]);
            }
            Scenario::Hot(_) => self.runner.reset_all(&self.used[..self.sizes.hot]),
            Scenario::Race(_) => self.runner.reset_all(self.raced()),
            Scenario::Mixed => {
                let consumed = |try_at: &Try| match *try_at {
                    Try::Validate(_) => None,
                    Try::Consume(number) => Some(self.made[number as usize]),
                };
                let ids: Vec<Uuid> = self.tries.iter().flatten().filter_map(consumed).collect();
                self.runner.reset_all(&ids);
            }
        }
    }

    /// One pass over fresh approvals.
    pub(crate) fn pass(&mut self, scenario: Scenario) -> Pass {
        self.start_over(scenario);
        match scenario {
            Scenario::Uncontended => self.each_once(1),
            Scenario::Distinct => self.each_once(2),
            Scenario::Hot(threads) => self.hot(threads),
            Scenario::Race(threads) => self.race(threads),
            Scenario::Mixed => self.mixed(),
        }
    }

    fn each_once(&self, threads: usize) -> Pass {
        let each = self.used.len() / self.entry.thinned / threads;
        let (wall, wins) = together(threads, |thread| {
            let part = &self.used[thread * each..][..each];
            self.runner.consume_all(part, now(thread))
        });
        let tries = each * threads;
        let won: usize = wins.iter().sum();
        Pass { wall, tries, wins, consumed_again: 0, never_consumed: tries - won }
    }

    fn hot(&self, threads: usize) -> Pass {
        let hot = &self.used[..self.sizes.hot];
        let each = self.sizes.tries_at_hot / self.entry.thinned / threads;
        let (wall, wins) = together(threads, |thread| {
            let win = |id: &Uuid| self.runner.consume_one(*id, each, now(thread));
            hot.iter().map(win).collect::<Vec<usize>>()
        });
        let winners = |number: usize| wins.iter().map(|wins| wins[number]).sum::<usize>();
        Pass {
            wall,
            tries: each * threads * hot.len(),
            consumed_again: (0..hot.len()).map(|number| winners(number).saturating_sub(1)).sum(),
            never_consumed: (0..hot.len()).filter(|number| winners(*number) == 0).count(),
            wins: wins.iter().map(|wins| wins.iter().sum()).collect(),
        }
    }

    fn raced(&self) -> &[Uuid] {
        &self.used[..self.sizes.raced / self.entry.thinned]
    }

    fn race(&self, threads: usize) -> Pass {
        let list = self.raced();
        let (wall, won) = together(threads, |thread| {
            let mut won = Vec::with_capacity(list.len());
            self.runner.race(list, now(thread), &mut won);
            won
        });
        let mut winners = vec![0_usize; list.len()];
        won.iter().flatten().for_each(|number| winners[*number as usize] += 1);
        Pass {
            wall,
            tries: list.len() * threads,
            consumed_again: winners.iter().map(|winners| winners.saturating_sub(1)).sum(),
            never_consumed: winners.iter().filter(|winners| **winners == 0).count(),
            wins: won.iter().map(Vec::len).collect(),
        }
    }

    fn mixed(&self) -> Pass {
        let (wall, won) = together(2, |thread| {
            let mut won = Vec::with_capacity(self.tries[thread].len());
            self.runner.mix(&self.made, &self.tries[thread], now(thread), &mut won);
            won
        });
        let mut winners = vec![0_usize; self.made.len()];
        won.iter().flatten().for_each(|number| winners[*number as usize] += 1);
        let mut tried = vec![false; self.made.len()];
        for try_at in self.tries.iter().flatten() {
            if let Try::Consume(number) = try_at {
                tried[*number as usize] = true;
            }
        }
        let lost_by_all = |(tried, winners): (&bool, &usize)| *tried && *winners == 0;
        Pass {
            wall,
            tries: self.tries.iter().map(Vec::len).sum(),
            consumed_again: winners.iter().map(|winners| winners.saturating_sub(1)).sum(),
            never_consumed: tried.iter().zip(&winners).filter(|pair| lost_by_all(*pair)).count(),
            wins: won.iter().map(Vec::len).collect(),
        }
    }

    /// A race in which each try is timed: nanoseconds of winners and of losers, with those of the clock in them.
    pub(crate) fn latencies(&mut self, threads: usize) -> [Vec<u64>; 2] {
        self.start_over(Scenario::Race(threads));
        let begun = instant();
        let clock = move || begun.elapsed().as_nanos() as u64;
        let list = self.raced();
        let (_, told) = together(threads, |thread| {
            let [mut winner, mut loser] = [Vec::with_capacity(list.len()), Vec::with_capacity(list.len())];
            self.runner.time(list, now(thread), &clock, &mut |won, took| {
                if won { winner.push(took) } else { loser.push(took) }
            });
            [winner, loser]
        });
        let mut all = [Vec::new(), Vec::new()];
        for times in told {
            for (all, times) in all.iter_mut().zip(times) {
                all.extend(times);
            }
        }
        all
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// Starts this many threads concurrently; returns the time from the first start to the last end, and their results.
fn together<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> (Duration, Vec<T>) {
    let barrier = Barrier::new(threads);
    let timed = |thread| {
        barrier.wait();
        let begun = instant();
        let done = work(thread);
        (begun, instant(), done)
    };
    let ran: Vec<_> = std::thread::scope(|scope| {
        let timed = &timed;
        let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || timed(thread))).collect();
        let mut ran = vec![timed(0)];
        ran.extend(others.into_iter().map(|other| other.join().expect("no contender panics")));
        ran
    });
    let begun = ran.iter().map(|(begun, ..)| *begun).min().expect("there is a thread");
    let ended = ran.iter().map(|(_, ended, _)| *ended).max().expect("there is a thread");
    (ended - begun, ran.into_iter().map(|(.., done)| done).collect())
}

/// Exponent of the Zipf distribution: the approval of rank n is requested in proportion to 1 / n to this power.
pub(crate) const ZIPF_EXPONENT: f64 = 0.99;

fn mixed_tries(seed: u64, count: usize, approvals: usize) -> Vec<Try> {
    let mut sum = 0.0;
    let up_to: Vec<f64> = (1..=approvals)
        .map(|rank| {
            sum += (rank as f64).powf(-ZIPF_EXPONENT);
            sum
        })
        .collect();
    let mut draw = Draw::new(seed);
    // Which approval has which rank: the same for every thread.
    let mut of_rank: Vec<u32> = (0..approvals as u32).collect();
    Draw::new(0).shuffle(&mut of_rank);
    (0..count)
        .map(|_| {
            let at = draw.fraction() * sum;
            let number = of_rank[up_to.partition_point(|up_to| *up_to < at).min(approvals - 1)];
            if draw.below(100) < 5 { Try::Consume(number) } else { Try::Validate(number) }
        })
        .collect()
}

/// Asserts that a correct contender is correct in every pass.
pub(crate) fn judge(entry: &Entry, scenario: Scenario, passes: &[Pass]) {
    let wrong = passes.iter().find(|pass| !pass.is_right());
    match entry.kind {
        Kind::Strategy | Kind::Baseline => {
            assert!(wrong.is_none(), "{} is wrong in {}: {wrong:?}", entry.name, scenario.name());
        }
        Kind::Wrong => {}
    }
}
