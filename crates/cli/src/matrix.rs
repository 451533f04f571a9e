//! The verdicts at a glance: a line for each flow, and a matrix of properties by flows that fits 100 columns.

use std::fmt::Write;

use countersign_models::{
    flows::{BuiltIn, Group},
    properties::Property,
    verdict::{Judgement, Verdict},
};
use owo_colors::{OwoColorize, Style};

use crate::judge::Judged;
use countersign_terminal::print_line;

const CELL: usize = 10;
const NAME: usize = 37;
/// The most flows of a matrix within 100 columns.
const FITS: usize = 6;

const LEGEND: &str = "\
∀ proved for any number of callers, crashes and faults   ✓ n holds for n callers   – does not apply
✗ n violated; the shortest counterexample has n steps
○ vacuous: nothing in this flow can violate it   ? unknown: cut off   ! not as expected";

/// Prints the legend, a line for each flow, the worst first, and a matrix for each group of few flows.
pub(crate) fn print(judged: &[Judged]) {
    print_line!("\n{LEGEND}");
    lines(judged);
    for (title, members) in groups(judged) {
        if members.len() <= FITS {
            print_line!("\n{}", title.bold());
            print_line!("{}", matrix(&members).trim_end());
        }
    }
}

/// The flows by topic, in order.
fn groups(judged: &[Judged]) -> Vec<(&'static str, Vec<&Judged>)> {
    let mut groups: Vec<(&str, Vec<&Judged>)> = Vec::new();
    for one in judged {
        let title = match BuiltIn::find(&one.name).map(BuiltIn::group) {
            Some(Group::Gate) => "Orders of a deployment gate",
            Some(Group::OtherAction) => "Other actions",
            Some(Group::RealBug) => "Public bug reports, and their fixes",
            None => "Flow files",
        };
        match groups.last_mut() {
            Some((last, members)) if *last == title => members.push(one),
            _ => groups.push((title, vec![one])),
        }
    }
    groups
}

/// A line for each flow: first the unexpected ones, then the truncated ones, then the rest.
fn lines(judged: &[Judged]) {
    let width = judged.iter().map(|one| one.name.chars().count()).max().unwrap_or(0);
    let section = |title: &str, is_in: &dyn Fn(&Judged) -> bool| {
        let members: Vec<&Judged> = judged.iter().filter(|one| is_in(one)).collect();
        if !members.is_empty() {
            print_line!("\n{}", title.bold());
        }
        for one in members {
            print_line!("  {:width$}  {}", one.name, violations(one));
        }
    };
    let is_cut_off = |one: &Judged| one.report.cut_off.is_some();
    section("Not as expected", &|one| one.is_unexpected());
    section("Cut off", &|one| is_cut_off(one) && !one.is_unexpected());
    section("As expected", &|one| !is_cut_off(one) && !one.is_unexpected());
}

/// The properties that a flow violates, and what else is worth a word.
fn violations(judged: &Judged) -> String {
    let mut violated = String::new();
    let mut others = String::new();
    let mut unknown = 0;
    for judgement in &judged.report.judgements {
        let id = judgement.property.id();
        match &judgement.verdict {
            Verdict::Violated(_) if judgement.expected => violated.push_str(&format!(" {id}")),
            Verdict::Violated(_) => violated.push_str(&format!(" {}", format!("{id}!").red().bold())),
            Verdict::Unknown => unknown += 1,
            Verdict::Holds | Verdict::DoesNotApply if judgement.expected => {}
            _ => others.push_str(&format!("  {} {id}!", sign_alone(judgement)).yellow().to_string()),
        }
    }
    let sign = match (violated.is_empty(), unknown) {
        (false, _) => format!("✗{violated}"),
        (true, 0) => "✓".green().to_string(),
        (true, _) => String::new(),
    };
    let unknown =
        if unknown > 0 { format!(" ? {unknown} unknown").yellow().to_string() } else { String::new() };
    format!("{sign}{others}{unknown}")
}

fn matrix(judged: &[&Judged]) -> String {
    let mut out = String::new();
    let headers: Vec<Vec<String>> = judged.iter().map(|judged| header(&judged.name)).collect();
    let height = headers.iter().map(Vec::len).max().unwrap_or(0);
    for line in 0..height {
        // Aligned at the bottom.
        let text = |header: &Vec<String>| {
            let above = height - header.len();
            line.checked_sub(above).map(|line| header[line].clone()).unwrap_or_default()
        };
        row(&mut out, NAME, headers.iter().map(|header| (text(header), Style::new().bold())));
    }
    for property in Property::MODELLED {
        // A row of dashes is left out.
        let judgements: Vec<_> =
            judged.iter().filter_map(|judged| Some((*judged, judged.of(*property)?))).collect();
        if judgements.iter().all(|(_, judgement)| judgement.verdict == Verdict::DoesNotApply) {
            continue;
        }
        let _ = write!(out, "{} {}", format!("{:>3}", property.id()).bold(), property.name());
        let gap = NAME - 4 - property.name().len();
        row(&mut out, gap, judgements.into_iter().map(|(judged, judgement)| cell(judged, judgement)));
    }
    out
}

/// Ends a line with these cells, after a gap. Nothing blank is left at its end.
fn row(out: &mut String, mut gap: usize, cells: impl Iterator<Item = (String, Style)>) {
    for (text, style) in cells {
        let width = text.chars().count();
        if width > 0 {
            let _ = write!(out, "{:gap$}{}", "", text.style(style));
            gap = 0;
        }
        gap += CELL.saturating_sub(width);
    }
    out.push('\n');
}

/// The name in lines of at most a cell's width, broken after hyphens where there are any.
fn header(name: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for piece in name.split_inclusive('-') {
        for character in piece.chars() {
            let line = lines.last_mut().expect("there is always one");
            if line.chars().count() + 1 >= CELL {
                lines.push(character.to_string());
            } else {
                line.push(character);
            }
        }
        let full = lines.last().is_some_and(|line| line.chars().count() > 2);
        if full && piece.ends_with('-') {
            lines.push(String::new());
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

/// The sign of a verdict, without a number.
fn sign_alone(judgement: &Judgement) -> &'static str {
    match &judgement.verdict {
        Verdict::DoesNotApply => "–",
        Verdict::Holds if judgement.exercised => "✓",
        Verdict::Holds => "○",
        Verdict::Violated(_) => "✗",
        Verdict::Unknown => "?",
    }
}

/// The sign of one verdict.
fn sign(judged: &Judged, judgement: &Judgement) -> String {
    let sign = match &judgement.verdict {
        Verdict::Holds if judgement.exercised && judged.is_proved(judgement.property) => "∀".to_owned(),
        Verdict::Holds if judgement.exercised => format!("✓ {}", judged.report.bounds.consumers),
        Verdict::Violated(run) => format!("✗ {}", run.actions.len()),
        _ => sign_alone(judgement).to_owned(),
    };
    let expected = judgement.expected || judgement.verdict == Verdict::Unknown;
    if expected { sign } else { format!("{sign} !") }
}

fn cell(judged: &Judged, judgement: &Judgement) -> (String, Style) {
    let style = match &judgement.verdict {
        Verdict::Holds if judgement.exercised => Style::new().green(),
        Verdict::DoesNotApply => Style::new().dimmed(),
        Verdict::Holds | Verdict::Unknown => Style::new().yellow(),
        // Expected violations are not highlighted.
        Verdict::Violated(_) if judgement.expected => Style::new(),
        Verdict::Violated(_) => Style::new().red(),
    };
    (sign(judged, judgement), if judgement.expected { style } else { style.bold() })
}
