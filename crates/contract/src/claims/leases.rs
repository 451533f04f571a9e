//! Leases of approvals: one at a time, given back or run out, and fenced at the consume.

use std::sync::Arc;

use countersign::{
    protocol::{
        Change, Commit, Consume, Digest, Guards, Outcome, Refusal, RefusalKind, StepAction, Timestamp,
    },
    store::{APPROVAL_LEASE_MS, Approvals, Committed, Leased, Leases},
};
use countersign_models::fixtures::UseRequest;

use super::races::{EIGHT, ROUNDS, concurrently};
use crate::world::{STRANGERS, TEAM, UNKNOWN, World, flow, later, succeeded};

const FIRST: Leased = Leased::Taken { fence: 1 };
const SECOND: Leased = Leased::Taken { fence: 2 };
const GUARDED: Guards = Guards { lease: true, ..Guards::ALL };

async fn lease(world: &World, ask: &UseRequest) -> Leased {
    world.store().lease_approval(ask.team, ask.approval).await.expect("nothing fails")
}

async fn release(world: &World, ask: &UseRequest, fence: u64) {
    world.store().release_approval(ask.team, ask.approval, fence).await.expect("nothing fails");
}

/// Only a consume under the guard, by a promotion whose lease has this number.
async fn consume(world: &World, ask: &UseRequest, fence: Option<u64>) -> Committed {
    consume_with(world, ask, world.source_digest(ask).await, fence).await
}

/// As [`consume`], by a promotion that holds this digest.
async fn consume_with(world: &World, ask: &UseRequest, digest: Digest, fence: Option<u64>) -> Committed {
    let step = StepAction::Consume(Consume::new(GUARDED)).into();
    let approval = ask.approval;
    let ops = [Change::consume(GUARDED)];
    let commit = Commit { approval, digest, target: None, fence, uses_seen: 0, ops: &ops };
    world.store().commit(ask, &step, commit).await.expect("nothing fails")
}

pub(super) async fn a_lease_is_exclusive_until_it_expires_or_is_released(world: &World) {
    let ask = world.approved().await;
    let until = later(APPROVAL_LEASE_MS);
    assert_eq!(lease(world, &ask).await, FIRST);
    assert_eq!(lease(world, &ask).await, Leased::Held { until });
    let other = world.approved().await;
    assert_eq!(lease(world, &other).await, FIRST, "every approval has its own");
    world.backend.set_clock(Timestamp(until.0 - 1)).await;
    assert_eq!(lease(world, &ask).await, Leased::Held { until });
    world.backend.set_clock(until).await;
    assert_eq!(lease(world, &ask).await, SECOND);
    release(world, &ask, 1).await;
    assert!(matches!(lease(world, &ask).await, Leased::Held { .. }), "who was overtaken gives nothing back");
    release(world, &ask, 2).await;
    assert_eq!(lease(world, &ask).await, Leased::Taken { fence: 3 });
    let mut unknown = ask;
    unknown.approval = UNKNOWN;
    assert_eq!(lease(world, &unknown).await, Leased::Absent);
    release(world, &unknown, 1).await;
}

pub(super) async fn an_approvals_lease_is_its_teams_own(world: &World) {
    let ask = world.approved().await;
    let mut foreign = ask.clone();
    foreign.team = STRANGERS;
    assert_eq!(lease(world, &foreign).await, Leased::Absent);
    assert_eq!(lease(world, &ask).await, FIRST, "nobody has taken it");
    release(world, &foreign, 1).await;
    assert!(matches!(lease(world, &ask).await, Leased::Held { .. }), "strangers give nothing back");
}

/// Ownership is checked by other rules: the fence is the same for every team.
pub(super) async fn another_teams_fence_is_the_real_one(world: &World) {
    let ask = world.approved().await;
    let digest = world.source_digest(&ask).await;
    assert_eq!(lease(world, &ask).await, FIRST);
    release(world, &ask, 1).await;
    assert_eq!(lease(world, &ask).await, SECOND);
    let mut foreign = ask;
    foreign.team = STRANGERS;
    assert_eq!(
        world.store().read_approval(foreign.approval, &foreign).await.expect("nothing fails").fence,
        2
    );
    for fence in [None, Some(0), Some(1)] {
        let lost = Committed::NotConsumed(Refusal::LEASE_LOST);
        assert_eq!(consume_with(world, &foreign, digest, fence).await, lost, "{fence:?}");
    }
    let applied = Committed::Applied { target: None };
    assert_eq!(consume_with(world, &foreign, digest, Some(2)).await, applied);
}

pub(super) async fn who_was_overtaken_cannot_consume(world: &World) {
    let ask = world.approved().await;
    assert_eq!(lease(world, &ask).await, FIRST);
    world.backend.set_clock(later(APPROVAL_LEASE_MS)).await;
    assert_eq!(lease(world, &ask).await, SECOND);
    let lost = Committed::NotConsumed(Refusal::LEASE_LOST);
    assert_eq!(consume(world, &ask, Some(1)).await, lost);
    assert_eq!(consume(world, &ask, None).await, lost);
    release(world, &ask, 2).await;
    assert_eq!(consume(world, &ask, Some(1)).await, lost, "to give it back gives it to nobody");
    assert_eq!(consume(world, &ask, Some(2)).await, Committed::Applied { target: None });
    let used = Committed::NotConsumed(Refusal::APPROVAL_ALREADY_EXECUTED);
    assert_eq!(consume(world, &ask, Some(1)).await, used, "the status is looked at first");
}

pub(super) async fn an_expired_lease_is_valid_until_it_is_acquired_again(world: &World) {
    let ask = world.approved().await;
    assert_eq!(lease(world, &ask).await, FIRST);
    world.backend.set_clock(later(APPROVAL_LEASE_MS + 1)).await;
    assert_eq!(consume(world, &ask, Some(1)).await, Committed::Applied { target: None });
}

pub(super) async fn an_overtaken_promotion_leaves_no_trace(world: &World) {
    let flow = flow("atomic-commit-lease");
    let ask = world.approved().await;
    let commit = flow.steps().len() - 1;
    let slow = world.drive_to(&flow, &ask, commit).await;
    world.backend.set_clock(later(APPROVAL_LEASE_MS)).await;
    let next = world.drive_to(&flow, &ask, commit).await;
    let refused = Outcome::Refused { refusal: Refusal::LEASE_LOST, kind: RefusalKind::Conflict };
    assert_eq!(world.finish(slow, &ask).await, refused);
    assert!(world.targets().await.is_empty() && world.backend.job(TEAM, ask.approval).await.is_none());
    assert!(succeeded(&world.finish(next, &ask).await));
}

pub(super) async fn a_lease_is_taken_by_one_of_eight(world: &Arc<World>) {
    for _ in 0..ROUNDS {
        let ask = world.approved().await;
        let leased = concurrently(world, EIGHT, |world, _| {
            let ask = ask.clone();
            async move { lease(&world, &ask).await }
        })
        .await;
        assert_eq!(leased.iter().filter(|leased| **leased == FIRST).count(), 1, "{leased:?}");
        let waits = |leased: &&Leased| matches!(leased, Leased::Held { .. });
        assert_eq!(leased.iter().filter(waits).count(), EIGHT - 1, "{leased:?}");
    }
}
