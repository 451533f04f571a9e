//! Every step of every schedule, a line of JSON each: two runs of the same seeds write the same bytes.

use std::{
    fmt,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use countersign_models::{
    properties::Facts,
    simulation::{Campaign, Seeds, Watcher},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use countersign_terminal::{BadInput, Exit};

/// Hash of the trace of some seeds: equal to that of the written file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TraceDigest {
    /// The first seed, and the one after the last.
    pub(crate) seeds: (u64, u64),
    pub(crate) sha256: String,
}

impl TraceDigest {
    /// Plays these seeds on the current pool.
    pub(super) fn of(campaign: &Campaign, (from, to): (u64, u64)) -> Self {
        let mut hash = Sha256::new();
        let Ok(()) = parts(campaign, Seeds { from, to, shard: 0, shards: 1 }, &mut |part| {
            hash.update(part);
            Ok::<_, std::convert::Infallible>(())
        });
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { seeds: (from, to), sha256 }
    }
}

pub(super) fn write(campaign: &Campaign, seeds: Seeds, path: &Path) -> Result<Exit, BadInput> {
    let unwritable = |error: io::Error| {
        let title = format!("{}: cannot be written: {error}", path.display());
        BadInput::plain(&title, "expected a place for the trace")
    };
    let mut file = BufWriter::new(File::create(path).map_err(unwritable)?);
    parts(campaign, seeds, &mut |part| file.write_all(part)).map_err(unwritable)?;
    file.flush().map_err(unwritable)?;
    Ok(Exit::Expected)
}

/// Plays the seeds on the current pool, and gives their lines in the order of the seeds.
fn parts<E>(
    campaign: &Campaign,
    seeds: Seeds,
    give: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    /// Seeds in one task.
    const BLOCK: u64 = 64;
    /// Tasks whose lines are kept at the same time: a few megabytes.
    const BLOCKS: u64 = 32;
    let count = seeds.count();
    for begin in (0..count).step_by((BLOCK * BLOCKS) as usize) {
        let until = count.min(begin + BLOCK * BLOCKS);
        let blocks: Vec<u64> = (begin..until).step_by(BLOCK as usize).collect();
        let block = |watcher: &mut Watcher, from: u64| {
            let mut text = Vec::new();
            for place in from..until.min(from + BLOCK) {
                lines(watcher, seeds.nth(place), &mut text);
            }
            text
        };
        let texts: Vec<Vec<u8>> = blocks.into_par_iter().map_init(|| campaign.watcher(), block).collect();
        texts.iter().try_for_each(|text| give(text))?;
    }
    Ok(())
}

fn lines(watcher: &mut Watcher, seed: u64, text: &mut Vec<u8>) {
    let found = watcher.watch(seed, &mut |taken, simulation| {
        put(text, format_args!("{{\"seed\":{seed},\"action\":"));
        if let Err(error) = serde_json::to_writer(&mut *text, &taken.action) {
            unreachable!("numbers and texts can always be written: {error}");
        }
        text.extend_from_slice(b",\"approvals\":[");
        for approval in 0..simulation.approvals() {
            text.extend_from_slice(if approval == 0 { b"\"" } else { b", \"" });
            summary(text, &simulation.facts(approval));
            text.push(b'"');
        }
        text.extend_from_slice(b"]}\n");
    });
    let broken: Vec<&str> = found.broken().map(|property| property.id()).collect();
    let witnessed = found.exercised;
    put(text, format_args!("{{\"seed\":{seed},\"broken\":{broken:?},\"witnessed\":{witnessed}}}\n"));
}

/// All that is counted of an approval, in few characters.
fn summary(text: &mut Vec<u8>, facts: &Facts<'_>) {
    put(
        text,
        format_args!(
            "{}, executed {}, decided {}, events {}, targets {} ({:#b} building), launches {},",
            facts.status,
            facts.executions,
            facts.decisions,
            facts.executed_events,
            facts.targets_created,
            facts.building,
            facts.launches,
        ),
    );
    for promotion in facts.promotions {
        put(text, format_args!(" {:?}", promotion.stage));
    }
}

fn put(text: &mut Vec<u8>, line: fmt::Arguments<'_>) {
    if let Err(error) = text.write_fmt(line) {
        unreachable!("a vector takes whatever is written: {error}");
    }
}
