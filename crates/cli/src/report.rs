//! The results in full: the runs, the bounds and the counts; or all of it as JSON.

use countersign_models::{
    explorer::CutOff,
    model::{Model, NarratedEvent},
    properties::{Kind, Property},
    prove::Cutoff,
    verdict::{Judgement, Run, Verdict},
};
use indicatif::HumanCount;
use owo_colors::OwoColorize;
use serde::Serialize;

use crate::{
    judge::{Judged, is_unexpected},
    remarks,
    wrap::wrap,
};
use countersign_terminal::{print_data, print_line};

/// The width of the text next to the matrix.
pub(crate) const WIDE: usize = 100;

/// Prints the unexpected verdicts, then the expected violations: of each the best counterexample.
pub(crate) fn print_runs(judged: &[Judged], only_unexpected: bool) {
    let expected = |one: &Judgement| one.expected && matches!(one.verdict, Verdict::Violated(_));
    section(judged, "In full: not as expected", is_unexpected);
    if !only_unexpected {
        section(judged, "In full: violated, as expected", expected);
    }
}

fn section(judged: &[Judged], title: &str, is_told: impl Fn(&Judgement) -> bool) {
    let mut has_begun = false;
    for judged in judged {
        let told: Vec<&Judgement> = judged.report.judgements.iter().filter(|one| is_told(one)).collect();
        if told.is_empty() {
            continue;
        }
        if !has_begun {
            print_line!("\n{}", title.bold());
        }
        has_begun = true;
        match &judged.about {
            Some(about) => print_line!("\n{}: {about}", judged.name.bold()),
            None => print_line!("\n{}", judged.name.bold()),
        }
        if let Some(remark) = remarks::by_default(judged, &told) {
            print_line!("{}", wrap(&remark, WIDE, 0));
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
        Verdict::Violated(run) => {
            let actions = counted(run.actions.len(), "action");
            let unexpected = if judgement.expected { "" } else { ", which is not expected" };
            let title =
                if judgement.expected { title.bold().to_string() } else { title.red().bold().to_string() };
            print_line!("\n  {title} is violated after {actions}{unexpected}");
            print_line!("  {}", wrap(property.sentence(), WIDE, 2).dimmed());
            print_line!("  {}", wrap(&judged.model.reason(property, run), WIDE, 2));
            print_run(&judged.model, property.is_inevitable(), run);
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

/// The parts of a run of this model, each with its heading. A state that `stays` as it is has no violating step.
pub(crate) fn parts(
    model: &Model,
    stays: bool,
    run: &Run,
) -> Vec<(Option<&'static str>, Vec<NarratedEvent>)> {
    let events = run.events(model);
    let [tail, cycle] = run.aftermath(model);
    let mut parts = vec![(None, events)];
    if !tail.is_empty() {
        parts.push((Some("and from there, without any fault:"), tail));
    }
    match cycle.is_empty() {
        true if stays => parts.push((Some("and so it stays: no move that is owed changes it"), cycle)),
        true => {}
        false => parts.push((Some("then, for ever:"), cycle)),
    }
    parts
}

/// Prints a run of this model, whose violating step is marked unless the state `stays` as it is.
pub(crate) fn print_run(model: &Model, stays: bool, run: &Run) {
    let violating = if stays { 0 } else { run.actions.len() };
    let mut number = 0;
    for (heading, events) in parts(model, stays, run) {
        if let Some(heading) = heading {
            print_line!("      {}", heading.dimmed());
        }
        for scene in events {
            number += 1;
            print_scene(number, &scene, number == violating);
        }
    }
}

fn print_scene(number: usize, scene: &NarratedEvent, violates: bool) {
    let text = scene.to_string();
    let mark = if violates { '✗' } else { ' ' };
    match (violates, scene.is_fault) {
        (true, _) => print_line!("{} {number:>3} {}", mark.red().bold(), text.bold()),
        (false, true) => print_line!("{mark} {number:>3} {}", text.yellow()),
        (false, false) => print_line!("{mark} {number:>3} {text}"),
    }
}

/// Prints the bounds and the counts, without which no verdict means anything: flow by flow, or in total.
pub(crate) fn print_summary(judged: &[Judged], in_total: bool) {
    print_line!("");
    let within = judged.first().map(|first| first.report.bounds);
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
            None if Some(report.bounds) != within => {
                format!("every state of {}", counted(report.bounds.consumers.into(), "caller"))
                    .green()
                    .to_string()
            }
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
    judged.report.judgements.iter().filter(|one| is_unexpected(one)).count()
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

pub(crate) fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

pub(crate) fn because(cut_off: CutOff) -> &'static str {
    match cut_off {
        CutOff::States => "the limit on states was reached",
        CutOff::Depth => "the limit on depth was reached",
        CutOff::Memory => "the limit on memory was reached",
        CutOff::Stopped => "it was stopped",
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
    /// The number of callers that reach every view of the proofs; none where that is unknown or was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    cutoff_callers: Option<u8>,
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
    /// True if it holds for any number of callers, crashes and faults; absent if that was not requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    proved_for_any_number: Option<bool>,
    /// A run of this many callers violates it, though it holds within the bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken_with_callers: Option<u8>,
    expected: bool,
    witness: bool,
    counterexample: Vec<String>,
}

/// Prints everything as JSON.
pub(crate) fn print_json(judged: &[Judged]) {
    let report = JsonReport { flows: judged.iter().map(json_flow).collect() };
    match serde_json::to_string_pretty(&report) {
        Ok(json) => print_data!("{json}"),
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
        cutoff_callers: judged.any_number.as_ref().and_then(|any| match any.cutoff? {
            Cutoff::Callers(callers) => Some(callers),
            Cutoff::Unknown { .. } => None,
        }),
        properties: report.judgements.iter().map(|judgement| json_property(judged, judgement)).collect(),
    }
}

fn json_property(judged: &Judged, judgement: &Judgement) -> JsonProperty {
    let property: Property = judgement.property;
    let (verdict, counterexample) = match &judgement.verdict {
        Verdict::Holds => ("holds", Vec::new()),
        Verdict::DoesNotApply => ("does not apply", Vec::new()),
        Verdict::Unknown => ("unknown", Vec::new()),
        Verdict::Violated(run) => {
            ("broken", run.events(&judged.model).iter().map(ToString::to_string).collect())
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
        proved_for_any_number: judged.any_number.as_ref().map(|_| judged.is_proved(property)),
        broken_with_callers: judged.beyond(property).map(|beyond| beyond.model.bounds().consumers),
        expected: judgement.expected,
        witness: judgement.exercised,
        counterexample,
    }
}
