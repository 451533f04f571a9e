//! Copies of a store: they go their own way, and can be set back.

use std::sync::Arc;

use countersign::{
    protocol::{Digest, End, Flow, Refusal, Status},
    service::{InMemoryDeployer, promote},
    store::{
        Ask, AuditEvent, Claim, Decision, DeployLog, Execution, Ids, Job, MemoryStore, Operations, Plan,
        Query, Resource, ResourceKind, Stack, StackStatus, Store, Team, Verdict,
    },
    strategy::Strategy,
};
use countersign_models::fixtures::{CountingIds, at_once, token_of};
use uuid::Uuid;

use crate::platform::{OPENS, Platform, TEAM, environment, service};

const KEY: &str = "DB_PASSWORD";

/// What can be seen of the platform's team, and of these approvals.
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
    let page = at_once(store.list_approvals(&Query::default())).expect("nothing fails");
    let of = |id: &Uuid| SeenOfApproval {
        audit: at_once(store.audit(*id)).expect("nothing fails"),
        execution: at_once(store.execution(TEAM, *id)).expect("nothing fails"),
        job: store.job(TEAM, *id),
        lease: store.lease(TEAM, *id).map(|(fence, _)| fence),
        logs: at_once(store.deploy_logs(*id)).expect("nothing fails"),
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

/// Every kind of change that there is, to what the platform has. The approval that was asked for beside.
fn change_everything(platform: &Platform, store: &MemoryStore, ask: &Ask, pending: &Ask) -> Uuid {
    at_once(store.lease_approval(ask)).expect("nothing fails");
    let source = store.digest(ask).expect("the team is there");
    let end = at_once(promote(&Flow::atomic_commit(), ask, source, store, &InMemoryDeployer::default()));
    assert!(matches!(end, End::Succeeded { .. }), "{end:?}");
    let lease = at_once(store.lease_job(30_000)).expect("nothing fails").expect("there is a job");
    let log = DeployLog {
        approval: lease.approval,
        ended_at: OPENS,
        exit_code: Some(0),
        output: "deployed".to_owned(),
    };
    at_once(store.log_deploy(log)).expect("nothing fails");
    assert_eq!(at_once(store.finish_job(&lease, StackStatus::Healthy)), Ok(true));
    let rejected = pending.request.approval;
    let by = "admin@example.com";
    at_once(store.decide(Decision::Administrator { team: TEAM, approval: rejected, by }))
        .expect("nothing fails")
        .expect("it is pending");
    let asked = Ask { key: Some("again".into()), ..platform.ask(Uuid::nil()) };
    let beside = at_once(store.request_approval(&asked)).expect("nothing fails").approval.id;
    assert!(store.put_services(TEAM, platform.source, vec![service(Some("shop:2"))]));
    assert_ne!(store.digest(ask), Some(source), "it is another one now");
    store.put_vault(TEAM, environment("production"), "OTHER", "value");
    store.create_resource(TEAM, "db", ResourceKind::Redis, environment("staging")).expect("it is there");
    store.put_team(TEAM, Team { plan: Plan::Enterprise, deployment_cap: 3 });
    store.begin_outage(TEAM, Refusal::FETCH_FAILED);
    let claimed = at_once(store.claim_key(TEAM, "key", Digest([1; 32]), 1_000));
    assert!(matches!(claimed, Ok(Claim::Granted { .. })), "{claimed:?}");
    beside
}

/// Ids of which so many are left out: others have given them out.
fn unused_ids(used: usize) -> Arc<CountingIds> {
    let ids = CountingIds::default();
    (0..used).for_each(|_| _ = ids.next());
    Arc::new(ids)
}

#[test]
fn a_store_that_is_set_back_has_what_the_other_one_has() {
    let platform = Platform::new();
    platform.store.put_vault(TEAM, environment("staging"), KEY, "hunter2");
    let mut ask = platform.ask(Uuid::nil());
    ask.payload.copy_vault = true;
    let ask = platform.approve(ask);
    let pending = platform.requested(&platform.ask(Uuid::nil()));
    let mut pending_ask = platform.ask(pending.approval.id);
    pending_ask.payload.name = Some("other".to_owned());
    let ids = || unused_ids(100);
    let original = platform.store.fork(platform.clock.clone(), ids());
    let mut store = platform.store.fork(platform.clock.clone(), ids());
    let known = [ask.request.approval, pending.approval.id];
    let before = seen(&original, &known);
    assert_eq!(seen(&store, &known), before);
    for round in 0..3 {
        let beside = change_everything(&platform, &store, &ask, &pending_ask);
        let stranger = Uuid::from_u128(0xB);
        if round == 1 {
            store.put_team(stranger, Team { plan: Plan::Pro, deployment_cap: 1 });
        }
        assert_ne!(seen(&store, &known), before, "round {round}");
        assert_eq!(seen(&original, &known), before, "a copy goes its own way");
        // In here, too, all that a team has is compared.
        store.set_back(&original);
        for (id, record) in known.iter().filter_map(|id| Some((*id, original.standing(*id)?))) {
            store.strategy().update(id, record.changed_at, |_| Ok(record.standing.status));
        }
        assert_eq!(seen(&store, &known), before, "round {round}");
        assert_eq!(at_once(store.approval(TEAM, beside)), Ok(None));
        assert_eq!(store.deployment_cap(stranger), None, "nobody has come");
        let claim = store.claim_key(TEAM, "key", Digest([2; 32]), 1_000);
        assert!(matches!(at_once(claim), Ok(Claim::Granted { .. })), "the key is free");
        // The key is again nobody's.
        store.set_back(&original);
    }
}

#[test]
fn the_approvals_of_a_store_that_is_set_back_are_those_of_its_teams() {
    let platform = Platform::new();
    let original = platform.store.fork(platform.clock.clone(), unused_ids(100));
    let mut store = original.fork(platform.clock.clone(), unused_ids(200));
    let ask = platform.ask(Uuid::nil());
    let request =
        |store: &MemoryStore| at_once(store.request_approval(&ask)).expect("nothing fails").approval.id;
    let approve = |store: &MemoryStore, approval| {
        let decision = Decision::Operator { token: &token_of(approval), verdict: Verdict::Approve };
        at_once(store.decide(decision)).expect("nothing fails").map(|record| record.approval.id)
    };
    let events = |store: &MemoryStore| store.look(TEAM, |records| records.events.len());
    let more_teams = |store: &MemoryStore| {
        store.put_team(Uuid::from_u128(0xB), Team { plan: Plan::Pro, deployment_cap: 1 });
    };
    // There was none.
    more_teams(&store);
    let gone = request(&store);
    store.set_back(&original);
    assert_eq!((approve(&store, gone), events(&store)), (Err(Refusal::NOT_FOUND), Some(0)));
    // There is one, and there was another.
    let there = request(&original);
    let mut store = original.fork(platform.clock.clone(), unused_ids(300));
    let gone = request(&store);
    store.set_back(&original);
    assert_eq!(approve(&store, gone), Err(Refusal::NOT_FOUND));
    assert_eq!((approve(&store, there), events(&store)), (Ok(there), Some(2)));
    // All teams are new ones.
    more_teams(&store);
    store.set_back(&original);
    store.strategy().update(there, OPENS, |_| Ok(Status::Pending));
    assert_eq!((approve(&store, there), events(&store)), (Ok(there), Some(2)));
}
