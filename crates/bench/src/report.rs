//! `countersign-bench report`: a page and a Markdown table from recorded runs.

mod chart;
mod figures;
mod markdown;
mod memory;
mod page;
mod tables;
mod terminal;
mod view;
mod wasted;

use std::{fs, path::Path};

use serde::Deserialize;

use super::document::{self, Document, Goal};
use crate::args::BenchReportArgs;
use countersign_terminal::{BadInput, Exit, input, print_line};

pub(crate) use terminal::text;

/// The longest file.
const MOST: usize = 64 << 20;
const WHAT: &str = "what `countersign-bench --out`, `cargo bench --bench consume` or `cargo bench --bench wasted_work` has written";

/// The files to report on.
#[derive(Debug, Default)]
struct Reports {
    databases: Vec<Document>,
    memories: Vec<memory::Document>,
    wasted: Vec<wasted::Document>,
}

impl Reports {
    fn goals(&self) -> impl Iterator<Item = &Goal> {
        let databases = self.databases.iter().flat_map(|document| &document.goals);
        databases.chain(self.memories.iter().flat_map(|document| &document.goals))
    }
}

pub(super) fn run(args: &BenchReportArgs) -> Result<Exit, BadInput> {
    let mut reports = Reports::default();
    for path in &args.files {
        read(path, &mut reports)?;
    }
    fs::create_dir_all(&args.out).map_err(|error| unwritable(&args.out, &error))?;
    for (name, text) in
        [("benchmark.html", page::render(&reports)), ("benchmark.md", markdown::render(&reports))]
    {
        let path = args.out.join(name);
        fs::write(&path, text).map_err(|error| unwritable(&path, &error))?;
        print_line!("{}", path.display());
    }
    Ok(Exit::Expected)
}

/// All that has to be known to know the rest.
#[derive(Deserialize)]
struct Named {
    schema: Option<String>,
}

fn read(path: &Path, reports: &mut Reports) -> Result<(), BadInput> {
    let name = path.display().to_string();
    let text = input::text(path, MOST, WHAT)?;
    let named: Named = input::json(&name, &text, WHAT)?;
    match named.schema.as_deref() {
        Some(document::SCHEMA) => reports.databases.push(input::json(&name, &text, WHAT)?),
        Some(memory::SCHEMA) => reports.memories.push(input::json(&name, &text, WHAT)?),
        Some(wasted::SCHEMA) => reports.wasted.push(input::json(&name, &text, WHAT)?),
        found => {
            let found = found.map_or("no `schema`".to_owned(), |found| format!("the schema `{found}`"));
            let expected = format!("`{}`, `{}` or `{}`", document::SCHEMA, memory::SCHEMA, wasted::SCHEMA);
            let title = format!("{name}: found {found}, expected {expected}");
            return Err(BadInput::plain(&title, &format!("expected {WHAT}")));
        }
    }
    Ok(())
}

fn unwritable(path: &Path, error: &std::io::Error) -> BadInput {
    let title = format!("{}: cannot be written: {error}", path.display());
    BadInput::plain(&title, "another folder can be named with --out")
}
