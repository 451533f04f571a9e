//! The builder of a gate: items that are issued or approved, used once by their owner with their content, and what a
//! gate refuses to be built with.

use std::sync::Arc;

use countersign::{
    Flow, Gate, Item, Outcome, RandomIds, Refusal,
    gate::{BuildError, ISSUED, RequestError},
    protocol::{Act, Checks, Consume, Guards, Preflight, Step, StepAction, Timestamp, Via},
    service::{CheckRequest, Driver, InMemoryDeployer, Lookup, UnsupportedStep},
    store::{AuditKind, Decision, Ids, MemoryStore, Operations, StoreError, TenantFacts, Verdict},
};
use countersign_models::fixtures::{HandClock, run_ready};
use uuid::Uuid;

struct Shop {
    store: MemoryStore,
    clock: Arc<HandClock>,
    ids: Arc<RandomIds>,
}

impl Shop {
    fn new() -> Self {
        let (clock, ids) = (Arc::new(HandClock::at(Timestamp(1))), Arc::new(RandomIds::new()));
        Self { store: MemoryStore::new(clock.clone(), ids.clone()), clock, ids }
    }

    fn gate(&self) -> Gate<&MemoryStore> {
        Gate::builder(&self.store).build().expect("the default flow")
    }
}

fn coupon() -> Item {
    Item::new("alice", "10 €")
}

fn refused(end: Outcome) -> Refusal {
    match end {
        Outcome::Refused { refusal, .. } => refusal,
        Outcome::Succeeded { .. } | Outcome::Unknown { .. } => panic!("{end:?}"),
    }
}

#[test]
fn an_issued_item_is_used_once_and_the_audit_says_so() {
    let shop = Shop::new();
    let gate = shop.gate();
    let code = run_ready(gate.issue(&coupon())).expect("nothing fails");
    assert!(matches!(
        run_ready(gate.redeem(code, &coupon().by("bob"))),
        Outcome::Succeeded { repeats: false, .. }
    ));
    assert_eq!(refused(run_ready(gate.redeem(code, &coupon()))), Refusal::APPROVAL_NOT_APPROVED);
    let events = run_ready(gate.store().audit(code)).expect("nothing fails");
    let events: Vec<_> = events.iter().map(|event| (event.kind, &*event.by)).collect();
    let expected =
        [(AuditKind::Requested, "alice"), (AuditKind::Approved, ISSUED), (AuditKind::Executed, "bob")];
    assert_eq!(events, expected);
}

#[test]
fn another_owner_another_content_and_another_day_are_refused() {
    let shop = Shop::new();
    let gate = shop.gate();
    let code = run_ready(gate.issue(&coupon())).expect("nothing fails");
    run_ready(gate.issue(&Item::new("mallory", "1 €"))).expect("nothing fails");
    assert_eq!(
        refused(run_ready(gate.redeem(code, &Item::new("mallory", "10 €")))),
        Refusal::APPROVAL_NOT_FOUND
    );
    let more = Item::new("alice", "1000 €");
    assert_eq!(refused(run_ready(gate.redeem(code, &more))), Refusal::APPROVAL_PAYLOAD_MISMATCH);
    shop.clock.advance_ms(24 * 60 * 60 * 1000);
    assert_eq!(refused(run_ready(gate.redeem(code, &coupon()))), Refusal::APPROVAL_EXPIRED);
}

#[test]
fn a_repeat_under_the_same_key_gets_the_same_item_and_the_same_outcome() {
    let shop = Shop::new();
    let gate = shop.gate();
    let issue = |item: &Item| run_ready(gate.issue(item));
    let code = issue(&coupon().key("order 7")).expect("nothing fails");
    assert_eq!(issue(&coupon().key("order 7")), Ok(code));
    let other = Item::new("alice", "20 €").key("order 7");
    assert_eq!(issue(&other), Err(RequestError::Refused(Refusal::IDEMPOTENCY_KEY_REUSED)));
    let redeem = || run_ready(gate.redeem(code, &coupon().key("checkout")));
    assert!(matches!(redeem(), Outcome::Succeeded { repeats: false, .. }));
    assert!(matches!(redeem(), Outcome::Succeeded { repeats: true, .. }));
}

#[test]
fn an_item_that_needs_a_decision_is_used_after_it() {
    let shop = Shop::new();
    let gate = shop.gate();
    let requested = run_ready(gate.request(&coupon())).expect("nothing fails");
    let id = requested.record.approval.id;
    assert_eq!(refused(run_ready(gate.redeem(id, &coupon()))), Refusal::APPROVAL_NOT_APPROVED);
    let token = shop.ids.token(id);
    let approve = Decision::Operator { token: &token, verdict: Verdict::Approve };
    run_ready(gate.decide(approve)).expect("it is pending");
    assert!(matches!(run_ready(gate.redeem(id, &coupon())), Outcome::Succeeded { .. }));
    assert_eq!(run_ready(gate.decide(approve)), Err(RequestError::Refused(Refusal::APPROVAL_GONE)));
    assert_eq!(refused(run_ready(gate.redeem(Uuid::from_u128(7), &coupon()))), Refusal::APPROVAL_NOT_FOUND);
}

/// A shop that is closed, or whose till is out of order.
struct Till(Result<bool, StoreError>);

fn closed() -> Refusal {
    Refusal::parse("423 shop_closed").expect("a refusal")
}

