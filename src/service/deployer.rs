//! Deploys: what a deployer has to do, and one in memory.

use std::{
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use crate::protocol::Digest;

/// What is launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The approval that it is for.
    pub approval: Uuid,
    /// The key under which a repeat is the same deploy; none: every call is a deploy of its own.
    pub key: Option<Uuid>,
    /// What.
    pub digest: Digest,
    /// Where to.
    pub target: Option<Uuid>,
}

/// What starts deploys.
///
/// Launching exactly once needs a deployer that deduplicates by key: a worker that dies between launching and writing
/// down that it has launched does it again.
pub trait Deployer: Send + Sync {
    /// Starts a deploy. With a key that was launched before it is the same deploy, which runs again if it was killed.
    fn launch(&self, launch: Launch) -> impl Future<Output = ()> + Send;
}

/// A deploy that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// What was launched.
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

    /// A deploy ends; none when it does not run.
    pub fn end(&self, number: u64) -> Option<Running> {
        let running = &mut self.state().running;
        let place = running.iter().position(|running| running.number == number)?;
        Some(running.remove(place))
    }

    /// The process dies: nothing runs any more, and what was launched stays launched.
    pub fn kill(&self) {
        self.state().running.clear();
    }
}

impl Deployer for InMemoryDeployer {
    async fn launch(&self, launch: Launch) {
        let mut state = self.state();
        let same = |other: &Launch| launch.key.is_some() && other.key == launch.key;
        if !state.effective.iter().any(same) {
            state.effective.push(launch);
        }
        if !state.running.iter().any(|running| same(&running.launch)) {
            let number = state.next;
            state.next += 1;
            state.running.push(Running { launch, number });
        }
    }
}
