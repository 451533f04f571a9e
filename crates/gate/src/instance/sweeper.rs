//! The sweeper: a loop that expires pending approvals whose window has passed, each with its event, and that recognises its
//! store.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time::Instant};
use tracing::{info, warn};

use super::{
    health::{Health, Pulse},
    idle::Idle,
    stop::{Phase, Stop},
    supervisor::Supervised,
    workers::LONGEST_LOOK,
};
use crate::http::Metrics;
use countersign::{
    protocol::{Status, Timestamp},
    store::{Causes, Operations, Swept},
};

/// The most approvals that one transaction expires.
const AT_A_TIME: usize = 100;

/// Pause between two readiness checks. A store is recognised by the check before, and an instance may never be probed.
const RECOGNISES_EVERY: Duration = Duration::from_secs(60);

/// A sweeper, with all that it works with.
pub struct Sweeper<S> {
    /// Where the approvals are.
    pub store: Arc<S>,
    /// The longest pause between two sweeps.
    pub poll: Duration,
    /// Where it shows that it runs.
    pub health: Arc<Health>,
    /// Where it counts.
    pub metrics: Metrics,
    /// Ends it.
    pub stop: Stop,
}

impl<S> Clone for Sweeper<S> {
    fn clone(&self) -> Self {
        let Self { store, poll, health, metrics, stop } = self;
        Self {
            store: Arc::clone(store),
            poll: *poll,
            health: Arc::clone(health),
            metrics: metrics.clone(),
            stop: stop.clone(),
        }
    }
}

impl<S: Operations + 'static> Sweeper<S> {
    /// Sweeps until the instance stops.
    pub fn run_all(self) -> impl Future<Output = ()> + Send {
        let supervised = Supervised {
            kind: "sweeper",
            count: 1,
            patience: self.poll * 2 + LONGEST_LOOK,
            health: Arc::clone(&self.health),
            stop: self.stop.clone(),
        };
        supervised.run(move |pulse| self.clone().run(pulse))
    }

    async fn run(self, pulse: Pulse) {
        // It begins with everything, and then looks at what was asked for since.
        let (mut after, never) = (Timestamp(0), Notify::new());
        let mut idle = Idle::up_to(self.poll);
        let mut recognises_at = Instant::now();
        while !self.stop.reached(Phase::Draining) {
            if recognises_at <= Instant::now() {
                recognises_at = Instant::now() + RECOGNISES_EVERY;
                if let Err(error) = self.store.is_ready().await {
                    warn!(error = %Causes(&error), "not ready");
                }
            }
            match self.store.expire_overdue(after, AT_A_TIME).await {
                Ok(Swept { expired, until }) => {
                    pulse.looked(false);
                    after = until;
                    for _ in 0..expired {
                        self.metrics.transition(Some(Status::Pending), Status::Expired);
                    }
                    if expired > 0 {
                        info!(expired, "approvals have expired without a decision");
                        idle.reset();
                    }
                    if expired == AT_A_TIME {
                        continue;
                    }
                }
                Err(error) => warn!(%error, "nothing could be expired"),
            }
            idle.wait(&never, &self.stop).await;
        }
    }
}
