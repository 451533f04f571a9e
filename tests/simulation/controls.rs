//! The simulator can fail: every mutant and every known-bad order is found, and a wrong model is noticed.

use countersign::service::supports;
use countersign_models::{
    controls::{BEYOND_THE_MODEL, CONTROLS},
    flows::{BUILT_IN, SHIPPED},
    properties::Property,
    simulation::{Bad, KnownBad, Mutant, Report, Shortest},
};

use countersign_testkit::slow;

use crate::{campaign, found, missing, run, run_until, seeds};

/// At most as many until something is found.
const SEEDS: u64 = 30_000;
/// All of these, where nothing else may be found. In the fast tier fewer are enough for the orders whose violations are
/// frequent.
fn every_seed(flow: &str) -> u64 {
    if slow() || flow == "lease-unfenced" { SEEDS } else { 3_000 }
}

fn known_bad(bad: Bad) -> Vec<KnownBad> {
    KnownBad::all().into_iter().filter(|one| one.bad == bad).collect()
}

#[test]
fn everything_that_the_production_driver_carries_out_is_simulated() {
    let names = |bad| known_bad(bad).into_iter().map(|one| one.name).collect::<Vec<_>>();
    assert_eq!(names(Bad::Flow), ["consume-first", "twin-consume-first", "consume-last", "lease-unfenced"]);
    assert_eq!(names(Bad::Mutant).len(), Mutant::ALL.len());
    let simulated = names(Bad::Control);
    let left_out = CONTROLS.iter().chain(BEYOND_THE_MODEL).map(|control| control.name);
    let left_out: Vec<_> = left_out.filter(|name| !simulated.iter().any(|one| one == name)).collect();
    let not_carried_out = [
        // Two acts: jobs and launches carry no name of their act.
        "launch before the consume",
        // Promises that this platform does not make.
        "a link that a scanner follows",
        "clicks counted instead of people",
        "a requester who approves",
        "revocation not compared again",
        "a failed attempt that can be tried again",
        "a plan that is stale",
    ];
    assert_eq!(left_out, not_carried_out);
}

fn is_found(KnownBad { name, campaign, breaks, .. }: &KnownBad) {
    let is_found = |report: &Report| breaks.iter().all(|property| report.finding(*property).is_some());
    let report = run_until(campaign, seeds(0, SEEDS), is_found);
    for property in breaks {
        assert!(report.finding(*property).is_some(), "{name}: {property} of {:?}", found(&report));
    }
}

#[test]
fn every_mutant_is_found() {
    known_bad(Bad::Mutant).iter().for_each(is_found);
}

#[test]
fn the_models_own_controls_are_found_here_too() {
    known_bad(Bad::Control).iter().for_each(is_found);
}

#[test]
fn the_canary_is_noticed_in_every_flow() {
    for flow in BUILT_IN.iter().filter(|flow| supports(&flow.subject().flow).is_ok()) {
        let report = run(&campaign(flow.name, Some(Mutant::ForgottenOnRestart)), seeds(0, 4_096));
        assert!(report.finding(Mutant::ForgottenOnRestart.breaks()).is_some(), "{}", flow.name);
    }
}

/// Exactly what this known-bad order violates is found, and shrinks to the model's shortest run.
fn shrinks_to_the_models_shortest_run(flow: &str) {
    let known = known_bad(Bad::Flow).into_iter().find(|one| one.name == flow).expect("a known-bad order");
    let KnownBad { name, campaign, breaks, .. } = known;
    let report = run(&campaign, seeds(0, every_seed(flow)));
    let mut expected: Vec<&str> = breaks.iter().map(|property| property.id()).collect();
    expected.sort_unstable();
    assert_eq!(found(&report), expected, "{name}");
    assert_eq!(missing(&report), Vec::<String>::new(), "{name}: it could have happened");
    assert_eq!(report.divergences, [], "{name}");
    for (property, Shortest { here, .. }) in Shortest::of(&campaign.flow) {
        // Among the first seeds that find it is one in the model's own world; S3 is too rare there.
        let Some(shrunk) = campaign.shrunk_modelled(&report, property) else {
            assert_eq!(property, Property::S3, "{name}");
            continue;
        };
        let length = shrunk.actions.len();
        assert!(here.contains(&length), "{name} {property}: {length} of {here:?}");
    }
}

#[test]
fn every_known_bad_order_is_found() {
    known_bad(Bad::Flow).iter().for_each(is_found);
}

#[test]
fn consume_first_shrinks_to_the_models_shortest_run() {
    shrinks_to_the_models_shortest_run("consume-first");
}

#[test]
fn twin_consume_first_shrinks_to_the_models_shortest_run() {
    shrinks_to_the_models_shortest_run("twin-consume-first");
}

/// The model of consume-last has more than a million states: the slow tier has it.
#[test]
fn the_orders_with_large_models_shrink_to_their_shortest_runs() {
    let flows = if slow() { &["lease-unfenced", "consume-last"][..] } else { &["lease-unfenced"] };
    flows.iter().copied().for_each(shrinks_to_the_models_shortest_run);
}

#[test]
fn a_step_that_is_no_edge_of_the_model_is_noticed() {
    // These mutants change what a step does in the model's own world.
    for mutant in [Mutant::UnconditionalUpdate, Mutant::JobLost, Mutant::EventLost, Mutant::RowCountIgnored] {
        let campaign = campaign(SHIPPED, Some(mutant));
        let report = run_until(&campaign, seeds(0, SEEDS), |report| !report.divergences.is_empty());
        assert_ne!(report.divergences, [], "{}", mutant.name());
    }
}
