//! Launch jobs: leased once, fenced, launched again under the same key, and settled at the end.

use countersign::{
    platform::Environment,
    service::launch,
    store::{JobState, Lease, Outbox, StackStatus},
};

use countersign_models::fixtures::UseRequest;

use crate::world::{TEAM, UNKNOWN, World, environment, flow, later, succeeded};

/// An approval that was executed, with a job.
pub(super) async fn executed(world: &World) -> UseRequest {
    let ask = world.approved().await;
    assert!(succeeded(&world.promote(&flow("atomic-commit"), &ask).await));
    ask
}

async fn lease(world: &World, lease_ms: u64) -> Option<Lease> {
    world.store().lease_job(lease_ms).await.expect("nothing fails")
}

async fn target(world: &World) -> StackStatus {
    world.targets().await.first().expect("the target").status
}

pub(super) async fn a_leased_job_is_exclusive_until_the_lease_expires(world: &World) {
    assert_eq!(lease(world, 100).await, None);
    let ask = executed(world).await;
    let first = lease(world, 100).await.expect("there is a job");
    assert_eq!((first.approval, first.digest), (ask.approval, world.source_digest(&ask).await));
    assert_eq!(first.target, Some(world.targets().await[0].id));
    assert_eq!(lease(world, 100).await, None);
    world.backend.set_clock(later(99)).await;
    assert_eq!(lease(world, 100).await, None);
    world.backend.set_clock(later(100)).await;
    let second = lease(world, 200).await.expect("the lease has run out");
    assert!(second.fence > first.fence);
    assert_eq!(second, Lease { fence: second.fence, ..first });
}

pub(super) async fn a_worker_whose_lease_ran_out_can_neither_renew_nor_finish(world: &World) {
    let ask = executed(world).await;
    let renew = async |lease: &Lease, lease_ms| {
        world.store().renew_lease(lease, lease_ms).await.expect("nothing fails")
    };
    let finish = async |lease: &Lease| {
        world.store().finish_job(lease, StackStatus::Healthy).await.expect("nothing fails")
    };
    let state = async || world.backend.job(TEAM, ask.approval).await.expect("there is a job").state;
    let stale = lease(world, 100).await.expect("there is a job");
    world.backend.set_clock(later(100)).await;
    // Expired, but not acquired by another worker.
    assert!(renew(&stale, 50).await);
    world.backend.set_clock(later(150)).await;
    let fresh = lease(world, 50).await.expect("the lease has run out");
    assert!(!renew(&stale, 900).await && !finish(&stale).await);
    assert_eq!(target(world).await, StackStatus::Building, "a stale worker settles nothing");
    assert_eq!(state().await, JobState::Leased { fence: fresh.fence, until: later(200) });
    assert!(renew(&fresh, 750).await);
    assert_eq!(state().await, JobState::Leased { fence: fresh.fence, until: later(900) });
    assert!(finish(&fresh).await);
    assert_eq!((state().await, target(world).await), (JobState::Done, StackStatus::Healthy));
    assert!(!renew(&fresh, 900).await && !finish(&fresh).await, "what is done is done");
    world.backend.set_clock(later(10_000)).await;
    assert_eq!(lease(world, 20_000).await, None);
}

/// An approval for this environment that was executed, with a job.
pub(super) async fn executed_into(world: &World, environment: Environment) -> UseRequest {
    let mut ask = world.ask();
    ask.binding.to = environment;
    let ask = world.approve(ask).await;
    assert!(succeeded(&world.promote(&flow("atomic-commit"), &ask).await));
    ask
}

