//! The store in memory on a rig: saving takes a snapshot.

use std::{future::Future, mem, sync::Arc};

use countersign::{
    protocol::{Refusal, Timestamp},
    store::memory::strategy::Strategy,
    store::{Approvals, Clock, MemoryStore, Operations, memory},
};
use uuid::Uuid;

use super::{About, Records, StoreHarness};
use crate::{
    fixtures::{CountingIds, HandClock, run_ready},
    outages::Outages,
};

/// A store in memory, with its clock and its ids.
pub struct InMemory<S> {
    store: MemoryStore<S>,
    clock: Arc<HandClock>,
    ids: Arc<CountingIds>,
    outages: Arc<Outages>,
}

impl<S: Strategy + Default> Default for InMemory<S> {
    fn default() -> Self {
        let (clock, ids) = (Arc::new(HandClock::at(Timestamp(0))), Arc::new(CountingIds::default()));
        let outages = Arc::new(Outages::default());
        let store = MemoryStore::new(clock.clone(), ids.clone()).with_checks(outages.clone());
        Self { store, clock, ids, outages }
    }
}

impl<S: Strategy + Default> InMemory<S> {
    fn snapshot(&self) -> Self {
        let clock = Arc::new(HandClock::at(self.clock.now()));
        let ids = Arc::new(CountingIds::clone(&self.ids));
        let outages = Arc::clone(&self.outages);
        Self { store: self.store.snapshot(clock.clone(), ids.clone()), clock, ids, outages }
    }
}

impl<S: Strategy + Default> StoreHarness for InMemory<S> {
    type Store = MemoryStore<S>;
    type Saved = Self;

    fn store(&self) -> &MemoryStore<S> {
        &self.store
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        run_ready(work)
    }

    fn save(&mut self) -> Self {
        // A snapshot is taken when it is needed again.
        mem::take(self)
    }

    fn restore(&mut self, saved: &Self) {
        *self = saved.snapshot();
    }

    fn set_clock(&mut self, now: Timestamp) {
        self.clock.set(now);
    }

    fn begin_outage(&self, team: Uuid, refusal: &Refusal) {
        self.outages.begin(team, refusal.clone());
    }

    fn end_outage(&self, team: Uuid, refusal: &Refusal) {
        self.outages.end(team, refusal);
    }

    fn look(&mut self, about: &About) -> Records {
        let About { team, approval, ref env, key } = *about;
        let record = run_ready(self.store.approval(team, approval)).ok().flatten().expect("it was requested");
        let events = run_ready(self.store.audit(approval)).expect("nothing fails in memory");
        let look = |records: memory::Records<'_>| Records {
            now: self.clock.now(),
            status: record.approval.status,
            expires_at: record.approval.expires_at,
            events: events.iter().map(|event| event.kind).collect(),
            stacks: records.stacks.to_vec(),
            vault: records.vault.value(env, key).map(|value| (**value).to_owned()),
            job: records.job(approval).cloned(),
            lease: records.lease(approval).unwrap_or((0, Timestamp(0))),
        };
        self.store.look(team, look).expect("the team is there")
    }
}
