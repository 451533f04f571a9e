//! What the figures mean, in sentences: each follows from the figures of this run, whatever they are.
//!
//! A name between backticks is code, in Markdown and on the page.

use super::{
    figures::{grouped, listed, micros, number, percent, times},
    memory,
    view::View,
};
use crate::bench::document::{DEFAULT, Document, Goal, Kind, Latency, Run, Scenario};

/// Closer than this is the same, on a machine that others use as well.
pub(super) const SAME: f64 = 1.1;

/// Which one to choose, a sentence or two for each store.
pub(crate) fn which_one(document: &Document) -> Vec<String> {
    View::all(document).iter().flat_map(of_store).collect()
}

fn of_store(view: &View<'_>) -> Vec<String> {
    let mut said = Vec::new();
    for scenario in [Scenario::Distinct, Scenario::Hot] {
        said.extend(fastest(view, scenario));
    }
    said.extend(forgetful(view));
    said.extend(wrong(view));
    said
}

/// The one that consumes most, of those that keep the promise.
fn fastest(view: &View<'_>, scenario: Scenario) -> Option<String> {
    let (clients, runs) = view.crowded(scenario);
    let sound = |run: &&Run| run.kind == Kind::Strategy && run.is_sound();
    let mut runs: Vec<&Run> = runs.into_iter().filter(sound).collect();
    runs.sort_by(|one, other| other.wins_per_second.total_cmp(&one.wins_per_second));
    let (best, others) = runs.split_first()?;
    let what = match scenario {
        Scenario::Distinct | Scenario::Arrivals => "on approvals of their own",
        Scenario::Hot => "all at one approval after the other",
    };
    let begin = format!("**{}**, {} {what}:", view.store, count_of(clients, "client"));
    let rate = number(best.wins_per_second);
    let near = |run: &&&Run| best.wins_per_second < run.wins_per_second * SAME;
    let same: Vec<String> = others.iter().filter(near).map(|run| code(&run.contender)).collect();
    let next = others.iter().find(|run| !near(run));
    let Some(first_other) = others.first() else {
        return Some(format!(
            "{begin} `{}` consumes {rate} a second. Nothing else was measured.",
            best.contender
        ));
    };
    let mut said = if same.is_empty() {
        let ahead = times(best.wins_per_second / first_other.wins_per_second);
        format!(
            "{begin} choose `{}`. It consumes {rate} a second, {ahead} what the next best does (`{}`)",
            best.contender, first_other.contender
        )
    } else {
        let best_name = code(&best.contender);
        let others = listed(&same);
        let mut said = format!("{begin} {best_name} consumes {rate} a second, and {others} no fewer by 10 %");
        if let Some(next) = next {
            let ahead = times(best.wins_per_second / next.wins_per_second);
            said += &format!("; that is {ahead} what the next one does (`{}`)", next.contender);
        }
        if let Some(trips) = fewest_trips(best, others_of(&runs, &same)) {
            said += &trips;
        }
        said
    };
    if let Some(loser) = &best.loser {
        said += &format!("; 99 % of its losers know within {}", micros(loser.p99));
    }
    if let Some(slowest) = others.last().filter(|run| best.wins_per_second > 2.0 * run.wins_per_second) {
        let behind = times(best.wins_per_second / slowest.wins_per_second);
        said += &format!(". The slowest is `{}`: the best does {behind} as much", slowest.contender);
    }
    Some(said + ".")
}

fn others_of<'a>(runs: &[&'a Run], names: &[String]) -> Vec<&'a Run> {
    runs.iter().copied().filter(|run| names.contains(&code(&run.contender))).collect()
}

/// Between equals the one decides that asks the database less often.
fn fewest_trips(best: &Run, others: Vec<&Run>) -> Option<String> {
    let mut all: Vec<(&str, f64)> = Vec::new();
    for run in std::iter::once(best).chain(others) {
        all.push((&run.contender, run.round_trips_per_win?));
    }
    all.sort_by(|one, other| one.1.total_cmp(&other.1));
    let (first, last) = (all.first()?, all.last()?);
    (last.1 > first.1 * SAME).then(|| {
        let (name, trips) = (first.0, number(first.1));
        format!(". Of these `{name}` asks the database least often, {trips} times a win")
    })
}

