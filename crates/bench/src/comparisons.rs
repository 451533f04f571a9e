//! Ours against the same by other means: alternately in one run, round by round, the second of one round being first in the
//! next. The goals are about these.

use std::{sync::Arc, time::Duration};

use super::{
    autocommit::{Autocommit, Journal},
    bench_store::{BenchStore, Contender, FIRST},
    campaign::{Campaign, tries_of},
    counters::{Ended, Tries, latency, median},
    counting::Statement,
    document::{Comparison, DEFAULT, Goal, Scenario, rounded},
    gate::{Act, Gate, id_of},
    load::Consumer,
    pgbench::{Pgbench, Plan, Script},
    postgres::Postgres,
    sqlite::{Sqlite, failed},
};
use countersign_terminal::BadInput;

const ROUNDS: usize = 7;
/// Approvals outside of the measurement, to open connections and prepare statements with.
const WARM_UP: u32 = 64;
/// Number of rows in a batch.
const BATCH: u32 = 64;

const CONSUME: &str = "one consume";
const COMMIT: &str = "the whole commit of atomic-commit";
const BATCHED: &str = "a row in a batch of 64";
const GROUPED: &str = "consumes";
const CONTENDED: &str = "contended approvals";

/// The statement by which our store has just consumed the first approval.
pub(crate) async fn one_consume<B: BenchStore>(bench_store: &mut B) -> Result<Statement, BadInput> {
    let mut statements = recorded(bench_store, Act::Consume, 0).await?;
    if statements.len() == 1 {
        Ok(statements.remove(0))
    } else {
        Err(failed("the consume", &"is not one statement"))
    }
}

/// The statements sent for the approval with this number.
async fn recorded<B: BenchStore>(
    bench_store: &mut B,
    act: Act,
    before: u32,
) -> Result<Vec<Statement>, BadInput> {
    bench_store.fill(before + 1).await?;
    let store = bench_store.open(&Contender::default_one(), 1).await?;
    let gate = Gate::new(store, bench_store.template().clone(), act);
    for number in 1..=before {
        gate.consume(0, FIRST + number).await;
    }
    gate.counts().record();
    match gate.consume(0, FIRST).await {
        Ended::Won => Ok(gate.counts().recorded()),
        other => Err(failed("the first approval", &format_args!("was not consumed: {other:?}"))),
    }
}

/// One figure of both sides, from each round.
#[derive(Default)]
struct Rounds {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

/// The subject of the rounds.
struct About<'a> {
    store: &'a str,
    name: &'a str,
    clients: usize,
    unit: &'a str,
    less_is_better: bool,
    against: &'a str,
}

impl Rounds {
    fn add(&mut self, ours: Option<f64>, theirs: Option<f64>) {
        if let (Some(ours), Some(theirs)) = (ours, theirs) {
            self.ours.push(ours);
            self.theirs.push(theirs);
        }
    }

    fn end(self, about: About<'_>) -> Option<Comparison> {
        let pairs = self.ours.iter().zip(&self.theirs);
        let ratios: Vec<f64> = pairs.map(|(ours, theirs)| rounded(ours / theirs.max(1e-9))).collect();
        Some(Comparison {
            store: about.store.to_owned(),
            name: about.name.to_owned(),
            clients: about.clients,
            unit: about.unit.to_owned(),
            less_is_better: about.less_is_better,
            ours: rounded(median(self.ours)?),
            against: about.against.to_owned(),
            theirs: rounded(median(self.theirs)?),
            ratio: median(ratios.clone())?,
            ratios,
        })
    }
}

fn p50(tries: &Tries) -> Option<f64> {
    tries.latency(Ended::Won).map(|latency| latency.p50)
}

