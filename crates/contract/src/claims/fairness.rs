//! Teams are served in turns: much work of one team does not make another one wait, nor the other way round.

use countersign::store::{Operations, Outbox, PromotionRequest, StackStatus, Tenants};
use uuid::Uuid;

use super::outbox::executed_into;
use crate::world::{STRANGERS, World, environment, flow, new_stack, succeeded};

/// Longer than the claim.
const LEASE_MS: u64 = 1_000_000;

/// A request of the other team, which has a stack of its own for it.
async fn of_strangers(world: &World, number: u32) -> PromotionRequest {
    let stack = world.store().create_stack(STRANGERS, new_stack(&format!("other {number}"), "other:1")).await;
    let mut ask = world.ask();
    ask.team = STRANGERS;
    ask.payload.source = stack.expect("nothing fails").expect("there is room").id;
    ask
}

/// Executed approvals with jobs of different targets.
async fn jobs(world: &World, names: &[&str]) -> Vec<Uuid> {
    let mut executed = Vec::new();
    for name in names {
        executed.push(executed_into(world, environment(name)).await.approval);
    }
    executed
}

async fn job_of_strangers(world: &World, number: u32) -> Uuid {
    let ask = world.approve(of_strangers(world, number).await).await;
    assert!(succeeded(&world.promote(&flow("atomic-commit"), &ask).await));
    ask.approval
}

async fn lease(world: &World) -> Option<Uuid> {
    let lease = world.store().lease_job(LEASE_MS).await.expect("nothing fails")?;
    // Otherwise the next one for its target waits.
    assert_eq!(world.store().finish_job(&lease, StackStatus::Healthy).await, Ok(true));
    Some(lease.approval)
}

pub(super) async fn jobs_of_teams_are_leased_in_turns(world: &World) {
    let many = jobs(world, &["production", "qa", "canary", "review"]).await;
    let few = [job_of_strangers(world, 1).await, job_of_strangers(world, 2).await];
    let mut leased = Vec::new();
    while let Some(approval) = lease(world).await {
        leased.push(approval);
    }
    assert_eq!(leased, [many[0], few[0], many[1], few[1], many[2], many[3]]);
}

pub(super) async fn a_team_with_many_jobs_gets_its_turn_too(world: &World) {
    let many = jobs(world, &["production", "qa", "canary"]).await;
    let mut leased = Vec::new();
    for number in 0..3 {
        // The other one has always one that is waiting.
        leased.push(job_of_strangers(world, number).await);
        let two = [lease(world).await, lease(world).await];
        assert!(two.contains(&Some(many[number as usize])), "{number}: {two:?}");
    }
}

pub(super) async fn links_of_teams_are_sent_in_turns(world: &World) {
    let mut many = Vec::new();
    for _ in 0..4 {
        many.push(world.requested(&world.ask()).await.approval.id);
    }
    let mut few = Vec::new();
    for number in 0..2 {
        few.push(world.requested(&of_strangers(world, number).await).await.approval.id);
    }
    let mut sent = Vec::new();
    while let Some(notice) = world.store().lease_notice(LEASE_MS).await.expect("nothing fails") {
        sent.push(notice.record.approval.id);
    }
    assert_eq!(sent, [many[0], few[0], many[1], few[1], many[2], many[3]]);
}
