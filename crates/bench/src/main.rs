//! `countersign-bench`: the ways to use an approval once, compared on SQLite and PostgreSQL.

mod args;
mod autocommit;
mod bench_store;
mod campaign;
mod comparisons;
mod counters;
mod counting;
mod document;
mod gate;
mod host;
mod load;
mod measure;
mod pgbench;
mod postgres;
mod report;
mod sqlite;

use std::{fs, path::Path, process::ExitCode};

use clap::Parser;
use countersign_terminal::{BadInput, Exit, print_error, print_line};

use self::{
    args::{Args, BenchCommand, Format, StoreChoice},
    bench_store::Contender,
    campaign::Campaign,
    document::Document,
    sqlite::failed,
};

fn main() -> ExitCode {
    let exit = run(&Args::parse()).unwrap_or_else(|problem| {
        print_error!("{problem}");
        Exit::BadInput
    });
    exit.into()
}

fn run(args: &Args) -> Result<Exit, BadInput> {
    if let Some(BenchCommand::Report(args)) = &args.command {
        return report::run(args);
    }
    let entries = entries(&args.strategy)?;
    let stores = if args.store.is_empty() { found() } else { args.store.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed("no runtime can be started", &error))?;
    let document = runtime.block_on(measure::measure(Campaign::new(args, entries), &stores))?;
    // First what was measured: it is not lost when its file cannot be written.
    match args.format {
        Format::Human => print_line!("{}", report::text(&document)),
        Format::Json => document.print(),
    }
    if let Some(path) = &args.out {
        write(path, &document)?;
    }
    Ok(document.exit())
}

/// The default stores.
fn found() -> Vec<StoreChoice> {
    let mut stores = vec![StoreChoice::Sqlite(None)];
    match countersign_testkit::Installation::find() {
        Ok(_) => stores.push(StoreChoice::Postgres(None)),
        Err(missing) => print_error!("note: measured on SQLite only: {missing}"),
    }
    stores
}

/// `None` for all of them.
fn entries(names: &[String]) -> Result<Option<Vec<Contender>>, BadInput> {
    let find = |name: &String| {
        Contender::find(name).ok_or_else(|| {
            let known: Vec<&str> = countersign::store::sql::Cas::ALL.iter().map(|cas| cas.as_str()).collect();
            let title = format!("found the unknown strategy `{name}`, expected one of {}", known.join(", "));
            BadInput::plain(&title, "without --strategy all of them are measured")
        })
    };
    let entries: Vec<Contender> = names.iter().map(find).collect::<Result<_, _>>()?;
    Ok((!entries.is_empty()).then_some(entries))
}

fn write(path: &Path, document: &Document) -> Result<(), BadInput> {
    fs::write(path, document.json() + "\n").map_err(|error| {
        let title = format!("{}: cannot be written: {error}", path.display());
        BadInput::plain(&title, "another file can be named with --out")
    })
}
