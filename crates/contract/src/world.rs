//! A small platform on a store under test: one team, one stack in staging that can be promoted to production.

use std::sync::Arc;

use countersign::{
    platform::{Binding, Environment, Kind},
    protocol::{
        Change, Commit, Consume, Flow, Guards, Outcome, Promotion, Refusal, Status, Step, StepAction,
        Timestamp,
    },
    service::{Driver, InMemoryDeployer, step},
    store::{
        ApprovalRecord, Approvals, AuditKind, Committed, Decision, EnvVars, NewStack, Operations, Payload,
        Plan, PromotionRequest, Service, Stack, StoreError, Team, Tenants, Verdict, digest_of,
    },
};
use countersign_models::{
    fixtures::{UseRequest, token_of},
    flows::BuiltIn,
};
use uuid::Uuid;

use crate::{AnyStore, Backend};

/// The team that has a stack.
pub const TEAM: Uuid = Uuid::from_u128(0xA);
/// Another one, that has nothing.
pub const STRANGERS: Uuid = Uuid::from_u128(0xB);
/// An unused id: sequential ids do not reach it, even with a slot number written into them.
pub const UNKNOWN: Uuid = Uuid::from_u128(0xFFFF << 64 | 0xFFFF);
/// The time at which a store under test begins.
pub const OPENS: Timestamp = Timestamp(1_000);

/// The platform of one claim.
pub struct World {
    /// The store under test.
    pub backend: Arc<dyn Backend>,
    /// Starts the deploys of flows that launch from this process.
    pub deployer: InMemoryDeployer,
    /// The stack that can be promoted.
    pub source: Stack,
}

/// The environment of this name.
pub fn environment(name: &str) -> Environment {
    Environment::parse(name).expect("a legal name")
}

/// A service with this image.
pub fn service(image_ref: Option<&str>) -> Service {
    Service { name: "web".to_owned(), image_ref: image_ref.map(str::to_owned), port: Some(80), expose: true }
}

/// The time this many milliseconds after [`OPENS`].
pub fn later(ms: u64) -> Timestamp {
    Timestamp(OPENS.0 + ms)
}

/// A flow that is built in.
pub fn flow(name: &str) -> Flow {
    BuiltIn::find(name).expect("it is built in").subject().flow
}

/// A stack of one service.
pub fn new_stack(name: &str, image_ref: &str) -> NewStack {
    NewStack {
        name: name.to_owned(),
        env: environment("staging"),
        parent: None,
        services: vec![service(Some(image_ref))],
        env_vars: EnvVars::new(),
    }
}

/// The refusal that a promotion ends in.
pub fn refused(end: Outcome) -> Refusal {
    match end {
        Outcome::Refused { refusal, .. } | Outcome::Unknown { refusal } => refusal,
        Outcome::Succeeded { .. } => panic!("it succeeded"),
    }
}

/// True if the attempt succeeded.
pub fn succeeded(end: &Outcome) -> bool {
    matches!(end, Outcome::Succeeded { .. })
}

impl World {
    /// The two teams and the stack, on an empty store.
    pub async fn new(backend: Arc<dyn Backend>) -> Self {
        let team = Team { plan: Plan::Pro, deployment_cap: 10 };
        for id in [TEAM, STRANGERS] {
            backend.store().put_team(id, team).await.expect("nothing fails");
        }
        let source = backend.store().create_stack(TEAM, new_stack("shop", "shop:1")).await;
        let source = source.expect("nothing fails").expect("there is room");
        Self { backend, deployer: InMemoryDeployer::default(), source }
    }

    /// The store.
    pub fn store(&self) -> &AnyStore {
        self.backend.store()
    }

    /// A new build of a whole stack.
    pub async fn put_services(&self, team: Uuid, stack: Uuid, services: Vec<Service>) {
        let put = self.store().put_services(team, stack, services).await;
        assert_eq!(put, Ok(true), "it is there");
    }

    /// Changes the most stacks that the team may have.
    pub async fn set_cap(&self, deployment_cap: usize) {
        let team = Team { plan: Plan::Pro, deployment_cap };
        self.store().put_team(TEAM, team).await.expect("nothing fails");
    }

    /// To promote the stack to production.
    pub fn ask(&self) -> PromotionRequest {
        let binding =
            Binding { kind: Kind::Stack, from: environment("staging"), to: environment("production") };
        PromotionRequest {
            team: TEAM,
            binding,
            requested_by: "dev@example.com".into(),
            payload: Payload { source: self.source.id, name: None, copy_vault: false },
            key: None,
        }
    }

