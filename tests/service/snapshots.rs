//! Copies of a store that go their own way.

use std::sync::Arc;

use countersign::{
    protocol::{Digest, Flow, Outcome, Status},
    service::{Driver, InMemoryDeployer},
    store::{
        Approvals, AuditEvent, Claim, Decision, DeployLog, Execution, Ids, Job, Leases, MemoryStore,
        Operations, Outbox, Plan, PromotionRequest, Query, Resource, ResourceKind, Stack, StackStatus, Team,
    },
};
use countersign_models::fixtures::{CountingIds, UseRequest, run_ready};
use countersign_testkit::{Peek, Seed};
use uuid::Uuid;

use crate::platform::{OPENS, Platform, TEAM, environment, service};

const KEY: &str = "DB_PASSWORD";

/// The observable state of the platform's team and of these approvals.
#[derive(Debug, PartialEq)]
struct Seen {
    stacks: Vec<Stack>,
    resources: Vec<Resource>,
    vault: Vec<Option<String>>,
    cap: Option<usize>,
    listed: Vec<(Uuid, Status)>,
    approvals: Vec<SeenOfApproval>,
}

#[derive(Debug, PartialEq)]
struct SeenOfApproval {
    audit: Vec<AuditEvent>,
    execution: Option<Execution>,
    job: Option<Job>,
    lease: Option<u64>,
    logs: Vec<DeployLog>,
}

fn seen(store: &MemoryStore, approvals: &[Uuid]) -> Seen {
    let page = run_ready(store.list_approvals(&Query::default())).expect("nothing fails");
    let of = |id: &Uuid| SeenOfApproval {
        audit: run_ready(store.audit(*id)).expect("nothing fails"),
        execution: run_ready(store.execution(TEAM, *id)).expect("nothing fails"),
        job: store.job(TEAM, *id),
        lease: store.lease(TEAM, *id).map(|(fence, _)| fence),
        logs: run_ready(store.deploy_logs(*id)).expect("nothing fails"),
    };
    Seen {
        stacks: store.stacks(TEAM),
        resources: store.resources(TEAM),
        vault: ["staging", "production"].map(|env| store.vault(TEAM, &environment(env), KEY)).to_vec(),
        cap: store.deployment_cap(TEAM),
        listed: page.items.iter().map(|one| (one.approval.id, one.approval.status)).collect(),
        approvals: approvals.iter().map(of).collect(),
    }
}

/// Every kind of change that there is, to what the platform has.
fn change_everything(platform: &Platform, store: &MemoryStore, ask: &UseRequest, pending: Uuid) {
    run_ready(store.lease_approval(TEAM, ask.approval)).expect("nothing fails");
    let source = store.digest(ask).expect("the team is there");
    let end = run_ready(
        Driver::new(&Flow::atomic_commit(), store, &InMemoryDeployer::default())
            .expect("it is supported")
            .promote(ask.approval, ask, source),
    );
    assert!(matches!(end, Outcome::Succeeded { .. }), "{end:?}");
    let lease = run_ready(store.lease_job(30_000)).expect("nothing fails").expect("there is a job");
    let log = DeployLog {
        approval: lease.approval,
        ended_at: OPENS,
        exit_code: Some(0),
        output: "deployed".to_owned(),
    };
    run_ready(store.log_deploy(log)).expect("nothing fails");
    assert_eq!(run_ready(store.finish_job(&lease, StackStatus::Healthy)), Ok(true));
    let by = "admin@example.com";
    run_ready(store.decide(Decision::Administrator { team: TEAM, approval: pending, by }))
        .expect("nothing fails")
        .expect("it is pending");
    let asked = PromotionRequest { key: Some("again".into()), ..platform.ask() };
    run_ready(store.request_approval(&asked)).expect("nothing fails");
    store.seed_services(TEAM, platform.source, vec![service(Some("shop:2"))]);
    assert_ne!(store.digest(ask), Some(source), "it is another one now");
    store.seed_vault(TEAM, environment("production"), KEY, "value");
    store.seed_resource(TEAM, "db", ResourceKind::Redis, environment("staging"));
    store.seed_team(TEAM, Team { plan: Plan::Enterprise, deployment_cap: 3 });
    store.seed_team(Uuid::from_u128(0xB), Team { plan: Plan::Pro, deployment_cap: 1 });
    let claimed = run_ready(store.claim_key(TEAM, "key", Digest([1; 32]), 1_000));
    assert!(matches!(claimed, Ok(Claim::Granted { .. })), "{claimed:?}");
}

/// Ids of which the first ones are left out: others have given them out.
fn unused_ids(used: usize) -> Arc<CountingIds> {
    let ids = CountingIds::default();
    (0..used).for_each(|_| _ = ids.next());
    Arc::new(ids)
}

#[test]
fn a_snapshot_has_what_the_original_has_and_goes_its_own_way() {
    let platform = Platform::new();
    platform.store.seed_vault(TEAM, environment("staging"), KEY, "hunter2");
    let mut ask = platform.ask();
    ask.payload.copy_vault = true;
    let ask = platform.approve(ask);
    let pending = platform.requested(&platform.ask());
    let pending = pending.approval.id;
    let known = [ask.approval, pending];
    let before = seen(&platform.store, &known);
    for round in 0..3 {
        // Changes to one snapshot are absent in the next one.
        let snapshot = platform.store.snapshot(platform.clock.clone(), unused_ids(100));
        assert_eq!(seen(&snapshot, &known), before, "round {round}");
        assert_eq!(snapshot.deployment_cap(Uuid::from_u128(0xB)), None);
        change_everything(&platform, &snapshot, &ask, pending);
        assert_ne!(seen(&snapshot, &known), before, "round {round}");
        assert_eq!(seen(&platform.store, &known), before, "round {round}");
    }
}
