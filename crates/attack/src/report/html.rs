//! The report as one page that needs nothing else: verdicts and a timeline for each violation, light and dark.

use std::fmt::Write;

use super::{Report, Verdict, cut, shown};
use crate::history::{Event, HARNESS, Kind};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2024; --paper: #fcfcfd; --line: #d9d9e0; --soft: #60646c;
  --bad: #ce2c31; --good: #218358; --open: #ab6400; --bar: #8da4ef; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --paper: #111113; --line: #363a3f; --soft: #b0b4ba;
  --bad: #ff9592; --good: #3dd68c; --open: #ffca16; --bar: #3e63dd; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .3rem .6rem;
  border-bottom: 1px solid var(--line); vertical-align: top; } code, td.id { font-family: ui-monospace, monospace; }
.violated { color: var(--bad); } .not_violated { color: var(--good); } .unknown { color: var(--open); }
.not_testable, .soft { color: var(--soft); } svg { width: 100%; height: auto; }
svg text { font: 11px ui-monospace, monospace; fill: var(--ink); } svg .soft { fill: var(--soft); }
svg rect { fill: var(--bar); } svg rect.bad { fill: var(--bad); } svg line { stroke: var(--line); }
";

pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    write(report, &mut out).unwrap_or_default();
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    let title = escaped(report.about.as_deref().unwrap_or("a recorded history"));
    writeln!(out, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>")?;
    writeln!(out, "<meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style>")?;
    writeln!(out, "<h1>{title}</h1>")?;
    if let Some(service) = &report.service {
        writeln!(
            out,
            "<p class=\"soft\">{} · {} objects · {} races · {} requests · {} kills</p>",
            escaped(service),
            report.objects,
            report.races,
            report.requests,
            report.kills
        )?;
    }
    writeln!(out, "<table><tr><th></th><th>property</th><th>verdict</th><th></th></tr>")?;
    for line in &report.verdicts {
        let (class, word) = match line.verdict {
            Verdict::Violated => ("violated", "violated"),
            Verdict::NotViolated => ("not_violated", "not violated"),
            Verdict::Unknown => ("unknown", "unknown"),
            Verdict::NotTestable => ("not_testable", "not testable"),
        };
        let why = line.why.as_deref().map_or_else(|| format!("{} objects", line.exercised), escaped);
        writeln!(
            out,
            "<tr><td class=\"id\">{}</td><td title=\"{}\"><code>{}</code></td><td class=\"{class}\">{word}</td><td>{why}</td></tr>",
            line.id,
            escaped(line.sentence),
            line.name
        )?;
    }
    writeln!(out, "</table>")?;
    for line in &report.verdicts {
        if let (Some(history), Verdict::Violated) = (&line.history, line.verdict) {
            writeln!(
                out,
                "<h2>{} <code>{}</code></h2><p>{}</p>",
                line.id,
                line.name,
                escaped(line.sentence)
            )?;
            timeline(history, out)?;
        }
    }
    writeln!(out, "</html>")
}

/// One bar per operation, one row per bar, time to the right.
fn timeline(history: &[Event], out: &mut String) -> std::fmt::Result {
    const LEFT: f64 = 130.0;
    const WIDTH: f64 = 900.0;
    const ROW: f64 = 22.0;
    let start = history.iter().map(|event| event.time).min().unwrap_or(0);
    let end = history.iter().map(|event| event.time).max().unwrap_or(0).max(start + 1);
    let x = |time: u64| LEFT + (time - start) as f64 / (end - start) as f64 * (WIDTH - LEFT - 260.0);
    let ends: Vec<&Event> = history.iter().filter(|event| event.kind != Kind::Invoke).collect();
    let mut sql: Vec<&(usize, String)> = ends.iter().flat_map(|event| &event.value.sql).collect();
    sql.sort_by_key(|(place, _)| *place);
    let height = ROW * (ends.len() as f64 + 1.0);
    writeln!(out, "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"timeline\">")?;
    for (row, event) in ends.iter().enumerate() {
        let begin = history
            .iter()
            .filter(|begin| {
                begin.kind == Kind::Invoke && begin.process == event.process && begin.f == event.f
            })
            .map(|begin| begin.time)
            .filter(|time| *time <= event.time)
            .max()
            .unwrap_or(event.time);
        let y = row as f64 * ROW + 4.0;
        let who = if event.process == HARNESS { String::new() } else { format!("caller {}", event.process) };
        let word = serde_json::to_value(event.f)
            .ok()
            .and_then(|word| word.as_str().map(str::to_owned))
            .unwrap_or_default();
        let result =
            event.value.read.as_ref().map(shown).or(event.value.status.map(|status| status.to_string()));
        let result = result.or_else(|| event.value.error.clone()).unwrap_or_default();
        let label = cut(&format!("{} {result}", event.value.request.as_deref().unwrap_or("")), 60);
        let (from, to) = (x(begin), x(event.time));
        let class = if event.kind == Kind::Info { " class=\"bad\"" } else { "" };
        writeln!(
            out,
            "<text class=\"soft\" x=\"0\" y=\"{:.0}\">{} {word}</text><rect{class} x=\"{from:.1}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"12\" rx=\"2\"/><text x=\"{:.1}\" y=\"{:.0}\">{}</text>",
            y + 11.0,
            escaped(&who),
            (to - from).max(2.0),
            to + 6.0,
            y + 11.0,
            escaped(&label)
        )?;
    }
    let bottom = height - ROW / 2.0;
    writeln!(out, "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{bottom}\" y2=\"{bottom}\"/></svg>")?;
    if !sql.is_empty() {
        writeln!(out, "<ol>")?;
        for (_, statement) in sql {
            writeln!(out, "<li><code>{}</code></li>", escaped(statement))?;
        }
        writeln!(out, "</ol>")?;
    }
    Ok(())
}
