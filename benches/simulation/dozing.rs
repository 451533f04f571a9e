//! The same scenario on tokio: a store that dozes for a random time before each effect, on a clock that is paused.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use countersign::{
    platform::{Binding, Environment, Kind},
    protocol::{Commit, Digest, Flow, Refusal, Step, Timestamp},
    service::{Deployer, Driver, Launch, Terms, Worked, work},
    store::{
        Approvals, AttemptReads, Committed, Decision, EnvVars, Execution, Lease, Leases, MemoryStore,
        NewStack, Outbox, Payload, Plan, PromotionRequest, Reading, Service, StackStatus, StoreError, Team,
        Tenants, Verdict,
    },
};
use countersign_models::{
    fixtures::{CountingIds, HandClock, run_ready, token_of},
    simulation::LEASE_MS,
};
use countersign_testkit::{Peek, Seed};
use uuid::Uuid;

use crate::{CLIENTS, Dice};

const TEAM: Uuid = Uuid::from_u128(0xA);

pub(crate) struct Dozing {
    store: MemoryStore,
    dice: Mutex<Dice>,
}

impl Dozing {
    async fn doze(&self) {
        let ms = self.dice.lock().unwrap_or_else(PoisonError::into_inner).below(1_000);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

impl Approvals for Dozing {
    async fn read_approval(&self, approval: Uuid, ask: &PromotionRequest) -> Result<Reading, StoreError> {
        self.doze().await;
        self.store.read_approval(approval, ask).await
    }

    async fn commit(
        &self,
        ask: &PromotionRequest,
        step: &Step,
        commit: Commit<'_>,
    ) -> Result<Committed, StoreError> {
        self.doze().await;
        self.store.commit(ask, step, commit).await
    }

    async fn execution(&self, team: Uuid, approval: Uuid) -> Result<Option<Execution>, StoreError> {
        self.store.execution(team, approval).await
    }

    countersign_models::decisions_pass_through!(store);
}

impl AttemptReads for Dozing {
    fn can_produce(&self, refusal: &Refusal) -> bool {
        self.store.can_produce(refusal)
    }

    async fn check(
        &self,
        approval: Uuid,
        ask: &PromotionRequest,
        step: &Step,
    ) -> Result<Result<Digest, Refusal>, StoreError> {
        self.doze().await;
        self.store.check(approval, ask, step).await
    }

    async fn find_target(
        &self,
        ask: &PromotionRequest,
        step: &Step,
    ) -> Result<Result<Option<Uuid>, Refusal>, StoreError> {
        self.doze().await;
        self.store.find_target(ask, step).await
    }
}

impl Leases for Dozing {
    countersign_models::leases_pass_through!(store);
}

impl Outbox for Dozing {
    async fn lease_job(&self, lease_ms: u64) -> Result<Option<Lease>, StoreError> {
        self.doze().await;
        self.store.lease_job(lease_ms).await
    }

    async fn renew_lease(&self, lease: &Lease, lease_ms: u64) -> Result<bool, StoreError> {
        self.doze().await;
        self.store.renew_lease(lease, lease_ms).await
    }

    async fn finish_job(&self, lease: &Lease, ended: StackStatus) -> Result<bool, StoreError> {
        self.doze().await;
        self.store.finish_job(lease, ended).await
    }

    countersign_models::settles_pass_through!(store);
}

fn environment(name: &str) -> Environment {
    Environment::parse(name).expect("a legal name")
}

/// A deployer whose deploys take their time.
struct Slow {
    world: Arc<Dozing>,
    renewals: u32,
    patience: Mutex<u32>,
}

impl Deployer for Slow {
    async fn launch(&self, _: &Launch) {
        self.world.doze().await;
    }

    /// Ends after this many renewals of the lease.
    async fn outcome(&self, _: &Launch, patience_ms: u64) -> Option<StackStatus> {
        {
            let mut waited = self.patience.lock().unwrap_or_else(PoisonError::into_inner);
            if *waited == self.renewals {
                return Some(StackStatus::Healthy);
            }
            *waited += 1;
        }
        tokio::time::sleep(Duration::from_millis(patience_ms)).await;
        None
    }
}

/// One schedule, from an empty store to the end of the deploy, with this many renewals of the lease before it.
pub(crate) async fn schedule(flow: &Arc<Flow>, seed: u64, renewals: u32) {
    let clock = Arc::new(HandClock::at(Timestamp(1_000)));
    let store = MemoryStore::new(clock.clone(), Arc::new(CountingIds::default()));
    store.seed_team(TEAM, Team { plan: Plan::Pro, deployment_cap: usize::MAX });
    store.seed_vault(TEAM, environment("staging"), "KEY", "value");
    let image_ref = Some("shop:1".to_owned());
    let services = vec![Service { name: "web".to_owned(), image_ref, port: Some(80), expose: true }];
    let stack = |name: &str, parent| {
        let (name, env) = (name.to_owned(), environment("staging"));
        let new = NewStack { name, env, parent, services: services.clone(), env_vars: EnvVars::new() };
        let created = run_ready(store.create_stack(TEAM, new));
        created.expect("nothing fails in memory").expect("there is room").id
    };
    let approved = stack("approved", None);
    let other = stack("other", Some(approved));
    let binding = Binding { kind: Kind::Stack, from: environment("staging"), to: environment("production") };
    let ask = |source| PromotionRequest {
        team: TEAM,
        binding: binding.clone(),
        requested_by: "dev@example.com".into(),
        payload: Payload { source, name: None, copy_vault: true },
        key: None,
    };
    let record = run_ready(store.request_approval(&ask(approved))).expect("nothing fails").record;
    let decision = Decision::Operator { token: &token_of(record.approval.id), verdict: Verdict::Approve };
    run_ready(store.decide(decision)).expect("nothing fails").expect("it is pending");
    let id = record.approval.id;
    let world = Arc::new(Dozing { store, dice: Mutex::new(Dice(seed)) });
    let slow = Slow { world: Arc::clone(&world), renewals, patience: Mutex::new(0) };
    let deployer = Arc::new(slow);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let ask = ask(if client == CLIENTS - 1 { other } else { approved });
            let (flow, world, deployer) = (Arc::clone(flow), Arc::clone(&world), Arc::clone(&deployer));
            tokio::spawn(async move {
                world.doze().await;
                let source = world.store.digest(&ask).expect("the team is there");
                Driver::new(&flow, &*world, &*deployer)
                    .expect("it is supported")
                    .promote_once(id, &ask, source)
                    .await
            })
        })
        .collect();
    let worker = tokio::spawn(async move {
        let terms = Terms { clock: &*clock, lease_ms: LEASE_MS };
        // Until there is a job.
        while work(&*world, &*deployer, terms).await == Ok(Worked::Nothing) {}
    });
    for client in clients {
        client.await.expect("it does not panic");
    }
    worker.await.expect("it does not panic");
}
