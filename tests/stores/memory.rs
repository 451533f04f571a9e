//! The store in memory, under test.

use std::{collections::BTreeMap, marker::PhantomData, sync::Arc};

use countersign::{
    platform::Environment,
    protocol::{Refusal, Timestamp},
    store::{Job, MemoryStore, Resource, Stack, memory::strategy::Strategy},
};
use countersign_contract::{
    AnyStore, Backend, Later,
    world::{OPENS, TEAM},
};
use countersign_models::fixtures::{CountingIds, HandClock};
use countersign_testkit::{Faulty, Peek};
use uuid::Uuid;

use crate::backend::Maker;

struct Memory<S> {
    store: Arc<Faulty<MemoryStore<S>>>,
    erased: AnyStore,
    clock: Arc<HandClock>,
}

/// Makes stores in memory.
pub(crate) struct InMemory<S>(PhantomData<fn() -> S>);

impl<S> Default for InMemory<S> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<S: Strategy + Default + 'static> Maker for InMemory<S> {
    fn names(&self) -> (&'static str, &'static str) {
        ("memory", S::NAME)
    }

    fn make(&self) -> Later<'_, Arc<dyn Backend>> {
        Box::pin(async {
            let clock = Arc::new(HandClock::at(OPENS));
            let ids = Arc::new(CountingIds::default());
            let memory = MemoryStore::<S>::new(clock.clone(), ids);
            let store = Arc::new(Faulty::new(|outages| memory.with_checks(outages)));
            let erased = AnyStore::new(Arc::clone(&store));
            Arc::new(Memory { store, erased, clock }) as Arc<dyn Backend>
        })
    }
}

/// Operations in memory are immediate.
fn now<'a, T: Send + 'a>(value: T) -> Later<'a, T> {
    Box::pin(std::future::ready(value))
}

impl<S: Strategy + Default + 'static> Backend for Memory<S> {
    fn store(&self) -> &AnyStore {
        &self.erased
    }

    fn sequences(&self) -> usize {
        2_000
    }

    fn set_clock(&self, time: Timestamp) -> Later<'_, ()> {
        self.clock.set(time);
        now(())
    }

    fn begin_outage(&self, team: Uuid, refusal: &Refusal) {
        self.store.begin_outage(team, refusal.clone());
    }

    fn end_outage(&self, team: Uuid, refusal: &Refusal) {
        self.store.end_outage(team, refusal);
    }

    fn bind_targets(&self) {
        self.store.bind_targets();
    }

    fn stacks(&self, team: Uuid) -> Later<'_, Vec<Stack>> {
        now(self.store.stacks(team))
    }

    fn resources(&self, team: Uuid) -> Later<'_, Vec<Resource>> {
        now(self.store.resources(team))
    }

    fn job(&self, team: Uuid, approval: Uuid) -> Later<'_, Option<Job>> {
        now(self.store.job(team, approval))
    }

    fn vault<'a>(&'a self, team: Uuid, env: &'a Environment, key: &'a str) -> Later<'a, Option<String>> {
        now(self.store.vault(team, env, key))
    }

    /// The observable state of the one team; other state is not accessible.
    fn everything(&self) -> Later<'_, BTreeMap<String, String>> {
        let records = self.store.look(TEAM, |records| {
            let standings: Vec<_> = records.approvals().map(|id| self.store.standing(id)).collect();
            let kept: Vec<_> = records.approvals().map(|id| records.approval(id)).collect();
            let (stacks, events) = (records.stacks, records.events);
            (format!("{stacks:?} {events:?} {kept:?} {standings:?}"), records.approvals().collect::<Vec<_>>())
        });
        let (records, ids) = records.unwrap_or_default();
        let jobs: Vec<_> = ids.into_iter().map(|id| self.store.job(TEAM, id)).collect();
        let resources = self.store.resources(TEAM);
        now(BTreeMap::from([
            ("records".to_owned(), records),
            ("jobs".to_owned(), format!("{jobs:?}")),
            ("resources".to_owned(), format!("{resources:?}")),
        ]))
    }
}
