//! Refusals of promotions: each is reached by its cause, and another team gets a 404.

use countersign::{
    protocol::{Act, Consume, Flow, Guards, Lease, Refusal, Step, StepAction, Via, Write, WriteTarget},
    store::{Approvals, AttemptReads, EnvVars, NewStack, Payload, PromotionRequest, StoreError, Tenants},
};
use uuid::Uuid;

use countersign_models::fixtures::UseRequest;

use crate::world::{
    STRANGERS, TEAM, UNKNOWN, World, environment, flow, later, new_stack, refused, service, succeeded,
};

/// The answer of a flow of a consume and this step, during an outage of the step's refusal.
async fn during_outage(world: &World, action: StepAction, refusal: Refusal) -> Refusal {
    let ask = world.approved().await;
    world.backend.begin_outage(TEAM, &refusal);
    let consume = StepAction::Consume(Consume::new(Guards::ALL));
    let flow = Flow::of_steps(vec![Step::from(action), Step::from(consume)]).expect("a flow");
    let end = world.promote(&flow, &ask).await;
    world.backend.end_outage(TEAM, &refusal);
    assert_eq!(world.events(&ask).await.len(), 2, "nothing is executed");
    refused(end)
}

fn write(refusal: Refusal) -> StepAction {
    StepAction::Write(Write { refusals: vec![refusal], ..Write::new(WriteTarget::Target) })
}

/// The answer of `atomic-commit` to this request, approved in its unspoiled form.
async fn promoted(world: &World, spoil: impl FnOnce(&mut UseRequest)) -> Refusal {
    let mut ask = world.approved().await;
    spoil(&mut ask);
    refused(world.promote(&flow("atomic-commit"), &ask).await)
}

/// A source like this, and what is refused of it.
async fn with_source(world: &World, services: Vec<countersign::store::Service>) -> Refusal {
    world.put_services(TEAM, world.source.id, services).await;
    let refusal = promoted(world, |_| {}).await;
    world.put_services(TEAM, world.source.id, vec![service(Some("shop:1"))]).await;
    refusal
}

async fn unresolved_vault_reference(world: &World) -> Refusal {
    let env_vars = EnvVars::from([("PASSWORD".to_owned(), "vault:DB_PASSWORD".to_owned())]);
    let stack = NewStack { env_vars, ..new_stack("api", "api:1") };
    let source =
        world.store().create_stack(TEAM, stack).await.expect("nothing fails").expect("there is room");
    let mut ask = world.ask();
    ask.payload.source = source.id;
    let refusal = refused(world.promote(&flow("atomic-commit"), &world.approve(ask.clone()).await).await);
    world
        .store()
        .put_vault(TEAM, &environment("staging"), "DB_PASSWORD", "secret")
        .await
        .expect("nothing fails");
    // There it is not looked for, unless it is copied along.
    let still = refused(world.promote(&flow("atomic-commit"), &world.approve(ask.clone()).await).await);
    assert_eq!(still, refusal);
    ask.payload.copy_vault = true;
    let end = world.promote(&flow("atomic-commit"), &world.approve(ask).await).await;
    assert!(succeeded(&end), "{end:?}");
    let copied = world.backend.vault(TEAM, &environment("production"), "DB_PASSWORD").await;
    assert_eq!(copied.as_deref(), Some("secret"));
    refusal
}

