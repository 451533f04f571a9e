//! The report as one HTML page that needs nothing else: no network, no script; light or dark as the reader has it.

use std::fmt::Write;

use super::{
    Reports,
    chart::{self, Axis, Dot, Series, escaped},
    figures::{count_of, micros, number},
    memory,
    tables::{self, Table},
    view::View,
    wasted,
};
use crate::document::{FORGETS, Kind, Latency, Run, Scenario};

const STYLE: &str = include_str!("page.css");

/// Legend of the tables; shared with Markdown.
const READING: &str = include_str!("reading.md");

/// The part that does not depend on the measurements.
const METHOD: &str = include_str!("method.html");

pub(super) fn render(reports: &Reports) -> String {
    let mut body = String::new();
    put(&mut body, format_args!("<p>{}</p>", escaped(READING)));
    if reports.goals().next().is_some() {
        body.push_str("<h2>Goals</h2>\n");
        table(&mut body, &tables::goals(reports.goals()));
    }
    for document in &reports.databases {
        if !document.comparisons.is_empty() {
            body.push_str("<h2>Against the same by other means</h2>\n");
            table(&mut body, &tables::comparisons(&document.comparisons));
        }
        let views = View::all(document);
        let colours = colours(&views);
        for view in &views {
            store(&mut body, view, &colours);
        }
    }
    for document in &reports.memories {
        in_memory(&mut body, document);
    }
    for document in &reports.wasted {
        wasted_work(&mut body, document);
    }
    body.push_str(METHOD);
    for document in &reports.databases {
        table(&mut body, &tables::settings(document));
        put(&mut body, format_args!("<p>Made by <code>{}</code></p>", escaped(&document.command)));
    }
    for document in &reports.memories {
        provenance(&mut body, document);
    }
    for document in &reports.wasted {
        put(&mut body, format_args!("<p>{}</p>", marked(&document.provenance())));
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Single-use consumes, compared</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>Single-use consumes, compared</h1>\n\
         <p class=\"lead\">An approval may be used once. These are the ways to see to that, and what each costs: how many \
         approvals a second, how long winners and losers wait, and what is left of the promise after a crash.</p>\n\
         {body}</main>\n</body>\n</html>\n"
    )
}

