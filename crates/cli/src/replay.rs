//! `countersign replay`: a failure once more, of the simulator or of a running service; or an audit log, checked against a
//! flow.

mod audit;

use std::path::Path;

use countersign_models::properties::Kind;
use owo_colors::OwoColorize;
use serde_json::Value;

use crate::{
    args::{DiagramFormat, ReplayArgs},
    attack,
    diagram::{Diagram, mermaid, terminal},
    report::WIDE,
    simulate::AnyFailure,
    wrap::wrap,
};
use countersign_terminal::{BadInput, Exit, input, output::Color, print_data, print_error, print_line};

/// The longest failure.
const MOST: usize = 16 << 20;
const WHAT: &str = "a failure that `countersign simulate` or `countersign attack` wrote";

pub(crate) fn run(color: Color, args: &ReplayArgs) -> Result<Exit, BadInput> {
    match (&args.audit, &args.failure) {
        (Some(log), _) => audit::run(log, &args.flow),
        (None, Some(failure)) => again(failure, color, args.format),
        (None, None) => Err(BadInput::plain("nothing to replay", WHAT)),
    }
}

/// The failure of `simulate` in this value: read as one of the driver or of the model, so that a message names its line.
fn read(name: &str, text: &str, value: &Value) -> Result<AnyFailure, BadInput> {
    if value.get("plays").is_some() {
        return input::json(name, text, WHAT).map(AnyFailure::Model);
    }
    input::json(name, text, WHAT).map(AnyFailure::Driver)
}

fn again(path: &Path, color: Color, format: DiagramFormat) -> Result<Exit, BadInput> {
    let name = path.display().to_string();
    let text = input::text(path, MOST, WHAT)?;
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    // Only what an attack has left names the file of a service.
    let is_of_service = value.get("target").is_some();
    match format {
        DiagramFormat::Human if is_of_service => {
            attack::run(color, &["replay".into(), path.into()]).map(|never| match never {})
        }
        DiagramFormat::Mermaid if is_of_service => Err(BadInput::plain(
            &format!("{name}: a violation of a running service has no mermaid diagram"),
            "`countersign attack replay FILE --html PAGE` writes its timeline",
        )),
        _ => simulated(&name, &read(&name, &text, &value)?, format),
    }
}

/// Exit code 1: the violation reproduces. A schedule of which actions had to be skipped, and that violates nothing, is bad
/// for this version.
fn simulated(name: &str, failure: &AnyFailure, format: DiagramFormat) -> Result<Exit, BadInput> {
    let replayed = failure.replay().map_err(|why| BadInput::plain(&format!("{name}: {why}"), WHAT))?;
    let property = replayed.property;
    let title = format!("{}: {} {}", failure.flow(), property.id(), property.name());
    // A safety property is broken where the actions end; a liveness property by all that comes after.
    let is_liveness = property.kind() == Kind::Liveness;
    let tail = if is_liveness { replayed.aftermath } else { Vec::new() };
    let stays = property.is_inevitable();
    let violates = replayed.is_broken && !is_liveness;
    let diagram = Diagram { title, events: replayed.events, tail, cycle: Vec::new(), stays, violates };
    match format {
        DiagramFormat::Mermaid => print_data!("{}", mermaid::render(&diagram).trim_end()),
        DiagramFormat::Human => {
            print_line!("{}\n{}\n", diagram.title.bold(), property.sentence().dimmed());
            if let Some(reason) = &replayed.reason {
                print_line!("{}\n", wrap(reason, WIDE, 0));
            }
            print_line!("{}", terminal::render(&diagram).trim_end());
            let skews_ms = match failure {
                AnyFailure::Driver(failure) => failure.scenario.skews_ms.as_slice(),
                AnyFailure::Model(_) => &[],
            };
            for (instance, skew_ms) in skews_ms.iter().enumerate().filter(|(_, ms)| **ms != 0) {
                let side = if *skew_ms < 0 { "shorter" } else { "longer" };
                let seconds = skew_ms.unsigned_abs() as f64 / 1000.0;
                print_line!(
                    "the leases of instance {} are {seconds:.1} s {side} than it believes",
                    instance + 1
                );
            }
        }
    }
    let this = env!("CARGO_PKG_VERSION");
    let skipped = failure.length() - replayed.taken;
    if skipped > 0 {
        print_error!("{skipped} of {} actions were not possible, and were skipped", failure.length());
    }
    if replayed.is_broken {
        print_error!("{} is violated again, as by seed {}", property.id().red().bold(), failure.seed());
        return Ok(Exit::Unexpected);
    }
    let version = failure.version();
    if skipped > 0 {
        // Some actions were impossible: the run differs from the recorded one, and its result does not apply to it.
        print_error!(
            "whether {} is still violated is unknown (found by {version}, replayed by {this})",
            property.id().yellow().bold()
        );
        return Ok(Exit::BadInput);
    }
    print_error!(
        "{} is not violated any more (found by {version}, replayed by {this})",
        property.id().green().bold()
    );
    Ok(Exit::Expected)
}
