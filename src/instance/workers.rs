//! The workers: loops that lease launch jobs and see them through, until they are told to stop.
//!
//! Every step is safe to repeat, and a worker may die anywhere: its job comes back when the lease runs out. One that is
//! told to stop takes no more jobs; what it holds it finishes if there is time, and lets go of otherwise.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::{
    bells::Bells,
    deploy::Withdraw,
    idle::Idle,
    stop::{Phase, Stop},
};
use crate::{
    service::{Terms, Worked, give_back, see_through, take},
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
    pub bells: Arc<Bells>,
    /// How it works.
    pub settings: WorkerSettings,
    /// What ends it.
    pub stop: Stop,
}

impl<S, D> Clone for Worker<S, D> {
    fn clone(&self) -> Self {
        let Self { store, deployer, clock, bells, settings, stop } = self;
        Self {
            store: Arc::clone(store),
            deployer: Arc::clone(deployer),
            clock: Arc::clone(clock),
            bells: Arc::clone(bells),
            settings: *settings,
            stop: stop.clone(),
        }
    }
}

impl<S: Store + 'static, D: Withdraw + 'static> Worker<S, D> {
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
            match take(&*self.store, self.terms()).await {
                Ok(Some(lease)) => {
                    idle.reset();
                    self.hold(&lease).await;
                }
                Ok(None) => idle.wait(&self.bells.jobs, &self.stop).await,
                Err(error) => {
                    warn!(%error, "no job could be leased");
                    idle.wait(&self.bells.jobs, &self.stop).await;
                }
            }
        }
    }

    /// Sees a job through, or lets go of it when the instance ends.
    async fn hold(&self, lease: &Lease) {
        let Lease { approval, fence, .. } = lease;
        info!(%approval, fence, "a launch job is leased");
        let worked = tokio::select! {
            worked = see_through(lease, &*self.store, &*self.deployer, self.terms()) => worked,
            () = self.stop.wait_for(Phase::Ending) => return self.let_go(lease).await,
        };
        match worked {
            Ok(Worked::Finished(ended)) => info!(%approval, ?ended, "a deploy has ended"),
            Ok(Worked::LeaseLost) => {
                warn!(%approval, fence, "the lease ran out, and another worker has the job");
            }
            Ok(Worked::Nothing) => {}
            Err(error) => warn!(%approval, %error, "the job comes back when its lease runs out"),
        }
    }

    /// The deploy first, the lease after it: whoever leases the job next must not run into this one's deploy.
    async fn let_go(&self, lease: &Lease) {
        let approval = lease.approval;
        self.deployer.withdraw(approval).await;
        match give_back(lease, &*self.store).await {
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
