//! Every edge of the model's graph, for each built-in flow that the driver carries out, done by the real store and driver.

use std::ops::ControlFlow;

use countersign::{
    protocol::{ApprovalState, Refusal, Status, Timestamp},
    service::supports,
    store::{
        Leases, Outbox, StackStatus,
        memory::strategy::{
            Actor, OneMutex, Packed, PointerSwap, Record, Sharded, SlotInId, Strategy, sync::Std,
        },
    },
};
use countersign_models::{
    explorer::{Limits, explore},
    fixtures::run_ready,
    flows::{BUILT_IN, BuiltIn, KEYED},
    model::{Bounds, Model},
    replay::{InMemory, Replayed, StoreHarness, TEAM, replay, replay_on},
};
use uuid::Uuid;

/// A caller who repeats its request makes two attempts.
fn model(name: &str) -> Model {
    let flow = BuiltIn::find(name).expect("it is built in").subject().flow;
    let consumers = if flow.recalls() { 1 } else { 2 };
    Model::of_callers_who_retry(flow, Bounds { consumers, crashes: 1, faults: 1 })
}

fn every_edge_of_every_built_in_flow<S: Strategy + Default>() {
    for flow in BUILT_IN.iter().chain(KEYED).filter(|flow| supports(&flow.subject().flow).is_ok()) {
        let model = model(flow.name);
        let explored = explore(&model, Limits::default(), &mut |_| ControlFlow::Continue(()));
        let replayed = replay::<S>(&model).unwrap_or_else(|divergence| panic!("{}: {divergence}", flow.name));
        let all = Replayed { states: explored.states(), edges: explored.edges() };
        assert_eq!(replayed, all, "{}: every edge, once", flow.name);
        println!("{} {}: {} of {} edges replayed, 100 %", S::NAME, flow.name, replayed.edges, all.edges);
    }
}

#[test]
fn the_store_on_sharded_locks_does_what_the_model_says() {
    every_edge_of_every_built_in_flow::<Sharded>();
}

#[test]
fn the_store_on_one_mutex_does_what_the_model_says() {
    every_edge_of_every_built_in_flow::<OneMutex>();
}

#[test]
fn the_store_on_packed_words_does_what_the_model_says() {
    every_edge_of_every_built_in_flow::<Packed>();
}

#[test]
fn the_store_on_swapped_pointers_does_what_the_model_says() {
    every_edge_of_every_built_in_flow::<PointerSwap>();
}

#[test]
fn the_store_on_slots_in_ids_does_what_the_model_says() {
    every_edge_of_every_built_in_flow::<SlotInId<Std, 4>>();
}

#[test]
#[ignore = "slow tier"]
fn the_store_on_an_actor_does_what_the_model_says() {
    every_edge_of_every_built_in_flow::<Actor>();
}

/// Says that it has moved an approval, and has not.
#[derive(Default)]
struct Forgetful(Sharded);

impl Strategy for Forgetful {
    const NAME: &'static str = "forgetful";

    fn insert(&self, id: Uuid, record: Record) -> Uuid {
        self.0.insert(id, record)
    }

    fn read(&self, id: Uuid) -> Option<Record> {
        self.0.read(id)
    }

    fn update(
        &self,
        id: Uuid,
        _: Timestamp,
        decide: impl Fn(ApprovalState) -> Result<Status, Refusal>,
    ) -> Option<Result<Status, Refusal>> {
        self.0.read(id).map(|record| decide(record.standing))
    }

    fn for_each(&self, visit: &mut dyn FnMut(Uuid, Record)) {
        self.0.for_each(visit);
    }
}

#[test]
fn a_strategy_that_forgets_is_found_at_the_first_decision() {
    let divergence = replay::<Forgetful>(&model("atomic-commit")).expect_err("it forgets");
    assert_eq!(divergence.path.len(), 1, "{divergence}");
    assert!(divergence.to_string().contains("1 operator approves"));
}

#[test]
fn a_lease_that_is_given_back_by_itself_is_found_when_it_is_taken() {
    let mut harness = InMemory::<Sharded>::default();
    let divergence = replay_on(&model("atomic-commit-lease"), &mut harness, |harness, approval| {
        (1..=3).for_each(|fence| {
            run_ready(harness.store().release_approval(TEAM, approval, fence)).expect("nothing fails");
        });
    })
    .expect_err("nobody has to wait");
    assert_eq!(divergence.path.len(), 3, "{divergence}");
    assert!(divergence.path[2].does.contains("takes the lease"), "{divergence}");
}

#[test]
fn a_target_that_settles_by_itself_is_found_by_a_shortest_path() {
    let mut harness = InMemory::<Sharded>::default();
    let divergence = replay_on(&model("consume-last"), &mut harness, |harness, approval| {
        run_ready(harness.store().settle(approval, None, StackStatus::Healthy)).expect("nothing fails");
    })
    .expect_err("no target builds");
    // Without the operator's decision, validate refuses every attempt: the write shows the defect.
    assert_eq!(divergence.path.len(), 5, "{divergence}");
    assert!(divergence.path[4].does.contains("writes the target"), "{divergence}");
}
