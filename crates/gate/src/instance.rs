//! One running instance: the system clock, workers, a deployer and a notifier, next to the server that takes requests.
//!
//! The store is the only thing that instances share. Each of these loops may die at any moment: what it held comes back
//! when its lease expires.

pub mod deploy;
pub mod health;
mod idle;
pub mod notify;
pub mod operators;
pub mod stop;
mod supervisor;
pub mod sweeper;
pub mod system_clock;
pub mod wakeups;
pub mod workers;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::task::JoinSet;
use tracing::{error, info};

use self::{
    deploy::{DeployMethod, LocalDeployer},
    health::Health,
    notify::{Channel, Notifier, Retries},
    operators::Operators,
    stop::{Phase, Stopper},
    sweeper::Sweeper,
    system_clock::Uptime,
    wakeups::Wakeups,
    workers::{Worker, WorkerSettings},
};
use crate::http::Metrics;
use countersign::store::{Clock, Ids, Operations, Store};

/// Parts of an instance.
pub struct Parts<S> {
    /// The store, shared with other instances.
    pub store: Arc<S>,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
    /// The source of ids and tokens.
    pub ids: Arc<dyn Ids>,
    /// Method of deploying.
    pub method: DeployMethod,
    /// Channel for links.
    pub channel: Channel,
    /// The recipients. A replacement applies from the next notification on.
    pub operators: Arc<ArcSwap<Operators>>,
    /// Base URL of its pages for operators.
    pub public_url: String,
    /// Retries of failed notifications.
    pub retries: Retries,
    /// Settings of its workers.
    pub workers: WorkerSettings,
    /// Time limit for running deploys at shutdown.
    pub drain: Duration,
    /// The counters.
    pub metrics: Metrics,
}

/// An instance that runs.
pub struct Instance<S> {
    /// For promotions that launch by themselves.
    pub deployer: Arc<LocalDeployer<S>>,
    /// To be rung when there is something to do.
    pub wakeups: Arc<Wakeups>,
    /// Health of its loops.
    pub health: Arc<Health>,
    stopper: Stopper,
    loops: JoinSet<()>,
    drain: Duration,
}

impl<S: Store + Operations + 'static> Instance<S> {
    /// Starts the loops. It needs a tokio runtime.
    pub fn start(parts: Parts<S>) -> Self {
        let Parts {
            store,
            clock,
            ids,
            method,
            channel,
            operators,
            public_url,
            retries,
            workers,
            drain,
            metrics,
        } = parts;
        let (stopper, wakeups) = (Stopper::default(), Arc::new(Wakeups::default()));
        let health = Arc::new(Health::default());
        let stop = stopper.subscribe();
        let deployer = LocalDeployer::new(Arc::clone(&store), clock, method, stop.clone(), metrics.clone());
        let deployer = Arc::new(deployer);
        let worker = Worker {
            store: Arc::clone(&store),
            deployer: Arc::clone(&deployer),
            clock: Arc::new(Uptime::begin()),
            wakeups: Arc::clone(&wakeups),
            settings: workers,
            held: Arc::default(),
            health: Arc::clone(&health),
            metrics: metrics.clone(),
            stop: stop.clone(),
        };
        let sweeper = Sweeper {
            store: Arc::clone(&store),
            poll: workers.poll,
            health: Arc::clone(&health),
            metrics: metrics.clone(),
            stop: stop.clone(),
        };
        let notifier = Notifier {
            store,
            ids,
            operators,
            channel: Arc::new(channel),
            public_url: public_url.into(),
            retries,
            reached: Arc::default(),
            poll: workers.poll,
            wakeups: Arc::clone(&wakeups),
            health: Arc::clone(&health),
            metrics,
            stop,
        };
        let mut loops = JoinSet::new();
        loops.spawn(worker.run_all());
        loops.spawn(notifier.run_all());
        loops.spawn(sweeper.run_all());
        Self { deployer, wakeups, health, stopper, loops, drain }
    }

    /// Stops taking new work. Requests may still be served until [`stop`](Self::stop).
    pub fn begin_to_stop(&self) {
        self.stopper.advance(Phase::Draining);
    }

    /// Takes nothing new, lets what runs end while there is time, and then lets go of it: leases are given back, and
    /// no command is left behind.
    pub async fn stop(mut self) {
        self.begin_to_stop();
        let all = async {
            while self.loops.join_next().await.is_some() {}
            // Deploys that no worker waits for.
            self.deployer.quiet_within(Duration::MAX).await;
        };
        if tokio::time::timeout(self.drain, all).await.is_ok() {
            return;
        }
        info!("deploys are still running: they are ended, and their jobs given back");
        self.stopper.advance(Phase::Ending);
        let rest = async {
            self.deployer.quiet_within(Duration::MAX).await;
            while self.loops.join_next().await.is_some() {}
        };
        if tokio::time::timeout(LAST_PATIENCE, rest).await.is_err() {
            error!("something did not end: its job comes back when its lease runs out");
        }
    }
}

/// Longer than a command may take to clean up, and longer than a notification may take to send.
const LAST_PATIENCE: Duration = Duration::from_secs(45);