/// What an unsafe setting would bring, and what it costs.
fn forgetful(view: &View<'_>) -> Vec<String> {
    let (clients, runs) = view.crowded(Scenario::Distinct);
    let mut said = Vec::new();
    for run in runs.iter().filter(|run| !run.single_use_after_a_crash && run.kind == Kind::Strategy) {
        let same = |other: &&&Run| other.contender == run.contender && other.single_use_after_a_crash;
        let Some(safe) = runs.iter().find(same) else { continue };
        let gain = times(run.wins_per_second / safe.wins_per_second);
        said.push(format!(
            "**{}** with `{}` consumes {gain} as much with {}, and is no single-use gate: after a crash of the \
             machine the last approvals that were used are unused again.",
            view.store,
            run.durability,
            count_of(clients, "client"),
        ));
    }
    said
}

fn wrong(view: &View<'_>) -> Vec<String> {
    let mut said = Vec::new();
    for name in view.names() {
        let runs: Vec<&Run> = view.wrong().into_iter().filter(|run| run.name() == name).collect();
        if runs.is_empty() {
            continue;
        }
        let again: u64 = runs.iter().map(|run| run.won_again).sum();
        let never: u64 = runs.iter().map(|run| run.never_won).sum();
        said.push(format!(
            "**{}**: `{name}` is WRONG, however fast it is: approvals were won again {} times, and {} had no winner.",
            view.store,
            grouped(again as i64),
            grouped(never as i64),
        ));
    }
    said
}

/// Where the default is beaten, and which goals were missed.
pub(crate) fn where_we_lose(document: &Document) -> Vec<String> {
    let mut said: Vec<String> = document.goals.iter().filter(|goal| !goal.met).map(missed).collect();
    for view in View::all(document) {
        for metric in METRICS {
            said.extend(beaten(&view, metric));
        }
    }
    if said.is_empty() {
        said.push(format!(
            "In this run no goal was missed, and nothing that keeps the promise was better than `{DEFAULT}` by 10 % \
             in any of the figures above."
        ));
    }
    said
}

pub(crate) fn missed(goal: &Goal) -> String {
    format!("Missed: {}: {}, and the goal is {}.", goal.goal, number(goal.measured), goal.limit())
}

/// A figure by which contenders are compared.
struct Metric {
    what: &'static str,
    scenario: Scenario,
    more_is_better: bool,
    of: fn(&Run) -> Option<f64>,
    format: fn(f64) -> String,
}

fn p50(latency: &Latency) -> f64 {
    latency.p50
}

fn p99(latency: &Latency) -> f64 {
    latency.p99
}

const METRICS: [Metric; 8] = [
    Metric {
        what: "approvals a second, each client its own",
        scenario: Scenario::Distinct,
        more_is_better: true,
        of: |run| Some(run.wins_per_second),
        format: number,
    },
    Metric {
        what: "the median winner, each client with its own approvals",
        scenario: Scenario::Distinct,
        more_is_better: false,
        of: |run| run.winner.as_ref().map(p50),
        format: micros,
    },
    Metric {
        what: "the 99th percentile of winners, each client with its own approvals",
        scenario: Scenario::Distinct,
        more_is_better: false,
        of: |run| run.winner.as_ref().map(p99),
        format: micros,
    },
    Metric {
        what: "approvals a second, all clients at one",
        scenario: Scenario::Hot,
        more_is_better: true,
        of: |run| Some(run.wins_per_second),
        format: number,
    },
    Metric {
        what: "the median winner, all clients at one approval",
        scenario: Scenario::Hot,
        more_is_better: false,
        of: |run| run.winner.as_ref().map(p50),
        format: micros,
    },
    Metric {
        what: "the median loser, all clients at one approval",
        scenario: Scenario::Hot,
        more_is_better: false,
        of: |run| run.loser.as_ref().map(p50),
        format: micros,
    },
    Metric {
        what: "the 99th percentile of losers, all clients at one approval",
        scenario: Scenario::Hot,
        more_is_better: false,
        of: |run| run.loser.as_ref().map(p99),
        format: micros,
    },
    Metric {
        what: "the 99th percentile of winners at a fixed rate",
        scenario: Scenario::Arrivals,
        more_is_better: false,
        of: |run| run.winner.as_ref().map(p99),
        format: micros,
    },
];

