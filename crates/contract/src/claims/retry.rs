//! Asking again: the same outcome under the same key, a refusal for anything else, and what was approved is what is written.

use countersign::{
    protocol::{Flow, Outcome, Refusal},
    service::{Answer, Driver},
    store::Approvals,
};
use countersign_models::flows::SHIPPED;

use countersign_models::fixtures::UseRequest;

use crate::world::{TEAM, World, flow, service, succeeded};

async fn ask_once(world: &World, flow: &Flow, ask: &UseRequest) -> Answer {
    Driver::new(flow, world.store(), &world.deployer)
        .expect("it is supported")
        .promote_once(ask.approval, ask, world.source_digest(ask).await)
        .await
}

fn refused(answer: &Answer) -> Option<&Refusal> {
    match &answer.end {
        Outcome::Refused { refusal, .. } => Some(refusal),
        Outcome::Succeeded { .. } | Outcome::Unknown { .. } => None,
    }
}

pub(super) async fn the_same_key_gets_the_same_outcome_and_any_other_a_409(world: &World) {
    let flow = flow(SHIPPED);
    let approved = world.approved().await;
    let first = ask_once(world, &flow, &approved.under("mine")).await;
    let Outcome::Succeeded { target: Some(target), .. } = first.end else { panic!("{first:?}") };
    assert!(!first.replayed);
    let again = ask_once(world, &flow, &approved.under("mine")).await;
    let outcome = Outcome::Succeeded { target: Some(target), repeats: true };
    assert_eq!(again, Answer { replayed: true, end: outcome });
    for other in [approved.under("another"), approved] {
        let answer = ask_once(world, &flow, &other).await;
        assert_eq!(refused(&answer), Some(&Refusal::APPROVAL_NOT_APPROVED), "{:?}", other.key);
        assert!(!answer.replayed);
    }
}

pub(super) async fn the_same_key_for_something_else_is_422(world: &World) {
    let flow = flow(SHIPPED);
    let ask = world.approved().await.under("mine");
    ask_once(world, &flow, &ask).await;
    let mut other = ask;
    other.payload.copy_vault = true;
    let answer = ask_once(world, &flow, &other).await;
    assert_eq!(refused(&answer), Some(&Refusal::IDEMPOTENCY_KEY_REUSED));
}

pub(super) async fn a_refusal_is_never_the_outcome_of_a_key(world: &World) {
    let flow = flow(SHIPPED);
    let ask = world.approved().await.under("mine");
    world.backend.begin_outage(TEAM, &Refusal::ENV_LOAD_FAILED);
    assert_eq!(refused(&ask_once(world, &flow, &ask).await), Some(&Refusal::ENV_LOAD_FAILED));
    world.backend.end_outage(TEAM, &Refusal::ENV_LOAD_FAILED);
    let answer = ask_once(world, &flow, &ask).await;
    assert!(succeeded(&answer.end) && !answer.replayed, "{answer:?}");
}

pub(super) async fn an_order_that_recalls_nothing_repeats_nothing(world: &World) {
    let flow = flow("consume-last");
    assert!(!flow.recalls() && Flow::atomic_commit().recalls());
    let ask = world.approved().await.under("mine");
    ask_once(world, &flow, &ask).await;
    assert_eq!(refused(&ask_once(world, &flow, &ask).await), Some(&Refusal::APPROVAL_NOT_APPROVED));
}

pub(super) async fn a_build_between_plan_and_commit_is_not_what_is_written(world: &World) {
    let flow = flow(SHIPPED);
    let ask = world.approved().await;
    let promotion = world.drive_to(&flow, &ask, flow.steps().len() - 1).await;
    world.put_services(TEAM, world.source.id, vec![service(Some("shop:2"))]).await;
    assert!(succeeded(&world.finish(promotion, &ask).await));
    assert_eq!(*world.targets().await[0].services, [service(Some("shop:1"))]);
    let job = world.backend.job(TEAM, ask.approval).await.expect("there is a job");
    assert_eq!(job.digest, world.record(&ask).await.approval.digest);
}

pub(super) async fn a_commit_that_does_not_remember_stores_no_outcome_under_the_key(world: &World) {
    let ask = world.approved().await.under("mine");
    ask_once(world, &flow("consume-last"), &ask).await;
    let execution = world.store().execution(TEAM, ask.approval).await.expect("nothing fails");
    assert_eq!(execution.expect("it is executed").key, None);
    let again = ask_once(world, &Flow::atomic_commit(), &ask).await;
    assert_eq!(refused(&again), Some(&Refusal::APPROVAL_NOT_APPROVED));
}

pub(super) async fn an_execution_is_there_when_its_approval_is_executed(world: &World) {
    let ask = world.approved().await.under("mine");
    let execution = async || world.store().execution(TEAM, ask.approval).await.expect("nothing fails");
    assert_eq!(execution().await, None);
    let Outcome::Succeeded { target, .. } = world.promote(&flow(SHIPPED), &ask).await else {
        panic!("nothing is in its way")
    };
    let execution = execution().await.expect("it is executed");
    assert_eq!((execution.key.as_deref(), &execution.payload), (Some("mine"), &ask.payload));
    assert_eq!((execution.target, execution.vault_keys.len()), (target, 0));
}
