//! The independent oracle: what a flow file means, written from the specification alone.
//!
//! It repeats the rules on purpose and shares no code with what it is held against: breadth-first over plain worlds,
//! compared exactly.

mod attempt;
mod decide;
mod flow;
mod judge;
mod moves;
mod properties;
mod published;
mod search;
mod settled;
mod steps;
mod world;

use rayon::prelude::*;
use search::{Cost, Verdict, Verdicts};
use world::Bounds;

/// More than any of these flows has.
const MAX_WORLDS: usize = 10_000_000;

fn oracle(file: &str, [callers, crashes, faults]: [u8; 3]) -> Verdicts {
    search::judge(file, Bounds { callers, crashes, faults }, MAX_WORLDS).expect("fewer worlds than allowed")
}

/// The violated properties, and the costs of their best runs.
fn violated(verdicts: &Verdicts) -> Vec<(&'static str, Cost)> {
    let cost = |(id, verdict): (&&'static str, &Verdict)| match verdict {
        Verdict::Violated(cost) => Some((*id, *cost)),
        Verdict::Holds | Verdict::DoesNotApply => None,
    };
    verdicts.iter().filter_map(cost).collect()
}

#[test]
fn settled_questions_are_decided_as_the_text_says() {
    let wrong: Vec<String> = settled::all()
        .collect::<Vec<_>>()
        .par_iter()
        .flat_map(|question| {
            let verdicts = oracle(&question.file(), question.bounds);
            let is = |id: &&&str, wanted: fn(&Verdict) -> bool| wanted(&verdicts[**id]);
            let mut wrong = Vec::new();
            for (ids, wanted, what) in [
                (
                    question.violated,
                    (|v| matches!(v, Verdict::Violated(_))) as fn(&Verdict) -> bool,
                    "is not violated",
                ),
                (question.holds, |v| *v == Verdict::Holds, "does not hold"),
                (question.does_not_apply, |v| *v == Verdict::DoesNotApply, "applies"),
            ] {
                for id in ids.iter().filter(|id| !is(id, wanted)) {
                    wrong.push(format!("{id} {what}: {verdicts:?} in\n{}", question.file()));
                }
            }
            wrong
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_deployment_flows_violate_what_is_published() {
    published::FLOWS.par_iter().for_each(|(name, file, expected)| {
        let found: Vec<_> = violated(&oracle(file, [2, 1, 1])).into_iter().map(|(id, _)| id).collect();
        assert_eq!(found, *expected, "{name}");
    });
}
