//! The async driver on the store in memory, polled in any order by shuttle's own executor.
//!
//! The driver names no runtime, so that shuttle's futures can run it as they are. Every effect is one poll here: a
//! store that gives way before each of its actions lets any other promotion go first.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use countersign::{
    platform::{Binding, Environment, Kind},
    protocol::{Commit, Digest, Flow, Outcome, Refusal, Status, Step, Timestamp},
    service::{Driver, InMemoryDeployer},
    store::{
        Approvals, AttemptReads, AuditKind, Committed, Decision, EnvVars, Leases, MemoryStore, Operations,
        Payload, Plan, PromotionRequest, Reading, Service, StoreError, Team, Verdict,
    },
};
use countersign_models::fixtures::UseRequest;
use countersign_models::{
    fixtures::{CountingIds, HandClock, run_ready, token_of},
    flows::BuiltIn,
};
use countersign_testkit::{Peek, Seed};
use shuttle::future;
use uuid::Uuid;

use crate::Draw;

const TEAM: Uuid = Uuid::from_u128(0xA);
const PROMOTIONS: usize = 4;

/// Gives way before each action.
struct Polite(MemoryStore);

impl Approvals for Polite {
    async fn read_approval(&self, approval: Uuid, ask: &PromotionRequest) -> Result<Reading, StoreError> {
        future::yield_now().await;
        self.0.read_approval(approval, ask).await
    }

    async fn commit(
        &self,
        ask: &PromotionRequest,
        step: &Step,
        commit: Commit<'_>,
    ) -> Result<Committed, StoreError> {
        future::yield_now().await;
        self.0.commit(ask, step, commit).await
    }

    countersign_models::decisions_pass_through!(0);
    countersign_models::recalls_pass_through!(0);
}

impl AttemptReads for Polite {
    fn can_produce(&self, refusal: &Refusal) -> bool {
        self.0.can_produce(refusal)
    }

    async fn check(
        &self,
        approval: Uuid,
        ask: &PromotionRequest,
        step: &Step,
    ) -> Result<Result<Digest, Refusal>, StoreError> {
        future::yield_now().await;
        self.0.check(approval, ask, step).await
    }

    async fn find_target(
        &self,
        ask: &PromotionRequest,
        step: &Step,
    ) -> Result<Result<Option<Uuid>, Refusal>, StoreError> {
        future::yield_now().await;
        self.0.find_target(ask, step).await
    }
}

impl Leases for Polite {
    countersign_models::leases_pass_through!(0);
}

/// Result of one schedule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Played {
    winner: usize,
    /// Consumers that found it executed when they validated.
    late: usize,
    targets: usize,
}

fn environment(name: &str) -> Environment {
    Environment::parse(name).expect("a legal name")
}

fn race(flow: &'static str) -> Played {
    let flow = Arc::new(BuiltIn::find(flow).expect("it is built in").subject().flow);
    let clock = Arc::new(HandClock::at(Timestamp(1_000)));
    let store = MemoryStore::new(clock, Arc::new(CountingIds::default()));
    store.seed_team(TEAM, Team { plan: Plan::Pro, deployment_cap: 10 });
    let image_ref = Some("shop:1".to_owned());
    let service = Service { name: "web".to_owned(), image_ref, port: None, expose: false };
    let source = store.seed_stack(TEAM, "shop", environment("staging"), vec![service], EnvVars::new());
    let binding = Binding { kind: Kind::Stack, from: environment("staging"), to: environment("production") };
    let ask = PromotionRequest {
        team: TEAM,
        binding,
        requested_by: "dev@example.com".into(),
        payload: Payload { source, name: None, copy_vault: false },
        key: None,
    };
    let record = run_ready(store.request_approval(&ask)).expect("nothing fails").record;
    let decision = Decision::Operator { token: &token_of(record.approval.id), verdict: Verdict::Approve };
    run_ready(store.decide(decision)).expect("nothing fails").expect("it is pending");
    let ask = UseRequest::new(record.approval.id, ask);
    let digest = store.digest(&ask).expect("the team is there");

    let shared = Arc::new((Polite(store), InMemoryDeployer::default(), ask));
    let promotions: Vec<_> = (0..PROMOTIONS)
        .map(|_| {
            let (flow, shared): (Arc<Flow>, _) = (Arc::clone(&flow), Arc::clone(&shared));
            future::spawn(async move {
                let (store, deployer, ask) = &*shared;
                Driver::new(&flow, store, deployer)
                    .expect("it is supported")
                    .promote(ask.approval, ask, digest)
                    .await
            })
        })
        .collect();
    let ends: Vec<Outcome> = promotions
        .into_iter()
        .map(|promotion| future::block_on(promotion).expect("it was not aborted"))
        .collect();

    let winners: Vec<usize> =
        (0..PROMOTIONS).filter(|index| matches!(ends[*index], Outcome::Succeeded { .. })).collect();
    assert_eq!(winners.len(), 1, "{ends:?}");
    let refused = |wanted: &Refusal| {
        ends.iter().filter(|end| matches!(end, Outcome::Refused { refusal, .. } if refusal == wanted)).count()
    };
    let late = refused(&Refusal::APPROVAL_NOT_APPROVED);
    assert_eq!(
        late + refused(&Refusal::APPROVAL_ALREADY_EXECUTED),
        PROMOTIONS - 1,
        "409 for the others: {ends:?}"
    );
    let (Polite(store), _, ask) = &*shared;
    let approval = run_ready(store.approval(TEAM, ask.approval)).expect("nothing fails");
    assert_eq!(approval.expect("it was requested").approval.status, Status::Executed);
    let events = run_ready(store.audit(ask.approval)).expect("nothing fails");
    assert_eq!(events.iter().filter(|event| event.kind == AuditKind::Executed).count(), 1);
    Played { winner: winners[0], late, targets: store.stacks(TEAM).len() - 1 }
}

fn outcomes(flow: &'static str, draw: Draw) -> BTreeSet<Played> {
    let outcomes = Arc::new(Mutex::new(BTreeSet::new()));
    draw.check({
        let outcomes = Arc::clone(&outcomes);
        move || {
            let outcome = race(flow);
            outcomes.lock().expect("not poisoned").insert(outcome);
        }
    });
    let outcomes = outcomes.lock().expect("not poisoned");
    outcomes.clone()
}

#[test]
fn one_of_four_promotions_succeeds_and_each_does_in_some_schedule() {
    for draw in [Draw::AtRandom, Draw::ByPct] {
        let outcomes = outcomes("atomic-commit", draw);
        let winners: BTreeSet<usize> = outcomes.iter().map(|outcome| outcome.winner).collect();
        assert_eq!(winners, (0..PROMOTIONS).collect(), "{draw:?}");
        assert!(outcomes.iter().all(|outcome| outcome.targets == 1), "one target per environment");
    }
}

#[test]
fn the_merged_fix_creates_two_targets_in_some_schedule() {
    // The control: what the model says of consume-last, the driver does.
    let outcomes = outcomes("consume-last", Draw::AtRandom);
    assert!(outcomes.iter().any(|outcome| outcome.targets > 1), "{outcomes:?}");
}
