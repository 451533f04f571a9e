//! The interface of a store under measurement, its contenders, and one measurement from filling to judging.

use std::{sync::Arc, time::Duration};

use countersign::store::sql::{Cas, Engine, SqlStore};

use super::{
    counters::{Ended, Judgement, Tries},
    counting::{Counting, Counts},
    document::{Kind, Run, Scenario, rounded},
    gate::Template,
    load::{Consumer, Load, Stop},
};
use countersign_terminal::BadInput;

/// The number of the first approval.
pub(crate) const FIRST: u32 = 10_000_000;

/// A contender of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) cas: Cas,
    /// The statements of one that is broken on purpose.
    pub(crate) broken: Option<&'static str>,
    /// A commit waits for the disk.
    pub(crate) durable: bool,
}

impl Contender {
    pub(crate) fn of(cas: Cas) -> Self {
        Self { name: cas.as_str(), kind: Kind::Strategy, cas, broken: None, durable: true }
    }

    /// The entry that all others are compared with.
    pub(crate) fn default_one() -> Self {
        Self::of(Cas::ConditionalUpdate)
    }

    /// The same without waiting for the disk.
    pub(crate) fn forgetful(self) -> Self {
        Self { durable: false, ..self }
    }

    /// Controls that must be caught.
    pub(crate) const BROKEN: [Self; 2] = [
        // It reads, judges that, and writes without checking again.
        Self {
            name: "check_then_act",
            kind: Kind::Wrong,
            cas: Cas::ForUpdate,
            broken: Some(include_str!("broken/check_then_act.sql")),
            durable: true,
        },
        // It writes without comparing the status.
        Self {
            name: "unconditional",
            kind: Kind::Wrong,
            cas: Cas::ConditionalUpdate,
            broken: Some(include_str!("broken/unconditional.sql")),
            durable: true,
        },
    ];

    pub(crate) fn find(name: &str) -> Option<Self> {
        let broken = Self::BROKEN.into_iter().find(|entry| entry.name == name);
        broken.or_else(|| Cas::parse(name).map(Self::of))
    }
}

/// A store with approvals that can be made anew.
pub(crate) trait BenchStore {
    type Engine: Engine;

    const NAME: &'static str;

    /// True if the store supports this contender.
    fn takes(entry: &Contender) -> bool;

    /// Deletes all approvals, and makes this number of approved ones.
    async fn fill(&mut self, approvals: u32) -> Result<(), BadInput>;

    /// Template of the approvals.
    fn template(&self) -> &Template;

    /// The store, for this number of clients.
    async fn open(
        &self,
        entry: &Contender,
        clients: usize,
    ) -> Result<SqlStore<Counting<Self::Engine>>, BadInput>;

    /// Number of executed approvals.
    async fn executed(&mut self) -> Result<u64, BadInput>;

    /// End of the database's log, in bytes.
    async fn log_position(&mut self) -> Result<u64, BadInput>;

    /// Durability settings of this contender, and whether a commit is on the disk at its answer.
    fn durability(&self, entry: &Contender) -> (String, bool);
}

/// The stores that are measured.
#[derive(Clone, Debug)]
pub(crate) struct Measurement {
    pub(crate) scenario: Scenario,
    pub(crate) clients: usize,
    pub(crate) time: Duration,
    /// Number of approvals, including those of the warm-up.
    pub(crate) approvals: u32,
    pub(crate) rate: Option<f64>,
    pub(crate) stop: Stop,
}

/// Identity of a contender.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub(crate) contender: String,
    pub(crate) kind: Kind,
    pub(crate) durability: String,
    pub(crate) single_use_after_a_crash: bool,
}

impl Measurement {
    /// Used to open connections and to prepare statements, and to see what a win adds to the log: so few that SQLite's
    /// log is not begun anew meanwhile.
    pub(crate) fn warm_up(&self) -> u32 {
        const WINS: u32 = 160;
        match self.scenario {
            Scenario::Hot => 64,
            Scenario::Distinct | Scenario::Arrivals => WINS.max(self.clients as u32),
        }
    }