/// One writer with group commit against a connection for each client, in a log and with SQLite's default journal.
pub(crate) async fn on_sqlite(
    campaign: &mut Campaign,
    bench_store: &mut Sqlite,
    statement: &Statement,
) -> Result<(), BadInput> {
    for (scenario, name) in [(Scenario::Distinct, GROUPED), (Scenario::Hot, CONTENDED)] {
        against_autocommit(campaign, bench_store, statement, (scenario, name)).await?;
    }
    Ok(())
}

/// In one scenario: round by round ours, and one side for each journal.
async fn against_autocommit(
    campaign: &mut Campaign,
    bench_store: &mut Sqlite,
    statement: &Statement,
    (scenario, name): (Scenario, &str),
) -> Result<(), BadInput> {
    const CLIENTS: usize = 8;
    campaign.bar.inc_length(ROUNDS as u64);
    let mut measurement = campaign.measurement(Sqlite::NAME, scenario, CLIENTS);
    measurement.time = (campaign.time / 2).max(Duration::from_millis(250));
    let mut rounds = Journal::ALL.map(|_| Rounds::default());
    let sides = Journal::ALL.len() + 1;
    for round in 0..ROUNDS {
        campaign.bar.set_message(format!("sqlite against autocommit, {name}, round {}", round + 1));
        let (mut ours, mut theirs) = (None, Journal::ALL.map(|_| None));
        for turn in 0..sides {
            if campaign.is_stopped() {
                return Ok(());
            }
            let journal = Journal::ALL.get((turn + round) % sides);
            bench_store.fill(measurement.approvals).await?;
            let (first, rest) = (FIRST + WARM_UP, measurement.approvals.saturating_sub(WARM_UP));
            if let Some(journal) = journal {
                let open = Autocommit::open(bench_store.path(), CLIENTS, statement, id_of(FIRST), *journal);
                let open = Arc::new(open.map_err(|error| failed(journal.contender(), &error))?);
                tries_of(&measurement, FIRST, WARM_UP, &open).await;
                let tries = tries_of(&measurement, first, rest, &open).await;
                theirs[(turn + round) % sides] = Some(tries.wins_per_second());
            } else {
                let store = bench_store.open(&Contender::default_one(), CLIENTS).await?;
                let gate = Arc::new(Gate::new(store, bench_store.template().clone(), Act::Consume));
                tries_of(&measurement, FIRST, WARM_UP, &gate).await;
                ours = Some(tries_of(&measurement, first, rest, &gate).await.wins_per_second());
            }
        }
        for (rounds, theirs) in rounds.iter_mut().zip(theirs) {
            rounds.add(ours, theirs);
        }
        campaign.bar.inc(1);
    }
    for (journal, rounds) in Journal::ALL.into_iter().zip(rounds) {
        let about = About {
            store: Sqlite::NAME,
            name,
            clients: CLIENTS,
            unit: "a second",
            less_is_better: false,
            against: journal.contender(),
        };
        campaign.document.comparisons.extend(rounds.end(about));
    }
    Ok(())
}

