//! What was found, in full: the runs, the bounds and the counts; or all of it as JSON.

use countersign_models::{
    explorer::CutOff,
    model::Scene,
    properties::{Kind, Property},
    verdict::{Judgement, Run, Verdict},
};
use indicatif::HumanCount;
use owo_colors::OwoColorize;
use serde::Serialize;

use crate::judge::Judged;
use countersign_terminal::print_line;

/// Prints the best counterexample of each violated property, and what else is not as expected; or only the latter.
pub(crate) fn print_runs(judged: &[Judged], only_unexpected: bool) {
    for judged in judged {
        let is_told = |one: &&Judgement| match one.verdict {
            Verdict::Broken(_) => !only_unexpected || !one.expected,
            Verdict::Holds => !one.expected,
            Verdict::DoesNotApply => !one.expected,
            Verdict::Unknown => false,
        };
        let told: Vec<&Judgement> = judged.report.judgements.iter().filter(is_told).collect();
        if told.is_empty() {
            continue;
        }
        print_line!("");
        match &judged.about {
            Some(about) => print_line!("{}: {about}", judged.name.bold()),
            None => print_line!("{}", judged.name.bold()),
        }
        for judgement in told {
            print_judgement(judged, judgement);
        }
    }
}

fn print_judgement(judged: &Judged, judgement: &Judgement) {
    let property = judgement.property;
    let title = format!("{} {}", property.id(), property.name());
    match &judgement.verdict {
        Verdict::Broken(run) => {
            let actions = counted(run.actions.len(), "action");
            let unexpected = if judgement.expected { "" } else { ", which is not expected" };
            print_line!("\n  {} is violated after {actions}{unexpected}", title.red().bold());
            print_line!("  {}", property.sentence().dimmed());
            print_line!("  {}", judged.model.reason(property, run));
            print_run(judged, property.is_inevitable(), run);
        }
        Verdict::Holds if !judgement.exercised => {
            print_line!(
                "\n  {} holds vacuously: nothing in this run could violate it",
                title.yellow().bold()
            );
            print_line!("  larger bounds may exercise it; if nothing can, list it under `expect_vacuous`");
        }
        Verdict::Holds => {
            print_line!("\n  {} holds, and was expected to be violated", title.yellow().bold());
        }
        Verdict::DoesNotApply => {
            print_line!("\n  {} does not apply, and was expected to be violated", title.yellow().bold());
        }
        Verdict::Unknown => print_line!("\n  {} is not known", title.yellow().bold()),
    }
}

fn print_run(judged: &Judged, stays: bool, run: &Run) {
    let scenes = run.scenes(&judged.model);
    let [tail, cycle] = run.aftermath(&judged.model);
    for (number, scene) in scenes.iter().enumerate() {
        print_scene(number + 1, scene);
    }
    if !tail.is_empty() {
        print_line!("      {}", "and from there, without any fault:".dimmed());
    }
    for (number, scene) in tail.iter().enumerate() {
        print_scene(scenes.len() + number + 1, scene);
    }
    if stays && cycle.is_empty() {
        print_line!("      {}", "and so it stays: no move that is owed changes it".dimmed());
    }
    if !cycle.is_empty() {
        print_line!("      {}", "then, for ever:".dimmed());
        for (number, scene) in cycle.iter().enumerate() {
            print_scene(scenes.len() + tail.len() + number + 1, scene);
        }
    }
}

fn print_scene(number: usize, scene: &Scene) {
    let text = scene.to_string();
    if scene.is_harm {
        print_line!("  {number:>3} {}", text.yellow());
    } else {
        print_line!("  {number:>3} {text}");
    }
}

