//! Supervision: a loop that ends before the instance stops is started again, however it ended.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tracing::error;

use super::{
    health::{Health, Pulse},
    stop::{Phase, Stop},
};

/// Pause before a loop that has ended is restarted. A loop that ends immediately must not keep a core busy.
const PAUSE: Duration = Duration::from_millis(250);

/// The loops of one kind.
pub(super) struct Supervised {
    /// Name in the log and the readiness probe.
    pub(super) kind: &'static str,
    /// Number of loops.
    pub(super) count: usize,
    /// The longest time between two looks for work.
    pub(super) patience: Duration,
    pub(super) health: Arc<Health>,
    pub(super) stop: Stop,
}

impl Supervised {
    /// Runs as many loops as there are to be, until the instance stops and the last one has ended.
    pub(super) fn run<F>(
        self,
        begin: impl Fn(Pulse) -> F + Clone + Send + 'static,
    ) -> impl Future<Output = ()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { kind, count, patience, health, stop } = self;
        health.expect(kind, count, patience);
        let mut loops = JoinSet::new();
        for _ in 0..count {
            loops.spawn(begin(health.begin(kind)));
        }
        async move {
            while let Some(ended) = loops.join_next().await {
                if stop.reached(Phase::Draining) {
                    continue;
                }
                error!(kind, panicked = ended.is_err(), "a loop has ended; another one takes its place");
                health.restarted();
                let (health, stop, begin) = (Arc::clone(&health), stop.clone(), begin.clone());
                loops.spawn(async move {
                    tokio::select! {
                        () = tokio::time::sleep(PAUSE) => begin(health.begin(kind)).await,
                        () = stop.wait_for(Phase::Draining) => {}
                    }
                });
            }
        }
    }
}
