//! `countersign export`: a flow in the language of another tool.

use std::ops::ControlFlow;

use countersign_models::{
    export::{self, Export, Refused},
    model::{Bounds, Model},
};
use indicatif::{HumanCount, ProgressBar};

use crate::{
    args::{ExportArgs, Language},
    judge::fit,
};
use countersign_terminal::{BadInput, Exit, Stopwatch, input, interrupt, print_data, print_error};

pub(crate) fn run(args: &ExportArgs) -> Result<Exit, BadInput> {
    let named = input::flow(&args.flow)?;
    let bounds = args.bounds.bounds();
    let name = named.name.as_str();
    let flow = &named.subject.flow;
    fit(name, flow, bounds)?;
    interrupt::catch();
    let stopwatch = Stopwatch::start();
    // Drawn on standard error, and only where that is a terminal.
    let bar = ProgressBar::new_spinner();
    let mut watch = |found: usize| {
        bar.tick();
        bar.set_message(format!("{name}: {}", HumanCount(found as u64)));
        let is_late = args.time.is_some_and(|time| stopwatch.elapsed() >= time);
        if is_late || interrupt::happened() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let Bounds { consumers, crashes, faults } = bounds;
    let version = env!("CARGO_PKG_VERSION");
    let about = match args.to {
        Language::Smt2 => format!(
            "{name}, as countersign {version} printed it, for any number of callers, crashes and faults."
        ),
        Language::Promela | Language::Tla => format!(
            "{name}, as countersign {version} printed it: --callers {consumers} --crashes {crashes} --faults {faults}."
        ),
    };
    let text = match args.to {
        Language::Smt2 => export::smt2(flow, &about, args.max_states, &mut watch),
        Language::Promela | Language::Tla => {
            let export = Export::new(&Model::new(flow.clone(), bounds), args.max_states, &mut watch);
            export.map(|export| match args.to {
                Language::Promela => export.promela(&about),
                Language::Tla | Language::Smt2 => export.tla(&module(name), &about),
            })
        }
    };
    bar.finish_and_clear();
    match text {
        Ok(text) => {
            print_data!("{}", text.trim_end());
            Ok(Exit::Expected)
        }
        Err(Refused::Stopped) if interrupt::happened() => {
            print_error!("interrupted: nothing was printed");
            Ok(Exit::Interrupted)
        }
        Err(refused @ (Refused::Stopped | Refused::TooMany(_))) => {
            print_error!("{name}: {refused}: nothing was printed (take fewer callers, crashes or faults)");
            Ok(Exit::CutOff)
        }
        Err(refused @ Refused::Depends(_)) => Err(BadInput::plain(
            &format!("{name}: cannot be exported: {refused}"),
            "`countersign help export` says which flows can be",
        )),
    }
}

/// The name of a module: letters, digits and underscores, and a letter first.
fn module(name: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    "flow_".chars().chain(name.chars().map(letter)).collect()
}
