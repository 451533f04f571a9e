//! Runs the model checker on a flow, with progress on the terminal and a clock to stop it.

use std::{num::NonZeroUsize, ops::ControlFlow, time::Duration};

use countersign::protocol::Flow;
use countersign_models::{
    explorer::{CutOff, Limits, Progress},
    flows::Subject,
    model::{Bounds, Model},
    properties::Property,
    verdict::{Expectations, Judgement, Report, Verdict, verify},
};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use crate::{
    any_number::{AnyNumber, Beyond},
    args::{BoundsArgs, RunArgs},
    report::counted,
};
use countersign_terminal::{BadInput, Exit, Stopwatch, input::Named, interrupt, print_error};

/// A flow, its model, and its report.
pub(crate) struct Judged {
    pub(crate) name: String,
    pub(crate) about: Option<String>,
    /// Its file, whole.
    pub(crate) file: String,
    /// False if the file has no `[object]`.
    pub(crate) has_object: bool,
    pub(crate) model: Model,
    pub(crate) report: Report,
    pub(crate) seconds: f64,
    /// Results for any number of callers; `None` if that was not tried.
    pub(crate) any_number: Option<AnyNumber>,
}

impl Judged {
    /// The judgement of `property`; `None` if it was not requested.
    pub(crate) fn of(&self, property: Property) -> Option<&Judgement> {
        self.report.judgements.iter().find(|one| one.property == property)
    }

    /// True if `property` was proved for any number of callers, crashes and faults.
    pub(crate) fn is_proved(&self, property: Property) -> bool {
        self.any_number.as_ref().is_some_and(|any| any.proved.contains(&property))
    }

    /// A run with more callers that violates `property`, which holds within the bounds.
    pub(crate) fn beyond(&self, property: Property) -> Option<&Beyond> {
        self.any_number.as_ref()?.violated.iter().find(|one| one.property == property)
    }

    /// True if a verdict is known, and differs from the expected one.
    pub(crate) fn is_unexpected(&self) -> bool {
        self.report.judgements.iter().any(is_unexpected)
    }

    pub(crate) fn exit(&self) -> Exit {
        let beyond = self.any_number.iter().flat_map(|any| &any.violated);
        if beyond.into_iter().any(|one| !one.is_expected) {
            return Exit::Unexpected;
        }
        // A finding before a limit was reached is valid.
        let complete = self.report.cut_off.is_none();
        match self.report.is_expected() {
            true if complete => Exit::Expected,
            false if complete || self.report.has_unexpected_run() => Exit::Unexpected,
            _ => Exit::CutOff,
        }
    }
}

/// True if the verdict is known, and differs from the expected one.
pub(crate) fn is_unexpected(judgement: &Judgement) -> bool {
    !judgement.expected && judgement.verdict != Verdict::Unknown
}

/// A pool of the requested number of threads.
pub(crate) fn pool(threads: Option<NonZeroUsize>) -> Result<rayon::ThreadPool, BadInput> {
    let threads = threads.map_or(0, NonZeroUsize::get);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| {
        BadInput::plain(&format!("the threads could not be started: {error}"), "try fewer with --threads")
    })
}

/// Refuses a flow of which a state does not fit into the model's packed form.
pub(crate) fn fit(name: &str, flow: &Flow, bounds: Bounds) -> Result<(), BadInput> {
    if Model::fits(flow, bounds) {
        return Ok(());
    }
    let callers = bounds.consumers;
    Err(BadInput::plain(
        &format!("{name}: the flow is too large for the model with {callers} callers: a state does not fit"),
        "take fewer callers with --callers, or leave steps out, first those with `undo`",
    ))
}

/// The states after which a search begins again with one caller less, where the number of callers was not given. No
/// built-in flow that is searched with three has as many.
const MANY_STATES: usize = 1_500_000;

/// How long a search is silent where no progress is drawn.
const SILENCE: Duration = Duration::from_secs(20);

/// Judges one flow.
pub(crate) fn judge(
    named: Named,
    within: &BoundsArgs,
    args: &RunArgs,
    pool: &rayon::ThreadPool,
) -> Result<Judged, BadInput> {
    let mut bounds = within.bounds();
    fit(&named.name, &named.subject.flow, bounds)?;
    let Named { name, file, subject: Subject { about, has_object, flow, expectations }, .. } = named;
    let stopwatch = Stopwatch::start();
    let (model, report) = loop {
        let model = Model::new(flow.clone(), bounds);
        let mut limits = args.limits();
        let takes_fewer =
            within.may_take_fewer_callers() && bounds.consumers > 1 && limits.max_states > MANY_STATES;
        if takes_fewer {
            limits.max_states = MANY_STATES;
        }
        let report = searched(&name, &model, &expectations, limits, args, &stopwatch, pool);
        if !(takes_fewer && report.cut_off == Some(CutOff::States)) {
            break (model, report);
        }
        let [many, few] = [bounds.consumers, bounds.consumers - 1].map(|one| counted(one.into(), "caller"));
        print_error!(
            "{name}: more than {} states with {many}: judged with {few} (search all of them with --callers {})",
            HumanCount(MANY_STATES as u64),
            bounds.consumers
        );
        bounds.consumers -= 1;
    };
    let seconds = stopwatch.elapsed().as_secs_f64();
    Ok(Judged { name, about, file, has_object, model, report, seconds, any_number: None })
}

/// Searches within the bounds of the model, and says so.
fn searched(
    name: &str,
    model: &Model,
    expectations: &Expectations,
    limits: Limits,
    args: &RunArgs,
    stopwatch: &Stopwatch,
    pool: &rayon::ThreadPool,
) -> Report {
    // Drawn on standard error, and only where that is a terminal.
    let bar = ProgressBar::new_spinner().with_style(spinner()).with_prefix(name.to_owned());
    let mut is_silent = bar.is_hidden();
    let own = Stopwatch::start();
    let callers = counted(model.bounds().consumers.into(), "caller");
    let mut watch = |progress: Progress| {
        let states = HumanCount(progress.states as u64);
        bar.tick();
        bar.set_message(format!(
            "searching with {callers}: {states} states, {} edges, depth {}, {}; --time and --callers limit it",
            HumanCount(progress.edges as u64),
            progress.depth,
            HumanBytes(progress.bytes as u64),
        ));
        if is_silent && own.elapsed() >= SILENCE {
            is_silent = false;
            print_error!(
                "{name}: {states} states so far with {callers}; --time 60s or fewer --callers limit the search"
            );
        }
        let is_late = args.time.is_some_and(|time| stopwatch.elapsed() >= time);
        if is_late || interrupt::happened() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let report = pool.install(|| verify(model, expectations, limits, &mut watch));
    bar.finish_and_clear();
    report
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix:.bold} {msg} ({elapsed})")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}