/// Who is better than the default by this figure where most clients are; the best one only.
fn beaten(view: &View<'_>, metric: Metric) -> Option<String> {
    let (clients, runs) = view.crowded(metric.scenario);
    let own = view.run(DEFAULT, metric.scenario, clients)?;
    let mine = (metric.of)(own)?;
    let better = |value: f64| if metric.more_is_better { value / mine } else { mine / value };
    let others = runs.iter().filter(|run| run.is_sound() && run.contender != DEFAULT);
    let best = others
        .filter_map(|run| Some((run, (metric.of)(run)?)))
        .max_by(|one, other| better(one.1).total_cmp(&better(other.1)));
    let (run, theirs) = best.filter(|(_, theirs)| better(*theirs) > SAME)?;
    Some(format!(
        "**{}**, {}, {}: `{DEFAULT}` {}, `{}` {}.",
        view.store,
        count_of(clients, "client"),
        metric.what,
        (metric.format)(mine),
        run.contender,
        (metric.format)(theirs),
    ))
}

/// The same for the strategies in memory.
pub(crate) fn which_one_in_memory(document: &memory::Document) -> Vec<String> {
    const WHERE: [(&str, &str); 4] = [
        ("uncontended", "one thread, every approval once"),
        ("distinct-2", "two threads, each on approvals of its own"),
        ("hot-2", "two threads at one approval, nearly all of them losers"),
        ("race-2", "two threads race over one list"),
    ];
    let mut said = Vec::new();
    for (scenario, what) in WHERE {
        let mut order: Vec<(&memory::Contender, f64)> = document
            .contenders
            .iter()
            .filter(|one| one.kind == Kind::Strategy && one.is_right())
            .filter_map(|one| Some((one, one.ns(scenario)?)))
            .collect();
        order.sort_by(|one, other| one.1.total_cmp(&other.1));
        if let [(best, ns), rest @ ..] = order.as_slice() {
            let mut sentence =
                format!("**In memory**, {what}: `{}`, {} a try", best.name, micros(ns / 1_000.0));
            if let Some((next, their_ns)) = rest.first() {
                sentence += &format!("; then `{}`, {} as long", next.name, times(their_ns / ns));
            }
            said.push(sentence + ".");
        }
    }
    let sized = |one: &memory::Contender| Some((one.name.clone(), one.bytes_per_record?));
    let strategies = document.contenders.iter().filter(|one| one.kind == Kind::Strategy);
    if let Some((name, bytes)) = strategies.filter_map(sized).min_by(|one, other| one.1.total_cmp(&other.1)) {
        said.push(format!(
            "**In memory**, `{name}` takes the least room: {} bytes an approval.",
            number(bytes)
        ));
    }
    said
}

/// Goals that were missed, and baselines that are quicker than every strategy.
pub(crate) fn where_we_lose_in_memory(document: &memory::Document) -> Vec<String> {
    let mut said: Vec<String> = document.goals.iter().filter(|goal| !goal.met).map(missed).collect();
    for (name, again) in
        document.contenders.iter().filter(|one| !one.is_right()).map(|one| (&one.name, one.consumed_again()))
    {
        let again = grouped(again as i64);
        said.push(format!("**In memory**: `{name}` is WRONG: approvals were consumed again {again} times."));
    }
    let mut scenarios: Vec<&String> =
        document.contenders.iter().flat_map(|one| one.scenarios.keys()).collect();
    scenarios.sort();
    scenarios.dedup();
    for scenario in scenarios {
        let best = |kind: Kind| {
            document
                .contenders
                .iter()
                .filter(|one| one.kind == kind && one.is_right())
                .filter_map(|one| Some((&one.name, one.ns(scenario)?)))
                .min_by(|one, other| one.1.total_cmp(&other.1))
        };
        if let (Some((ours, mine)), Some((theirs, other))) = (best(Kind::Strategy), best(Kind::Baseline))
            && mine > other * SAME
        {
            said.push(format!(
                "**In memory**, {scenario}: the baseline `{theirs}` takes {} of what our quickest, `{ours}`, does.",
                percent(other / mine),
            ));
        }
    }
    said
}

pub(super) fn code(name: &str) -> String {
    format!("`{name}`")
}

pub(crate) fn count_of(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