pub(crate) async fn on_postgres(campaign: &mut Campaign, bench_store: &mut Postgres) -> Result<(), BadInput> {
    const CLIENTS: usize = 32;
    const AGAINST: &str = "pgbench, the same statement";
    let pgbench = bench_store.pgbench();
    let cast_us = bench_store.id_cast_us().await?;
    let cast = format!("{cast_us:.3}, and is taken off its latency");
    let settings = campaign.document.settings.stores.entry(Postgres::NAME.to_owned()).or_default();
    settings.insert("µs for an id from one of pgbench's numbers".to_owned(), cast);
    let consume = [one_consume(bench_store).await?];
    let commit = recorded(bench_store, Act::Commit, 2).await?;
    let about = |name, clients, unit, less_is_better, against| About {
        store: Postgres::NAME,
        name,
        clients,
        unit,
        less_is_better,
        against,
    };
    campaign.bar.inc_length(3 * ROUNDS as u64);

    let (mut alone, mut batched) = (Rounds::default(), Rounds::default());
    let mut batch_rates = Vec::new();
    for round in 0..ROUNDS {
        let of_round = Round { number: round, clients: 1, act: Act::Consume, statements: &consume };
        let Some((ours, theirs)) = of_round.measure(campaign, bench_store, pgbench.as_ref()).await? else {
            return Ok(());
        };
        alone.add(p50(&ours), theirs.as_ref().and_then(p50).map(|p50| p50 - cast_us));
        let batches = (ours.all.len() as u32 / BATCH).clamp(8, 200);
        bench_store.fill((batches + 1) * BATCH).await?;
        // The first one is planned as well.
        let tries = bench_store.batches(FIRST, batches + 1, BATCH).await?;
        if bench_store.executed().await? != u64::from((batches + 1) * BATCH) {
            return Err(failed("a batch", &"has not consumed what it was given"));
        }
        let each = latency(tries.iter().skip(1).map(|one| one.took / BATCH));
        batched.add(each.map(|latency| latency.p50), p50(&ours));
        let took: Duration = tries.iter().skip(1).map(|one| one.took).sum();
        batch_rates.push(f64::from(batches * BATCH) / took.as_secs_f64().max(1e-9));
    }
    campaign.document.comparisons.extend(alone.end(about(CONSUME, 1, "µs", true, AGAINST)));
    campaign.document.comparisons.extend(batched.end(about(BATCHED, 1, "µs", true, "a consume by itself")));

    let mut crowd = Rounds::default();
    let mut rates = Vec::new();
    for round in 0..ROUNDS {
        let of_round = Round { number: round, clients: CLIENTS, act: Act::Consume, statements: &consume };
        let Some((ours, theirs)) = of_round.measure(campaign, bench_store, pgbench.as_ref()).await? else {
            return Ok(());
        };
        rates.push(ours.wins_per_second());
        crowd.add(Some(ours.wins_per_second()), theirs.map(|tries| tries.wins_per_second()));
    }
    campaign.document.comparisons.extend(crowd.end(about(CONSUME, CLIENTS, "a second", false, AGAINST)));
    let rows = Rounds { ours: batch_rates, theirs: rates };
    let against = "consumes one by one, 32 clients";
    campaign.document.comparisons.extend(rows.end(about(
        "rows in batches of 64",
        1,
        "a second",
        false,
        against,
    )));

    let mut whole = Rounds::default();
    for round in 0..ROUNDS {
        let of_round = Round { number: round, clients: 1, act: Act::Commit, statements: &commit };
        let Some((ours, theirs)) = of_round.measure(campaign, bench_store, pgbench.as_ref()).await? else {
            return Ok(());
        };
        whole.add(p50(&ours), theirs.as_ref().and_then(p50).map(|p50| p50 - cast_us));
    }
    let against = "pgbench, the same statements in one transaction";
    campaign.document.comparisons.extend(whole.end(about(COMMIT, 1, "µs", true, against)));
    Ok(())
}

/// One side after the other, on approvals of one filling.
struct Round<'a> {
    number: usize,
    clients: usize,
    act: Act,
    statements: &'a [Statement],
}

