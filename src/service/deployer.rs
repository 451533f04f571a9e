//! Deploys: what a deployer has to do, and one in memory.

use std::{
    future::{Future, poll_fn},
    sync::{Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use uuid::Uuid;

use crate::{protocol::Digest, store::StackStatus};

/// A deploy to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The approval that it is for.
    pub approval: Uuid,
    /// The key under which a repeat is the same deploy; `None` makes every call a separate deploy.
    pub key: Option<Uuid>,
    /// Digest of the payload.
    pub digest: Digest,
    /// The target to deploy to.
    pub target: Option<Uuid>,
    /// Larger than that of every earlier launch for the target, so that the receiver can refuse a delayed one; 0
    /// without a key.
    pub fence: u64,
}

/// Starts deploys.
///
/// Launching exactly once needs a deployer that deduplicates by key: a worker that crashes between launching and
/// recording the launch repeats it.
pub trait Deployer: Send + Sync {
    /// Starts a deploy. With a key that was launched before it is the same deploy, which runs again if it was killed.
    fn launch(&self, launch: &Launch) -> impl Future<Output = ()> + Send;

    /// Result of this launch's deploy; `None` if it is not known within `patience_ms`.
    ///
    /// It must yield while it waits: callers poll it repeatedly.
    fn outcome(&self, launch: &Launch, patience_ms: u64) -> impl Future<Output = Option<StackStatus>> + Send;
}

/// No deployer, for flows that leave launching to a worker or have no act: a gate with another flow is not built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoDeployer;

impl Deployer for NoDeployer {
    async fn launch(&self, _: &Launch) {}

    async fn outcome(&self, _: &Launch, _patience_ms: u64) -> Option<StackStatus> {
        give_way().await;
        None
    }
}

/// A deploy that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// The launch.
    pub launch: Launch,
    /// Counts deploys from 0.
    pub number: u64,
}

/// Deploys that run in this process's memory, and are gone with it.
#[derive(Debug, Default)]
pub struct InMemoryDeployer {
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Every launch that took effect: all under one key are one.
    effective: Vec<Launch>,
    running: Vec<Running>,
    /// Results of the deploys with a key.
    ended: Vec<(Uuid, StackStatus)>,
    next: u64,
}

impl Clone for InMemoryDeployer {
    fn clone(&self) -> Self {
        Self { state: Mutex::new(self.state().clone()) }
    }
}

impl InMemoryDeployer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every launch that took effect, oldest first; all under one key are one.
    pub fn effective(&self) -> Vec<Launch> {
        self.state().effective.clone()
    }

    /// The deploys that run, oldest first.
    pub fn running(&self) -> Vec<Running> {
        self.state().running.clone()
    }

    /// A deploy ends like this; `None` when it does not run.
    pub fn end(&self, number: u64, ended: StackStatus) -> Option<Running> {
        let mut state = self.state();
        let place = state.running.iter().position(|running| running.number == number)?;
        let running = state.running.remove(place);
        if let Some(key) = running.launch.key {
            state.ended.push((key, ended));
        }
        Some(running)
    }

    /// Simulates a crash of the process: its launches stay launched.
    pub fn kill(&self) {
        self.state().running.clear();
    }
}

impl Deployer for InMemoryDeployer {
    async fn launch(&self, launch: &Launch) {
        let mut state = self.state();
        let same = |other: &Launch| launch.key.is_some() && other.key == launch.key;
        if !state.effective.iter().any(same) {
            state.effective.push(*launch);
        }
        let ended = state.ended.iter().any(|(key, _)| Some(*key) == launch.key);
        if !ended && !state.running.iter().any(|running| same(&running.launch)) {
            let number = state.next;
            state.next += 1;
            state.running.push(Running { launch: *launch, number });
        }
    }

    /// Yields once instead of waiting: it has no clock.
    async fn outcome(&self, launch: &Launch, _patience_ms: u64) -> Option<StackStatus> {
        give_way().await;
        self.state().ended.iter().find(|(key, _)| Some(*key) == launch.key).map(|(_, ended)| *ended)
    }
}

/// Yields once to other ready tasks.
async fn give_way() {
    let mut gave_way = false;
    poll_fn(|context| {
        if gave_way {
            return Poll::Ready(());
        }
        gave_way = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
