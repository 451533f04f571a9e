//! Promotes without an approver: the platform's rule approves them, through the same gate.

use countersign::{
    protocol::{Flow, Outcome, Refusal, RefusalKind, Status},
    service::{Answer, Driver, POLICY, is_auto_approved},
    store::{Approvals, AuditKind, Decision, Operations, Payload, PromotionRequest, Tenants},
};
use countersign_models::fixtures::run_ready;
use countersign_testkit::{Peek, Seed};
use uuid::Uuid;

use crate::platform::{Platform, TEAM, environment, service};

fn ask(platform: &Platform, key: Option<&str>) -> PromotionRequest {
    let mut ask = platform.ask();
    ask.binding.to = environment("development");
    ask.key = key.map(Into::into);
    ask
}

fn promote(platform: &Platform, ask: &PromotionRequest) -> Result<(Uuid, Answer), Refusal> {
    let source = platform.store.digest(ask).expect("the team is there");
    let flow = Flow::atomic_commit();
    run_ready(
        Driver::new(&flow, &platform.store, &platform.deployer)
            .expect("it is supported")
            .promote_auto_approved(ask, source),
    )
    .expect("nothing fails")
}

#[test]
fn only_development_needs_no_approver() {
    let platform = Platform::new();
    let judge = |from: &str, to: &str, copy_vault| {
        let mut ask = platform.ask();
        (ask.binding.from, ask.binding.to) = (environment(from), environment(to));
        ask.payload.copy_vault = copy_vault;
        is_auto_approved(&ask)
    };
    let names = ["development", "staging", "production", "dev", "Development"];
    assert_eq!(names.map(|name| judge("qa", name, false)), [true, false, false, false, false]);
    assert!(!judge("production", "development", true), "secrets do not leave a protected environment");
}

#[test]
fn it_is_executed_once_and_the_audit_names_the_rule() {
    let platform = Platform::new();
    let (id, answer) = promote(&platform, &ask(&platform, None)).expect("it is its own");
    assert!(matches!(answer.end, Outcome::Succeeded { .. }), "{answer:?}");
    let events = run_ready(platform.store.audit(id)).expect("nothing fails");
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [AuditKind::Requested, AuditKind::Approved, AuditKind::Executed]);
    assert_eq!(&*events[1].by, POLICY);
    assert!(platform.store.job(TEAM, id).is_some());
}

#[test]
fn the_same_key_gives_the_same_outcome_and_nothing_runs_twice() {
    let platform = Platform::new();
    let ask = ask(&platform, Some("mine"));
    let (id, first) = promote(&platform, &ask).expect("it is its own");
    platform.store.seed_services(TEAM, platform.source, vec![service(Some("shop:2"))]);
    let again = promote(&platform, &ask).expect("it is its own");
    let Outcome::Succeeded { target, .. } = first.end else { panic!("{first:?}") };
    assert_eq!(again, (id, Answer { replayed: true, end: Outcome::Succeeded { target, repeats: true } }));
    let other = PromotionRequest { payload: Payload { copy_vault: true, ..ask.payload.clone() }, ..ask };
    assert_eq!(promote(&platform, &other), Err(Refusal::IDEMPOTENCY_KEY_REUSED));
}

#[test]
fn an_approval_that_has_become_useless_is_replaced_under_the_same_key() {
    let platform = Platform::new();
    let ask = ask(&platform, Some("mine"));
    platform.store.begin_outage(TEAM, Refusal::ENV_LOAD_FAILED);
    let (first, answer) = promote(&platform, &ask).expect("it is its own");
    assert!(matches!(answer.end, Outcome::Refused { kind: RefusalKind::Own, .. }), "{answer:?}");
    platform.store.end_outage(TEAM, &Refusal::ENV_LOAD_FAILED);
    // Its window has passed, and its source has changed.
    platform.clock.advance_ms(24 * 60 * 60 * 1000);
    let (second, answer) = promote(&platform, &ask).expect("it is its own");
    assert!(matches!(answer.end, Outcome::Succeeded { .. }), "{answer:?}");
    assert_ne!(first, second);
    let status =
        |id| run_ready(platform.store.approval(TEAM, id)).expect("nothing fails").expect("it is there");
    assert_eq!(status(first).approval.status, Status::Approved);
    assert_eq!(promote(&platform, &ask).expect("it is its own").0, second);
}

#[test]
fn a_rule_decides_about_its_own_teams_pending_approvals_only() {
    let platform = Platform::new();
    let record = platform.requested(&platform.ask());
    let decide = |team| {
        let decision = Decision::Policy { team, approval: record.approval.id, by: POLICY };
        run_ready(platform.store.decide(decision))
            .expect("nothing fails")
            .map(|record| record.approval.status)
    };
    assert_eq!(decide(Uuid::from_u128(0xB)), Err(Refusal::NOT_FOUND));
    assert_eq!(decide(TEAM), Ok(Status::Approved));
    assert_eq!(decide(TEAM), Err(Refusal::NOT_PENDING));
}

#[test]
fn a_stack_is_found_by_its_id_by_its_own_team_only() {
    let platform = Platform::new();
    let find = |team| run_ready(platform.store.stack_by_id(team, platform.source)).expect("nothing fails");
    assert_eq!(find(TEAM).map(|stack| stack.id), Some(platform.source));
    assert_eq!(find(Uuid::from_u128(0xB)), None);
}