/// Each contender's colour, by its index: the same on every store.
fn colours(views: &[View<'_>]) -> Vec<String> {
    let mut names = Vec::new();
    for name in views.iter().flat_map(View::names) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn store(body: &mut String, view: &View<'_>, colours: &[String]) {
    put(body, format_args!("<h2>{}</h2>", escaped(view.store)));
    body.push_str("<div class=\"charts\">\n");
    let contention = [
        (Scenario::Distinct, "Each client has approvals of its own", "approvals consumed a second"),
        (Scenario::Hot, "All clients at one approval after the other", "approvals decided a second"),
    ];
    for (scenario, caption, unit) in contention {
        figure(body, caption, &by_clients(view, colours, scenario, unit));
    }
    let curves: [(Scenario, &str, LatencyOf); 4] = [
        (Scenario::Distinct, "winners, each client with approvals of its own", |run| run.winner.as_ref()),
        (Scenario::Arrivals, "winners, approvals asked for at a fixed rate", |run| run.winner.as_ref()),
        (Scenario::Hot, "winners, all clients at one approval", |run| run.winner.as_ref()),
        (Scenario::Hot, "losers, all clients at one approval", |run| run.loser.as_ref()),
    ];
    for (scenario, who, of) in curves {
        let (clients, runs) = view.crowded(scenario);
        if let Some(svg) = curve(colours, &runs, who, of) {
            let rate = runs.iter().find_map(|run| run.rate_per_second);
            let rate = rate.map_or(String::new(), |rate| format!(", {} a second", number(rate)));
            figure(body, &format!("Latency of {who}{rate}, {}", count_of(clients, "client")), &svg);
        }
    }
    body.push_str("</div>\n");
    table(body, &tables::throughput(view));
    table(body, &tables::latencies(view));
    table(body, &tables::contenders(view));
    if view.runs().iter().any(|run| !run.single_use_after_a_crash) {
        let mark = FORGETS.trim();
        put(
            body,
            format_args!(
                "<p class=\"note\">{mark} not single-use after a crash of the machine. Drawn dashed.</p>"
            ),
        );
    }
}

fn series(colours: &[String], name: &str, run: &Run, points: Vec<(f64, f64)>) -> Series {
    let colour = colours.iter().position(|other| other == name).unwrap_or(0);
    let wrong = if run.kind == Kind::Wrong { " WRONG" } else { "" };
    let dashed = run.kind != Kind::Strategy || !run.single_use_after_a_crash;
    Series { name: format!("{name}{wrong}"), colour, dashed, points }
}

fn by_clients(view: &View<'_>, colours: &[String], scenario: Scenario, unit: &str) -> String {
    let mut all = Vec::new();
    for name in &view.names() {
        let runs: Vec<&Run> = view.of(scenario).filter(|run| run.name() == *name).collect();
        if let Some(first) = runs.first() {
            let points = runs.iter().map(|run| (run.clients as f64, run.wins_per_second)).collect();
            all.push(series(colours, name, first, points));
        }
    }
    let x = Axis::counts("clients", &view.clients(scenario));
    let y = Axis::log(unit, all.iter().flat_map(|one| one.points.iter().map(|point| point.1)), number);
    chart::lines(&format!("{unit} by the number of clients, on {}", view.store), &x, &y, &all)
}

fn curve(colours: &[String], runs: &[&Run], who: &str, of: fn(&Run) -> Option<&Latency>) -> Option<String> {
    let mut all = Vec::new();
    for run in runs {
        if let Some(latency) = of(run) {
            let points =
                latency.curve.iter().copied().filter(|(percentile, _)| *percentile < 100.0).collect();
            all.push(series(colours, &run.name(), run, points));
        }
    }
    let values = || all.iter().flat_map(|one: &Series| one.points.iter());
    let last = values().map(|point| point.0).fold(f64::NAN, f64::max);
    if last.is_nan() {
        return None;
    }
    let x = Axis::percentiles("share of tries that took no longer", last);
    let y = Axis::log("latency", values().map(|point| point.1), micros);
    Some(chart::lines(&format!("Latency of {who}, by percentile"), &x, &y, &all))
}

fn in_memory(body: &mut String, document: &memory::Document) {
    body.push_str("<h2>In memory</h2>\n<div class=\"charts\">\n");
    let charts = [
        ("uncontended", "One thread, a million approvals, each once"),
        ("distinct-2", "Two threads, each on approvals of its own"),
        ("race-2", "Two threads race over one list"),
        ("hot-2", "Two threads at one approval: nearly all tries lose"),
        ("hot-8", "Eight threads at one approval: nearly all tries lose"),
        ("mixed-95-5", "Two threads, 95 % validate and 5 % consume, zipfian"),
    ];
    for (scenario, caption) in charts {
        let dots = dots(document, |one| one.ns(scenario), |ns| format!("{} ns", number(ns)));
        if !dots.is_empty() {
            figure(
                body,
                caption,
                &chart::dots(&format!("Nanoseconds a try: {caption}"), "nanoseconds a try", &dots),
            );
        }
    }
    let dots = dots(document, |one| one.bytes_per_record, |bytes| format!("{} B", number(bytes)));
    if !dots.is_empty() {
        figure(body, "Room for an approval", &chart::dots("Bytes an approval", "bytes an approval", &dots));
    }
    body.push_str("</div>\n<p class=\"note\">Circles: strategies. Squares: baselines. Triangles: broken on purpose.</p>\n");
    table(body, &tables::in_memory(document));
}

fn wasted_work(body: &mut String, document: &wasted::Document) {
    body.push_str("<h2>Many at one approval</h2>\n<div class=\"charts\">\n");
    for (caption, svg) in wasted::charts(document) {
        figure(body, &caption, &svg);
    }
    body.push_str("</div>\n");
    table(body, &wasted::preflights(document));
    table(body, &wasted::times(document));
}

fn dots(
    document: &memory::Document,
    of: impl Fn(&memory::Contender) -> Option<f64>,
    text: fn(f64) -> String,
) -> Vec<Dot> {
    let mut dots: Vec<Dot> = document
        .contenders
        .iter()
        .filter_map(|one| {
            let value = of(one).filter(|value| *value > 0.0)?;
            let (colour, mark) = match one.kind {
                Kind::Strategy => (0, ""),
                Kind::Baseline => (1, ""),
                Kind::Wrong => (2, " WRONG"),
            };
            Some(Dot { name: format!("{}{mark}", one.name), colour, value, text: text(value) })
        })
        .collect();
    dots.sort_by(|one, other| one.value.total_cmp(&other.value));
    dots
}

fn provenance(body: &mut String, document: &memory::Document) {
    let machine = &document.machine;
    let known = |text: &Option<String>| escaped(text.as_deref().unwrap_or("unknown"));
    let versions: Vec<String> = document
        .versions
        .iter()
        .filter_map(|(name, version)| Some(format!("{name} {}", version.as_deref()?)))
        .collect();
    put(
        body,
        format_args!(
            "<p>In memory: {}, {}, {}, {} {}, load of five minutes {}; {}. Made by <code>{}</code></p>",
            known(&machine.processor),
            count_of(machine.cores, "core"),
            known(&machine.memory),
            escaped(&machine.system),
            escaped(&machine.architecture),
            known(&machine.load),
            escaped(&versions.join(", ")),
            escaped(&document.command),
        ),
    );
}

fn figure(body: &mut String, caption: &str, svg: &str) {
    put(body, format_args!("<figure>\n<figcaption>{}</figcaption>\n{svg}</figure>", escaped(caption)));
}

fn table(body: &mut String, table: &Table) {
    /// A longer text is not a figure, and may be broken into lines.
    const WORDS: usize = 44;
    if table.rows.is_empty() {
        return;
    }
    put(body, format_args!("<div class=\"wide\"><table>\n<caption>{}</caption>", escaped(&table.caption)));
    if table.head.iter().any(|cell| !cell.is_empty()) {
        let head: String =
            table.head.iter().map(|cell| format!("<th scope=\"col\">{}</th>", escaped(cell))).collect();
        put(body, format_args!("<thead><tr>{head}</tr></thead>"));
    }
    body.push_str("<tbody>\n");
    for row in &table.rows {
        let mut cells = String::new();
        for (column, cell) in row.iter().enumerate() {
            let text = marked(cell);
            cells += &if column == 0 {
                format!("<th scope=\"row\">{text}</th>")
            } else if cell.len() > WORDS {
                format!("<td class=\"words\">{text}</td>")
            } else {
                format!("<td>{text}</td>")
            };
        }
        put(body, format_args!("<tr>{cells}</tr>"));
    }
    body.push_str("</tbody>\n</table></div>\n");
}

/// Renders backticks and double stars as Markdown does.
fn marked(text: &str) -> String {
    let mut html = String::new();
    for (place, part) in text.split('`').enumerate() {
        if place % 2 == 1 {
            html += &format!("<code>{}</code>", escaped(part));
            continue;
        }
        for (place, part) in part.split("**").enumerate() {
            let part = escaped(part);
            html += &if place % 2 == 1 { format!("<strong>{part}</strong>") } else { part };
        }
    }
    html
}

fn put(body: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a text never fails.
    writeln!(body, "{what}").ok();
}

/// Which latency of a run a curve shows.
type LatencyOf = fn(&Run) -> Option<&Latency>;