impl Round<'_> {
    /// Ours, and pgbench's if there is one; `None` when the run was interrupted.
    async fn measure(
        &self,
        campaign: &Campaign,
        bench_store: &mut Postgres,
        pgbench: Option<&Pgbench>,
    ) -> Result<Option<(Tries, Option<Tries>)>, BadInput> {
        let Self { number, clients, act, statements } = *self;
        let what = if act == Act::Commit { COMMIT } else { CONSUME };
        campaign
            .bar
            .set_message(format!("postgres against pgbench, {what} × {clients}, round {}", number + 1));
        let each = self.each(campaign);
        let (warm_up, count) = (WARM_UP.max(clients as u32), each * clients as u32);
        bench_store.fill(warm_up + 2 * count).await?;
        let mut sides = [None, None];
        for turn in 0..2 {
            let is_ours = turn == number % 2;
            if is_ours {
                let first = FIRST + warm_up;
                let store = bench_store.open(&Contender::default_one(), clients).await?;
                let gate = Arc::new(Gate::new(store, bench_store.template().clone(), act));
                let mut measurement = campaign.measurement(Postgres::NAME, Scenario::Distinct, clients);
                // It ends when its approvals are used up.
                measurement.time = campaign.time * 20;
                tries_of(&measurement, FIRST, warm_up, &gate).await;
                sides[0] = Some(tries_of(&measurement, first, count, &gate).await);
            } else if let Some(pgbench) = pgbench {
                let before = bench_store.executed().await?;
                let first = FIRST + warm_up + count;
                let script = Script::new(statements, id_of(FIRST), act == Act::Commit);
                let tries = pgbench.run(&script, Plan { clients, each, first });
                if campaign.is_stopped() {
                    return Ok(None);
                }
                sides[1] = Some(tries.map_err(|error| failed("pgbench", &error))?);
                let consumed = bench_store.executed().await? - before;
                if consumed != u64::from(count) {
                    let what = format_args!("consumed {consumed} of {count} approvals");
                    return Err(failed("pgbench", &what));
                }
            }
        }
        campaign.bar.inc(1);
        let [ours, theirs] = sides;
        Ok(ours.filter(|_| !campaign.is_stopped()).map(|ours| (ours, theirs)))
    }

    /// The number that takes half as long as a measurement, by the warm-up.
    fn each(&self, campaign: &Campaign) -> u32 {
        let is_it = |run: &&super::document::Run| {
            run.store == Postgres::NAME
                && run.contender == DEFAULT
                && run.single_use_after_a_crash
                && run.scenario == Scenario::Distinct
                && run.clients == self.clients
        };
        let rate = campaign.document.runs.iter().find(is_it).map_or(500.0, |run| run.wins_per_second);
        // A whole commit is some ten statements.
        let rate = if self.act == Act::Commit { rate / 4.0 } else { rate };
        ((rate * campaign.time.as_secs_f64() / 2.0) as u32 / self.clients as u32).max(32)
    }
}

/// The goals, as far as they were measured.
pub(crate) fn goals(comparisons: &[Comparison]) -> Vec<Goal> {
    let find = |store: &str, name: &str, clients: usize| {
        comparisons.iter().find(|one| one.store == store && one.name == name && one.clients == clients)
    };
    let mut goals = Vec::new();
    if let Some(one) = find(Postgres::NAME, CONSUME, 1) {
        goals.push(Goal::at_most(
            "PostgreSQL: one consume, 1 client, p50 / pgbench's".to_owned(),
            1.25,
            one.ratio,
        ));
    }
    if let Some(one) = find(Postgres::NAME, CONSUME, 32) {
        let goal = "PostgreSQL: consumes a second, 32 clients / pgbench's".to_owned();
        goals.push(Goal::at_least(goal, 0.95, one.ratio));
    }
    if let Some(one) = find(Postgres::NAME, COMMIT, 1) {
        let goal = "PostgreSQL: the whole commit of atomic-commit, 1 client, p50 / pgbench's".to_owned();
        goals.push(Goal::at_most(goal, 1.5, one.ratio));
    }
    if let Some(one) = find(Postgres::NAME, BATCHED, 1) {
        let goal = "PostgreSQL: a consume by itself, p50 / a row in a batch of 64".to_owned();
        goals.push(Goal::at_least(goal, 4.0, 1.0 / one.ratio.max(1e-9)));
    }
    for one in comparisons.iter().filter(|one| one.store == Sqlite::NAME) {
        let goal = format!("SQLite: {} a second, {} clients / `{}`", one.name, one.clients, one.against);
        goals.push(Goal::at_least(goal, 25.0, one.ratio));
    }
    goals
}
