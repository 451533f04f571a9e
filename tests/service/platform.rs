//! A small platform to promote on: one team, one stack in staging with an approved promote to production.

use std::sync::Arc;

use countersign::{
    platform::{Binding, Environment, Kind},
    protocol::{Flow, Outcome, Promotion, Timestamp},
    service::{Driver, InMemoryDeployer, step},
    store::{
        ApprovalRecord, Approvals, Decision, EnvVars, MemoryStore, Payload, Plan, PromotionRequest, Service,
        Team, Verdict,
    },
};
use countersign_models::fixtures::{CountingIds, HandClock, UseRequest, run_ready, token_of};
use countersign_testkit::{Faulty, Peek, Seed};
use uuid::Uuid;

pub(crate) const TEAM: Uuid = Uuid::from_u128(0xA);
pub(crate) const OPENS: Timestamp = Timestamp(1_000);

pub(crate) struct Platform {
    pub(crate) store: Faulty<MemoryStore>,
    pub(crate) deployer: InMemoryDeployer,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) source: Uuid,
}

pub(crate) fn environment(name: &str) -> Environment {
    Environment::parse(name).expect("a legal name")
}

pub(crate) fn service(image_ref: Option<&str>) -> Service {
    Service { name: "web".to_owned(), image_ref: image_ref.map(str::to_owned), port: Some(80), expose: true }
}

impl Platform {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(HandClock::at(OPENS));
        let ids = Arc::new(CountingIds::default());
        let store = Faulty::new(|outages| MemoryStore::new(clock.clone(), ids).with_checks(outages));
        store.seed_team(TEAM, Team { plan: Plan::Pro, deployment_cap: 10 });
        let source = store.seed_stack(
            TEAM,
            "shop",
            environment("staging"),
            vec![service(Some("shop:1"))],
            EnvVars::new(),
        );
        Self { store, deployer: InMemoryDeployer::default(), clock, source }
    }

    /// To promote the stack to production.
    pub(crate) fn ask(&self) -> PromotionRequest {
        let binding =
            Binding { kind: Kind::Stack, from: environment("staging"), to: environment("production") };
        PromotionRequest {
            team: TEAM,
            binding,
            requested_by: "dev@example.com".into(),
            payload: Payload { source: self.source, name: None, copy_vault: false },
            key: None,
        }
    }

    /// A pending approval for what `ask` says.
    pub(crate) fn requested(&self, ask: &PromotionRequest) -> ApprovalRecord {
        run_ready(self.store.request_approval(ask)).expect("nothing fails").record
    }

    pub(crate) fn decide(&self, record: &ApprovalRecord, verdict: Verdict) {
        let decision = Decision::Operator { token: &token_of(record.approval.id), verdict };
        run_ready(self.store.decide(decision)).expect("nothing fails").expect("it is pending");
    }

    /// An ask with an approval that the operator has given.
    pub(crate) fn approved(&self) -> UseRequest {
        self.approve(self.ask())
    }

    pub(crate) fn approve(&self, ask: PromotionRequest) -> UseRequest {
        let record = self.requested(&ask);
        self.decide(&record, Verdict::Approve);
        UseRequest::new(record.approval.id, ask)
    }

    pub(crate) fn promote(&self, flow: &Flow, ask: &UseRequest) -> Outcome {
        let source = self.store.digest(ask).expect("the team is there");
        run_ready(Driver::new(flow, &self.store, &self.deployer).expect("it is supported").promote(
            ask.approval,
            ask,
            source,
        ))
    }

    /// Begins a promotion and drives it until its next step is the one of this index.
    pub(crate) fn drive_to<'a>(&self, flow: &'a Flow, ask: &'a UseRequest, index: usize) -> Promotion<'a> {
        let source = self.store.digest(ask).expect("the team is there");
        let mut promotion = Promotion::begin(flow, &ask.request(), source);
        while promotion.step() != flow.steps().get(index) {
            assert!(promotion.outcome().is_none(), "it has ended before: {:?}", promotion.outcome());
            run_ready(step(&mut promotion, ask, &self.store, &self.deployer));
        }
        promotion
    }

    pub(crate) fn finish(&self, mut promotion: Promotion<'_>, ask: &UseRequest) -> Outcome {
        while promotion.outcome().is_none() {
            run_ready(step(&mut promotion, ask, &self.store, &self.deployer));
        }
        promotion.outcome().expect("it has ended").clone()
    }
}
