//! Supervision: after any failure of a loop, executed approvals are launched, links are sent, and the instance
//! recovers.

use std::{sync::Arc, time::Duration};

use countersign::{
    protocol::Flow,
    store::{JobState, MemoryStore, StackStatus},
};
use countersign_gate::instance::{
    Instance, Parts,
    health::{Health, Unwell},
    notify::Retries,
    workers::WorkerSettings,
};
use countersign_testkit::{Break, Breaking, Peek};

use tokio::task::JoinSet;

use crate::platform::{Platform, TEAM, dry_run, until};

/// Longer than half of the lease, so that it is renewed.
const TAKES: Duration = Duration::from_millis(300);
const WORKERS: WorkerSettings =
    WorkerSettings { count: 1, lease: Duration::from_millis(400), poll: Duration::from_millis(5) };

fn start(platform: &Platform, store: &Arc<Breaking<MemoryStore>>) -> Instance<Breaking<MemoryStore>> {
    let parts = platform.parts_on(Arc::clone(store), dry_run(TAKES));
    let retries = Retries { lease: WORKERS.lease, ..parts.retries };
    Instance::start(Parts { workers: WORKERS, retries, ..parts })
}

#[tokio::test]
async fn a_loop_that_panics_or_meets_errors_goes_on_and_nothing_that_was_executed_is_left() {
    let mut breaks = JoinSet::new();
    for call in Breaking::<MemoryStore>::CALLS {
        for how in [Break::Panic, Break::Fail, Break::FailAfterwards] {
            breaks.spawn(goes_on(call, how));
        }
    }
    breaks.join_all().await;
}

/// After a break of this call of the store.
async fn goes_on(call: &'static str, how: Break) {
    let platform = Platform::new();
    let store = Arc::new(Breaking::new(platform.store.clone()));
    // A call that has succeeded is not always repeated.
    store.break_next(call, how, if how == Break::FailAfterwards { 1 } else { 2 });
    let instance = start(&platform, &store);
    let launch = platform.promoted(&Flow::atomic_commit(), &instance).await;
    let approval = launch.approval;
    // A pending one, whose link is sent.
    platform.requested().await;
    instance.wakeups.wake_notifier();
    let done = || {
        let job = platform.store.job(TEAM, approval)?;
        (job.state == JobState::Done && store.left(call) == 0).then_some(())
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), until(done)).await;
    assert!(waited.is_ok(), "{call}, {how:?}: it was executed and is not launched");
    assert_eq!(platform.settled().await, StackStatus::Healthy, "{call}, {how:?}");
    until(|| instance.health.unwell().is_none().then_some(())).await;
    instance.stop().await;
}

#[tokio::test]
async fn an_instance_without_a_loop_is_not_well_and_neither_is_one_whose_store_fails_for_too_long() {
    let platform = Platform::new();
    let store = Arc::new(Breaking::new(platform.store.clone()));
    store.break_next("lease_job", Break::Panic, 1);
    let instance = start(&platform, &store);
    let missing = Unwell::Missing { kind: "worker", running: 0, expected: 1 };
    until(|| (instance.health.unwell() == Some(missing)).then_some(())).await;
    until(|| instance.health.unwell().is_none().then_some(())).await;
    assert_eq!(instance.health.restarts(), 1);
    instance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_too_long_is_noticed() {
    for (call, kind) in [("lease_job", "worker"), ("lease_notice", "notifier"), ("expire_overdue", "sweeper")]
    {
        let platform = Platform::new();
        let store = Arc::new(Breaking::new(platform.store.clone()));
        let instance = start(&platform, &store);
        let health: &Health = &instance.health;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(health.unwell(), None, "there is nothing to do, and it looks for it");
        store.break_next(call, Break::Fail, u32::MAX);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(health.unwell(), Some(Unwell::Stalled { kind }), "{call}");
        store.break_next(call, Break::Fail, 0);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(health.unwell(), None, "{call}");
        instance.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_checks_its_store_when_it_starts_and_each_minute() {
    let platform = Platform::new();
    let store = Arc::new(Breaking::new(platform.store.clone()));
    store.break_next("is_ready", Break::Fail, 10);
    let instance = start(&platform, &store);
    for checks in 1..=3 {
        tokio::time::sleep(Duration::from_secs(if checks == 1 { 1 } else { 60 })).await;
        assert_eq!(store.left("is_ready"), 10 - checks);
    }
    assert_eq!(instance.health.unwell(), None, "a failed check is for the probe to report");
    instance.stop().await;
}
