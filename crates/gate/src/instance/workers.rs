//! The workers: loops that lease launch jobs and run them to completion, until the instance stops.
//!
//! Every step is safe to repeat, and a worker may die anywhere: its job comes back when the lease expires. One that is
//! told to stop takes no more jobs; what it holds it finishes if there is time, and lets go of otherwise.
//!
//! A worker that loses its lease, or cannot renew it in time, ends its deploy: the next one begins the same deploy again,
//! and the two must not overlap.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::runtime::Handle;
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    deploy::Cancel,
    health::{Health, Pulse},
    idle::Idle,
    stop::{Phase, Stop},
    supervisor::Supervised,
    wakeups::Wakeups,
};
use crate::http::Metrics;
use countersign::{
    service::{Held, Terms, Timer, Worked, acquire, release, run_to_completion},
    store::{Clock, Lease, Outbox},
};

/// Number of workers, and their leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerSettings {
    /// Number of concurrent jobs.
    pub count: usize,
    /// Duration of a lease: the delay of a job after its instance has crashed.
    pub lease: Duration,
    /// The longest pause between two looks for a job of another instance.
    pub poll: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self { count: 4, lease: Duration::from_secs(30), poll: Duration::from_secs(1) }
    }
}

impl WorkerSettings {
    /// The lease under which a deploy goes on while the store is out for as long as the deploy may take.
    ///
    /// A worker renews its lease when a tenth of it is over, asks again after a twentieth, and ends the deploy in the last
    /// tenth: three quarters are left for an outage. It is also the time after which the job of a killed instance
    /// comes back.
    pub fn lease_for(deploy: Duration) -> Duration {
        (deploy * 3 / 2).max(Self::default().lease)
    }

    /// The shortest lease with a store whose statements may take this long: eight tenths of it are for a renewal.
    pub fn shortest_lease(statement: Duration) -> Duration {
        (statement * 5 / 4).max(Duration::from_secs(1))
    }

    /// The time that a deploy may take to clean up when it is ended: 2 s, or less where the last tenth of the lease is
    /// too short for it. A deploy that outlives its lease overlaps with the next one.
    pub fn time_to_clean_up(lease: Duration) -> Duration {
        Duration::from_secs(2).min(lease / 15)
    }
}

/// The longest that a store may take to answer whether there is work.
pub(super) const LONGEST_LOOK: Duration = Duration::from_secs(30);

/// A worker, with all that it works with.
pub struct Worker<S, D> {
    /// The store of the jobs.
    pub store: Arc<S>,
    /// The deployer.
    pub deployer: Arc<D>,
    /// The clock by which it measures what is left of a lease.
    pub clock: Arc<dyn Clock>,
    /// Wakes it.
    pub wakeups: Arc<Wakeups>,
    /// Its settings.
    pub settings: WorkerSettings,
    /// Leases held by this instance's workers.
    pub held: Arc<HeldHere>,
    /// Its health report.
    pub health: Arc<Health>,
    /// The counters.
    pub metrics: Metrics,
    /// Ends it.
    pub stop: Stop,
}

impl<S, D> Clone for Worker<S, D> {
    fn clone(&self) -> Self {
        let Self { store, deployer, clock, wakeups, settings, held, health, metrics, stop } = self;
        Self {
            store: Arc::clone(store),
            deployer: Arc::clone(deployer),
            clock: Arc::clone(clock),
            wakeups: Arc::clone(wakeups),
            settings: *settings,
            held: Arc::clone(held),
            health: Arc::clone(health),
            metrics: metrics.clone(),
            stop: stop.clone(),
        }
    }
}

impl<S: Outbox + 'static, D: Cancel + 'static> Worker<S, D> {
    /// Runs as many workers as its settings say, until the last one ends.
    pub fn run_all(self) -> impl Future<Output = ()> + Send {
        let supervised = Supervised {
            kind: "worker",
            count: self.settings.count,
            patience: self.settings.poll * 2 + LONGEST_LOOK,
            health: Arc::clone(&self.health),
            stop: self.stop.clone(),
        };
        supervised.run(move |pulse| self.clone().run(pulse))
    }

    async fn run(self, pulse: Pulse) {
        let mut idle = Idle::up_to(self.settings.poll);
        while !self.stop.reached(Phase::Draining) {
            match acquire(&*self.store, self.terms()).await {
                Ok(Some(held)) => {
                    pulse.looked(true);
                    idle.reset();
                    let holding = self.held.begin(&held.lease);
                    let mut unwatched =
                        Unwatched { deployer: Some(&self.deployer), approval: held.lease.approval };
                    self.hold(&held).await;
                    unwatched.deployer = None;
                    drop(holding);
                    pulse.looked(false);
                }
                Ok(None) => {
                    pulse.looked(false);
                    idle.wait(&self.wakeups.jobs, &self.stop).await;
                }
                Err(error) => {
                    self.metrics.job("store_failed");
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
        self.metrics.job("leased");
        let worked = tokio::select! {
            worked = run_to_completion(held, &*self.store, &*self.deployer, self.terms(), &Tokio) => worked,
            () = self.stop.wait_for(Phase::Ending) => return self.let_go(lease).await,
        };
        match worked {
            Ok(Worked::Finished(ended)) => {
                self.metrics.job("finished");
                info!(%approval, fence, ?ended, "a deploy has ended");
            }
            Ok(Worked::LeaseLost) => {
                self.metrics.job("lease_lost");
                warn!(%approval, fence, "the job is no longer this worker's");
                self.end_deploy(lease).await;
            }
            Ok(Worked::Nothing) => {}
            Err(error) => {
                self.metrics.job("store_failed");
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
            Ok(true) => {
                self.metrics.job("given_back");
                info!(%approval, "the launch job is given back, for the next instance");
            }
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

/// A deploy that no worker watches any more when this is dropped by a panic: it is ended, as after a lost lease, because
/// the job's next holder begins it again.
struct Unwatched<'a, D: Cancel + 'static> {
    deployer: Option<&'a Arc<D>>,
    approval: Uuid,
}

impl<D: Cancel + 'static> Drop for Unwatched<'_, D> {
    fn drop(&mut self) {
        if let (Some(deployer), Ok(runtime)) = (self.deployer, Handle::try_current()) {
            let (deployer, approval) = (Arc::clone(deployer), self.approval);
            runtime.spawn(async move { deployer.cancel(approval).await });
        }
    }
}

/// A job that a worker holds, until this is dropped.
struct Holding<'a> {
    held: &'a HeldHere,
    approval: Uuid,
    fence: u64,
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        let mut held = self.held.held();
        if held.get(&self.approval) == Some(&self.fence) {
            held.remove(&self.approval);
        }
    }
}

impl HeldHere {
    fn begin(&self, lease: &Lease) -> Holding<'_> {
        let Lease { approval, fence, .. } = *lease;
        let mut held = self.held();
        let latest = held.entry(approval).or_default();
        *latest = fence.max(*latest);
        Holding { held: self, approval, fence }
    }

    /// True unless another worker of this instance has leased the job since.
    fn is_latest(&self, lease: &Lease) -> bool {
        self.held().get(&lease.approval).is_none_or(|fence| *fence <= lease.fence)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deploy_that_is_ended_is_gone_before_its_lease() {
        for lease in [1_000, 10_000, 30_000, 1_000_000].map(Duration::from_millis) {
            assert!(WorkerSettings::time_to_clean_up(lease) < lease / 10, "{lease:?}");
        }
        assert_eq!(WorkerSettings::time_to_clean_up(Duration::from_secs(30)), Duration::from_secs(2));
    }
}
