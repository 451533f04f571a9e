//! The store in memory on a rig: to restore it is to fork what was saved.

use std::{future::Future, mem, sync::Arc};

use countersign::{
    protocol::{Refusal, Timestamp},
    store::{Clock, MemoryStore, Store},
    strategy::Strategy,
};
use uuid::Uuid;

use super::{About, Records, Rig};
use crate::fixtures::{CountingIds, HandClock, at_once};

/// A store in memory, with its clock and its ids.
pub struct InMemory<S> {
    store: MemoryStore<S>,
    clock: Arc<HandClock>,
    ids: Arc<CountingIds>,
}

impl<S: Strategy + Default> Default for InMemory<S> {
    fn default() -> Self {
        let (clock, ids) = (Arc::new(HandClock::at(Timestamp(0))), Arc::new(CountingIds::default()));
        Self { store: MemoryStore::new(clock.clone(), ids.clone()), clock, ids }
    }
}

impl<S: Strategy + Default> InMemory<S> {
    fn fork(&self) -> Self {
        let clock = Arc::new(HandClock::at(self.clock.now()));
        let ids = Arc::new(CountingIds::clone(&self.ids));
        Self { store: self.store.fork(clock.clone(), ids.clone()), clock, ids }
    }
}

impl<S: Strategy + Default> Rig for InMemory<S> {
    type Store = MemoryStore<S>;
    type Saved = Self;

    fn store(&self) -> &MemoryStore<S> {
        &self.store
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        at_once(work)
    }

    fn save(&mut self) -> Self {
        // To be forked when it is needed again.
        mem::take(self)
    }

    fn restore(&mut self, saved: &Self) {
        *self = saved.fork();
    }

    fn set_clock(&mut self, now: Timestamp) {
        self.clock.set(now);
    }

    fn adopt_stack(&mut self, team: Uuid, stack: Uuid, parent: Uuid) {
        self.store.adopt_stack(team, stack, parent);
    }

    fn begin_outage(&self, team: Uuid, refusal: &Refusal) {
        self.store.begin_outage(team, refusal.clone());
    }

    fn end_outage(&self, team: Uuid, refusal: &Refusal) {
        self.store.end_outage(team, refusal);
    }

    fn look(&mut self, about: &About) -> Records {
        let About { team, approval, ref env, key } = *about;
        let record = at_once(self.store.approval(team, approval)).ok().flatten().expect("it was requested");
        let events = at_once(self.store.audit(approval)).expect("nothing fails in memory");
        Records {
            now: self.clock.now(),
            status: record.approval.status,
            expires_at: record.approval.expires_at,
            events: events.iter().map(|event| event.kind).collect(),
            stacks: self.store.stacks(team),
            vault: self.store.vault(team, env, key),
            job: self.store.job(team, approval),
            lease: self.store.lease(team, approval).unwrap_or((0, Timestamp(0))),
        }
    }
}
