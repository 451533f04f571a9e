//! Deploys that run on this instance: one run for each key, written down when it has ended, cancelled when it must stop.
//!
//! A deploy that has ended is not run again: its result is in the store's log before it is reported, and the worker that
//! leases the job after a crash finds it there. One that was running when the process was killed *is* run again, under the
//! same key. Launching exactly once needs a command that deduplicates by that key.

mod command;
mod dry_run;
mod plan;
mod run;

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use command::{APPROVAL_ID_VARIABLE, CommandLine, FENCE_VARIABLE, User};
pub use dry_run::DryRun;
pub use plan::{Plan, PlanService, PlanTarget};
pub(crate) use run::own_end;
use tokio::sync::watch;
use tracing::error;
use uuid::Uuid;

use self::run::{Cancelled, Run};
use super::stop::{Phase, Stop};
use crate::http::Metrics;
use countersign::{
    service::{Deployer, Launch},
    store::{Clock, Operations, StackStatus, Store},
};

/// A deployer whose deploys can be called back, by an instance that has to end.
pub trait Cancel: Deployer {
    /// Stops the deploy under this key, if it runs here, and returns once all of it has ended.
    fn cancel(&self, key: Uuid) -> impl Future<Output = ()> + Send;
}

/// Method of deploying.
#[derive(Clone, Debug)]
pub enum DeployMethod {
    /// Simulates a deploy.
    DryRun(DryRun),
    /// A command is run.
    Command(CommandLine),
}

/// Runs deploys on this instance.
pub struct LocalDeployer<S> {
    store: Arc<S>,
    clock: Arc<dyn Clock>,
    method: Arc<DeployMethod>,
    stop: Stop,
    metrics: Metrics,
    runs: Arc<Mutex<Runs>>,
    /// Number of running deploys, including those without a key.
    running: watch::Sender<usize>,
}

/// The deploys under a key that run or have ended here.
#[derive(Debug, Default)]
struct Runs {
    by_key: BTreeMap<Uuid, Known>,
    /// Ended deploys, oldest first.
    ended: VecDeque<Uuid>,
}

/// State of a deploy.
#[derive(Clone, Debug)]
struct Known {
    /// Empty until it has ended, and for ever after a cancellation.
    end: watch::Receiver<Option<StackStatus>>,
    cancelled: watch::Sender<bool>,
}

impl<S> LocalDeployer<S> {
    /// Of an instance with this store, that ends by `stop` and counts here.
    pub fn new(
        store: Arc<S>,
        clock: Arc<dyn Clock>,
        method: DeployMethod,
        stop: Stop,
        metrics: Metrics,
    ) -> Self {
        Self {
            store,
            clock,
            method: Arc::new(method),
            stop,
            metrics,
            runs: Arc::default(),
            running: watch::Sender::new(0),
        }
    }

    /// Waits until no deploy runs, at most for `patience`. Returns whether none runs.
    pub async fn quiet_within(&self, patience: Duration) -> bool {
        let mut running = self.running.subscribe();
        let quiet = running.wait_for(|running| *running == 0);
        tokio::time::timeout(patience, quiet).await.is_ok()
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        locked(&self.runs)
    }

    fn known(&self, key: Uuid) -> Option<Known> {
        self.runs().by_key.get(&key).cloned()
    }
}

impl<S: Store + Operations + 'static> LocalDeployer<S> {
    /// A run to its end, which comes when it is cancelled or the instance ends, if not by itself.
    fn begin(
        &self,
        launch: Launch,
        cancelled: watch::Sender<bool>,
    ) -> impl Future<Output = Option<StackStatus>> + Send + use<S> {
        let run = Run {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            method: Arc::clone(&self.method),
            launch,
            cancelled: Cancelled(cancelled.subscribe()),
            metrics: self.metrics.clone(),
        };
        let (count, stop) = (Count::one_more(&self.running), self.stop.clone());
        async move {
            let _count = count;
            let mut run = std::pin::pin!(run.until_ended());
            tokio::select! {
                ended = &mut run => return ended,
                () = stop.wait_for(Phase::Ending) => {}
            }
            cancelled.send_replace(true);
            run.await
        }
    }
}

impl<S: Store + Operations + 'static> Deployer for LocalDeployer<S> {
    async fn launch(&self, launch: &Launch) {
        if self.stop.reached(Phase::Ending) {
            return;
        }
        let cancelled = watch::Sender::new(false);
        let Some(key) = launch.key else {
            tokio::spawn(self.begin(*launch, cancelled));
            return;
        };
        let mut runs = self.runs();
        if runs.by_key.contains_key(&key) {
            return;
        }
        let (told, end) = watch::channel(None);
        let run = tokio::spawn(self.begin(*launch, cancelled.clone()));
        runs.by_key.insert(key, Known { end, cancelled });
        drop(runs);
        let runs = Arc::clone(&self.runs);
        tokio::spawn(async move {
            // A deploy that panicked has not ended: it is forgotten, and its job's holder launches it again.
            let ended = run.await.unwrap_or_else(|panic| {
                error!(approval = %key, %panic, "a deploy has panicked, and begins again");
                None
            });
            locked(&runs).has_ended(key, ended);
            told.send_replace(ended);
        });
    }

    async fn outcome(&self, launch: &Launch, patience_ms: u64) -> Option<StackStatus> {
        let patience = Duration::from_millis(patience_ms);
        let Some(mut known) = launch.key.and_then(|key| self.known(key)) else {
            // Unknown here: the caller polls again.
            tokio::time::sleep(patience).await;
            return None;
        };
        let ended = known.end.wait_for(Option::is_some);
        let ended = tokio::time::timeout(patience, ended).await;
        ended.ok()?.ok().and_then(|ended| *ended)
    }
}

impl<S: Store + Operations + 'static> Cancel for LocalDeployer<S> {
    async fn cancel(&self, key: Uuid) {
        let Some(mut known) = self.known(key) else { return };
        known.cancelled.send_replace(true);
        // The sender is dropped when the deploy ends.
        while known.end.changed().await.is_ok() {}
    }
}

impl Runs {
    /// Number of ended deploys to remember. The store's log has the others.
    const REMEMBERED: usize = 1024;

    fn has_ended(&mut self, key: Uuid, ended: Option<StackStatus>) {
        if ended.is_none() {
            self.by_key.remove(&key);
            return;
        }
        self.ended.push_back(key);
        if self.ended.len() > Self::REMEMBERED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.by_key.remove(&oldest);
        }
    }
}

/// One of those that run, until it is dropped.
struct Count(watch::Sender<usize>);

impl Count {
    fn one_more(running: &watch::Sender<usize>) -> Self {
        running.send_modify(|running| *running += 1);
        Self(running.clone())
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
