//! The matrix: properties by flows.

use std::fmt::Write;

use countersign_models::{properties::Property, verdict::Judgement, verdict::Verdict};
use owo_colors::{OwoColorize, Style};

use crate::judge::Judged;
use countersign_terminal::print_line;

/// Prints the matrix, and what its signs mean.
pub(crate) fn print(judged: &[Judged]) {
    print_line!("{}", render(judged).trim_end());
}

const CELL: usize = 10;
const NAME: usize = 37;

fn render(judged: &[Judged]) -> String {
    let mut out = String::from("\n");
    let headers: Vec<Vec<String>> = judged.iter().map(|judged| header(&judged.name)).collect();
    let height = headers.iter().map(Vec::len).max().unwrap_or(0);
    for line in 0..height {
        // Headers stand on the table.
        let text = |header: &Vec<String>| {
            let above = height - header.len();
            line.checked_sub(above).map(|line| header[line].clone()).unwrap_or_default()
        };
        row(&mut out, NAME, headers.iter().map(|header| (text(header), Style::new().bold())));
    }
    for property in Property::MODELLED {
        let _ = write!(out, "{} {}", format!("{:>3}", property.id()).bold(), property.name());
        let gap = NAME - 4 - property.name().len();
        row(&mut out, gap, judged.iter().map(|judged| cell(judged.report.of(*property))));
    }
    out.push_str("\n  ✓ holds   ○ holds, never put to the test   ✗ n broken, by a run of n actions   ? not known, cut off   ! not as expected\n");
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
