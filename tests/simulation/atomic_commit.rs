//! The order that is shipped: no schedule breaks it, every kind of trouble came, and each step is an edge of the model.

use countersign_models::{
    flows::SHIPPED,
    simulation::{Size, Swarm, crash_points},
};
use countersign_testkit::slow;

use crate::{campaign, found, missing, run, seeds};

/// Number of schedules of each flow. The fast tier's are enough for every kind of fault to have happened.
fn schedules() -> u64 {
    if slow() { 50_000 } else { 6_000 }
}

#[test]
fn no_schedule_breaks_the_shipped_order_and_every_kind_of_trouble_came() {
    let report = run(&campaign(SHIPPED, None), seeds(0, schedules()));
    assert_eq!(found(&report), Vec::<&str>::new());
    assert_eq!(missing(&report), Vec::<String>::new(), "what never happened was not tested");
    assert_eq!(report.divergences, []);
    assert_eq!((report.schedules, report.modelled > schedules() / 5), (schedules(), true));
    assert!(report.longest > 500, "some schedules are hundreds of actions long: {}", report.longest);
}

/// A worker that was paused launches a job again after another one has ended it. The target has seen that one's fence, and refuses.
#[test]
fn a_target_has_seen_the_fence_of_a_launch_that_was_repeated() {
    let campaign = campaign(SHIPPED, None);
    let found = campaign.watcher().watch(92_873, &mut |_, _| {});
    assert_eq!(found.broken, 0, "no property is broken: without the fence, S23 is");
}

#[test]
fn it_survives_a_crash_before_and_after_every_effect() {
    let points = crash_points(&campaign(SHIPPED, None).flow);
    assert_eq!((points.covered, points.total), (9_030, 9_030));
    assert_eq!(points.found.broken().count(), 0);
}

#[test]
fn the_order_with_a_lease_survives_as_much() {
    let campaign = campaign("atomic-commit-lease", None);
    let report = run(&campaign, seeds(0, schedules()));
    assert_eq!(found(&report), Vec::<&str>::new());
    assert_eq!(missing(&report), Vec::<String>::new(), "what never happened was not tested");
    assert_eq!(report.divergences, []);
    let points = crash_points(&campaign.flow);
    assert_eq!((points.covered, points.total), (4_468, 4_468));
    assert_eq!(points.found.broken().count(), 0);
}

#[test]
fn a_crash_at_the_wrong_moment_is_found_in_the_merged_fix() {
    // The control: the same walk through the same kind of graph.
    let points = crash_points(&campaign("consume-first", None).flow);
    assert_eq!((points.covered, points.total), (4_672, 4_672));
    let broken: Vec<&str> = points.found.broken().map(|property| property.id()).collect();
    assert_eq!(broken, ["S1", "S5", "S6", "S7", "S8", "L1", "L2", "L3"]);
}

#[test]
fn a_swarm_keeps_to_the_stated_fault_budget() {
    use countersign_models::simulation::{Fault, MOST_CRASHES, MOST_FAULTS};
    let campaign = campaign(SHIPPED, None);
    let watcher = campaign.watcher();
    let mut most = 0;
    for seed in (0..4_000).filter(|seed| Swarm::of(*seed).size != Size::Long) {
        let (mut faults, mut crashes) = (0, 0);
        watcher.watch(seed, &mut |taken, _| {
            // These come of the others, or of the world, and cost nothing.
            let free = [Fault::Skew, Fault::PausedWorker, Fault::FailedDeploy, Fault::SlowDeploy];
            faults += u32::from(taken.fault.is_some_and(|fault| !free.contains(&fault)));
            crashes += u32::from(taken.fault == Some(Fault::Crash));
        });
        assert!(faults <= MOST_FAULTS && crashes <= MOST_CRASHES, "seed {seed}: {faults}, {crashes}");
        most = most.max(faults);
    }
    assert_eq!(most, MOST_FAULTS, "the budget is used");
}
