//! Every step of every schedule, a line of JSON each: two runs of the same seeds write the same bytes.

use std::{
    fmt,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use countersign_models::{
    properties::Facts,
    simulation::{Found, Seeds, Watcher, walk},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::player::Player;
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
    pub(super) fn of(player: &Player, (from, to): (u64, u64)) -> Self {
        let mut hash = Sha256::new();
        let Ok(()) = parts(player, Seeds { from, to, shard: 0, shards: 1 }, &mut |part| {
            hash.update(part);
            Ok::<_, std::convert::Infallible>(())
        });
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { seeds: (from, to), sha256 }
    }
}

pub(super) fn write(player: &Player, seeds: Seeds, path: &Path) -> Result<Exit, BadInput> {
    let unwritable = |error: io::Error| {
        let title = format!("{}: cannot be written: {error}", path.display());
        BadInput::plain(&title, "expected a place for the trace")
    };
    let mut file = BufWriter::new(File::create(path).map_err(unwritable)?);
    parts(player, seeds, &mut |part| file.write_all(part)).map_err(unwritable)?;
    file.flush().map_err(unwritable)?;
    Ok(Exit::Expected)
}

/// Plays the seeds on the current pool, and gives their lines in the order of the seeds.
fn parts<E>(player: &Player, seeds: Seeds, give: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    /// Seeds in one task.
    const BLOCK: u64 = 64;
    /// Tasks whose lines are kept at the same time: a few megabytes.
    const BLOCKS: u64 = 32;
    let count = seeds.count();
    for begin in (0..count).step_by((BLOCK * BLOCKS) as usize) {
        let until = count.min(begin + BLOCK * BLOCKS);
        let block = |from: u64| from..until.min(from + BLOCK);
        let blocks = (begin..until).step_by(BLOCK as usize).map(block).collect();
        player.traces(seeds, blocks).iter().try_for_each(|text| give(text))?;
    }
    Ok(())
}

pub(super) fn driver_lines(watcher: &Watcher<'_>, seed: u64, text: &mut Vec<u8>) {
    let found = watcher.watch(seed, &mut |taken, simulation| {
        put_action(text, seed, &taken.action);
        text.extend_from_slice(b",\"approvals\":[");
        for approval in 0..simulation.approvals() {
            text.extend_from_slice(if approval == 0 { b"\"" } else { b", \"" });
            summary(text, &simulation.facts(approval));
            text.push(b'"');
        }
        text.extend_from_slice(b"]}\n");
    });
    put_found(text, seed, found);
}

pub(super) fn model_lines(walks: &walk::Campaign, seed: u64, text: &mut Vec<u8>) {
    let found = walks.watch(seed, &mut |action, model, state| {
        put_action(text, seed, &action);
        text.extend_from_slice(b",\"object\":\"");
        model.with_facts(state, |facts| summary(text, facts));
        text.extend_from_slice(b"\"}\n");
    });
    put_found(text, seed, found);
}

fn put_action(text: &mut Vec<u8>, seed: u64, action: &impl Serialize) {
    put(text, format_args!("{{\"seed\":{seed},\"action\":"));
    if let Err(error) = serde_json::to_writer(&mut *text, action) {
        unreachable!("numbers and texts can always be written: {error}");
    }
}

fn put_found(text: &mut Vec<u8>, seed: u64, found: Found) {
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
