//! Every refusal can be reached: by what it takes, on the store and the driver, or in the admission before them.

use crate::platform::{Platform, environment, service};
use countersign::{
    platform::{Environment, Kind},
    protocol::{
        Act, Consume, Flow, Guards, Lease, Outcome, Promotion, Refusal, Request, Step, StepAction, Via,
        Write, WriteTarget,
    },
    service::{Caller, Driver, admit, step},
    store::{Approvals, Decision, EnvVars, Plan, ResourceKind, Team, Verdict},
};
use countersign_models::fixtures::UseRequest;
use countersign_models::{
    fixtures::{run_ready, token_of},
    flows::BuiltIn,
};
use countersign_testkit::{Peek, Seed};
use uuid::Uuid;

/// The refusal that a promotion ends in.
fn refused(end: Outcome) -> Refusal {
    match end {
        Outcome::Refused { refusal, .. } | Outcome::Unknown { refusal } => refusal,
        Outcome::Succeeded { .. } => panic!("it succeeded"),
    }
}

/// The answer of `atomic-commit` on a spoiled platform.
fn promoted(spoil: impl FnOnce(&Platform, &mut UseRequest)) -> Refusal {
    let platform = Platform::new();
    let mut ask = platform.approved();
    spoil(&platform, &mut ask);
    refused(platform.promote(&Flow::atomic_commit(), &ask))
}

/// The answer of a flow of a consume and this step, during an outage of the step's refusal.
fn during_outage(action: StepAction, refusal: Refusal) -> Refusal {
    let platform = Platform::new();
    let ask = platform.approved();
    platform.store.begin_outage(crate::platform::TEAM, refusal);
    let consume = StepAction::Consume(Consume::new(Guards::ALL));
    let flow = Flow::of_steps(vec![Step::from(action), Step::from(consume)]).expect("a flow");
    refused(platform.promote(&flow, &ask))
}

fn write(refusal: Refusal) -> StepAction {
    StepAction::Write(Write { refusals: vec![refusal], ..Write::new(WriteTarget::Target) })
}

fn admitted(caller: Caller<'_>, source: Option<&Environment>, from: Option<&str>, to: &str) -> Refusal {
    admit(caller, Kind::Stack, source, from, to).expect_err("it is refused")
}

fn twin_that_exists() -> Refusal {
    let platform = Platform::new();
    let database = platform.store.seed_resource(
        crate::platform::TEAM,
        "db",
        ResourceKind::Postgres,
        environment("staging"),
    );
    let twin = || {
        let mut ask = platform.ask();
        ask.binding.kind = Kind::ResourceTwin;
        ask.payload.source = database;
        platform.approve(ask)
    };
    let flow = BuiltIn::find("twin-consume-first").expect("it is built in").subject().flow;
    let first = platform.promote(&flow, &twin());
    assert!(matches!(first, Outcome::Succeeded { target: Some(target), .. } if target.created));
    assert_eq!(platform.store.resources(crate::platform::TEAM).len(), 2);
    refused(platform.promote(&flow, &twin()))
}

/// A second decision.
fn second_decision(administrator: bool) -> Refusal {
    let platform = Platform::new();
    let record = platform.requested(&platform.ask());
    platform.decide(&record, Verdict::Approve);
    let decision = if administrator {
        Decision::Administrator {
            team: record.approval.team,
            approval: record.approval.id,
            by: "admin@example.com",
        }
    } else {
        Decision::Operator { token: &token_of(record.approval.id), verdict: Verdict::Reject }
    };
    run_ready(platform.store.decide(decision)).expect("nothing fails").expect_err("it is decided")
}