impl Preflight<bool> for Till {
    fn can_produce(&self, refusal: &Refusal) -> bool {
        *refusal == closed()
    }

    fn applies(&self, _: &Refusal, is_closed: &bool) -> bool {
        *is_closed
    }
}

impl Lookup for Till {
    type Facts = bool;

    async fn look_up(&self, request: &CheckRequest<'_>) -> Result<bool, StoreError> {
        assert_eq!((request.by, request.step), ("alice", "preflight"));
        self.0.clone()
    }
}

#[test]
fn a_preflight_refuses_or_fails_before_anything_is_used() {
    let shop = Shop::new();
    let code = run_ready(shop.gate().issue(&coupon())).expect("nothing fails");
    let redeem = |till: Till| {
        let flow = Flow::single_use(vec![closed()]);
        let gate = Gate::builder(&shop.store).flow(flow).preflight(&till).build().expect("it knows the code");
        run_ready(gate.redeem(code, &coupon()))
    };
    assert_eq!(refused(redeem(Till(Ok(true)))), closed());
    let down = StoreError::not_applied("the till does not answer");
    assert_eq!(refused(redeem(Till(Err(down)))).status(), 503);
    assert!(matches!(redeem(Till(Ok(false))), Outcome::Succeeded { .. }));
}

#[test]
fn a_refusal_that_no_check_produces_is_an_error_by_name() {
    let shop = Shop::new();
    let flow = Flow::single_use(vec![closed()]);
    let error = Gate::builder(&shop.store).flow(flow).build().map(drop).expect_err("no check produces it");
    let step = "preflight".to_owned();
    assert_eq!(error, BuildError::Unsupported(UnsupportedStep::Refusal { step, refusal: closed() }));
    assert!(error.to_string().contains("423 shop_closed"), "{error}");
}

#[test]
fn no_driver_is_made_for_a_flow_that_it_does_not_carry_out() {
    let (shop, deployer) = (Shop::new(), InMemoryDeployer::default());
    let refused =
        |flow: &Flow| Driver::new(flow, &shop.store, &deployer).map(drop).expect_err("it is refused");
    let step = "preflight".to_owned();
    let unknown = UnsupportedStep::Refusal { step, refusal: closed() };
    assert_eq!(refused(&Flow::single_use(vec![closed()])), unknown);
    let act = StepAction::Act(Act::new(Via::Row { unique: false }));
    let pays_out = Step { name: Some("payout".into()), ..act.into() };
    let uses = Step::from(StepAction::Consume(Consume::new(Guards::ALL)));
    let said = refused(&Flow::of_steps(vec![uses, pays_out]).expect("a flow")).to_string();
    assert!(said.starts_with("the step `payout` uses `act` with `via = \"row\"`"), "{said}");
    let flow = Flow::single_use(vec![closed()]);
    let till = Till(Ok(false));
    let driver = Driver::with_preflight(&flow, &shop.store, &deployer, &till);
    assert!(driver.is_ok(), "the preflight produces it");
}

/// The checks of a store that knows when the shop is closed, and nothing of stacks.
struct Hours;

impl Preflight<TenantFacts<'_>> for Hours {
    fn can_produce(&self, refusal: &Refusal) -> bool {
        *refusal == closed()
    }

    fn applies(&self, refusal: &Refusal, _: &TenantFacts<'_>) -> bool {
        *refusal == closed()
    }
}

#[test]
fn the_checks_of_the_store_decide_which_refusals_its_flows_may_list() {
    let shop = Shop::new();
    let code = run_ready(shop.gate().issue(&coupon())).expect("nothing fails");
    let Shop { store, .. } = shop;
    let lists = |refusal| Flow::single_use(vec![refusal]);
    let of_platform = Gate::builder(&store).flow(lists(Refusal::NO_SERVICES));
    assert!(of_platform.build().is_ok(), "the platform's checks produce it");
    let store = store.with_checks(Arc::new(Hours));
    let error = Gate::builder(&store).flow(lists(Refusal::NO_SERVICES)).build().map(drop);
    let step = "preflight".to_owned();
    let refusal = Refusal::NO_SERVICES;
    assert_eq!(error, Err(BuildError::Unsupported(UnsupportedStep::Refusal { step, refusal })));
    let gate = Gate::builder(&store).flow(lists(closed())).build().expect("the store produces it");
    assert_eq!(refused(run_ready(gate.redeem(code, &coupon()))), closed());
}

#[test]
fn a_flow_that_launches_from_this_process_needs_a_deployer() {
    let shop = Shop::new();
    let steps = [
        StepAction::Validate { checks: Checks::ALL, accept_own: false },
        StepAction::Consume(Consume::new(Guards::ALL)),
        StepAction::Act(Act::new(Via::Memory)),
    ];
    let flow = Flow::of_steps(steps.map(Step::from).into()).expect("a flow");
    let builder = Gate::builder(&shop.store).flow(flow);
    let error = builder.clone().build().map(drop).expect_err("it has no deployer");
    assert!(matches!(error, BuildError::NoDeployer { .. }), "{error}");
    let deployer = InMemoryDeployer::default();
    let gate = builder.deployer(&deployer).build().expect("it has one");
    let code = run_ready(gate.issue(&coupon())).expect("nothing fails");
    assert!(matches!(run_ready(gate.redeem(code, &coupon())), Outcome::Succeeded { .. }));
    assert_eq!(deployer.effective().len(), 1);
}
