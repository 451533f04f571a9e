//! The tables of the report, independent of how they are drawn.

use super::{
    figures::{count_of, micros, number, or_dash, percent, times},
    memory,
    view::View,
};
use crate::document::{Comparison, Document, Goal, Kind, Latency, Run, Scenario};

/// Rows of cells. What stands between backticks is code.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) caption: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(caption: impl Into<String>, head: &[&str]) -> Self {
        let head = head.iter().map(|&cell| cell.to_owned()).collect();
        Self { caption: caption.into(), head, rows: Vec::new() }
    }
}

/// The goals, with the measured values.
pub(crate) fn goals<'a>(goals: impl Iterator<Item = &'a Goal>) -> Table {
    let mut table = Table::new("What was to be reached", &["goal", "limit", "measured", ""]);
    for goal in goals {
        let met = if goal.met { "met" } else { "**missed**" };
        table.rows.push(vec![goal.goal.clone(), goal.limit(), number(goal.measured), met.to_owned()]);
    }
    table
}

/// Ours against the same by other means.
pub(crate) fn comparisons(comparisons: &[Comparison]) -> Table {
    let head = ["what", "clients", "ours", "against", "theirs", "ours / theirs", "from … to", "better is"];
    let mut table = Table::new("Measured alternately, round by round", &head);
    for one in comparisons {
        let value = |value: f64| {
            if one.unit == "µs" { micros(value) } else { format!("{} {}", number(value), one.unit) }
        };
        let least = one.ratios.iter().copied().fold(f64::MAX, f64::min);
        let most = one.ratios.iter().copied().fold(f64::MIN, f64::max);
        let better = if one.less_is_better { "less" } else { "more" };
        table.rows.push(vec![
            format!("{}: {}", one.store, one.name),
            one.clients.to_string(),
            value(one.ours),
            one.against.clone(),
            value(one.theirs),
            times(one.ratio),
            format!("{} … {}", number(least), number(most)),
            better.to_owned(),
        ]);
    }
    table
}

/// Correctness of the contenders, and the cost of a win in addition to its time.
pub(crate) fn contenders(view: &View<'_>) -> Table {
    let hot = view.clients(Scenario::Hot).last().copied().unwrap_or(0);
    let share = format!(
        "win share, {}, one approval (fair: {})",
        count_of(hot, "client"),
        percent(1.0 / hot.max(1) as f64)
    );
    let retries_hot = format!("retries a win, {}, one approval", count_of(hot, "client"));
    let head = [
        "contender",
        "exactly one winner?",
        "single-use after a crash?",
        "durability",
        "round trips a win",
        "retries a win",
        &retries_hot,
        "WAL bytes a win",
        &share,
    ];
    let mut table = Table::new(format!("{}: the promise, and what a win costs", view.store), &head);
    for name in view.names() {
        let runs: Vec<&Run> = view.runs().iter().copied().filter(|run| run.name() == name).collect();
        let Some(first) = runs.first() else { continue };
        let (alone, hot_run) = (of(view, &name, Scenario::Distinct), of(view, &name, Scenario::Hot));
        let wrong: u64 = runs.iter().map(|run| run.won_again + run.never_won).sum();
        let right = match runs.iter().all(|run| run.exactly_one_winner) {
            true => "yes".to_owned(),
            false => format!("**WRONG** ({wrong} approvals)"),
        };
        let yes = if first.single_use_after_a_crash { "yes" } else { "**no**" };
        table.rows.push(vec![
            kinded(&name, first.kind),
            right,
            yes.to_owned(),
            format!("`{}`", first.durability),
            or_dash(alone.and_then(|run| run.round_trips_per_win), number),
            or_dash(alone.and_then(|run| run.retries_per_win), number),
            or_dash(hot_run.and_then(|run| run.retries_per_win), number),
            or_dash(alone.and_then(|run| run.wal_bytes_per_win), number),
            hot_run.map_or_else(|| "–".to_owned(), shares),
        ]);
    }
    table
}

/// From the unluckiest client's share to the luckiest one's.
fn shares(run: &Run) -> String {
    /// With fewer wins a client its share is luck.
    const ENOUGH: u64 = 20;
    if run.wins < ENOUGH * run.clients as u64 {
        return "too few wins".to_owned();
    }
    let least = run.win_share.iter().copied().fold(1.0, f64::min);
    let most = run.win_share.iter().copied().fold(0.0, f64::max);
    if run.clients == 1 { percent(most) } else { format!("{} – {}", percent(least), percent(most)) }
}

/// The contender's run with the most clients.
fn of<'a>(view: &View<'a>, name: &str, scenario: Scenario) -> Option<&'a Run> {
    view.clients(scenario).into_iter().rev().find_map(|clients| view.run(name, scenario, clients))
}

/// Approvals consumed in a second.
pub(crate) fn throughput(view: &View<'_>) -> Table {
    let mut columns = Vec::new();
    for scenario in [Scenario::Distinct, Scenario::Hot] {
        for clients in view.clients(scenario) {
            columns.push((scenario, clients));
        }
    }
    let title = |(scenario, clients): &(Scenario, usize)| {
        let what = if *scenario == Scenario::Hot { "one approval" } else { "distinct" };
        format!("{what}, {}", count_of(*clients, "client"))
    };
    let mut table = Table::new(format!("{}: approvals consumed a second", view.store), &["contender"]);
    table.head.extend(columns.iter().map(title));
    for name in view.names() {
        let figure = |(scenario, clients): &(Scenario, usize)| {
            or_dash(view.run(&name, *scenario, *clients).map(|run| run.wins_per_second), number)
        };
        let mut row = vec![format!("`{name}`")];
        row.extend(columns.iter().map(figure));
        table.rows.push(row);
    }
    table
}

