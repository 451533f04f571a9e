//! Leases that are lost or cannot be renewed: what was begun under them is ended, unless the instance goes on with it.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use countersign::{
    protocol::Flow,
    service::Driver,
    store::{JobState, Lease, MemoryStore, Operations, Outbox, StackStatus, StoreError},
};
use countersign_gate::{
    http::Metrics,
    instance::{
        deploy::LocalDeployer,
        stop::{Phase, Stopper},
        system_clock::SystemClock,
        wakeups::Wakeups,
        workers::{Worker, WorkerSettings},
    },
};
use countersign_testkit::Peek;
use tokio::{task::JoinHandle, time::Instant};

use crate::platform::{Platform, TEAM, dry_run, until};

const LEASE: Duration = Duration::from_secs(20);
/// Longer than the test.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// Outcome of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// The store says so.
    Happens,
    /// Another worker holds the job.
    Lost,
    /// The store fails.
    Fails,
    /// No reply.
    Hangs,
}

/// A store with a limited number of leases, of which the first expire immediately.
pub(crate) struct Scripted {
    store: Arc<MemoryStore>,
    renewal: Renewal,
    /// Number of leases that expire immediately.
    over: usize,
    /// Number of leases.
    most: usize,
    leased: AtomicUsize,
}

impl Outbox for Scripted {
    async fn lease_job(&self, _: u64) -> Result<Option<Lease>, StoreError> {
        let leases = self.leased.load(Ordering::SeqCst);
        if leases == self.most {
            return Ok(None);
        }
        let over = leases < self.over;
        let leased = self.store.lease_job(if over { 0 } else { u64::MAX }).await;
        if let Ok(Some(_)) = leased {
            self.leased.fetch_add(1, Ordering::SeqCst);
        }
        leased
    }

    async fn renew_lease(&self, lease: &Lease, _: u64) -> Result<bool, StoreError> {
        match self.renewal {
            Renewal::Happens => self.store.renew_lease(lease, u64::MAX).await,
            Renewal::Lost => Ok(false),
            Renewal::Fails => Err(StoreError::not_applied("injected")),
            Renewal::Hangs => pending().await,
        }
    }

    async fn finish_job(&self, lease: &Lease, ended: StackStatus) -> Result<bool, StoreError> {
        self.store.finish_job(lease, ended).await
    }

    countersign_models::settles_pass_through!(store);
}

pub(crate) struct Running {
    store: Arc<Scripted>,
    deployer: Arc<LocalDeployer<MemoryStore>>,
    wakeups: Arc<Wakeups>,
    stopper: Stopper,
    workers: JoinHandle<()>,
}

/// Starts `count` workers on this store, with deploys of this duration.
pub(crate) fn start(
    platform: &Platform,
    store: Scripted,
    takes: Duration,
    count: usize,
    metrics: &Metrics,
) -> Running {
    let (stopper, wakeups, store) = (Stopper::default(), Arc::new(Wakeups::default()), Arc::new(store));
    let stop = stopper.subscribe();
    let deployer = LocalDeployer::new(
        platform.store.clone(),
        Arc::new(SystemClock),
        dry_run(takes),
        stop.clone(),
        metrics.clone(),
    );
    let deployer = Arc::new(deployer);
    let worker = Worker {
        store: store.clone(),
        deployer: deployer.clone(),
        clock: Arc::new(SystemClock),
        wakeups: wakeups.clone(),
        settings: WorkerSettings { count, lease: LEASE, poll: Duration::from_millis(100) },
        held: Arc::default(),
        health: Arc::default(),
        metrics: metrics.clone(),
        stop,
    };
    Running { store, deployer, wakeups, stopper, workers: tokio::spawn(worker.run_all()) }
}

impl Running {
    /// A job, written by a promotion.
    pub(crate) async fn promote(&self, platform: &Platform) -> uuid::Uuid {
        let ask = platform.approved().await;
        let digest = platform.store.digest(&ask).expect("the team is there");
        Driver::new(&Flow::atomic_commit(), &*platform.store, &*self.deployer)
            .expect("it is supported")
            .promote(ask.approval, &ask, digest)
            .await;
        self.wakeups.wake_workers();
        ask.approval
    }

    /// Waits for this number of leases.
    async fn leased(&self, leases: usize) {
        until(|| (self.store.leased.load(Ordering::SeqCst) >= leases).then_some(())).await;
    }

    pub(crate) async fn stop(self) {
        self.stopper.advance(Phase::Ending);
        self.workers.await.expect("it does not panic");
    }
}

pub(crate) fn scripted(platform: &Platform, renewal: Renewal, over: usize, most: usize) -> Scripted {
    Scripted { store: platform.store.clone(), renewal, over, most, leased: AtomicUsize::new(0) }
}

#[tokio::test(start_paused = true)]
async fn a_deploy_whose_lease_is_lost_or_cannot_be_renewed_is_ended() {
    for renewal in [Renewal::Lost, Renewal::Fails, Renewal::Hangs] {
        let platform = Platform::new();
        let running = start(&platform, scripted(&platform, renewal, 0, 1), FOR_EVER, 1, &Metrics::new());
        let approval = running.promote(&platform).await;
        running.leased(1).await;
        assert!(!running.deployer.quiet_within(Duration::ZERO).await, "{renewal:?}: it has begun");
        // The last tenth is for the deploy to end in.
        let ended = running.deployer.quiet_within(LEASE * 19 / 20).await;
        assert!(ended, "{renewal:?}: it has ended before the lease");
        // No end is recorded: the next holder of the job repeats the deploy.
        assert_eq!(platform.store.deploy_logs(approval).await, Ok(vec![]), "{renewal:?}");
        assert_eq!(platform.target(), Some(StackStatus::Building), "{renewal:?}");
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_renewed_lets_its_deploy_run_on() {
    let platform = Platform::new();
    let running =
        start(&platform, scripted(&platform, Renewal::Happens, 0, 1), LEASE * 5 / 2, 1, &Metrics::new());
    running.promote(&platform).await;
    assert_eq!(platform.settled().await, StackStatus::Healthy);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deploy_that_another_worker_of_the_instance_goes_on_with_is_left_alone() {
    let platform = Platform::new();
    let takes = LEASE * 5 / 2;
    // The first lease expires immediately, and the second worker acquires the next one.
    let metrics = Metrics::new();
    let running = start(&platform, scripted(&platform, Renewal::Happens, 1, 2), takes, 2, &metrics);
    let begun = Instant::now();
    let approval = running.promote(&platform).await;
    running.leased(2).await;
    assert_eq!(platform.settled().await, StackStatus::Healthy);
    assert_eq!(platform.store.job(TEAM, approval).expect("a job").state, JobState::Done);
    assert!(begun.elapsed() < takes + LEASE / 4, "it was begun once: {:?}", begun.elapsed());
    assert!(metrics.text().contains("\nlaunches_total 1\n"), "it was begun once: {}", metrics.text());
    running.stop().await;
}
