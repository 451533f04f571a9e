//! A small platform in SQLite: one team, one stack in staging, and asks to promote it to production.

use std::{path::Path, sync::Arc};

use countersign::{
    platform::{Binding, Environment, Kind},
    protocol::{Flow, Status, Timestamp},
    service::{Answer, Driver, InMemoryDeployer},
    store::{
        ApprovalRecord, Approvals, Decision, EnvVars, NewStack, Payload, Plan, PromotionRequest, Service,
        Stack, StoreError, Team, Tenants, Verdict,
        sqlite::{OpenError, SqliteOptions, SqliteStore},
    },
};
use countersign_models::fixtures::{CountingIds, HandClock, UseRequest, block_on, token_of};
use countersign_testkit::SqlPeek;
use uuid::Uuid;

pub(crate) const TEAM: Uuid = Uuid::from_u128(0xA);
pub(crate) const OPENS: Timestamp = Timestamp(1_000);

pub(crate) struct Platform {
    pub(crate) store: SqliteStore,
    pub(crate) deployer: InMemoryDeployer,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) source: Stack,
}

pub(crate) fn environment(name: &str) -> Environment {
    Environment::parse(name).expect("a legal name")
}

pub(crate) fn service(image_ref: Option<&str>) -> Service {
    Service { name: "web".to_owned(), image_ref: image_ref.map(str::to_owned), port: Some(80), expose: true }
}

pub(crate) fn open(
    path: &Path,
    clock: &Arc<HandClock>,
    options: SqliteOptions,
) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(path, clock.clone(), Arc::new(CountingIds::default()), options)
}

impl Platform {
    pub(crate) fn in_memory() -> Self {
        Self::at(Path::new(SqliteStore::IN_MEMORY), SqliteOptions::default())
    }

    pub(crate) fn at(path: &Path, options: SqliteOptions) -> Self {
        let clock = Arc::new(HandClock::at(OPENS));
        Self::on(open(path, &clock, options).expect("it can be opened"), clock)
    }

    /// With a team and a stack in this store.
    pub(crate) fn on(store: SqliteStore, clock: Arc<HandClock>) -> Self {
        let team = Team { plan: Plan::Pro, deployment_cap: 10 };
        block_on(store.put_team(TEAM, team)).expect("nothing fails");
        let stack = NewStack {
            name: "shop".to_owned(),
            env: environment("staging"),
            parent: None,
            services: vec![service(Some("shop:1"))],
            env_vars: EnvVars::new(),
        };
        let source =
            block_on(store.create_stack(TEAM, stack)).expect("nothing fails").expect("there is room");
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
            payload: Payload { source: self.source.id, name: None, copy_vault: false },
            key: None,
        }
    }

    pub(crate) fn requested(&self, ask: &PromotionRequest) -> Result<ApprovalRecord, StoreError> {
        block_on(self.store.request_approval(ask)).map(|requested| requested.record)
    }

    pub(crate) fn approve(&self, ask: PromotionRequest) -> UseRequest {
        let approval = self.requested(&ask).expect("nothing fails").approval.id;
        let token = token_of(approval);
        let decision = Decision::Operator { token: &token, verdict: Verdict::Approve };
        block_on(self.store.decide(decision)).expect("nothing fails").expect("it is pending");
        UseRequest::new(approval, ask)
    }

    /// An ask with an approval that the operator has given.
    pub(crate) fn approved(&self) -> UseRequest {
        self.approve(self.ask())
    }

    pub(crate) fn promote(&self, flow: &Flow, ask: &UseRequest) -> Answer {
        block_on(async {
            let source = self.store.digest(ask).await.expect("nothing fails");
            Driver::new(flow, &self.store, &self.deployer)
                .expect("it is supported")
                .promote_once(ask.approval, ask, source)
                .await
        })
    }

    pub(crate) fn status(&self, ask: &UseRequest) -> Status {
        let record = block_on(self.store.approval(TEAM, ask.approval)).expect("nothing fails");
        record.expect("it was requested").approval.status
    }
}
