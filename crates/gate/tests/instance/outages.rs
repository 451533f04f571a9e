//! A store that is out for a while: a deploy that runs goes on, and its end is written down when the store is back.

use std::{sync::Arc, time::Duration};

use countersign::{
    protocol::Flow,
    store::{Operations, StackStatus},
};
use countersign_gate::instance::{Instance, workers::WorkerSettings};
use countersign_testkit::Breaking;
use tokio::time::sleep;

use crate::platform::{Platform, dry_run};

/// The longest that a deploy may take; these take as long.
const TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Whether a deploy under this lease goes on through an outage that begins and lasts so long, and ends well.
async fn outlasts(lease: Duration, begins: Duration, lasts: Duration) -> bool {
    let platform = Platform::new();
    let store = Arc::new(Breaking::new(platform.store.clone()));
    let mut parts = platform.parts_on(store.clone(), dry_run(TIMEOUT));
    parts.workers = WorkerSettings { count: 1, lease, ..parts.workers };
    let instance = Instance::start(parts);
    let approval = platform.promoted(&Flow::atomic_commit(), &instance).await.approval;
    while instance.deployer.quiet_within(Duration::ZERO).await {
        sleep(Duration::from_millis(1)).await;
    }
    sleep(begins).await;
    store.set_outage(true);
    sleep(lasts).await;
    if instance.deployer.quiet_within(Duration::ZERO).await {
        return false;
    }
    store.set_outage(false);
    while platform.target() == Some(StackStatus::Building) {
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(platform.target(), Some(StackStatus::Healthy));
    assert_eq!(platform.store.deploy_logs(approval).await.expect("it answers").len(), 1);
    true
}

#[tokio::test(start_paused = true)]
async fn an_outage_shorter_than_the_deploys_timeout_does_not_end_it() {
    let lease = WorkerSettings::lease_for(TIMEOUT);
    let shorter = TIMEOUT - Duration::from_secs(1);
    for begins in [0, 1, 45, 90, 600, 899].map(Duration::from_secs) {
        assert!(outlasts(lease, begins, shorter).await, "it begins after {begins:?}");
    }
    let too_short = WorkerSettings::default().lease;
    assert!(
        !outlasts(too_short, Duration::from_secs(1), shorter).await,
        "the check notices a lease that is too short"
    );
}
