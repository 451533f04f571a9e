//! `countersign simulate merge`: the reports of shards, added up.

use super::{
    document::{Document, Shrunk},
    page,
};
use crate::args::{Format, MergeArgs};
use countersign_terminal::{BadInput, Exit, input};

/// The longest report.
const MOST: usize = 64 << 20;
const WHAT: &str = "a report that `countersign simulate --format json` wrote";

pub(super) fn run(args: &MergeArgs) -> Result<Exit, BadInput> {
    let mut whole: Option<Document> = None;
    for path in &args.files {
        let name = path.display().to_string();
        let text = input::text(path, MOST, WHAT)?;
        let part: Document = input::json(&name, &text, WHAT)?;
        match &mut whole {
            None => whole = Some(part),
            Some(whole) => add(whole, part).map_err(|why| {
                BadInput::plain(&format!("{name}: {why}"), "only shards of one campaign can be added up")
            })?,
        }
    }
    let Some(mut whole) = whole else { return Err(BadInput::plain("no report", WHAT)) };
    whole.judge();
    if let (None, Some(subject)) = (&whole.driver_lacks, whole.subject()) {
        Shrunk::compare(&mut whole.shrunk, &subject.flow);
    }
    match args.format {
        Format::Human => page::print(&whole, None),
        Format::Json => whole.print(),
    }
    Ok(whole.exit())
}

fn add(whole: &mut Document, part: Document) -> Result<(), String> {
    if whole.flow_file != part.flow_file {
        return Err("its flow differs from that of the first report".to_owned());
    }
    whole.report.merge(part.report).map_err(|why| why.to_string())?;
    match (&whole.trace, part.trace) {
        (Some(mine), Some(other)) if mine.seeds == other.seeds && mine.sha256 != other.sha256 => {
            return Err("its trace differs: it comes from other code than the first report".to_owned());
        }
        (None, other) => whole.trace = other,
        (Some(_), _) => {}
    }
    // Every shard has its own canary and walks through all crash points: the whole is as good as its worst.
    whole.canary_seeds = whole.canary_seeds.zip(part.canary_seeds).map(|(one, other)| one.max(other));
    whole.crash_points_covered = whole.crash_points_covered.min(part.crash_points_covered);
    whole.seconds += part.seconds;
    for (property, other) in part.shrunk {
        let shorter = match whole.shrunk.get(&property) {
            Some(mine) => other.failure.length() < mine.failure.length(),
            None => true,
        };
        let modelled = whole.shrunk.get(&property).and_then(|mine| mine.modelled);
        let modelled = [modelled, other.modelled].into_iter().flatten().min();
        if shorter {
            whole.shrunk.insert(property.clone(), other);
        }
        if let Some(mine) = whole.shrunk.get_mut(&property) {
            mine.modelled = modelled;
        }
    }
    for (property, shrunk) in &mut whole.shrunk {
        if let Some(finding) = whole.report.findings.get(property) {
            shrunk.median_seeds = finding.seeds_to_detection(whole.report.schedules, 0.5);
            shrunk.p99_seeds = finding.seeds_to_detection(whole.report.schedules, 0.99);
        }
    }
    Ok(())
}
