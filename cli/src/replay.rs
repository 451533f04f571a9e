//! `countersign replay`: a failure played again, as a sequence diagram; or an audit log held against a flow.

mod audit;

use std::path::Path;

use countersign_models::simulation::Failure;
use owo_colors::OwoColorize;

use crate::{
    args::{DiagramFormat, ReplayArgs},
    diagram::{Diagram, mermaid, terminal},
    exit::Exit,
    input::{self, BadInput},
    say::{complain, say},
};

/// The longest failure.
const MOST: usize = 16 << 20;
const WHAT: &str = "a failure that `countersign simulate` wrote";

pub(crate) fn run(args: &ReplayArgs) -> Result<Exit, BadInput> {
    match (&args.audit, &args.failure) {
        (Some(log), _) => audit::run(log, &args.flow),
        (None, Some(failure)) => again(failure, args.format),
        (None, None) => Err(BadInput::plain("nothing to replay", WHAT)),
    }
}

/// Exit code 1 says that it is broken again: a violation, as always.
fn again(path: &Path, format: DiagramFormat) -> Result<Exit, BadInput> {
    let name = path.display().to_string();
    let failure: Failure = input::json(&name, &input::text(path, MOST, WHAT)?, WHAT)?;
    let replayed = failure.replay().map_err(|why| BadInput::plain(&format!("{name}: {why}"), WHAT))?;
    let property = replayed.property;
    let title = format!("{}: {} {}", failure.flow, property.id(), property.name());
    let diagram =
        Diagram { title, scenes: replayed.scenes, tail: Vec::new(), cycle: Vec::new(), stays: false };
    match format {
        DiagramFormat::Mermaid => say!("{}", mermaid::render(&diagram).trim_end()),
        DiagramFormat::Human => {
            say!("{}\n{}\n", diagram.title.bold(), property.sentence().dimmed());
            say!("{}", terminal::render(&diagram).trim_end());
        }
    }
    let this = env!("CARGO_PKG_VERSION");
    let skipped = failure.actions.len() - replayed.taken;
    if skipped > 0 {
        complain!("{skipped} of {} actions were not possible, and were skipped", failure.actions.len());
    }
    if replayed.is_broken {
        complain!("{} is broken, as by seed {}", property.id().red().bold(), failure.seed);
        return Ok(Exit::Unexpected);
    }
    let version = &failure.version;
    complain!(
        "{} is not broken any more (found by {version}, played by {this})",
        property.id().green().bold()
    );
    Ok(Exit::Expected)
}
