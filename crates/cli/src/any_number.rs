//! The proofs of `verify` for any number of callers, crashes and faults, and their wording.

use std::{ops::ControlFlow, time::Duration};

use countersign_models::{
    explorer,
    flows::Subject,
    model::{Bounds, Model},
    properties::{Property, Set},
    prove::{self, Cutoff, Limits, certificate::Written},
    verdict::{Expectations, Run, Verdict, verify},
    world::MAX_CONSUMERS,
};
use indicatif::ProgressBar;
use owo_colors::OwoColorize;

use crate::{judge::Judged, report};
use countersign_terminal::{Stopwatch, interrupt, print_line};

/// The longest that one flow's proofs may take, unless `--time` allows less.
const MOST: Duration = Duration::from_secs(30);

/// The most states of a search with more callers, for what some view violates.
const MOST_STATES: usize = 200_000;

/// Requests to a proof, in addition to the verdicts.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) certificate: bool,
    pub(crate) cutoff: bool,
}

/// Results of the proof of a flow.
pub(crate) struct AnyNumber {
    pub(crate) proved: Vec<Property>,
    /// Properties that hold within the bounds and were not proved, each with the reason.
    unknown: Vec<(Property, String)>,
    /// Those that hold within the bounds, and that a run with more callers violates.
    pub(crate) violated: Vec<Beyond>,
    views: usize,
    /// Where it was asked for; or the reason why there is none.
    pub(crate) certificate: Option<Result<Written, String>>,
    /// The number of callers that reach every view, where that was asked for.
    pub(crate) cutoff: Option<Cutoff>,
    seconds: f64,
}

/// A run with more callers than the bounds have.
pub(crate) struct Beyond {
    pub(crate) property: Property,
    /// The flow's file says so.
    pub(crate) is_expected: bool,
    pub(crate) model: Model,
    run: Run,
}

