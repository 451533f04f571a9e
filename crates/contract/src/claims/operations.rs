//! The platform's own operations: notifications, idempotency keys, the output of deploys.

use countersign::{
    protocol::Digest,
    store::{Claim, DeployLog, Notice, NoticeState, Operations, StoreError, Verdict},
};
use uuid::Uuid;

use crate::world::{STRANGERS, TEAM, UNKNOWN, World, later};

const REQUEST: Digest = Digest([1; 32]);
const OTHER: Digest = Digest([2; 32]);

async fn lease(world: &World, lease_ms: u64) -> Option<Notice> {
    world.store().lease_notice(lease_ms).await.expect("nothing fails")
}

async fn settle(world: &World, notice: &Notice, state: NoticeState) -> bool {
    world.store().settle_notice(notice, state).await.expect("nothing fails")
}

/// Granted, until `ms` after the beginning.
fn granted(ms: u64) -> Claim {
    Claim::Granted { until: later(ms) }
}

/// Releases the claim that ends `until` after the beginning.
async fn release(world: &World, team: Uuid, until: u64, keep: bool) {
    world.store().release_key(team, "key", later(until), keep).await.expect("nothing fails");
}

async fn claim(world: &World, team: Uuid, request: Digest, lease_ms: u64) -> Claim {
    world.store().claim_key(team, "key", request, lease_ms).await.expect("nothing fails")
}

pub(super) async fn a_notice_is_leased_once_and_comes_back_when_the_lease_runs_out(world: &World) {
    assert_eq!(lease(world, 100).await, None);
    let record = world.requested(&world.ask()).await;
    let first = lease(world, 100).await.expect("one is due");
    assert_eq!((&first.record, first.attempts, first.now), (&record, 0, later(0)));
    assert_eq!(lease(world, 100).await, None);
    world.backend.set_clock(later(99)).await;
    assert_eq!(lease(world, 200).await, None);
    world.backend.set_clock(later(100)).await;
    let second = lease(world, 100).await.expect("the lease has run out");
    assert_eq!((&second.record, second.attempts, second.now), (&record, 1, later(100)));
    assert!(second.fence > first.fence);
    assert!(settle(world, &second, NoticeState::Done).await);
    world.backend.set_clock(later(10_000)).await;
    assert_eq!(lease(world, 20_000).await, None, "what is sent is sent");
}

pub(super) async fn a_notice_that_failed_is_due_again_when_it_was_said(world: &World) {
    world.requested(&world.ask()).await;
    let failed = lease(world, 100).await.expect("one is due");
    assert!(settle(world, &failed, NoticeState::Due { after_ms: 500 }).await);
    world.backend.set_clock(later(499)).await;
    assert_eq!(lease(world, 900).await, None);
    world.backend.set_clock(later(500)).await;
    assert_eq!(lease(world, 900).await.expect("it is due").attempts, 1);
}

pub(super) async fn a_stale_notice_settles_nothing(world: &World) {
    world.requested(&world.ask()).await;
    let stale = lease(world, 100).await.expect("one is due");
    world.backend.set_clock(later(100)).await;
    let fresh = lease(world, 200).await.expect("the lease has run out");
    assert!(!settle(world, &stale, NoticeState::Done).await);
    assert!(!settle(world, &stale, NoticeState::Due { after_ms: 0 }).await);
    assert_eq!(lease(world, 300).await, None, "it is still leased");
    assert!(settle(world, &fresh, NoticeState::Done).await);
    assert!(!settle(world, &fresh, NoticeState::Due { after_ms: 0 }).await, "what is done is done");
}

pub(super) async fn notices_of_what_is_decided_are_done(world: &World) {
    let (first, second) = (world.requested(&world.ask()).await, world.requested(&world.ask()).await);
    let sent = lease(world, 100).await.expect("one is due");
    assert_eq!(sent.record.approval.id, first.approval.id);
    world.operator(second.approval.id, Verdict::Reject).await.expect("it is pending");
    assert_eq!(lease(world, 100).await, None, "nobody waits for it");
    world.operator(first.approval.id, Verdict::Approve).await.expect("it is pending");
    world.backend.set_clock(later(100)).await;
    assert_eq!(lease(world, 200).await, None, "nobody waits for that one any more");
}

pub(super) async fn notices_go_out_oldest_first(world: &World) {
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.push(world.requested(&world.ask()).await.approval.id);
    }
    let mut sent = Vec::new();
    while let Some(notice) = lease(world, 100).await {
        sent.push(notice.record.approval.id);
    }
    assert_eq!(sent, asked);
}