/// Winners' and losers' times apart.
pub(crate) fn latencies(view: &View<'_>) -> Table {
    let most = |scenario| view.clients(scenario).last().copied().unwrap_or(0);
    let clients = most(Scenario::Hot).max(most(Scenario::Distinct));
    let caption = format!("{}: latency with {}, p50 / p99 / p99.9", view.store, count_of(clients, "client"));
    let head = [
        "contender",
        "winner, distinct",
        "winner, one approval",
        "loser, one approval",
        "winner, fixed rate",
    ];
    let mut table = Table::new(caption, &head);
    for name in view.names() {
        let winner = |scenario| quantiles(of(view, &name, scenario).and_then(|run| run.winner.as_ref()));
        table.rows.push(vec![
            format!("`{name}`"),
            winner(Scenario::Distinct),
            winner(Scenario::Hot),
            quantiles(of(view, &name, Scenario::Hot).and_then(|run| run.loser.as_ref())),
            winner(Scenario::Arrivals),
        ]);
    }
    table
}

fn quantiles(latency: Option<&Latency>) -> String {
    let Some(latency) = latency else { return "–".to_owned() };
    // With fewer tries the percentile is not defined.
    let of = |least: u64, value: f64| if latency.tries >= least { micros(value) } else { "–".to_owned() };
    format!("{} / {} / {}", micros(latency.p50), of(100, latency.p99), of(1_000, latency.p999))
}

pub(super) fn kinded(name: &str, kind: Kind) -> String {
    match kind {
        Kind::Strategy => format!("`{name}`"),
        Kind::Baseline => format!("`{name}` (baseline)"),
        Kind::Wrong => format!("`{name}` (broken on purpose)"),
    }
}

/// The strategies in memory, and what they are held against.
pub(crate) fn in_memory(document: &memory::Document) -> Table {
    /// By which baseline each scenario is divided: a loser reads a word and goes.
    const COLUMNS: [(&str, &str, &str); 5] = [
        ("uncontended", "frozen-load-cas", "uncontended, ns (× frozen map + CAS)"),
        ("distinct-2", "frozen-load-cas", "2 threads, distinct, ns (×)"),
        ("race-2", "frozen-load-cas", "2 threads race, ns (×)"),
        ("hot-2", "bare-cas", "loser, 2 threads, ns (× bare CAS)"),
        ("hot-8", "bare-cas", "loser, 8 threads, ns (× bare CAS)"),
    ];
    let mut table = Table::new("In memory: a try", &["contender", "exactly one winner?"]);
    table.head.extend(COLUMNS.iter().map(|column| column.2.to_owned()));
    table.head.extend(
        [
            "bytes an approval",
            "instructions a try",
            "race of 2, winner p50 / p99, ns",
            "race of 2, loser p50 / p99, ns",
            "win share, race of 2",
        ]
        .map(str::to_owned),
    );
    for one in &document.contenders {
        let cell = |(scenario, to, _): &(&str, &str, &str)| match (one.ns(scenario), one.ratio(scenario, to))
        {
            (Some(ns), Some(ratio)) => format!("{} ({})", number(ns), times(ratio)),
            (Some(ns), None) => number(ns),
            (None, _) => "–".to_owned(),
        };
        let right = match one.is_right() {
            true => "yes".to_owned(),
            false => format!("**WRONG** ({} again)", one.consumed_again()),
        };
        let instructions = one.instructions_per_try.as_ref().map(|kinds| {
            let each = kinds.iter().map(|(kind, count)| format!("{kind} {}", number(*count)));
            each.collect::<Vec<_>>().join(", ")
        });
        let share = one.scenarios.get("race-2").map(|scenario| &scenario.win_share);
        let share = share
            .filter(|share| !share.is_empty())
            .map(|share| share.iter().map(|one| percent(*one)).collect::<Vec<_>>().join(" / "));
        let mut row = vec![kinded(&one.name, one.kind), right];
        row.extend(COLUMNS.iter().map(cell));
        row.push(or_dash(one.bytes_per_record, number));
        row.push(instructions.unwrap_or_else(|| "–".to_owned()));
        let latencies = one.race_2_latency_ns.as_ref();
        row.push(or_pair(latencies.map(|latencies| &latencies.winner)));
        row.push(or_pair(latencies.map(|latencies| &latencies.loser)));
        row.push(share.unwrap_or_else(|| "–".to_owned()));
        table.rows.push(row);
    }
    table
}

fn or_pair(quantiles: Option<&memory::Quantiles>) -> String {
    quantiles.map_or_else(|| "–".to_owned(), |one| format!("{} / {}", number(one.p50), number(one.p99)))
}

/// On what, with what, and how it was configured.
pub(crate) fn settings(document: &Document) -> Table {
    let mut table = Table::new("Machine, versions and settings", &["", ""]);
    let machine = &document.machine;
    let row = |what: &str, is: String| vec![what.to_owned(), is];
    table.rows.extend([
        row("processor", machine.processor.clone().unwrap_or_else(|| "unknown".to_owned())),
        row("cores", machine.cores.to_string()),
        row("memory", machine.memory.clone().unwrap_or_else(|| "unknown".to_owned())),
        row("system", format!("{}, {}", machine.system, machine.architecture)),
        row(
            "load when it ended, of five minutes",
            machine.load.clone().unwrap_or_else(|| "unknown".to_owned()),
        ),
        row("each measurement", format!("{} s at most", number(document.settings.seconds))),
    ]);
    table.rows.extend(document.versions.iter().map(|(name, version)| row(name, version.clone())));
    for (store, settings) in &document.settings.stores {
        table.rows.extend(
            settings.iter().map(|(name, value)| row(&format!("{store}: {name}"), format!("`{value}`"))),
        );
    }
    table
}
