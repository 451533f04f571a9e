//! The store in memory, under test.

use std::{collections::BTreeMap, marker::PhantomData, sync::Arc};

use countersign::{
    protocol::{Environment, Refusal, Timestamp},
    store::{Job, MemoryStore, Resource, Service, Stack},
    strategy::Strategy,
};
use countersign_models::fixtures::{CountingIds, HandClock};
use uuid::Uuid;

use crate::{
    backend::{Backend, Maker},
    world::{OPENS, TEAM},
};

pub(crate) struct Memory<S> {
    store: MemoryStore<S>,
    clock: Arc<HandClock>,
}

pub(crate) struct InMemory<S>(PhantomData<fn() -> S>);

impl<S> Clone for InMemory<S> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<S> Default for InMemory<S> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<S: Strategy + Default + 'static> Maker for InMemory<S> {
    type Backend = Memory<S>;

    fn names(&self) -> (&'static str, &'static str) {
        ("memory", S::NAME)
    }

    async fn make(&self) -> Memory<S> {
        let clock = Arc::new(HandClock::at(OPENS));
        Memory { store: MemoryStore::new(clock.clone(), Arc::new(CountingIds::default())), clock }
    }
}

impl<S: Strategy + Default + 'static> Backend for Memory<S> {
    type Store = MemoryStore<S>;

    const SEQUENCES: usize = 2_000;

    fn store(&self) -> &MemoryStore<S> {
        &self.store
    }

    async fn set_clock(&self, now: Timestamp) {
        self.clock.set(now);
    }

    async fn adopt_stack(&self, team: Uuid, stack: Uuid, parent: Uuid) {
        assert!(self.store.adopt_stack(team, stack, parent), "both are there");
    }

    async fn put_services(&self, team: Uuid, stack: Uuid, services: Vec<Service>) {
        assert!(self.store.put_services(team, stack, services), "it is there");
    }

    fn begin_outage(&self, team: Uuid, refusal: &Refusal) {
        self.store.begin_outage(team, refusal.clone());
    }

    fn end_outage(&self, team: Uuid, refusal: &Refusal) {
        self.store.end_outage(team, refusal);
    }

    async fn stacks(&self, team: Uuid) -> Vec<Stack> {
        self.store.stacks(team)
    }

    async fn resources(&self, team: Uuid) -> Vec<Resource> {
        self.store.resources(team)
    }

    async fn job(&self, team: Uuid, approval: Uuid) -> Option<Job> {
        self.store.job(team, approval)
    }

    async fn vault(&self, team: Uuid, env: &Environment, key: &str) -> Option<String> {
        self.store.vault(team, env, key)
    }

    /// What can be looked at of the one team. There is no way to see more of it.
    async fn everything(&self) -> BTreeMap<String, String> {
        let records = self.store.look(TEAM, |records| {
            let standings: Vec<_> = records.approvals.keys().map(|id| self.store.standing(*id)).collect();
            format!("{records:?} {standings:?}")
        });
        let resources = self.store.resources(TEAM);
        BTreeMap::from([
            ("records".to_owned(), records.unwrap_or_default()),
            ("resources".to_owned(), format!("{resources:?}")),
        ])
    }
}
