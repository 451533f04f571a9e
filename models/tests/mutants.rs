//! The harness can fail: for each property a flow or a broken table of transitions that breaks it, by name.

use std::ops::ControlFlow;

use countersign::protocol::{Event, Illegal, Status, Window, transition};
use countersign_models::{
    explorer::Limits,
    flows::Subject,
    model::{Bounds, Model, Transitions},
    properties::Property,
    verdict::{Expectations, Report, Verdict, verify},
};

const VALIDATE: &str = r#"{ do = "validate", checks = ["owner", "status", "binding", "expiry", "digest"] }"#;
const CHECK: &str = r#"{ do = "check", refusals = ["412 no_services"] }"#;
const COMMIT: &str = r#"{ atomic = [
    { do = "consume", guards = ["status", "expiry", "digest"] },
    { do = "write", what = "target" },
    { do = "audit" },
    { do = "enqueue" },
] }"#;

/// Judges the flow of these steps, with this table of transitions.
fn judge(steps: &[&str], transitions: Transitions) -> Report {
    let file = format!("step = [{}]", steps.join(", "));
    let subject = Subject::read(file.as_bytes()).unwrap_or_else(|problem| panic!("{problem} in\n{file}"));
    let model = Model::with_transitions(subject.flow, Bounds::default(), transitions);
    verify(&model, &Expectations::default(), Limits::default(), &mut |_| ControlFlow::Continue(()))
}

fn is_broken(report: &Report, property: Property) -> bool {
    matches!(report.of(property).verdict, Verdict::Broken(_))
}

fn breaks(property: Property, steps: &[&str]) {
    let sound = judge(&[VALIDATE, CHECK, COMMIT], transition);
    assert_eq!(sound.of(property).verdict, Verdict::Holds, "the control");
    assert!(is_broken(&judge(steps, transition), property), "{property} is not broken");
}

#[test]
fn consume_before_preflight_breaks_s1_and_l3() {
    let steps = [VALIDATE, COMMIT, CHECK];
    breaks(Property::S1, &steps);
    breaks(Property::L3, &steps);
}

#[test]
fn check_then_act_breaks_s2_and_s3() {
    let look = r#"{ do = "consume", guards = ["status", "expiry", "digest"], how = "read-then-write" }"#;
    breaks(Property::S2, &[VALIDATE, look]);
    breaks(Property::S3, &[VALIDATE, look]);
}

#[test]
fn a_winner_that_refuses_itself_breaks_s3() {
    breaks(Property::S3, &[VALIDATE, COMMIT, r#"{ do = "validate", checks = ["status"] }"#]);
}

#[test]
fn an_unconditional_update_breaks_s4_and_s9() {
    let unconditional = r#"{ do = "consume", guards = [] }"#;
    breaks(Property::S4, &[unconditional]);
    breaks(Property::S9, &[unconditional]);
}

#[test]
fn expiry_that_is_not_checked_again_breaks_s5() {
    breaks(Property::S5, &[VALIDATE, r#"{ do = "consume", guards = ["status", "digest"] }"#]);
}

#[test]
fn a_digest_that_is_not_compared_breaks_s6() {
    let blind = r#"{ do = "validate", checks = ["owner", "status", "binding", "expiry"] }"#;
    let consume = r#"{ do = "consume", guards = ["status", "expiry"] }"#;
    breaks(Property::S6, &[blind, consume, r#"{ do = "launch" }"#]);
}

#[test]
fn a_write_before_the_consume_breaks_s7() {
    breaks(Property::S7, &[VALIDATE, r#"{ do = "write", what = "vault" }"#, COMMIT]);
}

#[test]
fn an_audit_outside_of_the_transaction_breaks_s8() {
    let consume = r#"{ do = "consume", guards = ["status", "expiry", "digest"] }"#;
    breaks(Property::S8, &[VALIDATE, consume, r#"{ do = "audit" }"#]);
}

#[test]
fn looking_for_the_target_before_creating_it_breaks_s11() {
    let write = r#"{ do = "write", what = "target", how = "read-then-write" }"#;
    breaks(Property::S11, &[VALIDATE, write, COMMIT]);
}

#[test]
fn launching_before_the_consume_breaks_s17() {
    breaks(Property::S17, &[VALIDATE, r#"{ do = "launch" }"#, COMMIT]);
}

#[test]
fn a_launch_that_dies_with_its_process_breaks_l1_and_l2() {
    let commit = r#"{ atomic = [
        { do = "consume", guards = ["status", "expiry", "digest"] },
        { do = "write", what = "target" },
        { do = "audit" },
    ] }"#;
    let steps = [VALIDATE, CHECK, commit, r#"{ do = "launch" }"#];
    breaks(Property::L1, &steps);
    breaks(Property::L2, &steps);
}

#[test]
fn a_second_look_at_an_approval_that_it_has_consumed_itself_breaks_l4() {
    breaks(Property::L4, &[VALIDATE, COMMIT, VALIDATE]);
}

/// A rejection that is written without a look at the status.
fn reject_overwrites(status: Status, event: Event, window: Window) -> Result<Status, Illegal> {
    if event == Event::Reject { Ok(Status::Rejected) } else { transition(status, event, window) }
}

/// An approval that is written without a look at the status.
fn approve_overwrites(status: Status, event: Event, window: Window) -> Result<Status, Illegal> {
    if event == Event::Approve { Ok(Status::Approved) } else { transition(status, event, window) }
}

#[test]
fn a_rejection_that_overwrites_an_approval_breaks_s10_and_s9() {
    let report = judge(&[VALIDATE, CHECK, COMMIT], reject_overwrites);
    assert!(is_broken(&report, Property::S10));
    assert!(is_broken(&report, Property::S9));
}

#[test]
fn an_approval_that_overwrites_a_rejection_breaks_s10_and_s9() {
    let report = judge(&[VALIDATE, CHECK, COMMIT], approve_overwrites);
    assert!(is_broken(&report, Property::S10));
    assert!(is_broken(&report, Property::S9));
}

#[test]
fn a_flow_that_nothing_happens_in_is_not_said_to_hold_as_expected() {
    let report = judge(&[r#"{ do = "consume", guards = ["status", "expiry", "digest"] }"#], transition);
    let untested = report.of(Property::S11);
    assert_eq!(untested.verdict, Verdict::Holds);
    assert!(!untested.witnessed && !untested.expected);
}
