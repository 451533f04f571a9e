//! The report of one run for the terminal: the same tables.

use std::fmt::Write;

use super::{
    tables::{self, Table},
    view::View,
};
use crate::document::{Document, FORGETS};

pub(crate) fn text(document: &Document) -> String {
    let mut text = String::new();
    for view in View::all(document) {
        table(&mut text, &tables::throughput(&view));
        table(&mut text, &tables::latencies(&view));
        table(&mut text, &tables::contenders(&view));
    }
    if document.runs.iter().any(|run| !run.single_use_after_a_crash) {
        put(&mut text, format_args!("{}: not single-use after a crash of the machine.\n", FORGETS.trim()));
    }
    table(&mut text, &tables::comparisons(&document.comparisons));
    table(&mut text, &tables::goals(document.goals.iter()));
    if !document.complete {
        put(&mut text, format_args!("Stopped before everything was measured."));
    }
    text.trim_end().to_owned()
}

fn table(text: &mut String, table: &Table) {
    if table.rows.is_empty() {
        return;
    }
    let rows = || std::iter::once(&table.head).chain(&table.rows);
    let width = |column: usize| {
        rows().filter_map(|row| row.get(column)).map(|cell| plain(cell).chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.head.len()).map(width).collect();
    put(text, format_args!("{}", table.caption));
    for row in rows() {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let (cell, width) = (plain(cell), *width);
            // Names to the left, figures to the right.
            let cell = if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
            line += &format!("  {cell}");
        }
        put(text, format_args!("{}", line.trim_end()));
    }
    text.push('\n');
}

fn plain(text: &str) -> String {
    text.replace("**", "").replace('`', "")
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a text never fails.
    writeln!(text, "{what}").ok();
}
