//! The report for a terminal of 80 columns, with a sequence diagram for each violation.

use std::fmt::Write;

use super::{Conclusion, Report, Verdict, VerdictLine, cut, shown};
use crate::client::Protocol;
use crate::history::{Action, Event, HARNESS, Kind};

const WIDTH: usize = 80;

pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    write(report, &mut out).unwrap_or_default();
    out
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    let title = report.about.as_deref().unwrap_or("a recorded history");
    writeln!(out, "{}", cut(title, WIDTH))?;
    if let Some(service) = &report.service {
        writeln!(out, "{service}")?;
    }
    writeln!(out)?;
    for line in &report.verdicts {
        verdict(line, out)?;
    }
    writeln!(out)?;
    summary(report, out)?;
    // One diagram for each history: several properties often share it.
    let mut drawn: Vec<&[Event]> = Vec::new();
    for line in &report.verdicts {
        let (Some(history), Verdict::Violated) = (&line.history, line.verdict) else { continue };
        if drawn.contains(&history.as_slice()) {
            continue;
        }
        let same = report
            .verdicts
            .iter()
            .filter(|other| other.history.as_ref() == Some(history))
            .map(|other| other.id);
        writeln!(out, "\n{}: the shortest history", same.collect::<Vec<_>>().join(", "))?;
        diagram(history, out)?;
        drawn.push(history);
    }
    writeln!(out)?;
    let conclusion = match report.conclusion() {
        Conclusion::Clean => "no property is violated".to_owned(),
        Conclusion::Violated => {
            let count = report.verdicts.iter().filter(|line| line.verdict == Verdict::Violated).count();
            format!("{count} {} violated", if count == 1 { "property is" } else { "properties are" })
        }
        Conclusion::Inconclusive => "inconclusive".to_owned(),
    };
    writeln!(out, "{conclusion}")?;
    Ok(())
}

fn verdict(line: &VerdictLine, out: &mut String) -> std::fmt::Result {
    let objects = |count: usize| format!("{count} object{}", if count == 1 { "" } else { "s" });
    let (sign, right) = match line.verdict {
        Verdict::Violated => ("✗", format!("{} of {}", line.violated, objects(line.exercised))),
        Verdict::NotViolated => ("✓", objects(line.exercised)),
        Verdict::Unknown => ("?", "unknown".to_owned()),
        Verdict::NotTestable => ("–", "not testable".to_owned()),
    };
    writeln!(out, "  {sign} {:<4}{:<34}{right}", line.id, line.name)?;
    if let Some(why) = &line.why {
        for part in wrap(why, WIDTH - 8) {
            writeln!(out, "        {part}")?;
        }
    }
    Ok(())
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].chars().count() + 1 + word.chars().count() > width {
            lines.push(cut(word, width));
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(&cut(word, width));
        }
    }
    lines
}

fn summary(report: &Report, out: &mut String) -> std::fmt::Result {
    let mut lines: Vec<String> = Vec::new();
    if report.service.is_some() {
        lines.push(format!(
            "{} objects, {} races, {} pairs at offsets, {} requests, {} kills, {:.1} s",
            report.objects,
            report.races,
            report.pairs,
            report.requests,
            report.kills,
            report.milliseconds as f64 / 1_000.0
        ));
    }
    if report.races > 0 {
        lines.push(match report.protocol {
            Protocol::Http2 => "requests of a race were sent in one packet (HTTP/2)".into(),
            Protocol::Http1 => format!(
                "requests of a race were released within {:.2} ms (median)",
                report.spread_us as f64 / 1_000.0
            ),
        });
        if let Some(found) = &report.calibration {
            lines.push(format!("they reached the canary within {:.2} ms", found.spread_us as f64 / 1_000.0));
        }
        if !report.raced {
            lines.push("the requests did not race: one was answered before the next was released".into());
        }
    }
    for pair in &report.interleaved {
        let total = pair
            .interleavings
            .as_deref()
            .filter(|_| pair.max_preemptions.is_none())
            .map_or_else(String::new, |count| format!(", of {count} interleavings"));
        let not = if pair.complete { "" } else { "not " };
        let within = match pair.max_preemptions {
            None => String::new(),
            Some(1) => " with at most 1 preemption".to_owned(),
            Some(most) => format!(" with at most {most} preemptions"),
        };
        let extent = format!("{not}every interleaving{within}");
        lines.push(format!(
            "{}: {} schedules{total}: {extent} ({:.1} s)",
            pair.pair,
            pair.explored,
            pair.milliseconds as f64 / 1_000.0
        ));
        lines.extend(pair.why_incomplete.iter().map(|why| format!("  incomplete: {why}")));
    }
    if let Some(found) = &report.calibration {
        lines.push(match found.window_us {
            Some(window) => format!(
                "a check-then-act window of ≥ {window} µs would have been found with 99 % (canary, {} races of {})",
                found.races, found.callers
            ),
            None => format!("the canary survived a window of {} µs: the races prove nothing", found.largest_us),
        });
        if found.false_alarm {
            lines.push("a canary without a window was reported as broken: the method is at fault".into());
        }
    }
    if !report.behaves_like.is_empty() {
        lines.push(format!("behaves like `{}`", report.behaves_like.join("`, `")));
    }
    lines.extend(report.notes.iter().cloned());
    lines.extend(report.cut_off.iter().map(|why| format!("cut off: {why}")));
    for line in lines {
        for part in wrap(&line, WIDTH - 2) {
            writeln!(out, "  {part}")?;
        }
    }
    Ok(())
}

