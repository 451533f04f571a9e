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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::instance::stop::Stopper;

    #[tokio::test(start_paused = true)]
    async fn a_loop_is_started_again_however_it_ended_until_the_instance_stops() {
        for panics in [false, true] {
            let (stopper, health, begun) = (Stopper::default(), Arc::new(Health::default()), Arc::default());
            let supervised = Supervised {
                kind: "worker",
                count: 2,
                patience: Duration::from_secs(30),
                health: Arc::clone(&health),
                stop: stopper.subscribe(),
            };
            let (stop, count): (_, Arc<AtomicUsize>) = (stopper.subscribe(), Arc::clone(&begun));
            let running = tokio::spawn(supervised.run(move |pulse| {
                let (stop, number) = (stop.clone(), count.fetch_add(1, Ordering::SeqCst));
                async move {
                    let _pulse = pulse;
                    // The first two and their successors end immediately, and the next ones run.
                    match number {
                        0..4 if panics => panic!("injected"),
                        0..4 => {}
                        _ => stop.wait_for(Phase::Draining).await,
                    }
                }
            }));
            tokio::time::sleep(PAUSE * 10).await;
            assert_eq!(begun.load(Ordering::SeqCst), 6, "panics: {panics}");
            assert_eq!((health.restarts(), health.unwell()), (4, None), "panics: {panics}");
            stopper.advance(Phase::Draining);
            running.await.expect("it does not panic");
            assert_eq!(begun.load(Ordering::SeqCst), 6, "panics: {panics}");
        }
    }
}