#[test]
fn every_refusal_can_be_reached() {
    const CALLER: Caller<'_> = Caller { plan: Plan::Pro, email: Some("dev@example.com") };
    let staging = environment("staging");
    let here = Some(&staging);
    let reached = [
        admitted(CALLER, here, None, "no blanks"),
        admitted(CALLER, here, None, "staging"),
        admitted(Caller { plan: Plan::Free, ..CALLER }, here, None, "production"),
        admitted(CALLER, None, None, "production"),
        admitted(CALLER, here, Some("qa"), "production"),
        admitted(Caller { email: None, ..CALLER }, here, None, "production"),
        reused_key(),
        crate::idempotency::in_flight(),
        second_decision(false),
        second_decision(true),
        Request::parse_approval_id("17").expect_err("it is none"),
        promoted(|_, ask| ask.approval = Uuid::from_u128(1)),
        promoted(|platform, _| platform.store.begin_outage(crate::platform::TEAM, Refusal::LOOKUP_FAILED)),
        promoted(|platform, ask| ask.approval = platform.requested(ask).approval.id),
        promoted(|_, ask| ask.binding.to = environment("qa")),
        promoted(|platform, _| platform.clock.advance_ms(24 * 60 * 60 * 1000)),
        promoted(|platform, _| {
            platform.store.seed_services(
                crate::platform::TEAM,
                platform.source,
                vec![service(Some("shop:2"))],
            );
        }),
        during_outage(StepAction::Check { refusals: vec![Refusal::FETCH_FAILED] }, Refusal::FETCH_FAILED),
        {
            let platform = Platform::new();
            platform.store.seed_services(crate::platform::TEAM, platform.source, vec![]);
            refused(platform.promote(&Flow::atomic_commit(), &platform.approved()))
        },
        {
            let platform = Platform::new();
            platform.store.seed_services(crate::platform::TEAM, platform.source, vec![service(None)]);
            refused(platform.promote(&Flow::atomic_commit(), &platform.approved()))
        },
        promoted(|platform, _| {
            platform.store.seed_team(crate::platform::TEAM, Team { plan: Plan::Pro, deployment_cap: 1 });
        }),
        during_outage(write(Refusal::CREATE_FAILED), Refusal::CREATE_FAILED),
        during_outage(write(Refusal::UPDATE_FAILED), Refusal::UPDATE_FAILED),
        promoted(|platform, _| platform.store.begin_outage(crate::platform::TEAM, Refusal::ENV_LOAD_FAILED)),
        unresolved_vault_reference(),
        twin_that_exists(),
        during_outage(write(Refusal::PROVISION_FAILED), Refusal::PROVISION_FAILED),
        consumed_meanwhile(),
        during_outage(StepAction::Lease(Lease::default()), Refusal::LEASE_FAILED),
        overtaken(),
        promoted(|platform, _| platform.store.begin_outage(crate::platform::TEAM, Refusal::EXECUTE_FAILED)),
        during_outage(StepAction::Act(Act::new(Via::Outbox)), Refusal::ENQUEUE_FAILED),
    ];
    // The body is the HTTP layer's to read.
    let expected: Vec<_> =
        Refusal::WELL_KNOWN.iter().filter(|refusal| **refusal != Refusal::INVALID_BODY).collect();
    let mut found: Vec<_> = reached.iter().collect();
    found.sort_by_key(|refusal| Refusal::WELL_KNOWN.iter().position(|known| known == *refusal));
    assert_eq!(found, expected);
}

/// An attempt outlasts its lease, and another one acquires it.
fn overtaken() -> Refusal {
    let platform = Platform::new();
    let ask = platform.approved();
    let flow = Flow::atomic_commit_lease();
    let source = platform.store.digest(&ask).expect("the team is there");
    let mut slow = Promotion::begin(&flow, &ask.request(), source);
    let go_on =
        |promotion: &mut Promotion<'_>| run_ready(step(promotion, &ask, &platform.store, &platform.deployer));
    while slow.position().fence.is_none() {
        assert_eq!(go_on(&mut slow), None, "nobody else has it");
    }
    let mut other = Promotion::begin(&flow, &ask.request(), source);
    assert_eq!(go_on(&mut other), None, "it has no key");
    assert_eq!(go_on(&mut other), None, "validated");
    let until = go_on(&mut other).expect("it has to wait");
    assert_eq!(go_on(&mut other), Some(until), "and asks again");
    platform.clock.set(until);
    assert_eq!(go_on(&mut other), None, "it has it");
    let refusal = loop {
        go_on(&mut slow);
        if let Some(end) = slow.outcome() {
            break refused(end.clone());
        }
    };
    while other.outcome().is_none() {
        go_on(&mut other);
    }
    assert!(matches!(other.outcome(), Some(Outcome::Succeeded { .. })), "the approval was not used");
    refusal
}

fn unresolved_vault_reference() -> Refusal {
    let platform = Platform::new();
    let env_vars = EnvVars::from([("PASSWORD".to_owned(), "vault:DB_PASSWORD".to_owned())]);
    let source = platform.store.seed_stack(
        crate::platform::TEAM,
        "api",
        environment("staging"),
        vec![service(Some("api:1"))],
        env_vars,
    );
    platform.store.seed_vault(crate::platform::TEAM, environment("staging"), "DB_PASSWORD", "secret");
    let mut ask = platform.ask();
    ask.payload.source = source;
    let refusal = refused(platform.promote(&Flow::atomic_commit(), &platform.approve(ask.clone())));
    // Copied along, the reference resolves.
    ask.payload.copy_vault = true;
    let end = platform.promote(&Flow::atomic_commit(), &platform.approve(ask));
    assert!(matches!(end, Outcome::Succeeded { .. }), "{end:?}");
    let production = environment("production");
    assert_eq!(
        platform.store.vault(crate::platform::TEAM, &production, "DB_PASSWORD").as_deref(),
        Some("secret")
    );
    refusal
}

/// The refusal of a key that was used for another request.
fn reused_key() -> Refusal {
    let (platform, flow) = (Platform::new(), Flow::atomic_commit());
    let mut ask = platform.approved().under("mine");
    let ask_once =
        |ask: &UseRequest| {
            let source = platform.store.digest(ask).expect("the team is there");
            run_ready(
                Driver::new(&flow, &platform.store, &platform.deployer)
                    .expect("it is supported")
                    .promote_once(ask.approval, ask, source),
            )
            .end
        };
    assert!(matches!(ask_once(&ask), Outcome::Succeeded { .. }));
    ask.payload.copy_vault = true;
    refused(ask_once(&ask))
}

fn consumed_meanwhile() -> Refusal {
    let (platform, flow) = (Platform::new(), Flow::atomic_commit());
    let ask = platform.approved();
    let late = platform.drive_to(&flow, &ask, flow.steps().len() - 1);
    assert!(matches!(platform.promote(&flow, &ask), Outcome::Succeeded { .. }));
    refused(platform.finish(late, &ask))
}
