//! The workers: loops that lease launch jobs and run them to completion, until the instance stops.
//!
//! Every step is safe to repeat, and a worker may die anywhere: its job comes back when the lease runs out. One that is
//! told to stop takes no more jobs; what it holds it finishes if there is time, and lets go of otherwise.
//!
//! A worker that loses its lease, or cannot renew it in time, ends its deploy: the next one begins the same deploy again,
//! and the two must not overlap.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::task::JoinSet;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::{
    deploy::Cancel,
    idle::Idle,
    stop::{Phase, Stop},
    wakeups::Wakeups,
};
use countersign::{
    service::{Held, Terms, Timer, Worked, acquire, release, run_to_completion},
    store::{Clock, Lease, Store},
};

/// How many workers there are, and how they hold their jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerSettings {
    /// How many jobs are seen through at a time.
    pub count: usize,
    /// How long a lease is asked for: how late a job comes back when its instance was killed.
    pub lease: Duration,
    /// The longest pause between two looks for a job of another instance.
    pub poll: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self { count: 4, lease: Duration::from_secs(30), poll: Duration::from_secs(1) }
    }
}

/// A worker, with all that it works with.
pub struct Worker<S, D> {
    /// Where the jobs are.
    pub store: Arc<S>,
    /// What runs them.
    pub deployer: Arc<D>,
    /// The instance's clock.
    pub clock: Arc<dyn Clock>,
    /// What wakes it.
    pub wakeups: Arc<Wakeups>,
    /// How it works.
    pub settings: WorkerSettings,
    /// What it and its like hold.
    pub held: Arc<HeldHere>,
    /// What ends it.
    pub stop: Stop,
}

impl<S, D> Clone for Worker<S, D> {
    fn clone(&self) -> Self {
        let Self { store, deployer, clock, wakeups, settings, held, stop } = self;
        Self {
            store: Arc::clone(store),
            deployer: Arc::clone(deployer),
            clock: Arc::clone(clock),
            wakeups: Arc::clone(wakeups),
            settings: *settings,
            held: Arc::clone(held),
            stop: stop.clone(),
        }
    }
}

impl<S: Store + 'static, D: Cancel + 'static> Worker<S, D> {
    /// As many workers like this one as its settings say, to the end of the last one.
    pub async fn run_all(self) {
        let mut workers = JoinSet::new();
        for _ in 0..self.settings.count {
            workers.spawn(self.clone().run());
        }
        while let Some(ended) = workers.join_next().await {
            if ended.is_err() && !self.stop.reached(Phase::Draining) {
                error!("a worker panicked; another one takes its place");
                workers.spawn(self.clone().run());
            }
        }
    }

    async fn run(self) {
        let mut idle = Idle::up_to(self.settings.poll);
        while !self.stop.reached(Phase::Draining) {
            match acquire(&*self.store, self.terms()).await {
                Ok(Some(held)) => {
                    idle.reset();
                    self.held.begin(&held.lease);
                    self.hold(&held).await;
                    self.held.end(&held.lease);
                }
                Ok(None) => idle.wait(&self.wakeups.jobs, &self.stop).await,
                Err(error) => {
                    warn!(%error, "no job could be leased");
                    idle.wait(&self.wakeups.jobs, &self.stop).await;
                }
            }
        }
    }

    /// Sees a job through, or lets go of it when the instance ends.
    async fn hold(&self, held: &Held) {
        let lease = &held.lease;
        let Lease { approval, fence, .. } = lease;
        info!(%approval, fence, "a launch job is leased");
        let worked = tokio::select! {
            worked = run_to_completion(held, &*self.store, &*self.deployer, self.terms(), &Tokio) => worked,
            () = self.stop.wait_for(Phase::Ending) => return self.let_go(lease).await,
        };
        match worked {
            Ok(Worked::Finished(ended)) => info!(%approval, fence, ?ended, "a deploy has ended"),
            Ok(Worked::LeaseLost) => {
                warn!(%approval, fence, "the job is no longer this worker's");
                self.end_deploy(lease).await;
            }
            Ok(Worked::Nothing) => {}
            Err(error) => {
                warn!(%approval, fence, %error, "the store failed for too long: the job comes back when its lease runs out");
                self.end_deploy(lease).await;
            }
        }
    }

    /// The job's next holder starts the deploy again; on this instance it would join the deploy that is still running.
    async fn end_deploy(&self, lease: &Lease) {
        if self.held.is_latest(lease) {
            self.deployer.cancel(lease.approval).await;
        }
    }

    /// Ends the deploy before it returns the lease, so that the next holder's deploy does not overlap with it.
    async fn let_go(&self, lease: &Lease) {
        let approval = lease.approval;
        self.deployer.cancel(approval).await;
        match release(lease, &*self.store).await {
            Ok(true) => info!(%approval, "the launch job is given back, for the next instance"),
            Ok(false) => info!(%approval, "another worker has the job already"),
            Err(error) => warn!(%approval, %error, "the job comes back when its lease runs out"),
        }
    }

    fn terms(&self) -> Terms<'_> {
        let lease_ms = u64::try_from(self.settings.lease.as_millis()).unwrap_or(u64::MAX);
        Terms { clock: &*self.clock, lease_ms }
    }
}

/// The jobs that the workers of one instance hold, each with its latest fencing number.
#[derive(Debug, Default)]
pub struct HeldHere(Mutex<BTreeMap<Uuid, u64>>);

impl HeldHere {
    fn begin(&self, lease: &Lease) {
        let mut held = self.held();
        let fence = held.entry(lease.approval).or_default();
        *fence = lease.fence.max(*fence);
    }

    /// Whether no other worker of this instance has leased the job since.
    fn is_latest(&self, lease: &Lease) -> bool {
        self.held().get(&lease.approval).is_none_or(|fence| *fence <= lease.fence)
    }

    fn end(&self, lease: &Lease) {
        let mut held = self.held();
        if held.get(&lease.approval) == Some(&lease.fence) {
            held.remove(&lease.approval);
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Uuid, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The runtime's time.
struct Tokio;

impl Timer for Tokio {
    async fn pause(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    async fn within<T: Send>(&self, ms: u64, work: impl Future<Output = T> + Send) -> Option<T> {
        tokio::time::timeout(Duration::from_millis(ms), work).await.ok()
    }
}
