//! `countersign simulate`: a campaign of seeds, its canary, the crash points, and the findings.

mod detection;
mod document;
mod lengths;
mod merge;
mod page;
mod player;
mod trace;

use std::{fmt, fs, io, ops::ControlFlow, path::Path};

use countersign_models::simulation::{Report, Seeds};
use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};

pub(crate) use self::document::AnyFailure;
use self::{document::Document, player::Player, trace::TraceDigest};
use crate::{
    args::{Format, SimulateArgs, SimulateCommand},
    judge::pool,
};
use countersign_terminal::{BadInput, Exit, Stopwatch, input, input::Named, interrupt, print_error};

pub(crate) fn run(args: &SimulateArgs) -> Result<Exit, BadInput> {
    match &args.command {
        Some(SimulateCommand::Merge(args)) => return merge::run(args),
        Some(SimulateCommand::Detection(args)) => return detection::run(args),
        None => {}
    }
    let named = input::flow(&args.flow)?;
    let player = Player::new(&named, args.mutant.as_deref())?;
    let seeds = Seeds { from: args.seeds.0, to: args.seeds.1, shard: args.shard.0 - 1, shards: args.shard.1 };
    let pool = pool(args.threads)?;
    if let Some(path) = &args.trace {
        return pool.install(|| trace::write(&player, seeds, path));
    }
    // Before the work, so that its results are not lost to a folder that cannot be written.
    let is_new = !args.failures.exists();
    interrupt::catch();
    fs::create_dir_all(&args.failures).map_err(|error| unwritable(&args.failures, &error))?;
    let document = pool.install(|| play(&named, &player, seeds, args));
    // The report first: it is not lost if the files cannot be written.
    match args.format {
        Format::Human => page::print(&document, Some(&args.failures)),
        Format::Json => document.print(),
    }
    keep(&args.failures, &document.failures())?;
    if is_new && document.failures().is_empty() {
        // Fails if a file was written into it: it is then kept on purpose.
        let _ = fs::remove_dir(&args.failures);
    }
    if interrupt::happened() {
        print_error!("interrupted: the report is about the seeds that were run until then");
        return Ok(Exit::Interrupted);
    }
    Ok(document.exit())
}

/// The whole work of one call of the command, on the current pool.
fn play(named: &Named, player: &Player, seeds: Seeds, args: &SimulateArgs) -> Document {
    let (canary, points) = (player.canary(), player.crash_points());
    let stopwatch = Stopwatch::start();
    let bar = ProgressBar::new(seeds.count()).with_style(style()).with_prefix(named.name.clone());
    let report = player.run(seeds, &mut |report| {
        bar.set_position(report.schedules);
        bar.set_message(found_so_far(report));
        let is_late = args.time.is_some_and(|time| stopwatch.elapsed() >= time);
        if is_late || interrupt::happened() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let seconds = stopwatch.elapsed().as_secs_f64();
    bar.set_message("shrinking what was found");
    let shrunk = player.shrunk(&report);
    bar.set_message("hashing the trace");
    let trace = args.trace_digest.map(|seeds| TraceDigest::of(player, seeds));
    bar.finish_and_clear();
    Document::new(player, report, trace, canary, points, seconds, shrunk)
}

fn found_so_far(report: &Report) -> String {
    let steps = HumanCount(report.actions);
    let found: Vec<&str> = report.findings.keys().map(String::as_str).collect();
    match found.as_slice() {
        [] => format!("{steps} steps"),
        found => format!("{steps} steps, violated: {}", found.join(" ")),
    }
}

fn style() -> ProgressStyle {
    let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
        let _ = write!(out, "{}/s", HumanCount(state.per_sec() as u64));
    };
    ProgressStyle::with_template("{prefix:.bold} {wide_bar} {human_pos}/{human_len} {rate} {msg} ({eta})")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", rate)
}

fn unwritable(path: &Path, error: &io::Error) -> BadInput {
    let title = format!("{}: cannot be written: {error}", path.display());
    BadInput::plain(&title, "name another folder with --failures")
}

/// Writes each failure to a separate file.
fn keep(folder: &Path, failures: &[&AnyFailure]) -> Result<(), BadInput> {
    for failure in failures {
        let path = folder.join(document::file_name(failure));
        fs::write(&path, document::file(failure)).map_err(|error| unwritable(&path, &error))?;
    }
    Ok(())
}
