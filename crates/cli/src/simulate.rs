//! `countersign simulate`: a campaign of seeds, its canary, the crash points, and the findings.

mod detection;
mod document;
mod lengths;
mod merge;
mod page;
mod trace;

use std::{fmt, fs, io, ops::ControlFlow, path::Path, sync::Arc};

use countersign::service::supports;
use countersign_models::model::Bounds;
use countersign_models::simulation::{Campaign, CrashPoints, Failure, Mutant, Report, Seeds, crash_points};
use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};

use self::{
    document::{Document, Shrunk},
    trace::TraceDigest,
};
use crate::{
    args::{Format, SimulateArgs, SimulateCommand},
    interrupt,
    judge::{fit, pool},
};
use countersign_terminal::{BadInput, Exit, Stopwatch, input, input::Named, print_error};

/// Seeds that the canary has to be noticed by.
const CANARY_SEEDS: u64 = 4096;

pub(crate) fn run(args: &SimulateArgs) -> Result<Exit, BadInput> {
    match &args.command {
        Some(SimulateCommand::Merge(args)) => return merge::run(args),
        Some(SimulateCommand::Detection(args)) => return detection::run(args),
        None => {}
    }
    let named = input::flow(&args.flow)?;
    let campaign = campaign(&named, args.mutant.as_deref())?;
    let seeds = Seeds { from: args.seeds.0, to: args.seeds.1, shard: args.shard.0 - 1, shards: args.shard.1 };
    let pool = pool(args.threads)?;
    if let Some(path) = &args.trace {
        return pool.install(|| trace::write(&campaign, seeds, path));
    }
    // Before the work, so that its results are not lost to a folder that cannot be written.
    let is_new = !args.failures.exists();
    interrupt::catch();
    fs::create_dir_all(&args.failures).map_err(|error| unwritable(&args.failures, &error))?;
    let document = pool.install(|| play(&named, &campaign, seeds, args));
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

fn campaign(named: &Named, mutant: Option<&str>) -> Result<Campaign, BadInput> {
    let mutant = mutant.map(|name| {
        let name = name.replace('_', "-");
        let name = if name == "canary" { Mutant::ForgottenOnRestart.name() } else { &name };
        Mutant::find(name).ok_or_else(|| {
            let names: Vec<&str> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
            let title = format!("found the unknown mutant `{name}`, expected one of {}", names.join(", "));
            BadInput::plain(&title, "without --mutant the platform is sound")
        })
    });
    let flow = &named.subject.flow;
    supports(flow).map_err(|unsupported| {
        BadInput::plain(
            &format!("{}: {unsupported}", named.name),
            "the simulator runs the production driver; `countersign verify` judges every flow in the model",
        )
    })?;
    fit(&named.name, flow, Bounds::default())?;
    Ok(Campaign {
        flow: Arc::new(named.subject.flow.clone()),
        name: named.name.clone(),
        flow_file: named.file.clone(),
        mutant: mutant.transpose()?,
    })
}

/// The whole work of one call of the command, on the current pool.
fn play(named: &Named, campaign: &Campaign, seeds: Seeds, args: &SimulateArgs) -> Document {
    let canary = canary(campaign);
    let points =
        if campaign.mutant.is_none() { crash_points(&campaign.flow) } else { CrashPoints::default() };
    let stopwatch = Stopwatch::start();
    let bar = ProgressBar::new(seeds.count()).with_style(style()).with_prefix(named.name.clone());
    let report = campaign.run(seeds, &mut |report| {
        bar.set_position(report.schedules);
        bar.set_message(found_so_far(report));
        let is_late = args.time.is_some_and(|time| stopwatch.elapsed() >= time);
        if is_late || interrupt::happened() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let seconds = stopwatch.elapsed().as_secs_f64();
    bar.set_message("shrinking what was found");
    let shrunk = Shrunk::all(campaign, &report);
    bar.set_message("hashing the trace");
    let trace = args.trace_digest.map(|seeds| TraceDigest::of(campaign, seeds));
    bar.finish_and_clear();
    Document::new(campaign, report, trace, canary, points, seconds, shrunk)
}

/// By how many seeds the canary is noticed; `None` when it is not.
fn canary(campaign: &Campaign) -> Option<u64> {
    let canary = Campaign { mutant: Some(Mutant::ForgottenOnRestart), ..campaign.clone() };
    let seeds = Seeds { from: 0, to: CANARY_SEEDS, shard: 0, shards: 1 };
    let report = canary.run(seeds, &mut |_| ControlFlow::Continue(()));
    let finding = report.finding(Mutant::ForgottenOnRestart.breaks())?;
    finding.first.first().map(|seed| seed + 1)
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
fn keep(folder: &Path, failures: &[&Failure]) -> Result<(), BadInput> {
    for failure in failures {
        let path = folder.join(document::file_name(failure));
        fs::write(&path, document::file(failure)).map_err(|error| unwritable(&path, &error))?;
    }
    Ok(())
}
