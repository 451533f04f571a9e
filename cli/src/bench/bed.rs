//! What a store has to offer to be measured, who is measured on it, and one measurement from filling to judging.

use std::{sync::Arc, time::Duration};

use countersign::store::sql::{Cas, Engine, SqlStore};

use super::{
    counting::{Counting, Counts},
    document::{Kind, Run, Scenario, rounded},
    gate::Template,
    load::{Consumer, Load, Stop},
    tally::{Ended, Tries},
};
use crate::input::BadInput;

/// The number of the first approval.
pub(crate) const FIRST: u32 = 10_000_000;

/// A contender of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) cas: Cas,
    /// The statements of one that is broken on purpose.
    pub(crate) broken: Option<&'static str>,
    /// Whether a commit waits for the disk.
    pub(crate) durable: bool,
}

impl Entry {
    pub(crate) fn of(cas: Cas) -> Self {
        Self { name: cas.as_str(), kind: Kind::Strategy, cas, broken: None, durable: true }
    }

    /// The one that everything is compared with.
    pub(crate) fn default_one() -> Self {
        Self::of(Cas::ConditionalUpdate)
    }

    /// The same without waiting for the disk.
    pub(crate) fn forgetful(self) -> Self {
        Self { durable: false, ..self }
    }

    /// Those that must be found out.
    pub(crate) const BROKEN: [Self; 2] = [
        // It reads, judges what it has read, and writes whatever has happened since.
        Self {
            name: "check_then_act",
            kind: Kind::Wrong,
            cas: Cas::ForUpdate,
            broken: Some(include_str!("broken/check_then_act.sql")),
            durable: true,
        },
        // It writes, and does not look at the status.
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
pub(crate) trait Bed {
    type Engine: Engine;

    const NAME: &'static str;

    /// Whether this one means anything here.
    fn takes(entry: &Entry) -> bool;

    /// Throws away what there is, and makes so many approvals that can be consumed.
    async fn fill(&mut self, approvals: u32) -> Result<(), BadInput>;

    /// What the approvals are copies of.
    fn template(&self) -> &Template;

    /// The store, for so many clients.
    async fn open(&self, entry: &Entry, clients: usize)
    -> Result<SqlStore<Counting<Self::Engine>>, BadInput>;

    /// How many approvals are executed.
    async fn executed(&mut self) -> Result<u64, BadInput>;

    /// Where the database's log ends, in bytes.
    async fn log_position(&mut self) -> Result<u64, BadInput>;

    /// How a commit of this entry's gets to the disk, and whether it has when the client is told.
    fn durability(&self, entry: &Entry) -> (String, bool);
}

/// What is measured, on whatever it is measured.
#[derive(Clone, Debug)]
pub(crate) struct Measurement {
    pub(crate) scenario: Scenario,
    pub(crate) clients: usize,
    pub(crate) time: Duration,
    /// How many approvals there are, those of the warm-up among them.
    pub(crate) approvals: u32,
    pub(crate) rate: Option<f64>,
    pub(crate) stop: Stop,
}

/// Who it is.
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
    pub(crate) async fn take<B: Bed, C: Consumer>(
        &self,
        bed: &mut B,
        consumer: Arc<C>,
        counts: Option<Arc<Counts>>,
        label: Label,
    ) -> Result<Run, BadInput> {
        let warm = self.warm_up();
        let warming = match self.scenario {
            Scenario::Hot => Scenario::Hot,
            Scenario::Distinct | Scenario::Arrivals => Scenario::Distinct,
        };
        let log = bed.log_position().await?;
        let warm_up = self.load(warming, (FIRST, warm)).run(&consumer).await;
        let log = bed.log_position().await?.saturating_sub(log);
        let counted = counts.as_ref().map(|counts| (counts.retries(), counts.round_trips()));
        let rest = self.approvals.saturating_sub(warm);
        let tries = self.load(self.scenario, (FIRST + warm, rest)).run(&consumer).await;
        let per_win = |number: u64| rounded(number as f64 / tries.count(Ended::Won).max(1) as f64);
        let counted = counts.zip(counted).map(|(counts, (retries, round_trips))| {
            (per_win(counts.retries() - retries), per_win(counts.round_trips() - round_trips))
        });
        // A store finishes what was sent to it before it is gone.
        drop(consumer);
        let executed = bed.executed().await?;
        let mut run = run_of(B::NAME, self, label, &tries);
        let all = Tries { all: [warm_up.all.as_slice(), tries.all.as_slice()].concat(), wall: tries.wall };
        judge(&mut run, &all, executed);
        run.retries_per_win = counted.map(|counted| counted.0);
        run.round_trips_per_win = counted.map(|counted| counted.1);
        let won = warm_up.count(Ended::Won);
        run.wal_bytes_per_win = (won > 0).then(|| rounded(log as f64 / won as f64));
        Ok(run)
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

/// The figures that follow from the tries alone.
pub(crate) fn run_of(store: &str, measurement: &Measurement, label: Label, tries: &Tries) -> Run {
    let seconds = tries.wall.as_secs_f64();
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
        wins: tries.count(Ended::Won),
        losses: tries.count(Ended::Lost),
        errors: tries.errors(),
        wins_per_second: rounded(tries.wins_per_second()),
        tries_per_second: rounded(tries.all.len() as f64 / seconds.max(1e-9)),
        winner: tries.latency(Ended::Won),
        loser: tries.latency(Ended::Lost),
        win_share: tries.win_share(measurement.clients),
        exactly_one_winner: false,
        won_again: 0,
        never_won: 0,
        executed_in_store: 0,
        retries_per_win: None,
        round_trips_per_win: None,
        wal_bytes_per_win: None,
    }
}

/// Says in the run whether every approval that was tried has exactly one winner.
pub(crate) fn judge(run: &mut Run, tries: &Tries, executed: u64) {
    let judgement = tries.judge(executed);
    run.exactly_one_winner = judgement.is_exactly_one_winner();
    run.won_again = judgement.won_again;
    run.never_won = judgement.never_won;
    run.executed_in_store = executed;
}
