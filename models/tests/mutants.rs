//! The harness can fail: for each property a flow or a broken table of transitions that breaks it, by name.

use std::ops::ControlFlow;

use countersign::protocol::{Event, IllegalTransition, Status, Validity, transition};
use countersign_models::{
    controls::{CONTROLS, Control, SOUND},
    explorer::Limits,
    flows::{BuiltIn, Subject},
    model::{Bounds, Model, Transitions},
    properties::Property,
    verdict::{Expectations, Report, Verdict, verify},
};
use rayon::prelude::*;

/// Judges this flow, with this table of transitions.
fn judge(flow: &Control, transitions: Transitions) -> Report {
    judge_file(&flow.file(), transitions)
}

fn judge_file(file: &str, transitions: Transitions) -> Report {
    judge_within(file, Bounds::default(), transitions)
}

fn judge_within(file: &str, bounds: Bounds, transitions: Transitions) -> Report {
    let subject = Subject::read(file.as_bytes()).unwrap_or_else(|problem| panic!("{problem} in\n{file}"));
    let model = Model::with_transitions(subject.flow, bounds, transitions);
    verify(&model, &Expectations::default(), Limits::default(), &mut |_| ControlFlow::Continue(()))
}

fn is_broken(report: &Report, property: Property) -> bool {
    matches!(report.of(property).verdict, Verdict::Violated(_))
}

#[test]
fn every_control_is_found_and_the_sound_order_is_not() {
    let sound = judge(&SOUND, transition);
    CONTROLS.par_iter().for_each(|control| {
        // Two callers are enough for most, and what they violate three violate, too.
        let within = |consumers| {
            let report = judge_within(&control.file(), Bounds { consumers, ..Bounds::default() }, transition);
            control.breaks.iter().find(|property| !is_broken(&report, **property)).copied()
        };
        if let Some(property) = within(2).and_then(|_| within(3)) {
            panic!("{}: {property} is not broken", control.name);
        }
        assert!(control.breaks.iter().all(|property| !is_broken(&sound, *property)), "{}", control.name);
    });
}

#[test]
fn every_property_has_a_control() {
    // S10 is about decisions, which no flow makes: wrong tables of transitions break it, below.
    let by_no_flow = Property::MODELLED
        .iter()
        .filter(|property| !CONTROLS.iter().any(|control| control.breaks.contains(property)));
    assert_eq!(by_no_flow.copied().collect::<Vec<_>>(), [Property::S10]);
}

/// A rejection that is written without a look at the status.
fn reject_overwrites(status: Status, event: Event, window: Validity) -> Result<Status, IllegalTransition> {
    if event == Event::Reject { Ok(Status::Rejected) } else { transition(status, event, window) }
}

/// An approval that is written without a look at the status.
fn approve_overwrites(status: Status, event: Event, window: Validity) -> Result<Status, IllegalTransition> {
    if event == Event::Approve { Ok(Status::Approved) } else { transition(status, event, window) }
}

#[test]
fn a_rejection_that_overwrites_an_approval_breaks_s10_and_s9() {
    let report = judge(&SOUND, reject_overwrites);
    assert!(is_broken(&report, Property::S10));
    assert!(is_broken(&report, Property::S9));
}

#[test]
fn an_approval_that_overwrites_a_rejection_breaks_s10_and_s9() {
    let report = judge(&SOUND, approve_overwrites);
    assert!(is_broken(&report, Property::S10));
    assert!(is_broken(&report, Property::S9));
}

#[test]
fn a_lease_that_never_ends_breaks_l4_and_l3() {
    let flow =
        || Subject::read(BuiltIn::find("atomic-commit-lease").expect("it is built in").source.as_bytes());
    let judge = |model: Model| {
        verify(&model, &Expectations::default(), Limits::default(), &mut |_| ControlFlow::Continue(()))
    };
    let flow = flow().expect("a flow file").flow;
    let endless = judge(Model::with_endless_leases(flow.clone(), Bounds::default()));
    let ending = judge(Model::new(flow, Bounds::default()));
    for property in [Property::L3, Property::L4] {
        assert!(is_broken(&endless, property), "{property}");
        assert!(!is_broken(&ending, property), "{property}");
    }
}

#[test]
fn a_commit_without_the_fence_lets_a_slow_holder_execute_twice() {
    // With the status compared, the lease is only economy: two that both think they hold it are harmless.
    let file = |guards: &str| {
        format!(
            r#"step = [
                {{ do = "validate", checks = ["owner", "status", "binding", "expiry", "digest"] }},
                {{ do = "lease" }},
                {{ do = "consume", guards = [{guards}] }},
            ]"#
        )
    };
    let broken = |guards| is_broken(&judge_file(&file(guards), transition), Property::S2);
    assert!(broken(r#""expiry", "digest""#), "neither compared");
    assert!(!broken(r#""status""#), "the status compared");
    assert!(broken(r#""lease""#), "who is fenced out is refused, and who comes after a winner is not");
}

#[test]
fn a_flow_that_nothing_happens_in_is_not_said_to_hold_as_expected() {
    let file = r#"step = [{ do = "consume", guards = ["status", "expiry", "digest"] }]"#;
    let report = judge_file(file, transition);
    let untested = report.of(Property::S6);
    assert_eq!(untested.verdict, Verdict::Holds);
    assert!(!untested.exercised && !untested.expected);
}