pub(super) async fn every_refusal_of_a_promotion_can_be_reached(world: &World) {
    let check = |refusal: Refusal| (StepAction::Check { refusals: vec![refusal.clone()] }, refusal);
    let during = async |(action, refusal)| during_outage(world, action, refusal).await;
    let lookup_failed = {
        world.backend.begin_outage(TEAM, &Refusal::LOOKUP_FAILED);
        let refusal = refused(world.promote(&flow("atomic-commit"), &world.ask_with(UNKNOWN)).await);
        world.backend.end_outage(TEAM, &Refusal::LOOKUP_FAILED);
        refusal
    };
    let pending = world.pending(world.ask()).await;
    let limit = {
        world.set_cap(1).await;
        let refusal = promoted(world, |_| {}).await;
        world.set_cap(10).await;
        refusal
    };
    let payload_mismatch = {
        let ask = world.approved().await;
        world.put_services(TEAM, world.source.id, vec![service(Some("shop:2"))]).await;
        let refusal = refused(world.promote(&flow("atomic-commit"), &ask).await);
        world.put_services(TEAM, world.source.id, vec![service(Some("shop:1"))]).await;
        refusal
    };
    let expired = {
        let ask = world.approved().await;
        world.backend.set_clock(world.record(&ask).await.approval.expires_at).await;
        let refusal = refused(world.promote(&flow("atomic-commit"), &ask).await);
        world.backend.set_clock(later(0)).await;
        refusal
    };
    let reached = [
        (promoted(world, |ask| ask.approval = UNKNOWN).await, Refusal::APPROVAL_NOT_FOUND),
        (lookup_failed, Refusal::LOOKUP_FAILED),
        (refused(world.promote(&flow("atomic-commit"), &pending).await), Refusal::APPROVAL_NOT_APPROVED),
        (promoted(world, |ask| ask.binding.to = environment("qa")).await, Refusal::APPROVAL_MISMATCH),
        (expired, Refusal::APPROVAL_EXPIRED),
        (payload_mismatch, Refusal::APPROVAL_PAYLOAD_MISMATCH),
        (during(check(Refusal::FETCH_FAILED)).await, Refusal::FETCH_FAILED),
        (with_source(world, vec![]).await, Refusal::NO_SERVICES),
        (with_source(world, vec![service(None)]).await, Refusal::MISSING_IMAGE_REF),
        (limit, Refusal::DEPLOYMENT_LIMIT_REACHED),
        (during((write(Refusal::CREATE_FAILED), Refusal::CREATE_FAILED)).await, Refusal::CREATE_FAILED),
        (during((write(Refusal::UPDATE_FAILED), Refusal::UPDATE_FAILED)).await, Refusal::UPDATE_FAILED),
        (during(check(Refusal::ENV_LOAD_FAILED)).await, Refusal::ENV_LOAD_FAILED),
        (unresolved_vault_reference(world).await, Refusal::VAULT_REF_FAILED),
        (
            during((write(Refusal::PROVISION_FAILED), Refusal::PROVISION_FAILED)).await,
            Refusal::PROVISION_FAILED,
        ),
        (
            during((StepAction::Act(Act::new(Via::Outbox)), Refusal::ENQUEUE_FAILED)).await,
            Refusal::ENQUEUE_FAILED,
        ),
        (during((StepAction::Lease(Lease::default()), Refusal::LEASE_FAILED)).await, Refusal::LEASE_FAILED),
    ];
    for (found, expected) in reached {
        assert_eq!(found, expected);
    }
}

pub(super) async fn another_teams_approval_answers_as_one_that_does_not_exist(world: &World) {
    let mut ask = world.approved().await;
    ask.team = STRANGERS;
    let theirs = world.promote(&flow("atomic-commit"), &ask).await;
    ask.approval = UNKNOWN;
    assert_eq!(theirs, world.promote(&flow("atomic-commit"), &ask).await);
    assert_eq!(refused(theirs), Refusal::APPROVAL_NOT_FOUND);
}

pub(super) async fn a_caller_without_a_team_has_nothing(world: &World) {
    let mut ask = world.approved().await;
    ask.team = Uuid::from_u128(0xC);
    assert_eq!(
        world.store().read_approval(ask.approval, &ask).await,
        Err(StoreError::not_applied("any cause"))
    );
    assert_eq!(world.store().request_approval(&ask).await, Err(StoreError::not_applied("any cause")));
    let step = Step::from(StepAction::Check { refusals: Vec::new() });
    assert_eq!(world.store().check(ask.approval, &ask, &step).await, Ok(Err(Refusal::NOT_FOUND)));
    assert_eq!(world.store().find_target(&ask, &step).await, Ok(Err(Refusal::NOT_FOUND)));
    // A source of another team has no target either.
    ask.team = STRANGERS;
    assert_eq!(world.store().find_target(&ask, &step).await, Ok(Ok(None)));
    let elsewhere = Payload { source: UNKNOWN, ..ask.payload.clone() };
    let nothing = PromotionRequest { payload: elsewhere, ..ask.ask.clone() };
    assert_eq!(world.store().find_target(&nothing, &step).await, Ok(Ok(None)));
}