/// A row of the diagram: when, in which lane, and what.
struct Row {
    order: (u64, usize),
    lane: i64,
    text: String,
}

fn diagram(history: &[Event], out: &mut String) -> std::fmt::Result {
    let rows = rows(history);
    let mut lanes: Vec<i64> = rows.iter().map(|row| row.lane).filter(|lane| *lane != HARNESS).collect();
    lanes.sort_unstable();
    lanes.dedup();
    let start = rows.first().map_or(0, |row| row.order.0);
    let time = |row: &Row| format!("{:>9.3} ms", row.order.0.saturating_sub(start) as f64 / 1e6);
    if lanes.len() > 3 || lanes.is_empty() {
        for row in &rows {
            let who = if row.lane == HARNESS { "        ".into() } else { format!("caller {}", row.lane) };
            writeln!(out, "  {}  {who:<10}{}", time(row), cut(&row.text, WIDTH - 26))?;
        }
        return Ok(());
    }
    let width = (WIDTH - 16) / lanes.len();
    let mut head = String::new();
    for lane in &lanes {
        let _ = write!(head, "{:<width$}", format!("caller {lane}"));
    }
    writeln!(out, "  {:>12}  {}", "", head.trim_end())?;
    for row in &rows {
        if row.lane == HARNESS {
            writeln!(out, "  {}  · {}", time(row), cut(&row.text, WIDTH - 18))?;
            continue;
        }
        let index = lanes.iter().position(|lane| *lane == row.lane).unwrap_or(0);
        // A text may use the room of the empty lanes to its right.
        let room = (lanes.len() - index) * width;
        let before = "│".to_owned() + &" ".repeat(width - 1);
        writeln!(out, "  {}  {}{}", time(row), before.repeat(index), cut(&row.text, room))?;
    }
    Ok(())
}

fn rows(history: &[Event]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for event in history {
        let details = &event.value;
        let word = event.f.word();
        let by_caller = event.process != HARNESS;
        let result = match (details.status, &details.error) {
            (Some(status), _) => status.to_string(),
            (None, Some(error)) => error.clone(),
            (None, None) => String::new(),
        };
        let who = details
            .who
            .as_ref()
            .filter(|who| *who != "unapproved")
            .map_or_else(String::new, |who| format!(" by {who}"));
        let text = match (event.kind, by_caller) {
            (Kind::Invoke, true) => {
                let key = details.key.map_or_else(String::new, |key| format!(" (key {key})"));
                format!("┬ {}{key}{who}", details.request.as_deref().unwrap_or(&word))
            }
            (_, true) => format!("┴ {result}"),
            (Kind::Invoke, false) => continue,
            (_, false) => {
                let request = details.request.as_ref().map_or_else(String::new, |line| format!(" {line}"));
                let read =
                    details.read.as_ref().map_or_else(String::new, |read| format!(" = {}", shown(read)));
                let result = if details.read.is_some() || result.is_empty() {
                    read
                } else {
                    format!(" → {result}{read}")
                };
                match event.f {
                    Action::Arrange => continue,
                    _ => format!("{word}{who}:{request}{result}").trim_end_matches(':').to_owned(),
                }
            }
        };
        // Statements are known by their order only: they come after all begins, each before its request's end.
        for (place, statement) in &details.sql {
            rows.push(Row { order: (0, place + 1), lane: event.process, text: format!("│ {statement}") });
        }
        let after = details.sql.last().map_or(0, |(place, _)| place + 1);
        rows.push(Row { order: (event.time, after), lane: event.process, text });
    }
    place_statements(&mut rows);
    rows
}

/// Gives statements the times of their neighbours, so that the order of the schedule shows.
fn place_statements(rows: &mut [Row]) {
    let first_end = rows.iter().filter(|row| row.order.1 > 0 && row.order.0 > 0).map(|row| row.order.0).min();
    let Some(first_end) = first_end else { return };
    let ends: Vec<(usize, u64)> = rows
        .iter()
        .filter(|row| row.order.1 > 0 && row.order.0 > 0)
        .map(|row| (row.order.1, row.order.0))
        .collect();
    for row in rows.iter_mut().filter(|row| row.order.0 == 0 && row.order.1 > 0) {
        // After the ends of the requests that were over before this statement.
        let earlier = ends.iter().filter(|(place, _)| *place < row.order.1).map(|(_, time)| *time).max();
        row.order.0 = earlier.unwrap_or(first_end.saturating_sub(1));
    }
    rows.sort_by_key(|row| row.order);
}
