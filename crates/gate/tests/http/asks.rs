//! Requests for an approval: the same is one approval, a team has a limit, and what cannot succeed is refused.

use countersign::store::AuditKind;
use countersign_gate::http::Settings;
use countersign_testkit::Seed;
use serde_json::{Value, json};

use crate::gate::{Answer, Call, Gate, TEAM, bearer, claims, dev, id_in, service};

async fn ask(gate: &Gate, body: Value, key: Option<&str>, caller: &str) -> Answer {
    let call = Call::new("POST", &gate.promote_path()).by(caller).json(&body);
    gate.send(if let Some(key) = key { call.key(key) } else { call }).await
}

fn promote() -> Value {
    json!({"to": "production"})
}

#[tokio::test]
async fn the_same_again_is_the_same_approval_whoever_asks_and_under_whatever_key() {
    let gate = Gate::new();
    let first = ask(&gate, promote(), None, &dev()).await;
    let approval = id_in(&first, "approval_id");
    let colleague =
        bearer(&countersign_gate::http::Claims { email: Some("two@example.com".to_owned()), ..claims() });
    for (key, caller) in
        [(None, &dev()), (Some("one"), &dev()), (Some("two"), &colleague), (Some("one"), &dev())]
    {
        let again = ask(&gate, promote(), key, caller).await;
        assert_eq!((again.status, again.json()), (first.status, first.json()), "{key:?}");
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
    }
    assert_eq!(gate.count(AuditKind::Requested), 1);
    // Approved and unused it is still the one.
    gate.decide(approval, "approve").await;
    let usable = ask(&gate, promote(), None, &dev()).await;
    assert_eq!((id_in(&usable, "approval_id"), &usable.json()["status"]), (approval, &json!("approved")));
    // Something else is another one, and so is the same when this one is used.
    let named = json!({"to": "production", "name": "other"});
    assert_ne!(id_in(&ask(&gate, named, None, &dev()).await, "approval_id"), approval);
    let mut with = promote();
    with["approval_id"] = json!(approval);
    assert_eq!(ask(&gate, with, None, &dev()).await.status, 202);
    assert_ne!(id_in(&ask(&gate, promote(), None, &dev()).await, "approval_id"), approval);
}

#[tokio::test]
async fn of_sixteen_that_ask_for_the_same_at_once_all_get_one_approval() {
    let gate = std::sync::Arc::new(Gate::new());
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let gate = gate.clone();
            tokio::spawn(async move { id_in(&ask(&gate, promote(), None, &dev()).await, "approval_id") })
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    for caller in callers {
        ids.insert(caller.await.expect("it does not panic"));
    }
    assert_eq!((ids.len(), gate.count(AuditKind::Requested)), (1, 1));
}

#[tokio::test]
async fn a_team_has_a_limit_of_undecided_approvals() {
    let gate = Gate::with(|parts| {
        parts.settings = Settings { max_pending_approvals: 2, ..Settings::default() };
    });
    let named = |name: &str| json!({"to": "production", "name": name});
    let first = id_in(&ask(&gate, named("one"), None, &dev()).await, "approval_id");
    assert_eq!(ask(&gate, named("two"), None, &dev()).await.status, 202);
    let refused = ask(&gate, named("three"), None, &dev()).await;
    assert_eq!(refused.problem(), (429, "too_many_pending_approvals".to_owned()));
    assert_eq!((&refused.json()["retryable"], refused.header("retry-after")), (&json!(true), Some("1")));
    assert_eq!(ask(&gate, named("two"), None, &dev()).await.status, 202, "it is there already");
    gate.decide(first, "reject").await;
    assert_eq!(ask(&gate, named("three"), None, &dev()).await.status, 202);
    gate.clock.advance_ms(24 * 60 * 60 * 1000);
    assert_eq!(ask(&gate, named("four"), None, &dev()).await.status, 202, "what has expired does not count");
}

#[tokio::test]
async fn what_can_never_succeed_is_refused_when_it_is_asked_for() {
    let gate = Gate::new();
    for (services, code) in [(Vec::new(), "no_services"), (vec![service(None)], "missing_image_ref")] {
        gate.store.seed_services(TEAM, gate.source, services);
        let refused = ask(&gate, promote(), Some("mine"), &dev()).await;
        assert_eq!(refused.problem(), (412, code.to_owned()));
        assert_eq!(refused.json()["retryable"], true, "the request, once there is an image");
    }
    assert_eq!(gate.count(AuditKind::Requested), 0);
    gate.store.seed_services(TEAM, gate.source, vec![service(Some("shop:1"))]);
    assert_eq!(ask(&gate, promote(), Some("mine"), &dev()).await.status, 202);
}

#[tokio::test]
async fn under_its_key_a_request_is_told_that_it_was_rejected() {
    let gate = Gate::new();
    let approval = id_in(&ask(&gate, promote(), Some("mine"), &dev()).await, "approval_id");
    let also = ask(&gate, promote(), Some("another"), &dev()).await;
    assert_eq!(id_in(&also, "approval_id"), approval);
    gate.decide(approval, "reject").await;
    for key in ["mine", "another", "mine"] {
        let told = ask(&gate, promote(), Some(key), &dev()).await;
        assert_eq!(told.problem(), (409, "approval_closed".to_owned()), "{key}");
        let body = told.json();
        let said = (&body["approval_status"], &body["consumed"], &body["retryable"]);
        assert_eq!(said, (&json!("rejected"), &json!(false), &json!(false)), "{key}");
    }
    assert_ne!(id_in(&ask(&gate, promote(), Some("later"), &dev()).await, "approval_id"), approval);
}

/// An order that does not compare the digest gets as far as the preflight.
#[tokio::test]
async fn a_412_that_another_image_would_mend_is_not_retryable_with_its_approval() {
    use countersign::protocol::{Checks, Consume, Flow, Guards, Refusal, Step, StepAction};
    let checks = Checks { digest: false, ..Checks::ALL };
    let flow = Flow::of_steps(vec![
        Step::from(StepAction::Validate { checks, accept_own: false }),
        Step::from(StepAction::Check { refusals: vec![Refusal::MISSING_IMAGE_REF] }),
        Step::from(StepAction::Consume(Consume::new(Guards::ALL))),
    ]);
    let gate = Gate::with(|parts| parts.flows.stacks = flow.expect("a flow"));
    let approval = gate.approved().await;
    gate.store.seed_services(TEAM, gate.source, vec![service(None)]);
    let refused = gate.send(gate.promote(Some(approval))).await;
    assert_eq!(refused.problem(), (412, "missing_image_ref".to_owned()));
    let body = refused.json();
    assert_eq!((&body["retryable"], &body["consumed"]), (&json!(false), &json!(false)));
    assert!(body["detail"].as_str().is_some_and(|detail| detail.contains("another approval")), "{body}");
}