/// The proof of these properties, stopped when the stopwatch shows `most` or at an interrupt.
fn proof(model: &Model, wanted: Set, most: Duration, stopwatch: &Stopwatch) -> prove::Proof {
    let bar = ProgressBar::new_spinner();
    let proof = prove::prove(model.flow(), wanted, Limits::default(), &mut |views| {
        bar.tick();
        bar.set_message(format!("proving for any number of callers: {views} views; --bounded leaves it out"));
        let stops = stopwatch.elapsed() >= most || interrupt::happened();
        if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish_and_clear();
    proof
}

/// The certificate of a proof. It takes its time, and ends at an interrupt.
fn certificate(proof: &prove::Proof, judged: &Judged) -> Result<Written, String> {
    let bar = ProgressBar::new_spinner();
    let written = proof.certificate(judged.model.flow(), &judged.file, &mut |views| {
        bar.tick();
        bar.set_message(format!("writing the certificate: {views} views"));
        if interrupt::happened() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish_and_clear();
    written
}

/// True if this property is proved for any number of callers, crashes and faults.
pub(crate) fn is_proved(model: &Model, property: Property, time: Option<Duration>) -> bool {
    let most = time.map_or(MOST, |time| time.min(MOST));
    proof(model, property.bit(), most, &Stopwatch::start()).of(property) == prove::AnyNumber::Proved
}

/// Tries to prove what holds within the bounds.
pub(crate) fn prove(judged: &Judged, time: Option<Duration>, asked: Asked) -> AnyNumber {
    let most = time.map_or(MOST, |time| time.min(MOST));
    let stopwatch = Stopwatch::start();
    let held: Vec<Property> = judged
        .report
        .judgements
        .iter()
        .filter(|one| one.verdict == Verdict::Holds)
        .map(|one| one.property)
        .collect();
    let wanted = held.iter().fold(0, |set, one| set | one.bit());
    let proof = proof(&judged.model, wanted, most, &stopwatch);
    let mut any = AnyNumber {
        proved: Vec::new(),
        unknown: Vec::new(),
        violated: Vec::new(),
        views: proof.views(),
        certificate: asked.certificate.then(|| certificate(&proof, judged)),
        cutoff: asked.cutoff.then(|| proof.cutoff(Cutoff::STATES)).flatten(),
        seconds: 0.0,
    };
    let mut open = Vec::new();
    for property in held {
        match proof.of(property) {
            prove::AnyNumber::Proved => any.proved.push(property),
            prove::AnyNumber::Open(_) => open.push(property),
            prove::AnyNumber::Stopped(stopped) => any.unknown.push((property, stopped.to_string())),
            prove::AnyNumber::NotAsked => {}
        }
    }
    let is_late = || stopwatch.elapsed() >= most || interrupt::happened();
    search_beyond(judged, open, &mut any, &is_late);
    any.seconds = stopwatch.elapsed().as_secs_f64();
    any
}

/// Looks for runs with more callers that violate what is open.
fn search_beyond(judged: &Judged, mut open: Vec<Property>, any: &mut AnyNumber, is_late: &dyn Fn() -> bool) {
    let bounds = judged.report.bounds;
    let mut searched = bounds.consumers;
    let broken = Subject::read(judged.file.as_bytes()).map_or(Vec::new(), |file| file.expectations.broken);
    for consumers in bounds.consumers + 1..=MAX_CONSUMERS as u8 {
        let bounds = Bounds { consumers, ..bounds };
        if open.is_empty() || is_late() || !Model::fits(judged.model.flow(), bounds) {
            break;
        }
        let model = Model::new(judged.model.flow().clone(), bounds);
        let limits = explorer::Limits { max_states: MOST_STATES, ..explorer::Limits::default() };
        let report = verify(&model, &Expectations::default(), limits, &mut |_| {
            if is_late() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        open.retain(|&property| {
            let Verdict::Violated(run) = &report.of(property).verdict else { return true };
            let (is_expected, run, model) = (broken.contains(&property), run.clone(), model.clone());
            any.violated.push(Beyond { property, is_expected, model, run });
            false
        });
        if report.cut_off.is_some() {
            break;
        }
        searched = consumers;
    }
    let reason = format!(
        "a view violates it, and no run of up to {} was found that does",
        report::counted(searched.into(), "caller")
    );
    any.unknown.extend(open.into_iter().map(|property| (property, reason.clone())));
}

/// Prints the proved properties with the assumptions, and the others with the reason.
pub(crate) fn print_summary(judged: &[Judged]) {
    let all: Vec<(&Judged, &AnyNumber)> =
        judged.iter().filter_map(|one| Some((one, one.any_number.as_ref()?))).collect();
    if all.is_empty() {
        return;
    }
    let proved: usize = all.iter().map(|(_, any)| any.proved.len()).sum();
    let views: usize = all.iter().map(|(_, any)| any.views).sum();
    let seconds: f64 = all.iter().map(|(_, any)| any.seconds).sum();
    print_line!(
        "{proved} verdicts proved for any number of callers, crashes and faults ({views} views, {seconds:.2} s)"
    );
    let assumptions = "assumed: atomic steps, the store's transactions, one object (docs/proof.md)";
    print_line!("{}", assumptions.dimmed());
    for (one, any) in &all {
        match any.cutoff {
            Some(Cutoff::Callers(callers)) => {
                let callers = report::counted(callers.into(), "caller");
                let reach = if callers == "1 caller" { "reaches" } else { "reach" };
                print_line!("  {}: {callers} {reach} all of the {} views", one.name, any.views);
            }
            Some(Cutoff::Unknown { reached, views, callers }) => print_line!(
                "  {}: {reached} of {views} views were reached, by up to {}; the cutoff is unknown",
                one.name,
                report::counted(callers.into(), "caller")
            ),
            None => {}
        }
        for Beyond { property, model, run, .. } in &any.violated {
            let few = report::counted(one.report.bounds.consumers.into(), "caller");
            let many = model.bounds().consumers;
            let said = format!("{} {property}: holds for {few}, and is violated with {many}:", one.name);
            print_line!("  {}", said.red().bold());
            report::print_run(model, property.is_inevitable(), run);
        }
        for (property, reason) in &any.unknown {
            let callers = report::counted(one.report.bounds.consumers.into(), "caller");
            print_line!("  {} {property}: holds for {callers}; for any number unknown: {reason}", one.name);
        }
    }
}
