//! The report of a campaign, for people.

use std::{collections::BTreeMap, path::Path};

use countersign_models::{properties::Property, simulation::walk};
use indicatif::HumanCount;
use owo_colors::OwoColorize;

use super::{
    document::{AnyFailure, Document, Shrunk, file_name},
    lengths::Difference,
    trace::TraceDigest,
};
use crate::{
    diagram::{Diagram, terminal},
    report::WIDE,
    wrap::wrap,
};
use countersign_terminal::print_line;

pub(super) fn print(document: &Document, failures: Option<&Path>) {
    header(document);
    for property in document.properties() {
        line(document, property);
    }
    reasons(document);
    coverage(document);
    for id in &document.unexpected {
        if let Some(shrunk) = document.shrunk.get(id) {
            draw(shrunk);
        }
    }
    summary(document, failures);
}

fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

fn header(document: &Document) {
    let report = &document.report;
    let mutant = report.mutant.as_ref().map_or(String::new(), |mutant| format!(" on the mutant {mutant}"));
    let seeds: Vec<String> = report
        .seeds
        .iter()
        .map(|seeds| match seeds.shards {
            1 => format!("{}..{}", seeds.from, seeds.to),
            shards => format!("{}..{} shard {}/{shards}", seeds.from, seeds.to, seeds.shard + 1),
        })
        .collect();
    print_line!("\n{}{mutant}, seeds {}", report.flow.bold(), seeds.join(", "));
    let rate = |number: u64| count((number as f64 / document.seconds.max(0.001)) as u64);
    print_line!(
        "{} ({} a second), {} steps ({} a second), the longest of {}\n",
        schedules(report.schedules),
        rate(report.schedules),
        count(report.actions),
        rate(report.actions),
        count(report.longest),
    );
    if let Some(lacks) = &document.driver_lacks {
        print_line!("  {}      random walks of it: {lacks}\n", "model".bold());
    }
}

fn line(document: &Document, property: Property) {
    let title = format!("{:>3} {:33}", property.id(), property.name());
    let report = &document.report;
    let tested = report.coverage.witnesses.get(property.id()).copied().unwrap_or(0);
    let expected = document.is_expected_broken(property);
    let Some(finding) = report.finding(property) else {
        let sign = match (tested, expected) {
            (_, true) => "? not violated, and expected to be".yellow().to_string(),
            (0, false) => "○ never exercised".yellow().to_string(),
            _ => format!("{} exercised by {}", "✓".green(), schedules(tested)),
        };
        print_line!("  {title} {sign}");
        return;
    };
    let mark = if expected { "✗".to_owned() } else { "✗ !".red().bold().to_string() };
    let lengths = document.shrunk.get(property.id()).map_or(String::new(), |shrunk| {
        format!(
            "median {} to detection, 99 % by {}; {}",
            seeds(shrunk.median_seeds),
            seeds(shrunk.p99_seeds),
            lengths(shrunk),
        )
    });
    print_line!("  {title} {mark} violated by {}: {lengths}", schedules(finding.seeds));
}

/// Length of the shrunk failure, and of the model's shortest run.
fn lengths(shrunk: &Shrunk) -> String {
    let actions = counted(shrunk.failure.length() as u64, "action");
    if let AnyFailure::Model(walk) = &shrunk.failure {
        let callers = counted(u64::from(walk.callers), "caller");
        return format!("shrunk to {actions} of {callers}, with {}", faults(walk));
    }
    let known_faults =
        shrunk.modelled.map_or(String::new(), |modelled| format!(", {modelled} with its faults"));
    match (shrunk.model_shortest, shrunk.differs) {
        (_, None) => format!("shrunk to {actions}, as the model's shortest"),
        (Some(model), Some(why)) => {
            format!("shrunk to {actions} (the model's shortest: {model}{known_faults}; {})", why.label())
        }
        (None, Some(why)) => format!("shrunk to {actions} ({})", why.label()),
    }
}

fn faults(walk: &walk::Failure) -> String {
    match walk.crashes + walk.faults {
        0 => "no fault".to_owned(),
        number => {
            counted(u64::from(number), "crash or fault").replace("crash or faults", "crashes and faults")
        }
    }
}