/// Prints the bounds and the counts, without which no verdict means anything: flow by flow, or in total.
pub(crate) fn print_summary(judged: &[Judged], in_total: bool) {
    print_line!("");
    if let Some(first) = judged.first() {
        print_line!("Within {}:", bounds(first).bold());
    }
    if in_total {
        let total = |count: fn(&Judged) -> usize| HumanCount(judged.iter().map(count).sum::<usize>() as u64);
        let seconds: f64 = judged.iter().map(|judged| judged.seconds).sum();
        print_line!(
            "  {}, {} states, {} edges, {seconds:.1} s",
            counted(judged.len(), "flow"),
            total(|judged| judged.report.states),
            total(|judged| judged.report.edges),
        );
    }
    let width = judged.iter().map(|judged| judged.name.chars().count()).max().unwrap_or(0);
    // A flow that was cut off is always named.
    for judged in judged.iter().filter(|judged| !in_total || judged.report.cut_off.is_some()) {
        let report = &judged.report;
        let state = match report.cut_off {
            None => "every state".green().to_string(),
            Some(cut_off) => format!("{}: {}", "CUT OFF".red().bold(), because(cut_off)),
        };
        print_line!(
            "  {:width$}  {:>11} states  {:>12} edges  depth {:>2}  {:>6.2} s  {state}",
            judged.name,
            HumanCount(report.states as u64).to_string(),
            HumanCount(report.edges as u64).to_string(),
            report.depth,
            judged.seconds,
        );
    }
    let unexpected: usize = judged.iter().map(unexpected).sum();
    let cut_off = judged.iter().filter(|judged| judged.report.cut_off.is_some()).count();
    if unexpected > 0 {
        print_line!("{}", format!("{} not as expected", counted(unexpected, "verdict")).red().bold());
    }
    if cut_off > 0 {
        let flows = counted(cut_off, "flow");
        print_line!(
            "{}",
            format!("{flows} cut off: properties without a violation are unknown").red().bold()
        );
    }
    if unexpected == 0 && cut_off == 0 {
        print_line!("{}", "Every verdict is as expected".green().bold());
    }
    if in_total {
        print_line!("{}", "`countersign show FLOW PROPERTY` draws a counterexample".dimmed());
    }
}

fn unexpected(judged: &Judged) -> usize {
    let known = |one: &&Judgement| !one.expected && one.verdict != Verdict::Unknown;
    judged.report.judgements.iter().filter(known).count()
}

/// `3 callers, 1 crash, 1 fault`.
pub(crate) fn bounds(judged: &Judged) -> String {
    let bounds = judged.report.bounds;
    format!(
        "{}, {}, {}",
        counted(bounds.consumers.into(), "caller"),
        match bounds.crashes {
            1 => "1 crash".to_owned(),
            crashes => format!("{crashes} crashes"),
        },
        counted(bounds.faults.into(), "fault"),
    )
}

fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

pub(crate) fn because(cut_off: CutOff) -> &'static str {
    match cut_off {
        CutOff::States => "the limit on states was reached",
        CutOff::Depth => "the limit on depth was reached",
        CutOff::Memory => "the limit on memory was reached",
        CutOff::Stopped => "the time was up",
    }
}

#[derive(Serialize)]
struct JsonReport<'r> {
    flows: Vec<JsonFlow<'r>>,
}

#[derive(Serialize)]
struct JsonFlow<'r> {
    flow: &'r str,
    bounds: JsonBounds,
    states: usize,
    edges: usize,
    seconds: f64,
    complete: bool,
    properties: Vec<JsonProperty>,
}

#[derive(Serialize)]
struct JsonBounds {
    consumers: u8,
    crashes: u8,
    faults: u8,
}

#[derive(Serialize)]
struct JsonProperty {
    id: &'static str,
    name: &'static str,
    kind: &'static str,
    verdict: &'static str,
    expected: bool,
    witness: bool,
    counterexample: Vec<String>,
}

/// Prints everything as JSON.
pub(crate) fn print_json(judged: &[Judged]) {
    let report = JsonReport { flows: judged.iter().map(json_flow).collect() };
    match serde_json::to_string_pretty(&report) {
        Ok(json) => print_line!("{json}"),
        Err(error) => unreachable!("numbers and texts can always be written: {error}"),
    }
}

fn json_flow(judged: &Judged) -> JsonFlow<'_> {
    let report = &judged.report;
    let bounds = report.bounds;
    JsonFlow {
        flow: &judged.name,
        bounds: JsonBounds { consumers: bounds.consumers, crashes: bounds.crashes, faults: bounds.faults },
        states: report.states,
        edges: report.edges,
        seconds: judged.seconds,
        complete: report.cut_off.is_none(),
        properties: report.judgements.iter().map(|judgement| json_property(judged, judgement)).collect(),
    }
}

fn json_property(judged: &Judged, judgement: &Judgement) -> JsonProperty {
    let property: Property = judgement.property;
    let (verdict, counterexample) = match &judgement.verdict {
        Verdict::Holds => ("holds", Vec::new()),
        Verdict::DoesNotApply => ("does not apply", Vec::new()),
        Verdict::Unknown => ("unknown", Vec::new()),
        Verdict::Broken(run) => {
            ("broken", run.scenes(&judged.model).iter().map(ToString::to_string).collect())
        }
    };
    JsonProperty {
        id: property.id(),
        name: property.name(),
        kind: match property.kind() {
            Kind::Safety => "safety",
            Kind::Liveness => "liveness",
        },
        verdict,
        expected: judgement.expected,
        witness: judgement.exercised,
        counterexample,
    }
}