/// Deploys for one target: one at a time, in the order of use, each with a larger fencing number than all before. The
/// target is building until the last one has ended, and then has that one's result.
pub(super) async fn deploys_of_a_target_do_not_overlap(world: &World) {
    let finish =
        async |lease: &Lease, ended| world.store().finish_job(lease, ended).await.expect("nothing fails");
    let mut in_order_of_use = Vec::new();
    for _ in 0..3 {
        in_order_of_use.push(executed(world).await.approval);
    }
    let elsewhere = executed_into(world, environment("qa")).await;
    let first = lease(world, 100).await.expect("there is a job");
    assert_eq!(first.approval, in_order_of_use[0]);
    // Another target's is not held up.
    let other = lease(world, 1_000).await.expect("there is another target");
    assert_eq!((other.approval, lease(world, 100).await), (elsewhere.approval, None));
    // Neither does a lease that has expired let another one begin: its deploy is begun again first.
    world.backend.set_clock(later(100)).await;
    let again = lease(world, 100).await.expect("the lease has run out");
    assert_eq!((again.approval, lease(world, 100).await), (first.approval, None));
    assert!(!finish(&first, StackStatus::Healthy).await);
    assert_eq!(lease(world, 100).await, None);
    assert!(finish(&again, StackStatus::Healthy).await);
    assert_eq!(target(world).await, StackStatus::Building, "what a later use has written is not live");
    let mut fences = vec![first.fence, again.fence];
    for (number, ended) in [(1, StackStatus::Failed), (2, StackStatus::Healthy)] {
        let next = lease(world, 100).await.expect("the one before it has ended");
        assert_eq!((next.approval, lease(world, 100).await), (in_order_of_use[number], None));
        fences.push(next.fence);
        assert_eq!(target(world).await, StackStatus::Building);
        assert!(finish(&next, ended).await);
    }
    assert!(fences.is_sorted_by(|one, next| one < next), "{fences:?}");
    assert_eq!((target(world).await, lease(world, 100).await), (StackStatus::Healthy, None));
}

pub(super) async fn jobs_are_leased_oldest_first(world: &World) {
    let mut executed_in_turn = Vec::new();
    for name in ["production", "qa", "canary"] {
        executed_in_turn.push(executed_into(world, environment(name)).await.approval);
    }
    let mut leased = Vec::new();
    while let Some(lease) = lease(world, 100).await {
        leased.push(lease.approval);
    }
    assert_eq!(leased, executed_in_turn);
}

pub(super) async fn a_job_that_is_launched_twice_is_one_launch(world: &World) {
    let ask = executed(world).await;
    let first = lease(world, 100).await.expect("there is a job");
    launch(&first, &world.deployer).await;
    world.deployer.kill();
    world.backend.set_clock(later(100)).await;
    let again = lease(world, 200).await.expect("the lease has run out");
    launch(&again, &world.deployer).await;
    assert_eq!(lease(world, 200).await, None);
    assert_eq!(world.deployer.effective().len(), 1, "one key, one launch");
    let running = world.deployer.running();
    assert_eq!(running.len(), 1);
    let launch = running[0].launch;
    assert_eq!((launch.key, launch.digest), (Some(ask.approval), again.digest));
}

pub(super) async fn what_is_not_building_stays_as_it_is(world: &World) {
    for ended in [StackStatus::Healthy, StackStatus::Failed] {
        let ask = executed(world).await;
        assert_eq!(target(world).await, StackStatus::Building);
        let lease = lease(world, 100).await.expect("there is a job");
        assert_eq!(world.store().finish_job(&lease, ended).await, Ok(true));
        assert_eq!(target(world).await, ended);
        let settled = world.store().settle(ask.approval, None, StackStatus::Healthy).await;
        assert_eq!((settled, target(world).await), (Ok(()), ended));
    }
    let settled = world.store().settle(UNKNOWN, None, StackStatus::Failed).await;
    assert_eq!(settled, Ok(()), "of nothing");
}

pub(super) async fn a_deploy_without_a_job_settles_the_first_target(world: &World) {
    let ask = world.approved().await;
    assert!(succeeded(&world.promote(&flow("consume-last"), &ask).await));
    assert_eq!(target(world).await, StackStatus::Building);
    let settled = world.store().settle(ask.approval, None, StackStatus::Failed).await;
    assert_eq!((settled, target(world).await), (Ok(()), StackStatus::Failed));
    // Or the given one.
    let mut elsewhere = world.ask();
    elsewhere.binding.to = environment("qa");
    let elsewhere = world.approve(elsewhere).await;
    assert!(succeeded(&world.promote(&flow("consume-last"), &elsewhere).await));
    let find = async || {
        let stacks = world.backend.stacks(TEAM).await;
        stacks.into_iter().find(|stack| stack.env == environment("qa")).expect("the target")
    };
    let there = find().await.id;
    let settled = world.store().settle(ask.approval, Some(there), StackStatus::Healthy).await;
    assert_eq!((settled, find().await.status), (Ok(()), StackStatus::Healthy));
    assert_eq!(target(world).await, StackStatus::Failed);
}