/// Why failures are not as long as the model's shortest runs, a sentence for each reason.
fn reasons(document: &Document) {
    let differs = |why: &Difference| document.shrunk.values().any(|one| one.differs == Some(*why));
    for why in Difference::ALL.iter().filter(|why| differs(why)) {
        print_line!("  {}: {}", why.label().bold(), why.why().dimmed());
    }
}

fn schedules(number: u64) -> String {
    counted(number, "schedule")
}

fn seeds(number: u64) -> String {
    counted(number, "seed")
}

fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

fn coverage(document: &Document) {
    let report = &document.report;
    let listed = |counts: &BTreeMap<String, u64>| {
        let one = |(name, number): (&String, &u64)| format!("{name} {}", count(*number));
        counts.iter().map(one).collect::<Vec<_>>().join(" · ")
    };
    print_line!("");
    let moves = if document.driver_lacks.is_some() { "moves " } else { "faults" };
    print_line!("  {}     {}", moves.bold(), listed(&report.coverage.faults));
    print_line!("  {}    {}", "endings".bold(), listed(&report.coverage.endings));
    if document.driver_lacks.is_none() {
        conformance(document);
    }
    if document.crash_points > 0 {
        print_line!(
            "  {}    {} of {} points at which the model can crash: crashed and recovered",
            "crashes".bold(),
            count(document.crash_points_covered as u64),
            count(document.crash_points as u64),
        );
    }
    if let Some(TraceDigest { seeds: (from, to), sha256 }) = &document.trace {
        print_line!("  {}      seeds {from}..{to}: {sha256}", "trace".bold());
    }
    match document.canary_seeds {
        Some(by) => print_line!("  {}     noticed after {}", "canary".bold(), seeds(by)),
        None => {
            print_line!("  {}     {}", "canary".bold(), "NOT NOTICED: do not trust this run".red().bold());
        }
    }
}

/// The comparison of the driver with the model, step by step.
fn conformance(document: &Document) {
    let report = &document.report;
    let edges = format!(
        "{} steps of {} in the model's own world",
        count(report.modelled_steps),
        schedules(report.modelled)
    );
    match report.divergences.first() {
        None => print_line!("  {}      {edges}: every one an edge of its graph", "model".bold()),
        Some((seed, what)) => {
            print_line!(
                "  {}      {edges}; {}",
                "model".bold(),
                "not all are edges of its graph:".red().bold()
            );
            print_line!("  seed {seed}: {what}");
        }
    }
}

fn draw(shrunk: &Shrunk) {
    let failure = &shrunk.failure;
    let Ok(replayed) = failure.replay() else { return };
    let title = format!("{}: {} {}", failure.flow(), replayed.property.id(), replayed.property.name());
    print_line!("\n{}\n{}\n", title.bold(), replayed.property.sentence().dimmed());
    if let Some(reason) = &replayed.reason {
        print_line!("{}\n", wrap(reason, WIDE, 0));
    }
    let diagram = Diagram {
        title,
        events: replayed.events,
        tail: Vec::new(),
        cycle: Vec::new(),
        stays: false,
        violates: false,
    };
    print_line!("{}", terminal::render(&diagram).trim_end());
}

fn summary(document: &Document, failures: Option<&Path>) {
    print_line!("");
    if let (Some(folder), false) = (failures, document.shrunk.is_empty()) {
        for failure in document.failures() {
            let path = folder.join(file_name(failure));
            print_line!("  countersign replay {}", path.display());
        }
        print_line!("");
    }
    if !document.not_covered.is_empty() {
        let missing = document.not_covered.join(", ");
        print_line!("{}", format!("Not covered, because it never happened: {missing}").yellow().bold());
    }
    if document.crash_points_covered < document.crash_points {
        print_line!("{}", "Not every crash point was reached".yellow().bold());
    }
    let diverges = !document.report.divergences.is_empty() && document.report.mutant.is_none();
    if diverges {
        print_line!("{}", "The driver did what its model does not".red().bold());
    }
    match document.unexpected.as_slice() {
        [] if diverges => {}
        [] if document.shrunk.is_empty() => {
            print_line!("{}", "No schedule violated a property".green().bold());
        }
        [] => print_line!("{}", "Nothing is violated but what is expected".green().bold()),
        found => {
            let found = found.join(", ");
            print_line!("{}", format!("Violated, and not expected to be: {found}").red().bold());
        }
    }
}
