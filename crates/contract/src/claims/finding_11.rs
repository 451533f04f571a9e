//! Finding #11: the five cases that the fix was tested with, on the service driver, for the defect's order and the others.

use countersign::{
    protocol::{Flow, Member, Outcome, Refusal, RefusalKind, Status, StepAction},
    store::{AuditKind, Service},
};

use crate::world::{TEAM, World, flow, service, succeeded};

fn refusal(refusal: Refusal, kind: RefusalKind) -> Outcome {
    Outcome::Refused { refusal, kind }
}

/// The index of the step that consumes.
fn consume(flow: &Flow) -> usize {
    let consumes = |action: &StepAction| match action {
        StepAction::Consume(_) => true,
        StepAction::Atomic(members) => members.iter().any(|member| matches!(member, Member::Consume(_))),
        _ => false,
    };
    flow.steps().iter().position(|step| consumes(&step.action)).expect("a flow consumes")
}

async fn executed_events(world: &World, ask: &countersign_models::fixtures::UseRequest) -> usize {
    world.events(ask).await.iter().filter(|kind| **kind == AuditKind::Executed).count()
}

/// A source that cannot be promoted is refused, and leaves the approval as this.
async fn a_bad_source(world: &World, services: Vec<Service>, expected: Refusal) {
    for (name, status) in [
        ("atomic-commit", Status::Approved),
        ("consume-last", Status::Approved),
        // The defect: the approval is burned.
        ("consume-first", Status::Executed),
    ] {
        world.put_services(TEAM, world.source.id, services.clone()).await;
        let ask = world.approved().await;
        assert_eq!(
            world.promote(&flow(name), &ask).await,
            refusal(expected.clone(), RefusalKind::Own),
            "{name}"
        );
        assert!(world.deployer.effective().is_empty(), "nothing is launched");
        assert_eq!(world.status(&ask).await, status, "{name}");
    }
}

pub(super) async fn case_1_a_source_service_without_an_image_is_412_and_leaves_the_approval_approved(
    world: &World,
) {
    a_bad_source(world, vec![service(None)], Refusal::MISSING_IMAGE_REF).await;
}

pub(super) async fn case_2_a_source_with_no_services_is_412_and_leaves_the_approval_approved(world: &World) {
    a_bad_source(world, vec![], Refusal::NO_SERVICES).await;
}

pub(super) async fn case_3_when_all_is_well_it_is_executed_exactly_once_and_a_second_use_gets_409(
    world: &World,
) {
    for (number, name) in ["consume-first", "consume-last", "atomic-commit"].into_iter().enumerate() {
        let flow = flow(name);
        let ask = world.approved().await;
        let first = world.promote(&flow, &ask).await;
        let created = number == 0;
        assert!(
            matches!(first, Outcome::Succeeded { target: Some(target), .. } if target.created == created),
            "{name}: {first:?}"
        );
        let second = world.promote(&flow, &ask).await;
        assert_eq!(second, refusal(Refusal::APPROVAL_NOT_APPROVED, RefusalKind::Validation), "{name}");
        assert_eq!(world.status(&ask).await, Status::Executed);
        assert_eq!(executed_events(world, &ask).await, 1);
    }
}

pub(super) async fn case_4_a_stale_snapshot_of_an_executed_approval_is_409(world: &World) {
    for name in ["consume-first", "consume-last", "atomic-commit"] {
        let flow = flow(name);
        let ask = world.approved().await;
        let stale = world.drive_to(&flow, &ask, consume(&flow)).await;
        assert!(succeeded(&world.promote(&flow, &ask).await), "{name}");
        let end = world.finish(stale, &ask).await;
        assert_eq!(end, refusal(Refusal::APPROVAL_ALREADY_EXECUTED, RefusalKind::Conflict), "{name}");
        assert_eq!(executed_events(world, &ask).await, 1);
    }
}

pub(super) async fn case_5_a_store_that_fails_in_the_consume_is_503_execute_failed(world: &World) {
    for name in ["consume-first", "consume-last", "atomic-commit"] {
        let flow = flow(name);
        let ask = world.approved().await;
        world.backend.begin_outage(TEAM, &Refusal::EXECUTE_FAILED);
        let failed = refusal(Refusal::EXECUTE_FAILED, RefusalKind::Unavailable);
        assert_eq!(world.promote(&flow, &ask).await, failed, "{name}");
        assert_eq!(world.status(&ask).await, Status::Approved);
        world.backend.end_outage(TEAM, &Refusal::EXECUTE_FAILED);
        assert!(succeeded(&world.promote(&flow, &ask).await), "{name}: a retry succeeds");
    }
}
