//! Finding #11: the five cases that the fix was tested with, on the service driver, for the defect's order and the others.

use crate::platform::{Platform, service};
use countersign::{
    protocol::{Do, End, Flow, Member, Refusal, Status},
    store::AuditKind,
};
use countersign_models::flows::BuiltIn;

fn flow(name: &str) -> Flow {
    BuiltIn::find(name).expect("it is built in").subject().flow
}

fn preflight_refusal(refusal: Refusal) -> End {
    End::Refused { refusal, preflight: true }
}

/// The index of the step that consumes.
fn consume(flow: &Flow) -> usize {
    let consumes = |action: &Do| match action {
        Do::Consume { .. } => true,
        Do::Atomic(members) => members.iter().any(|member| matches!(member, Member::Consume { .. })),
        _ => false,
    };
    flow.steps().iter().position(|step| consumes(&step.action)).expect("a flow consumes")
}

/// How a flow leaves an approval after a source that cannot be promoted was refused.
fn status_after(name: &str, services: Vec<countersign::store::Service>, refusal: Refusal) -> Status {
    let platform = Platform::new();
    platform.store.put_services(crate::platform::TEAM, platform.source, services);
    let ask = platform.approved();
    assert_eq!(platform.promote(&flow(name), &ask), preflight_refusal(refusal), "{name}");
    assert!(platform.deployer.effective().is_empty(), "nothing is launched");
    platform.status(&ask)
}

#[test]
fn case_1_a_source_service_without_an_image_is_412_and_leaves_the_approval_approved() {
    let case = |name| status_after(name, vec![service(None)], Refusal::MISSING_IMAGE_REF);
    assert_eq!(case("consume-last"), Status::Approved);
    assert_eq!(case("atomic-commit"), Status::Approved);
    assert_eq!(case("consume-first"), Status::Executed, "the defect: the approval is burned");
}

#[test]
fn case_2_a_source_with_no_services_is_412_and_leaves_the_approval_approved() {
    let case = |name| status_after(name, vec![], Refusal::NO_SERVICES);
    assert_eq!(case("consume-last"), Status::Approved);
    assert_eq!(case("atomic-commit"), Status::Approved);
    assert_eq!(case("consume-first"), Status::Executed, "the defect: the approval is burned");
}

#[test]
fn case_3_when_all_is_well_it_is_executed_exactly_once_and_a_second_use_gets_409() {
    for name in ["consume-first", "consume-last", "atomic-commit"] {
        let (platform, flow) = (Platform::new(), flow(name));
        let ask = platform.approved();
        let first = platform.promote(&flow, &ask);
        assert!(
            matches!(first, End::Succeeded { target: Some(target) } if target.created),
            "{name}: {first:?}"
        );
        let second = platform.promote(&flow, &ask);
        let refused = End::Refused { refusal: Refusal::APPROVAL_NOT_APPROVED, preflight: false };
        assert_eq!(second, refused, "{name}");
        assert_eq!(platform.status(&ask), Status::Executed);
        assert_eq!(platform.events(&ask, AuditKind::Executed), 1);
    }
}

#[test]
fn case_4_a_stale_snapshot_of_an_approval_that_somebody_else_executed_is_409() {
    for name in ["consume-first", "consume-last", "atomic-commit"] {
        let (platform, flow) = (Platform::new(), flow(name));
        let ask = platform.approved();
        let stale = platform.drive_to(&flow, &ask, consume(&flow));
        assert!(matches!(platform.promote(&flow, &ask), End::Succeeded { .. }), "{name}");
        let refused = End::Refused { refusal: Refusal::APPROVAL_ALREADY_EXECUTED, preflight: false };
        assert_eq!(platform.finish(stale, &ask), refused, "{name}");
        assert_eq!(platform.events(&ask, AuditKind::Executed), 1);
    }
}

#[test]
fn case_5_a_store_that_fails_in_the_consume_is_503_execute_failed() {
    for name in ["consume-first", "consume-last", "atomic-commit"] {
        let (platform, flow) = (Platform::new(), flow(name));
        let ask = platform.approved();
        platform.store.begin_outage(crate::platform::TEAM, Refusal::EXECUTE_FAILED);
        let failed = End::Refused { refusal: Refusal::EXECUTE_FAILED, preflight: false };
        assert_eq!(platform.promote(&flow, &ask), failed, "{name}");
        assert_eq!(platform.status(&ask), Status::Approved);
        platform.store.end_outage(crate::platform::TEAM, &Refusal::EXECUTE_FAILED);
        assert!(matches!(platform.promote(&flow, &ask), End::Succeeded { .. }), "{name}: a retry succeeds");
    }
}
