//! The store's clock is set back by an hour: no caller waits for the old time, and no live worker loses its job.

use countersign::{
    protocol::Digest,
    store::{APPROVAL_LEASE_MS, Claim, Leased, Leases, Notice, NoticeState, Operations, Outbox},
};

use super::outbox::{executed, executed_into};
use crate::world::{TEAM, World, environment, later};

const HOUR_MS: u64 = 60 * 60 * 1000;

/// This many milliseconds after the clock was set back to the first hour.
async fn set_back_to(world: &World, ms: u64) {
    world.backend.set_clock(later(HOUR_MS + ms)).await;
}

/// Sets the clock back to the first hour, and lets the store see it.
async fn set_back(world: &World) {
    set_back_to(world, 0).await;
    assert_eq!(world.store().lease_job(1).await, Ok(None));
}

/// Two hours after the beginning.
async fn begin(world: &World) {
    world.backend.set_clock(later(2 * HOUR_MS)).await;
}

pub(super) async fn after_a_clock_reset_a_dead_workers_job_is_ready_in_the_time_of_a_lease(world: &World) {
    begin(world).await;
    let lease = async || world.store().lease_job(1_000).await.expect("nothing fails");
    executed(world).await;
    let first = lease().await.expect("there is a job");
    set_back_to(world, 0).await;
    assert_eq!(lease().await, None, "its worker may be alive");
    set_back_to(world, 999).await;
    assert_eq!(lease().await, None);
    set_back_to(world, 1_000).await;
    let second = lease().await.expect("a whole lease has passed since");
    assert!(second.approval == first.approval && second.fence > first.fence);
}

/// Also while every look for a job finds another one.
pub(super) async fn after_a_clock_reset_a_dead_workers_job_is_ready_though_others_are_waiting(world: &World) {
    begin(world).await;
    let lease =
        async || world.store().lease_job(1_000).await.expect("nothing fails").expect("there is a job");
    executed(world).await;
    let first = lease().await;
    for name in ["qa", "canary"] {
        executed_into(world, environment(name)).await;
    }
    set_back_to(world, 0).await;
    assert_ne!(lease().await.approval, first.approval, "its worker may be alive");
    set_back_to(world, 1_000).await;
    let second = lease().await;
    assert!(second.approval == first.approval && second.fence > first.fence);
}

pub(super) async fn after_a_clock_reset_a_live_worker_keeps_its_job(world: &World) {
    begin(world).await;
    let lease = async || world.store().lease_job(1_000).await.expect("nothing fails");
    executed(world).await;
    let held = lease().await.expect("there is a job");
    for ms in [0, 900, 1_800] {
        set_back_to(world, ms).await;
        assert_eq!(lease().await, None, "{ms}");
        assert_eq!(world.store().renew_lease(&held, 1_000).await, Ok(true), "{ms}");
    }
    set_back_to(world, 2_799).await;
    assert_eq!(lease().await, None);
}

pub(super) async fn after_a_clock_reset_links_are_sent_in_the_time_of_a_pause(world: &World) {
    begin(world).await;
    let next = async || world.store().lease_notice(1_000).await.expect("nothing fails");
    let settle = async |notice: &Notice, state| world.store().settle_notice(notice, state).await;
    let ask = world.ask();
    let (one, two) = (world.requested(&ask).await, world.requested(&ask).await);
    let sending = next().await.expect("there is a notice");
    let failed = next().await.expect("there are two");
    assert_eq!(settle(&failed, NoticeState::Due { after_ms: 500 }).await, Ok(true));
    let approval = |notice: &Option<Notice>| notice.as_ref().map(|notice| notice.record.approval.id);
    assert_eq!(approval(&Some(sending)), Some(one.approval.id));
    set_back(world).await;
    set_back_to(world, 1_000).await;
    // At the latest now, and in their order.
    let again = [approval(&next().await), approval(&next().await)];
    assert_eq!(again, [Some(one.approval.id), Some(two.approval.id)]);
}

pub(super) async fn after_a_clock_reset_keys_and_leases_are_free_in_the_time_of_a_lease(world: &World) {
    begin(world).await;
    let claim = async || {
        let claimed = world.store().claim_key(TEAM, "mine", Digest([1; 32]), 1_000).await;
        claimed.expect("nothing fails")
    };
    let ask = world.approved().await;
    assert!(matches!(claim().await, Claim::Granted { .. }));
    assert_eq!(claim().await, Claim::InFlight);
    let lease = async || world.store().lease_approval(ask.team, ask.approval).await.expect("nothing fails");
    assert_eq!(lease().await, Leased::Taken { fence: 1 });
    set_back(world).await;
    set_back_to(world, APPROVAL_LEASE_MS).await;
    assert!(matches!(claim().await, Claim::Granted { .. }));
    assert_eq!(lease().await, Leased::Taken { fence: 2 });
    // They are held again, for as long.
    assert_eq!(claim().await, Claim::InFlight);
    assert!(matches!(lease().await, Leased::Held { .. }));
}
