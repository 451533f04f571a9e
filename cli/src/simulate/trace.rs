//! Every step of every schedule, a line of JSON each: two runs of the same seeds write the same bytes.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use countersign_models::{
    properties::Facts,
    simulation::{Campaign, Seeds},
};

use crate::{exit::Exit, input::BadInput};

pub(super) fn write(campaign: &Campaign, seeds: Seeds, path: &Path) -> Result<Exit, BadInput> {
    let unwritable = |error: io::Error| {
        let title = format!("{}: cannot be written: {error}", path.display());
        BadInput::plain(&title, "expected a place for the trace")
    };
    let mut file = BufWriter::new(File::create(path).map_err(unwritable)?);
    for place in 0..seeds.count() {
        lines(campaign, seeds.nth(place), &mut file).map_err(unwritable)?;
    }
    file.flush().map_err(unwritable)?;
    Ok(Exit::Expected)
}

/// All that is counted of an approval, in few characters.
fn summary(facts: &Facts<'_>) -> String {
    let stages: Vec<String> =
        facts.promotions.iter().map(|promotion| format!("{:?}", promotion.stage)).collect();
    format!(
        "{}, executed {}, decided {}, events {}, targets {} ({:#b} building), launches {}, {}",
        facts.status,
        facts.executions,
        facts.decisions,
        facts.executed_events,
        facts.targets_created,
        facts.building,
        facts.launches,
        stages.join(" "),
    )
}

fn lines(campaign: &Campaign, seed: u64, file: &mut impl Write) -> io::Result<()> {
    let mut result = Ok(());
    let found = campaign.watch(seed, &mut |taken, simulation| {
        if result.is_ok() {
            let action = serde_json::to_string(&taken.action).unwrap_or_default();
            let approvals: Vec<String> =
                (0..simulation.approvals()).map(|approval| summary(&simulation.facts(approval))).collect();
            result = writeln!(file, "{{\"seed\":{seed},\"action\":{action},\"approvals\":{approvals:?}}}");
        }
    });
    result?;
    let broken: Vec<&str> = found.broken().map(|property| property.id()).collect();
    writeln!(file, "{{\"seed\":{seed},\"broken\":{broken:?},\"witnessed\":{}}}", found.witnessed)
}