    /// Lets the consumer have the approvals of a bed that has just been filled.
    pub(crate) async fn take<B: BenchStore, C: Consumer>(
        &self,
        bench_store: &mut B,
        consumer: Arc<C>,
        counts: Option<Arc<Counts>>,
    ) -> Result<Pass, BadInput> {
        let warm = self.warm_up();
        let warming = match self.scenario {
            Scenario::Hot => Scenario::Hot,
            Scenario::Distinct | Scenario::Arrivals => Scenario::Distinct,
        };
        let log = bench_store.log_position().await?;
        let warm_up = self.load(warming, (FIRST, warm)).run(&consumer).await;
        let log_bytes = bench_store.log_position().await?.saturating_sub(log);
        let counted = counts.as_ref().map(|counts| (counts.retries(), counts.round_trips()));
        let rest = self.approvals.saturating_sub(warm);
        let tries = self.load(self.scenario, (FIRST + warm, rest)).run(&consumer).await;
        let counted = counts.zip(counted).map(|(counts, (retries, round_trips))| {
            (counts.retries() - retries, counts.round_trips() - round_trips)
        });
        // A store finishes what was sent to it before it is gone.
        drop(consumer);
        let executed = bench_store.executed().await?;
        let all = Tries { all: [warm_up.all.as_slice(), tries.all.as_slice()].concat(), wall: tries.wall };
        let log = Some((log_bytes, warm_up.count(Ended::Won)));
        Ok(Pass { judgement: all.judge(executed), tries, executed, counted, log })
    }

    pub(crate) fn load(&self, scenario: Scenario, approvals: (u32, u32)) -> Load {
        Load {
            scenario,
            clients: self.clients,
            time: self.time,
            approvals,
            rate: self.rate.unwrap_or_default(),
            stop: Arc::clone(&self.stop),
        }
    }
}

/// One of the passes that a run is made of.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) tries: Tries,
    pub(crate) judgement: Judgement,
    pub(crate) executed: u64,
    /// Retries and round trips.
    pub(crate) counted: Option<(u64, u64)>,
    /// Growth of the log, and the number of wins in it.
    pub(crate) log: Option<(u64, u64)>,
}

/// A run of these passes, which were measured in between those of others: what changes on the machine meanwhile happens
/// to all of them.
pub(crate) fn run_of(store: &str, measurement: &Measurement, label: Label, passes: Vec<Pass>) -> Run {
    let sum = |of: fn(&Pass) -> u64| passes.iter().map(of).sum::<u64>();
    let (won_again, never_won) = (sum(|pass| pass.judgement.won_again), sum(|pass| pass.judgement.never_won));
    let executed_in_store = sum(|pass| pass.executed);
    let exactly_one_winner = passes.iter().all(|pass| pass.judgement.is_exactly_one_winner());
    let pairs = |of: fn(&Pass) -> Option<(u64, u64)>| {
        let pairs: Option<Vec<(u64, u64)>> = passes.iter().map(of).collect();
        pairs.map(|pairs| pairs.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1)))
    };
    let (counted, log) = (pairs(|pass| pass.counted), pairs(|pass| pass.log));
    let mut tries = Tries::default();
    for pass in passes {
        tries.wall += pass.tries.wall;
        tries.all.extend(pass.tries.all);
    }
    let seconds = tries.wall.as_secs_f64();
    let wins = tries.count(Ended::Won);
    let each = |number: u64, of: u64| rounded(number as f64 / of as f64);
    Run {
        store: store.to_owned(),
        contender: label.contender,
        kind: label.kind,
        durability: label.durability,
        single_use_after_a_crash: label.single_use_after_a_crash,
        scenario: measurement.scenario,
        clients: measurement.clients,
        rate_per_second: measurement.rate.filter(|_| measurement.scenario == Scenario::Arrivals),
        seconds: rounded(seconds),
        wins,
        losses: tries.count(Ended::Lost),
        errors: tries.errors(),
        wins_per_second: rounded(tries.wins_per_second()),
        tries_per_second: rounded(tries.all.len() as f64 / seconds.max(1e-9)),
        winner: tries.latency(Ended::Won),
        loser: tries.latency(Ended::Lost),
        win_share: tries.win_share(measurement.clients),
        exactly_one_winner,
        won_again,
        never_won,
        executed_in_store,
        retries_per_win: counted.filter(|_| wins > 0).map(|counted| each(counted.0, wins)),
        round_trips_per_win: counted.filter(|_| wins > 0).map(|counted| each(counted.1, wins)),
        wal_bytes_per_win: log.filter(|log| log.1 > 0).map(|log| each(log.0, log.1)),
    }
}
