//! Random walks of the model: they find what every reported bug violates, and nothing that a fix keeps.

use std::ops::ControlFlow;

use countersign_models::{
    flows::{BUILT_IN, BuiltIn, CASES},
    properties::Property,
    simulation::{
        Report, Seeds,
        walk::{Campaign, Failure},
    },
};

/// Enough for every violation below, by a factor of at least two.
const SEEDS: u64 = 6_000;

fn campaign(flow: BuiltIn) -> Campaign {
    Campaign::new(flow.name, flow.subject().flow, flow.source)
}

fn run(campaign: &Campaign, to: u64) -> Report {
    let seeds = Seeds { from: 0, to, shard: 0, shards: 1 };
    campaign.run(seeds, &mut |_| ControlFlow::Continue(()))
}

fn found(report: &Report) -> Vec<Property> {
    Property::MODELLED.iter().copied().filter(|one| report.finding(*one).is_some()).collect()
}

#[test]
fn walks_find_exactly_what_each_flow_violates() {
    let mut wrong = Vec::new();
    for flow in BuiltIn::every() {
        let report = run(&campaign(flow), SEEDS);
        let subject = flow.subject();
        let (found, missing) = (found(&report), report.coverage.missing(&subject));
        if found != subject.expectations.broken || !missing.is_empty() {
            let seeds: Vec<u64> = report.findings.values().map(|one| one.seeds).collect();
            let expected = subject.expectations.broken;
            wrong.push(format!("{}: {found:?} {seeds:?}, expected {expected:?}; {missing:?}", flow.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The failure to which the walks of this flow that violate `property` shrink.
fn shrunk(name: &str, property: Property) -> Failure {
    let campaign = campaign(BuiltIn::find(name).expect("it is built in"));
    let report = run(&campaign, SEEDS);
    campaign.shrunk(&report, property).unwrap_or_else(|| panic!("{name} violates {property}"))
}

fn story(failure: &Failure) -> Vec<String> {
    let replayed = failure.replay().expect("it can be played");
    assert!(replayed.is_broken && replayed.taken == failure.actions.len(), "{failure:?}");
    replayed.events.iter().map(ToString::to_string).chain(replayed.reason).collect()
}

#[test]
fn the_use_of_a_stranger_is_drawn_as_one() {
    let failure = shrunk("02-identityserver-code-buggy", Property::S12);
    assert_eq!(
        story(&failure),
        [
            "stranger uses the authorization code (remove code): ok",
            "the authorization code exists for a stranger, who used it",
        ]
    );
}

#[test]
fn an_endpoint_without_keys_has_none() {
    let failure = shrunk("03-cert-manager-order-buggy", Property::S13);
    assert_eq!(
        story(&failure),
        [
            "caller 1 uses the order (finalize): ok",
            "caller 1 sends the request again and uses the order (finalize): 409 (not usable)",
            "the first attempt of caller 1 took effect, and its retry is refused",
        ]
    );
}

#[test]
fn several_uses_take_several_callers() {
    let failure = shrunk("14-secure-ftp-downloads-buggy", Property::S2);
    assert_eq!((failure.callers, failure.crashes, failure.faults), (3, 0, 0), "{failure:?}");
    assert_eq!(failure.actions.len(), 6, "{failure:?}");
}

#[test]
fn the_canary_is_noticed_in_every_flow_that_keeps_s2() {
    let flows = BUILT_IN.iter().copied().chain(CASES.iter().map(|case| case.fix()));
    for flow in flows.filter(|flow| !flow.subject().expectations.broken.contains(&Property::S2)) {
        let report = run(&campaign(flow).on_the_canary(), 500);
        assert!(report.finding(Campaign::CANARY_BREAKS).is_some(), "{}", flow.name);
    }
}

#[test]
fn shards_add_up() {
    let campaign = campaign(BuiltIn::find("14-secure-ftp-downloads-buggy").expect("it is built in"));
    let shard = |shard| {
        let seeds = Seeds { from: 0, to: 500, shard, shards: 3 };
        campaign.run(seeds, &mut |_| ControlFlow::Continue(()))
    };
    let mut sum = shard(0);
    sum.merge(shard(1)).expect("another shard");
    sum.merge(shard(2)).expect("another shard");
    let whole = run(&campaign, 500);
    assert_eq!((sum.schedules, sum.actions, &sum.coverage), (500, whole.actions, &whole.coverage));
    assert_eq!(sum.findings, whole.findings);
}

#[test]
fn impossible_actions_of_a_file_are_skipped() {
    let mut failure = shrunk("02-identityserver-code-buggy", Property::S12);
    let far = serde_json::from_str(r#"{ "promotion": { "consumer": 200, "outcome": "happens" } }"#);
    failure.actions.insert(0, far.expect("an action"));
    let replayed = failure.replay().expect("it can be played");
    assert!(replayed.is_broken && replayed.taken + 1 == failure.actions.len());
    failure.callers = 200;
    assert!(failure.replay().is_err());
}