pub(super) async fn a_key_is_one_requests_until_it_is_released_or_runs_out(world: &World) {
    assert_eq!(claim(world, TEAM, REQUEST, 100).await, granted(100));
    assert_eq!(claim(world, TEAM, REQUEST, 100).await, Claim::InFlight);
    assert_eq!(claim(world, TEAM, OTHER, 100).await, Claim::OtherRequest);
    world.backend.set_clock(later(99)).await;
    assert_eq!(claim(world, TEAM, REQUEST, 100).await, Claim::InFlight);
    world.backend.set_clock(later(100)).await;
    assert_eq!(claim(world, TEAM, REQUEST, 100).await, granted(200), "it has run out");
    release(world, TEAM, 200, false).await;
    assert_eq!(claim(world, TEAM, OTHER, 100).await, granted(200), "as if it had never been used");
    for keep in [false, true] {
        world.store().release_key(TEAM, "unknown", later(200), keep).await.expect("nothing fails");
    }
}

pub(super) async fn a_key_that_is_kept_stays_its_requests(world: &World) {
    assert_eq!(claim(world, TEAM, REQUEST, 100).await, granted(100));
    release(world, TEAM, 100, true).await;
    assert_eq!(claim(world, TEAM, OTHER, 100).await, Claim::OtherRequest);
    world.backend.set_clock(later(10_000)).await;
    assert_eq!(claim(world, TEAM, OTHER, 100).await, Claim::OtherRequest);
    assert_eq!(claim(world, TEAM, REQUEST, 100).await, granted(10_100), "to be told the same again");
}

pub(super) async fn a_key_is_released_only_by_its_holder(world: &World) {
    for (begins, keep) in [(0, false), (10_000, true)] {
        world.backend.set_clock(later(begins)).await;
        assert_eq!(claim(world, TEAM, REQUEST, 100).await, granted(begins + 100));
        world.backend.set_clock(later(begins + 100)).await;
        assert_eq!(
            claim(world, TEAM, REQUEST, 100).await,
            granted(begins + 200),
            "the first one slept through its time"
        );
        release(world, TEAM, begins + 100, keep).await;
        assert_eq!(claim(world, TEAM, REQUEST, 100).await, Claim::InFlight, "it is the next one's");
        release(world, TEAM, begins + 200, true).await;
        release(world, TEAM, begins + 200, false).await;
        assert_eq!(
            claim(world, TEAM, OTHER, 100).await,
            Claim::OtherRequest,
            "what is kept is nobody's to release"
        );
        // Late, but no other claim has been made meanwhile.
        assert_eq!(claim(world, TEAM, REQUEST, 100).await, granted(begins + 200));
        world.backend.set_clock(later(begins + 900)).await;
        release(world, TEAM, begins + 200, false).await;
        assert_eq!(claim(world, TEAM, OTHER, 100).await, granted(begins + 1_000));
        release(world, TEAM, begins + 1_000, false).await;
    }
}

pub(super) async fn a_key_is_a_teams_own(world: &World) {
    assert_eq!(claim(world, TEAM, REQUEST, 100).await, granted(100));
    assert_eq!(claim(world, STRANGERS, OTHER, 100).await, granted(100));
    release(world, STRANGERS, 100, false).await;
    assert_eq!(claim(world, TEAM, REQUEST, 100).await, Claim::InFlight);
}

/// Longer than a database's largest number.
pub(super) async fn what_is_held_for_ever_is_held(world: &World) {
    assert!(matches!(claim(world, TEAM, REQUEST, u64::MAX).await, Claim::Granted { .. }));
    world.requested(&world.ask()).await;
    assert!(lease(world, u64::MAX).await.is_some());
    world.backend.set_clock(later(1 << 40)).await;
    assert_eq!(claim(world, TEAM, REQUEST, 100).await, Claim::InFlight);
    assert_eq!(lease(world, 100).await, None);
}

pub(super) async fn deploy_logs_are_kept_in_their_order(world: &World) {
    let ask = world.approved().await;
    let approval = ask.approval;
    let log = |ended, exit_code, output: &str| DeployLog {
        approval,
        ended_at: later(ended),
        exit_code,
        output: output.to_owned(),
    };
    let logs = [log(9, None, ""), log(3, Some(1), "no space left\n"), log(5, Some(0), "up ✓")];
    for log in &logs {
        world.store().log_deploy(log.clone()).await.expect("nothing fails");
    }
    assert_eq!(world.store().deploy_logs(approval).await, Ok(logs.to_vec()));
    assert_eq!(world.store().deploy_logs(UNKNOWN).await, Ok(Vec::new()));
    let of_nothing = DeployLog { approval: UNKNOWN, ..logs[0].clone() };
    assert_eq!(world.store().log_deploy(of_nothing).await, Err(StoreError::not_applied("any cause")));
}

pub(super) async fn the_store_is_ready(world: &World) {
    assert_eq!(world.store().is_ready().await, Ok(()));
}
