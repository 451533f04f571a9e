//! Everything that one call measures: each store, each contender, each number of clients, with progress on the terminal.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use countersign::store::sql::Cas;
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    autocommit::Autocommit,
    bed::{self, Bed, Entry, FIRST, Label, Measurement},
    comparisons,
    counting::Statement,
    document::{DEFAULT, Document, Kind, Run, SCHEMA, Scenario, Settings},
    gate::{Act, Gate, id_of},
    host,
    load::{Consumer, Stop},
    pgbench::{Pgbench, Plan, Script},
    postgres::Postgres,
    sqlite::{Sqlite, failed},
};
use crate::{
    args::{BenchArgs, StoreChoice},
    input::BadInput,
};

pub(crate) struct Campaign {
    /// None: all of them, with baselines and comparisons.
    entries: Option<Vec<Entry>>,
    clients: Vec<usize>,
    pub(crate) time: Duration,
    rate: Option<f64>,
    pub(crate) stop: Stop,
    pub(crate) bar: ProgressBar,
    pub(crate) document: Document,
}

/// More than this is not filled for one measurement, however fast the store is.
const MOST_APPROVALS: u32 = 400_000;

impl Campaign {
    pub(crate) fn new(args: &BenchArgs, entries: Option<Vec<Entry>>) -> Self {
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
        }
    }

    pub(crate) async fn measure(mut self, stores: &[StoreChoice]) -> Result<Document, BadInput> {
        let stop = Arc::clone(&self.stop);
        let listening = tokio::spawn(async move {
            // Without a signal to wait for there is none to be told of.
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.store(true, Ordering::Relaxed);
            }
        });
        for store in stores {
            if self.is_stopped() {
                break;
            }
            match store {
                StoreChoice::Sqlite(path) => self.sqlite(path.as_deref()).await?,
                StoreChoice::Postgres(url) => self.postgres(url.as_deref()).await?,
            }
        }
        listening.abort();
        self.bar.finish_and_clear();
        self.document.goals = comparisons::goals(&self.document.comparisons);
        self.document.machine = host::machine();
        self.document.complete = !self.is_stopped();
        Ok(self.document)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    async fn sqlite(&mut self, path: Option<&std::path::Path>) -> Result<(), BadInput> {
        let mut bed = Sqlite::new(path)?;
        let settings = [("journal_mode", "WAL"), ("version", rusqlite::version())];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.document.settings.stores.insert(Sqlite::NAME.to_owned(), settings.into());
        self.contenders(&mut bed).await?;
        if self.entries.is_none() && !self.is_stopped() {
            let statement = comparisons::one_consume(&mut bed).await?;
            for scenario in [Scenario::Distinct, Scenario::Hot] {
                for clients in self.clients.clone() {
                    self.autocommit(&mut bed, &statement, scenario, clients).await?;
                }
            }
            comparisons::on_sqlite(self, &mut bed, &statement).await?;
        }
        Ok(())
    }

    async fn postgres(&mut self, url: Option<&str>) -> Result<(), BadInput> {
        self.bar.set_message("starting PostgreSQL");
        let mut bed = Postgres::new(url).await?;
        self.document.settings.stores.insert(Postgres::NAME.to_owned(), bed.settings().clone());
        self.contenders(&mut bed).await?;
        if self.entries.is_none() && !self.is_stopped() {
            if let Some(pgbench) = bed.pgbench() {
                if let Some(version) = pgbench.version() {
                    self.document.versions.insert("pgbench".to_owned(), version);
                }
                let statement = comparisons::one_consume(&mut bed).await?;
                for clients in self.clients.clone() {
                    self.pgbench(&mut bed, &pgbench, &statement, clients).await?;
                }
            }
            comparisons::on_postgres(self, &mut bed).await?;
        }
        bed.leave().await;
        Ok(())
    }

    /// Our own, in every scenario.
    async fn contenders<B: Bed>(&mut self, bed: &mut B) -> Result<(), BadInput> {
        let entries: Vec<Entry> = match &self.entries {
            Some(entries) => entries.iter().copied().filter(B::takes).collect(),
            None => {
                let all = Cas::ALL.into_iter().map(Entry::of).chain([Entry::default_one().forgetful()]);
                all.filter(B::takes).collect()
            }
        };
        let mut plan = Vec::new();
        for scenario in [Scenario::Distinct, Scenario::Hot] {
            for entry in &entries {
                plan.extend(self.clients.iter().map(|clients| (*entry, scenario, *clients)));
            }
        }
        if let Some(most) = self.clients.last() {
            let durable = entries.iter().filter(|entry| entry.durable);
            plan.extend(durable.map(|entry| (*entry, Scenario::Arrivals, *most)));
        }
        self.bar.inc_length(plan.len() as u64);
        for (entry, scenario, clients) in plan {
            if self.is_stopped() {
                break;
            }
            let measurement = self.measurement(B::NAME, scenario, clients);
            self.say::<B>(entry.name, &measurement);
            bed.fill(measurement.approvals).await?;
            let store = bed.open(&entry, clients).await?;
            let gate = Arc::new(Gate::new(store, bed.template().clone(), Act::Consume));
            let counts = Arc::clone(gate.counts());
            let label = label(bed, &entry);
            let mut run = measurement.take(bed, gate, Some(counts), label).await?;
            if B::NAME == Sqlite::NAME {
                // It is part of the program.
                run.round_trips_per_win = None;
            }
            self.add(run);
        }
        Ok(())
    }

    fn say<B: Bed>(&self, name: &str, measurement: &Measurement) {
        let Measurement { scenario, clients, .. } = measurement;
        self.bar.set_message(format!("{} {name} {} × {clients}", B::NAME, scenario.name()));
        self.bar.tick();
    }

    /// What was cut short is no measurement.
    pub(crate) fn add(&mut self, run: Run) {
        if !self.is_stopped() {
            self.document.runs.push(run);
            self.bar.inc(1);
        }
    }

    /// With as many approvals as it may need, by what was seen of this store so far.
    pub(crate) fn measurement(&self, store: &str, scenario: Scenario, clients: usize) -> Measurement {
        /// Approvals a second, as long as nothing is known.
        const GUESS: f64 = 6_000.0;
        let seen = self.document.runs.iter().filter(|run| run.store == store && run.scenario == scenario);
        let of_clients = seen.clone().filter(|run| run.clients == clients);
        let fastest = of_clients.map(|run| run.wins_per_second).fold(0.0, f64::max);
        // Another contender may be faster than all that were seen, but not by much.
        let expected = if fastest > 0.0 { fastest * 2.5 } else { GUESS * if clients > 1 { 3.0 } else { 1.0 } };
        let rate = self.rate.unwrap_or_else(|| self.half_of_the_first(store, clients));
        let each = match scenario {
            Scenario::Arrivals => rate,
            Scenario::Distinct | Scenario::Hot => expected,
        };
        let mut measurement = Measurement {
            scenario,
            clients,
            time: self.time,
            approvals: 0,
            rate: Some(rate),
            stop: Arc::clone(&self.stop),
        };
        let approvals = (each * self.time.as_secs_f64()) as u32 + clients as u32;
        measurement.approvals = measurement.warm_up() + approvals.clamp(1, MOST_APPROVALS);
        measurement
    }

    /// A rate that the first contender can keep up with easily.
    fn half_of_the_first(&self, store: &str, clients: usize) -> f64 {
        let is_it = |run: &&Run| {
            run.store == store && run.scenario == Scenario::Distinct && run.clients == clients
        };
        let first = self.document.runs.iter().find(is_it).map_or(100.0, |run| run.wins_per_second / 2.0);
        let step = 10_f64.powf(first.max(10.0).log10().floor() - 1.0);
        ((first / step).round() * step).max(1.0)
    }

    async fn autocommit(
        &mut self,
        bed: &mut Sqlite,
        statement: &Statement,
        scenario: Scenario,
        clients: usize,
    ) -> Result<(), BadInput> {
        if self.is_stopped() {
            return Ok(());
        }
        self.bar.inc_length(1);
        let mut measurement = self.measurement(Sqlite::NAME, scenario, clients);
        measurement.approvals = measurement.approvals.min(20_000);
        self.say::<Sqlite>("autocommit", &measurement);
        bed.fill(measurement.approvals).await?;
        let open = Autocommit::open(bed.path(), clients, statement, id_of(FIRST));
        let open = Arc::new(open.map_err(|error| failed("autocommit", &error))?);
        let label = Label { contender: "autocommit".to_owned(), kind: Kind::Baseline, ..label(bed, &Entry::default_one()) };
        let mut run = measurement.take(bed, open, None, label).await?;
        if clients > 1 {
            // Those who wait long are so few wins that the log has begun anew, or so slow that it has hardly begun.
            run.wal_bytes_per_win = None;
        }
        self.add(run);
        Ok(())
    }

    async fn pgbench(
        &mut self,
        bed: &mut Postgres,
        pgbench: &Pgbench,
        statement: &Statement,
        clients: usize,
    ) -> Result<(), BadInput> {
        if self.is_stopped() {
            return Ok(());
        }
        self.bar.inc_length(1);
        let measurement = self.measurement(Postgres::NAME, Scenario::Distinct, clients);
        self.say::<Postgres>("pgbench", &measurement);
        let of_ours = self.document.runs.iter().find(|run| {
            run.store == Postgres::NAME
                && run.contender == DEFAULT
                && run.scenario == Scenario::Distinct
                && run.clients == clients
        });
        let each = of_ours.map_or(1_000, |run| run.wins as u32 / clients as u32).max(10);
        bed.fill(each * clients as u32).await?;
        let script = Script::new(std::slice::from_ref(statement), id_of(FIRST), false);
        let tries = pgbench.run(&script, Plan { clients, each, first: FIRST });
        if self.is_stopped() {
            return Ok(());
        }
        let tries = tries.map_err(|error| failed("pgbench", &error))?;
        let label = Label { contender: "pgbench".to_owned(), kind: Kind::Baseline, ..label(bed, &Entry::default_one()) };
        let mut run = bed::run_of(Postgres::NAME, &measurement, label, &tries);
        bed::judge(&mut run, &tries, bed.executed().await?);
        run.round_trips_per_win = Some(1.0);
        self.add(run);
        Ok(())
    }
}

pub(crate) fn label<B: Bed>(bed: &B, entry: &Entry) -> Label {
    let (durability, single_use_after_a_crash) = bed.durability(entry);
    Label { contender: entry.name.to_owned(), kind: entry.kind, durability, single_use_after_a_crash }
}

/// For whoever only wants a consumer's tries.
pub(crate) async fn tries_of<C: Consumer>(
    measurement: &Measurement,
    first: u32,
    count: u32,
    consumer: &Arc<C>,
) -> super::tally::Tries {
    measurement.load(measurement.scenario, (first, count)).run(consumer).await
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix:.bold} {wide_bar} {pos}/{len} {msg} ({elapsed})")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
