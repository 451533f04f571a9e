//! The verdicts at a glance: a matrix of properties by flows that fits 100 columns, or a line per flow.

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
✓ holds   ✗ n violated, by n steps at best   ○ holds vacuously   – does not apply
? unknown, cut off   ! not as expected";

/// Prints the legend, then a block for each group of flows.
pub(crate) fn print(judged: &[Judged]) {
    print_line!("\n{LEGEND}");
    for (title, members) in groups(judged) {
        print_line!("\n{}", title.bold());
        let rendered = if members.len() > FITS { lines(&members) } else { matrix(&members) };
        print_line!("{}", rendered.trim_end());
    }
}

/// The flows by what they are examples of, in order.
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

/// A line per flow: its name, and the properties that it violates.
fn lines(judged: &[&Judged]) -> String {
    let width = judged.iter().map(|one| one.name.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for one in judged {
        let mut violated = String::new();
        for judgement in &one.report.judgements {
            let mark = if judgement.expected { "" } else { "!" };
            match &judgement.verdict {
                Verdict::Broken(_) => {
                    let _ = write!(violated, " {}{mark}", judgement.property.id());
                }
                Verdict::Unknown => {
                    let _ = write!(violated, " {}?", judgement.property.id());
                }
                Verdict::Holds | Verdict::DoesNotApply if judgement.expected => {}
                Verdict::Holds | Verdict::DoesNotApply => {
                    let _ = write!(violated, " {}✓!", judgement.property.id());
                }
            }
        }
        let _ = if violated.is_empty() {
            writeln!(out, "  {:width$}  {}", one.name, "✓".green())
        } else {
            writeln!(out, "  {:width$}  {}", one.name, format!("✗{violated}").red())
        };
    }
    out
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
        // A row of dashes says nothing.
        if judged.iter().all(|judged| judged.report.of(*property).verdict == Verdict::DoesNotApply) {
            continue;
        }
        let _ = write!(out, "{} {}", format!("{:>3}", property.id()).bold(), property.name());
        let gap = NAME - 4 - property.name().len();
        row(&mut out, gap, judged.iter().map(|judged| cell(judged.report.of(*property))));
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

/// The sign of one verdict.
pub(crate) fn sign(judgement: &Judgement) -> String {
    let sign = match &judgement.verdict {
        Verdict::DoesNotApply => "–".to_owned(),
        Verdict::Holds if judgement.exercised => "✓".to_owned(),
        Verdict::Holds => "○".to_owned(),
        Verdict::Broken(run) => format!("✗ {}", run.actions.len()),
        Verdict::Unknown => "?".to_owned(),
    };
    let expected = judgement.expected || judgement.verdict == Verdict::Unknown;
    if expected { sign } else { format!("{sign} !") }
}

fn cell(judgement: &Judgement) -> (String, Style) {
    let style = match &judgement.verdict {
        Verdict::Holds if judgement.exercised => Style::new().green(),
        Verdict::DoesNotApply => Style::new().dimmed(),
        Verdict::Holds | Verdict::Unknown => Style::new().yellow(),
        Verdict::Broken(_) => Style::new().red(),
    };
    (sign(judgement), if judgement.expected { style } else { style.bold() })
}
