//! The matrix: properties by flows.

use std::fmt::Write;

use countersign_models::{properties::Property, verdict::Judgement, verdict::Verdict};
use owo_colors::{OwoColorize, Style};

use crate::judge::Judged;
use crate::say::say;

/// Prints the matrix, and what its signs mean.
pub(crate) fn print(judged: &[Judged]) {
    say!("{}", render(judged).trim_end());
}

const CELL: usize = 10;
const NAME: usize = 37;

fn render(judged: &[Judged]) -> String {
    let mut out = String::from("\n");
    let headers: Vec<Vec<String>> = judged.iter().map(|judged| header(&judged.name)).collect();
    let height = headers.iter().map(Vec::len).max().unwrap_or(0);
    for line in 0..height {
        let _ = write!(out, "{:NAME$}", "");
        for header in &headers {
            // Headers stand on the table.
            let above = height - header.len();
            let text = line.checked_sub(above).map_or("", |line| &header[line]);
            let _ = write!(out, "{}", format!("{text:CELL$}").bold());
        }
        out.push('\n');
    }
    for property in Property::MODELLED {
        let _ = write!(
            out,
            "{} {:width$}",
            format!("{:>3}", property.id()).bold(),
            property.name(),
            width = NAME - 4
        );
        for judged in judged {
            let (sign, style) = cell(judged.report.of(*property));
            let _ = write!(
                out,
                "{}{:pad$}",
                sign.style(style),
                "",
                pad = CELL.saturating_sub(sign.chars().count())
            );
        }
        out.push('\n');
    }
    out.push_str("\n  ✓ holds   ○ holds, never put to the test   ✗ n broken, by a run of n actions   ? not known, cut off   ! not as expected\n");
    out
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
        Verdict::Holds if judgement.witnessed => "✓".to_owned(),
        Verdict::Holds => "○".to_owned(),
        Verdict::Broken(run) => format!("✗ {}", run.actions.len()),
        Verdict::Unknown => "?".to_owned(),
    };
    let expected = judgement.expected || judgement.verdict == Verdict::Unknown;
    if expected { sign } else { format!("{sign} !") }
}

fn cell(judgement: &Judgement) -> (String, Style) {
    let style = match &judgement.verdict {
        Verdict::Holds if judgement.witnessed => Style::new().green(),
        Verdict::Holds | Verdict::Unknown => Style::new().yellow(),
        Verdict::Broken(_) => Style::new().red(),
    };
    (sign(judgement), if judgement.expected { style } else { style.bold() })
}
