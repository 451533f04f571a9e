//! The measurements of one store: each contender, each baseline, each number of clients, with progress on the terminal.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use countersign::store::sql::Cas;
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    autocommit::{Autocommit, Journal},
    bench_store::{self, BenchStore, Contender, FIRST, Label, Measurement, Pass},
    counting::Statement,
    document::{DEFAULT, Document, Kind, Run, SCHEMA, Scenario, Settings},
    gate::{Act, Gate, id_of},
    host,
    load::{Consumer, Stop},
    pgbench::{Pgbench, Plan, Script},
    postgres::Postgres,
    sqlite::{Sqlite, failed},
};
use crate::args::Args;
use countersign_terminal::BadInput;

pub(crate) struct Campaign {
    /// `None` for all of them, with baselines and comparisons.
    pub(crate) entries: Option<Vec<Contender>>,
    pub(crate) clients: Vec<usize>,
    pub(crate) time: Duration,
    rate: Option<f64>,
    pub(crate) stop: Stop,
    pub(crate) bar: ProgressBar,
    pub(crate) document: Document,
    /// The most approvals a second that were seen, by store, scenario and number of clients.
    seen: BTreeMap<(&'static str, Scenario, usize), f64>,
}

/// Each contender is measured so often, in between the others.
const PASSES: u32 = 3;

/// More than this is not filled for one measurement, however fast the store is.
const MOST_APPROVALS: u32 = 400_000;

impl Campaign {
    pub(crate) fn new(args: &Args, entries: Option<Vec<Contender>>) -> Self {
        let mut clients = args.clients.clone();
        clients.sort_unstable();
        clients.dedup();
        let document = Document {
            schema: SCHEMA.to_owned(),
            command: std::env::args().skip(1).fold("countersign".to_owned(), |line, word| {
                // A URL may have a password in it.
                let word = if word.contains("://") { "postgres://…" } else { &word };
                format!("{line} {word}")
            }),
            complete: true,
            machine: host::machine(),
            versions: host::versions(),
            settings: Settings {
                seconds: args.time.as_secs_f64(),
                clients: clients.clone(),
                stores: BTreeMap::new(),
            },
            runs: Vec::new(),
            comparisons: Vec::new(),
            goals: Vec::new(),
        };
        Self {
            entries,
            clients,
            time: args.time,
            rate: args.rate,
            stop: Stop::default(),
            // Drawn on standard error, and only where that is a terminal.
            bar: ProgressBar::new(0).with_style(style()),
            document,
            seen: BTreeMap::new(),
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Our own, in every scenario.
    pub(crate) async fn contenders<B: BenchStore>(&mut self, bench_store: &mut B) -> Result<(), BadInput> {
        let entries: Vec<Contender> = match &self.entries {
            Some(entries) => entries.iter().copied().filter(B::takes).collect(),
            None => {
                let all =
                    Cas::ALL.into_iter().map(Contender::of).chain([Contender::default_one().forgetful()]);
                all.filter(B::takes).collect()
            }
        };
        for scenario in [Scenario::Distinct, Scenario::Hot, Scenario::Arrivals] {
            let most = self.clients.last().copied().into_iter().collect();
            let clients = if scenario == Scenario::Arrivals { most } else { self.clients.clone() };
            let mut plan = Vec::new();
            for entry in &entries {
                // A wrong contender is not measured at a fixed rate.
                if entry.durable || scenario != Scenario::Arrivals {
                    plan.extend(clients.iter().map(|clients| (*entry, *clients)));
                }
            }
            self.scenario(bench_store, scenario, &plan).await?;
        }
        Ok(())
    }

    /// Each of them once a pass.
    async fn scenario<B: BenchStore>(
        &mut self,
        bench_store: &mut B,
        scenario: Scenario,
        plan: &[(Contender, usize)],
    ) -> Result<(), BadInput> {
        self.bar.inc_length(u64::from(PASSES) * plan.len() as u64);
        let mut passes: Vec<Vec<Pass>> = plan.iter().map(|_| Vec::new()).collect();
        for _ in 0..PASSES {
            for ((entry, clients), passes) in plan.iter().zip(&mut passes) {
                let measurement = self.measurement(B::NAME, scenario, *clients);
                self.say::<B>(entry.name, &measurement);
                bench_store.fill(measurement.approvals).await?;
                let store = bench_store.open(entry, *clients).await?;
                let gate = Arc::new(Gate::new(store, bench_store.template().clone(), Act::Consume));
                let counts = Arc::clone(gate.counts());
                let pass = measurement.take(bench_store, gate, Some(counts)).await?;
                // A measurement that was cut short is discarded.
                if self.is_stopped() {
                    return Ok(());
                }
                self.note(B::NAME, &measurement, &pass);
                passes.push(pass);
            }
        }
        for ((entry, clients), passes) in plan.iter().zip(passes) {
            let measurement = self.measurement(B::NAME, scenario, *clients);
            let mut run = bench_store::run_of(B::NAME, &measurement, label(bench_store, entry), passes);
            if B::NAME == Sqlite::NAME {
                // It runs in-process.
                run.round_trips_per_win = None;
            }
            self.document.runs.push(run);
        }
        Ok(())
    }

    /// Remembers how fast this store can be.
    fn note(&mut self, store: &'static str, measurement: &Measurement, pass: &Pass) {
        let rate = pass.tries.wins_per_second();
        let seen = self.seen.entry((store, measurement.scenario, measurement.clients)).or_default();
        *seen = seen.max(rate);
        self.bar.inc(1);
    }

    fn say<B: BenchStore>(&self, name: &str, measurement: &Measurement) {
        let Measurement { scenario, clients, .. } = measurement;
        self.bar.set_message(format!("{} {name} {} × {clients}", B::NAME, scenario.name()));
        self.bar.tick();
    }

    /// With as many approvals as it may need, by what was seen of this store so far.
    pub(crate) fn measurement(&self, store: &'static str, scenario: Scenario, clients: usize) -> Measurement {
        /// Approvals a second, as long as nothing is known.
        const GUESS: f64 = 6_000.0;
        let fastest = self.seen.get(&(store, scenario, clients)).copied().unwrap_or(0.0);
        // Another contender may be faster than all that were seen, but not by much.
        let expected =
            if fastest > 0.0 { fastest * 2.5 } else { GUESS * if clients > 1 { 3.0 } else { 1.0 } };
        let rate = self.rate.unwrap_or_else(|| self.half_of_the_first(store, clients));
        let each = match scenario {
            Scenario::Arrivals => rate,
            Scenario::Distinct | Scenario::Hot => expected,
        };
        let mut measurement = Measurement {
            scenario,
            clients,
            time: self.time / PASSES,
            approvals: 0,
            rate: Some(rate),
            stop: Arc::clone(&self.stop),
        };
        let approvals = (each * measurement.time.as_secs_f64()) as u32 + clients as u32;
        measurement.approvals = measurement.warm_up() + approvals.clamp(1, MOST_APPROVALS);
        measurement
    }

    /// A rate that the first contender can keep up with easily.
    fn half_of_the_first(&self, store: &str, clients: usize) -> f64 {
        let is_it =
            |run: &&Run| run.store == store && run.scenario == Scenario::Distinct && run.clients == clients;
        let first = self.document.runs.iter().find(is_it).map_or(100.0, |run| run.wins_per_second / 2.0);
        let step = 10_f64.powf(first.max(10.0).log10().floor() - 1.0);
        ((first / step).round() * step).max(1.0)
    }

    pub(crate) async fn autocommit(
        &mut self,
        bench_store: &mut Sqlite,
        statement: &Statement,
        journal: Journal,
        scenario: Scenario,
        clients: usize,
    ) -> Result<(), BadInput> {
        if self.is_stopped() {
            return Ok(());
        }
        self.bar.inc_length(PASSES.into());
        let mut passes = Vec::new();
        for _ in 0..PASSES {
            let mut measurement = self.measurement(Sqlite::NAME, scenario, clients);
            measurement.approvals = measurement.approvals.min(20_000);
            self.say::<Sqlite>(journal.contender(), &measurement);
            bench_store.fill(measurement.approvals).await?;
            let open = Autocommit::open(bench_store.path(), clients, statement, id_of(FIRST), journal);
            let open = Arc::new(open.map_err(|error| failed(journal.contender(), &error))?);
            let pass = measurement.take(bench_store, open, None).await?;
            if self.is_stopped() {
                return Ok(());
            }
            passes.push(pass);
            self.bar.inc(1);
        }
        let measurement = self.measurement(Sqlite::NAME, scenario, clients);
        let mut label = baseline(journal.contender(), bench_store);
        if journal != Journal::Wal {
            label.durability = format!("{}, journal_mode={}", label.durability, journal.mode());
        }
        self.document.runs.push(bench_store::run_of(Sqlite::NAME, &measurement, label, passes));
        Ok(())
    }

    pub(crate) async fn pgbench(
        &mut self,
        bench_store: &mut Postgres,
        pgbench: &Pgbench,
        statement: &Statement,
        clients: usize,
    ) -> Result<(), BadInput> {
        if self.is_stopped() {
            return Ok(());
        }
        self.bar.inc_length(PASSES.into());
        let measurement = self.measurement(Postgres::NAME, Scenario::Distinct, clients);
        let of_ours = self.document.runs.iter().find(|run| {
            run.store == Postgres::NAME
                && run.contender == DEFAULT
                && run.scenario == Scenario::Distinct
                && run.clients == clients
        });
        let each = of_ours.map_or(1_000, |run| run.wins as u32 / clients as u32 / PASSES).max(10);
        let script = Script::new(std::slice::from_ref(statement), id_of(FIRST), false);
        let mut passes = Vec::new();
        for _ in 0..PASSES {
            self.say::<Postgres>("pgbench", &measurement);
            bench_store.fill(each * clients as u32).await?;
            let tries = pgbench.run(&script, Plan { clients, each, first: FIRST });
            if self.is_stopped() {
                return Ok(());
            }
            let tries = tries.map_err(|error| failed("pgbench", &error))?;
            let executed = bench_store.executed().await?;
            let counted = Some((0, tries.all.len() as u64));
            passes.push(Pass { judgement: tries.judge(executed), tries, executed, counted, log: None });
            self.bar.inc(1);
        }
        let label = baseline("pgbench", bench_store);
        self.document.runs.push(bench_store::run_of(Postgres::NAME, &measurement, label, passes));
        Ok(())
    }
}

fn baseline<B: BenchStore>(name: &str, bench_store: &B) -> Label {
    Label {
        contender: name.to_owned(),
        kind: Kind::Baseline,
        ..label(bench_store, &Contender::default_one())
    }
}

fn label<B: BenchStore>(bench_store: &B, entry: &Contender) -> Label {
    let (durability, single_use_after_a_crash) = bench_store.durability(entry);
    Label { contender: entry.name.to_owned(), kind: entry.kind, durability, single_use_after_a_crash }
}

/// The tries of one consumer.
pub(crate) async fn tries_of<C: Consumer>(
    measurement: &Measurement,
    first: u32,
    count: u32,
    consumer: &Arc<C>,
) -> super::counters::Tries {
    measurement.load(measurement.scenario, (first, count)).run(consumer).await
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix:.bold} {wide_bar} {pos}/{len} {msg} ({elapsed})")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
