//! The worker loops: they see jobs through, and let go of them when they are stopped.

use std::time::Duration;

use countersign::{
    protocol::Flow,
    store::{JobState, Operations, Outbox, StackStatus},
};
use countersign_gate::instance::{Instance, Parts, workers::WorkerSettings};
use countersign_testkit::Peek;

use crate::platform::{PATIENCE, Platform, TEAM, dry_run, until};

/// Longer than the test.
const FOR_EVER: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_job_is_seen_through_and_its_end_written_down() {
    let platform = Platform::new();
    let instance = Instance::start(platform.parts(dry_run(Duration::ZERO)));
    let launch = platform.promoted(&Flow::atomic_commit(), &instance).await;
    assert_eq!(platform.settled().await, StackStatus::Healthy);
    assert_eq!(platform.store.job(TEAM, launch.approval).expect("a job").state, JobState::Done);
    let logs = platform.store.deploy_logs(launch.approval).await.expect("it answers");
    assert_eq!(logs.iter().map(|log| log.exit_code).collect::<Vec<_>>(), [Some(0)]);
    instance.stop().await;
}

#[tokio::test]
async fn what_runs_when_an_instance_stops_is_given_back_for_the_next_one() {
    let platform = Platform::new();
    let instance = Instance::start(platform.parts(dry_run(FOR_EVER)));
    let launch = platform.promoted(&Flow::atomic_commit(), &instance).await;
    let leased = || {
        let job = platform.store.job(TEAM, launch.approval)?;
        matches!(job.state, JobState::Leased { .. }).then_some(())
    };
    until(leased).await;
    instance.stop().await;
    // Long before the lease that was asked for would have run out.
    let next = platform.store.lease_job(u64::MAX).await.expect("it answers");
    assert_eq!(next.map(|lease| (lease.approval, lease.fence)), Some((launch.approval, 2)));
    assert_eq!(platform.target(), Some(StackStatus::Building));
    // No deploy has ended, so that the next worker runs it.
    assert_eq!(platform.store.deploy_logs(launch.approval).await, Ok(vec![]));
}

#[tokio::test]
async fn what_ends_while_there_is_time_is_finished_before_an_instance_stops() {
    let platform = Platform::new();
    let parts = Parts { drain: PATIENCE, ..platform.parts(dry_run(Duration::from_millis(50))) };
    let instance = Instance::start(parts);
    let launch = platform.promoted(&Flow::atomic_commit(), &instance).await;
    until(|| (platform.store.job(TEAM, launch.approval)?.state != JobState::Ready).then_some(())).await;
    instance.stop().await;
    assert_eq!(platform.target(), Some(StackStatus::Healthy));
}

#[tokio::test]
async fn a_job_without_a_wakeup_is_found_by_polling() {
    let platform = Platform::new();
    let workers = WorkerSettings { poll: Duration::from_millis(5), ..WorkerSettings::default() };
    let instance = Instance::start(Parts { workers, ..platform.parts(dry_run(Duration::ZERO)) });
    // Another instance takes the request, and rings its own bell.
    let other = Instance::start(Parts {
        workers: WorkerSettings { count: 0, ..workers },
        ..platform.parts(dry_run(FOR_EVER))
    });
    platform.promoted(&Flow::atomic_commit(), &other).await;
    assert_eq!(platform.settled().await, StackStatus::Healthy);
    other.stop().await;
    instance.stop().await;
}
