//! The report as Markdown, for a README.

use std::fmt::Write;

use super::{
    Reports,
    figures::count_of,
    tables::{self, Table},
    view::View,
    wasted,
};
use crate::document::FORGETS;

/// Legend of the tables; shared with the page.
const READING: &str = include_str!("reading.md");

pub(super) fn render(reports: &Reports) -> String {
    let mut text = String::new();
    writeln!(text, "{READING}\n").ok();
    table(&mut text, &tables::goals(reports.goals()));
    for document in &reports.databases {
        table(&mut text, &tables::comparisons(&document.comparisons));
        for view in View::all(document) {
            table(&mut text, &tables::throughput(&view));
            table(&mut text, &tables::latencies(&view));
            table(&mut text, &tables::contenders(&view));
        }
        if document.runs.iter().any(|run| !run.single_use_after_a_crash) {
            writeln!(text, "{}: not single-use after a crash of the machine.\n", FORGETS.trim()).ok();
        }
    }
    for document in &reports.memories {
        table(&mut text, &tables::in_memory(document));
    }
    for document in &reports.wasted {
        table(&mut text, &wasted::preflights(document));
        table(&mut text, &wasted::times(document));
    }
    for document in &reports.databases {
        let machine = &document.machine;
        let cores = count_of(machine.cores, "core");
        let processor = machine.processor.as_deref().unwrap_or("an unknown processor");
        writeln!(text, "Measured on {processor}, {cores}; made by `{}`.", document.command).ok();
    }
    for document in &reports.memories {
        writeln!(text, "In memory: made by `{}`.", document.command).ok();
    }
    for document in &reports.wasted {
        writeln!(text, "{}", document.provenance()).ok();
    }
    text
}

fn table(text: &mut String, table: &Table) {
    if table.rows.is_empty() {
        return;
    }
    let row = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |", cells.join(" | "))
    };
    // The first column has names, the others figures.
    let rule: Vec<&str> =
        (0..table.head.len()).map(|column| if column == 0 { "---" } else { "---:" }).collect();
    writeln!(text, "**{}**\n\n{}\n|{}|", table.caption, row(&table.head), rule.join("|")).ok();
    for cells in &table.rows {
        writeln!(text, "{}", row(cells)).ok();
    }
    text.push('\n');
}
