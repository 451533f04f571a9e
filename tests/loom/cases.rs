//! Each strategy in each scenario, with the outcomes that there must be and the executions that there are at least.

use countersign::store::memory::strategy::{
    Actor, OneMutex, Packed, PointerSwap, Sharded, SlotInId, Strategy,
};
use countersign_testkit::{SLOW_TIER, slow, unless};
use libtest_mimic::{Failed, Trial};

use crate::{explore, primitives::Loom, scenarios::*};

/// Shards and slots that a scenario needs.
pub(crate) const FEW: usize = 2;

struct Case {
    scenario: &'static str,
    run: fn() -> String,
    outcomes: &'static [&'static str],
}

/// A strategy's cases, in the order of [`PINNED`].
fn cases<S: Strategy + Default + 'static>() -> [Case; 11] {
    let case = |scenario, run, outcomes| Case { scenario, run, outcomes };
    [
        case("two_consumers", two_consumers::<S>, &["consumer 1 executes", "consumer 2 executes"]),
        case(
            "three_consumers",
            three_consumers::<S>,
            &["consumer 1 executes", "consumer 2 executes", "consumer 3 executes"],
        ),
        case(
            "two_consumers_and_a_rejecter",
            two_consumers_and_a_rejecter::<S>,
            &["approved, consumer 1 executes", "approved, consumer 2 executes", "rejected"],
        ),
        case("a_consumer_and_the_clock", a_consumer_and_the_clock::<S>, &["in time", "too late"]),
        case("a_consumer_and_a_reader", a_consumer_and_a_reader::<S>, &["after", "before"]),
        case("an_insertion_and_a_reader", an_insertion_and_a_reader::<S>, &["not there", "whole"]),
        case(
            "a_growth_and_a_reader_of_what_was_there",
            a_growth_and_a_reader_of_what_was_there::<S>,
            &["found"],
        ),
        case(
            "a_growth_and_a_reader_of_what_comes",
            a_growth_and_a_reader_of_what_comes::<S>,
            &["not there", "whole"],
        ),
        case("two_insertions", two_insertions::<S>, &["2 are there"]),
        case(
            "a_failing_preflight_and_a_success",
            a_failing_preflight_and_a_success::<S>,
            &["comes late: 409 approval_not_approved", "fails with 412 no_services"],
        ),
        case("a_failing_preflight_alone", a_failing_preflight_alone::<S>, &["still approved"]),
    ]
}

/// The preemption bound, if there has to be one, and the least number of executions, for each of the cases.
type Pinned = [(Option<usize>, usize); 11];

/// All interleavings, and at least this many.
const fn all(executions: usize) -> (Option<usize>, usize) {
    (None, executions)
}

/// Interleavings with at most this many preemptions: all of them would take hours.
const fn preempted(bound: usize, executions: usize) -> (Option<usize>, usize) {
    (Some(bound), executions)
}

/// A lock leaves little to interleave.
const LOCKED: Pinned =
    [all(4), all(94), all(330), all(6), all(4), all(4), all(4), all(4), all(4), all(9), all(1)];
/// An index without locks, and an atomic.
const INDEXED: Pinned =
    [all(7), all(559), all(3_585), all(6), all(6), all(14), all(6), all(14), all(5), all(6), all(1)];
/// An atomic, found without a look at anything else.
const SLOTTED: Pinned =
    [all(7), all(559), all(3_585), all(6), all(6), all(6), all(1), all(6), all(4), all(6), all(1)];
/// One thread more than the others have, and two monitors for each question.
const ASKED: Pinned = [
    preempted(2, 15_964),
    preempted(1, 193_568),
    preempted(1, 1_312_536),
    preempted(2, 837),
    preempted(2, 2_472),
    preempted(2, 349),
    preempted(1, 44),
    preempted(1, 44),
    preempted(1, 48),
    preempted(1, 327),
    preempted(2, 109),
];

pub(crate) fn trials() -> Vec<Trial> {
    [
        // The longest first, so that it does not run alone at the end. It takes minutes.
        if slow() {
            of::<Actor<Loom>>(ASKED)
        } else {
            vec![unless(Some(SLOW_TIER), Trial::test(Actor::<Loom>::NAME, || Ok(())))]
        },
        of::<OneMutex<Loom>>(LOCKED),
        of::<Sharded<Loom, FEW>>(LOCKED),
        of::<Packed<Loom, FEW>>(INDEXED),
        of::<PointerSwap<Loom, FEW>>(INDEXED),
        // Its segments are no words that loom would see: one has to be enough.
        of::<SlotInId<Loom, { FEW * 2 }>>(SLOTTED),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn of<S: Strategy + Default + 'static>(pinned: Pinned) -> Vec<Trial> {
    let trial = |(case, (bound, at_least)): (Case, (Option<usize>, usize))| {
        Trial::test(format!("{}::{}", S::NAME, case.scenario), move || judge(S::NAME, &case, bound, at_least))
    };
    cases::<S>().into_iter().zip(pinned).map(trial).collect()
}

fn judge(strategy: &str, case: &Case, bound: Option<usize>, at_least: usize) -> Result<(), Failed> {
    let explored = explore(bound, case.run);
    let how = bound.map_or_else(|| "exhaustive".to_owned(), |bound| format!("bounded P={bound}"));
    let outcomes: Vec<&str> = explored.outcomes.iter().map(String::as_str).collect();
    println!(
        "{strategy:>12} {:<38} {:>7} executions, {how}: {}",
        case.scenario,
        explored.executions,
        outcomes.join(" | ")
    );
    if outcomes != case.outcomes {
        return Err(format!("outcomes {outcomes:?}, expected {:?}", case.outcomes).into());
    }
    if explored.executions < at_least {
        return Err(format!("{} executions, expected {at_least} at least", explored.executions).into());
    }
    Ok(())
}
