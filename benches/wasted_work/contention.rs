//! Policies for many requests for one approval: all try concurrently, they queue, or one tries for all.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use countersign::{protocol::Outcome, service::Waiter};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

/// Policy for concurrent contenders for one approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contention {
    /// They are not, before the compare-and-swap.
    Optimistic,
    /// By the approval's lease, for which they stand in line.
    Lease,
    /// The first request tries, and concurrent ones receive its outcome.
    SingleFlight,
}

impl Contention {
    pub(crate) const ALL: [Self; 3] = [Self::Optimistic, Self::Lease, Self::SingleFlight];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Optimistic => "optimistic",
            Self::Lease => "lease",
            Self::SingleFlight => "single-flight",
        }
    }

    /// A policy of the service is a strategy; the other one is a baseline.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Optimistic | Self::Lease => "strategy",
            Self::SingleFlight => "baseline",
        }
    }
}

/// Time after which a waiting request retries without being called, as in the service.
const PATIENCE: Duration = Duration::from_millis(250);

/// The queue for the one lease of a race, in order of arrival.
#[derive(Default)]
pub(crate) struct WaitQueue {
    waiting: Notify,
}

impl Waiter for WaitQueue {
    async fn wait(&self, _: Uuid) {
        // Called or not, it asks again.
        let _ = tokio::time::timeout(PATIENCE, self.waiting.notified()).await;
    }

    fn next(&self, _: Uuid) {
        self.waiting.notify_one();
    }
}

/// Outcome of the running promotion; `None` before its end.
type Landing = watch::Receiver<Option<Outcome>>;

/// At most one promotion of the approval at a time, whose outcome all share.
#[derive(Default)]
pub(crate) struct Flight {
    /// The outcome is unknown once the sender is dropped without sending.
    latest: Mutex<Option<Landing>>,
}

impl Flight {
    /// The end of the promotion that is under way, or else of this one. `None` when the promotion that was waited for is
    /// gone without an end.
    pub(crate) async fn join(&self, promotion: impl Future<Output = Outcome> + Send) -> Shared {
        let leads = {
            let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            match latest.as_ref().filter(|landing| landing.has_changed().is_ok()) {
                Some(landing) => Err(landing.clone()),
                None => {
                    let (sender, landing) = watch::channel(None);
                    *latest = Some(landing);
                    Ok(sender)
                }
            }
        };
        match leads {
            Ok(sender) => {
                let end = promotion.await;
                // There may be no receivers.
                let _ = sender.send(Some(end.clone()));
                Shared { end: Some(end), is_own: true }
            }
            Err(mut landing) => {
                let landed = landing.wait_for(Option::is_some).await;
                Shared { end: landed.ok().and_then(|end| end.clone()), is_own: false }
            }
        }
    }
}

/// Outcome for a contender.
pub(crate) struct Shared {
    pub(crate) end: Option<Outcome>,
    /// True if it is that of its own promotion.
    pub(crate) is_own: bool,
}