    /// To promote the stack to production with this approval.
    pub fn ask_with(&self, approval: Uuid) -> UseRequest {
        UseRequest::new(approval, self.ask())
    }

    /// A pending approval for what `ask` says.
    pub async fn requested(&self, ask: &PromotionRequest) -> ApprovalRecord {
        self.store().request_approval(ask).await.expect("nothing fails").record
    }

    /// The decision of the operator, by the link that was sent.
    pub async fn operator(&self, approval: Uuid, verdict: Verdict) -> Result<ApprovalRecord, Refusal> {
        let token = token_of(approval);
        self.store().decide(Decision::Operator { token: &token, verdict }).await.expect("nothing fails")
    }

    /// The rejection by an administrator of this team.
    pub async fn administrator(&self, team: Uuid, approval: Uuid) -> Result<ApprovalRecord, Refusal> {
        let decision = Decision::Administrator { team, approval, by: "admin@example.com" };
        self.store().decide(decision).await.expect("nothing fails")
    }

    /// An ask with an approval that is pending.
    pub async fn pending(&self, ask: PromotionRequest) -> UseRequest {
        let approval = self.requested(&ask).await.approval.id;
        UseRequest::new(approval, ask)
    }

    /// An ask with an approval that the operator has given.
    pub async fn approve(&self, ask: PromotionRequest) -> UseRequest {
        let ask = self.pending(ask).await;
        self.operator(ask.approval, Verdict::Approve).await.expect("it is pending");
        ask
    }

    /// As [`approve`](Self::approve), for the stack.
    pub async fn approved(&self) -> UseRequest {
        self.approve(self.ask()).await
    }

    /// Digest of what the request would launch now.
    pub async fn source_digest(&self, ask: &PromotionRequest) -> countersign::protocol::Digest {
        let stacks = self.backend.stacks(ask.team).await;
        let source = stacks.iter().find(|stack| stack.id == ask.payload.source);
        digest_of(ask, source.map(|source| &*source.services).unwrap_or_default())
    }

    /// One attempt, to its end.
    pub async fn promote(&self, flow: &Flow, ask: &UseRequest) -> Outcome {
        Driver::new(flow, self.store(), &self.deployer)
            .expect("it is supported")
            .promote(ask.approval, ask, self.source_digest(ask).await)
            .await
    }

    /// Begins a promotion and drives it until its next step is the one of this index.
    pub async fn drive_to<'a>(&self, flow: &'a Flow, ask: &'a UseRequest, index: usize) -> Promotion<'a> {
        let mut promotion = Promotion::begin(flow, &ask.request(), self.source_digest(ask).await);
        while promotion.step() != flow.steps().get(index) {
            assert!(promotion.outcome().is_none(), "it has ended before: {:?}", promotion.outcome());
            step(&mut promotion, ask, self.store(), &self.deployer).await;
        }
        promotion
    }

    /// Drives a promotion to its end.
    pub async fn finish(&self, mut promotion: Promotion<'_>, ask: &UseRequest) -> Outcome {
        while promotion.outcome().is_none() {
            step(&mut promotion, ask, self.store(), &self.deployer).await;
        }
        promotion.outcome().expect("it has ended").clone()
    }

    /// Only a consume, under these guards, by a promotion that holds this digest.
    pub async fn consume(
        &self,
        ask: &UseRequest,
        guards: Guards,
        digest: countersign::protocol::Digest,
    ) -> Result<Committed, StoreError> {
        let step = Step::from(StepAction::Consume(Consume::new(guards)));
        let ops = [Change::consume(guards)];
        let commit =
            Commit { approval: ask.approval, digest, target: None, fence: None, uses_seen: 0, ops: &ops };
        self.store().commit(ask, &step, commit).await
    }

    /// The approval as it stands now.
    pub async fn record(&self, ask: &UseRequest) -> ApprovalRecord {
        let record = self.store().approval(ask.team, ask.approval).await;
        record.expect("nothing fails").expect("it was requested")
    }

    /// Its status.
    pub async fn status(&self, ask: &UseRequest) -> Status {
        self.record(ask).await.approval.status
    }

    /// The kinds of the events about the approval, oldest first.
    pub async fn events(&self, ask: &UseRequest) -> Vec<AuditKind> {
        let events = self.store().audit(ask.approval).await.expect("nothing fails");
        events.iter().map(|event| event.kind).collect()
    }

    /// The stacks in production, oldest first.
    pub async fn targets(&self) -> Vec<Stack> {
        let mut stacks = self.backend.stacks(TEAM).await;
        stacks.retain(|stack| stack.env == environment("production"));
        stacks
    }
}
