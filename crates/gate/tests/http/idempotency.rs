//! `Idempotency-Key` over HTTP: the same outcome again, and never a refusal as the outcome.

use countersign::{protocol::Refusal, store::AuditKind};
use serde_json::json;
use uuid::Uuid;

use crate::gate::{Call, Gate, TEAM, dev, id_in};

#[tokio::test]
async fn the_same_key_gets_the_same_outcome_and_any_other_a_409() {
    let gate = Gate::new();
    let approval = gate.approved().await;
    let first = gate.send(gate.promote(Some(approval)).key("mine")).await;
    assert_eq!((first.status.as_u16(), first.header("idempotency-replayed")), (202, None));
    let again = gate.send(gate.promote(Some(approval)).key("mine")).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!((again.status, again.json()), (first.status, first.json()));
    for call in [gate.promote(Some(approval)).key("another"), gate.promote(Some(approval))] {
        assert_eq!(gate.send(call).await.problem(), (409, "approval_not_approved".to_owned()));
    }
    assert_eq!(gate.count(AuditKind::Executed), 1);
}

#[tokio::test]
async fn a_key_for_another_body_or_another_path_is_422() {
    let gate = Gate::new();
    let approval = gate.approved().await;
    gate.send(gate.promote(Some(approval)).key("mine")).await;
    let other_body = gate.promote(None).key("mine");
    let other_path = Call::new(
        "POST",
        &format!("/api/v1/resources/{}/provision-twin", {
            let body = json!({"name": "db", "type": "mongodb", "env": "development"});
            id_in(&gate.send(Call::new("POST", "/api/v1/resources").by(&dev()).json(&body)).await, "id")
        }),
    )
    .by(&dev())
    .json(&json!({"env": "production"}))
    .key("mine");
    for call in [other_body, other_path] {
        assert_eq!(gate.send(call).await.problem(), (422, "idempotency_key_reused".to_owned()));
    }
}

#[tokio::test]
async fn asking_for_an_approval_twice_under_one_key_sends_one_link() {
    let gate = Gate::new();
    let first = gate.send(gate.promote(None).key("mine")).await;
    gate.clock.advance_ms(1);
    let again = gate.send(gate.promote(None).key("mine")).await;
    assert_eq!((again.status, again.json()), (first.status, first.json()));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(gate.count(AuditKind::Requested), 1);
}

#[tokio::test]
async fn a_refusal_is_never_kept() {
    let gate = Gate::new();
    let approval = gate.approved().await;
    gate.store.begin_outage(TEAM, Refusal::ENV_LOAD_FAILED);
    let refused = gate.send(gate.promote(Some(approval)).key("mine")).await;
    assert_eq!(refused.problem(), (503, "env_load_failed".to_owned()));
    let body = refused.json();
    assert_eq!(
        (&body["approval_status"], &body["consumed"], &body["retryable"]),
        (&json!("approved"), &json!(false), &json!(true))
    );
    assert_eq!(refused.header("retry-after"), Some("1"));
    gate.store.end_outage(TEAM, &Refusal::ENV_LOAD_FAILED);
    let answer = gate.send(gate.promote(Some(approval)).key("mine")).await;
    assert_eq!((answer.status.as_u16(), answer.header("idempotency-replayed")), (202, None));
}

#[tokio::test]
async fn a_key_that_was_refused_is_free_for_another_request() {
    let gate = Gate::new();
    assert_eq!(gate.send(gate.promote(Some(Uuid::nil())).key("mine")).await.status, 404);
    assert_eq!(gate.send(gate.promote(None).key("mine")).await.status, 202);
}

#[tokio::test]
async fn a_key_stays_with_its_request_when_its_approval_is_closed() {
    let gate = Gate::new();
    let first = gate.send(gate.promote(None).key("mine")).await;
    assert_eq!(gate.decide(id_in(&first, "approval_id"), "reject").await.status, 303);
    let again = gate.send(gate.promote(None).key("mine")).await;
    assert_eq!(again.problem(), (409, "approval_closed".to_owned()));
    let another = gate.approved().await;
    let call = gate.promote(Some(another)).key("mine");
    assert_eq!(gate.send(call).await.problem(), (422, "idempotency_key_reused".to_owned()));
}

#[tokio::test]
async fn what_is_no_key_is_400() {
    let gate = Gate::new();
    let long = "x".repeat(256);
    for key in ["", "two words", long.as_str()] {
        let answer = gate.send(gate.promote(None).key(key)).await;
        assert_eq!(answer.problem(), (400, "invalid_idempotency_key".to_owned()), "{key:?}");
    }
    let answer = gate.send(gate.promote(None).header("idempotency-key", "é".as_bytes())).await;
    assert_eq!(answer.status, 400);
    assert_eq!(gate.send(gate.promote(None).key("one").key("two")).await.status, 400);
}

#[tokio::test]
async fn sixteen_concurrent_retries_under_one_key_launch_once() {
    let gate = std::sync::Arc::new(Gate::new());
    let approval = gate.approved().await;
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let gate = gate.clone();
            tokio::spawn(async move { gate.send(gate.promote(Some(approval)).key("mine")).await })
        })
        .collect();
    for caller in callers {
        let answer = caller.await.expect("it does not panic");
        let code = answer.problem().1;
        assert!(answer.status == 202 || code == "idempotency_key_in_flight", "{}", answer.text);
    }
    assert_eq!(gate.count(AuditKind::Executed), 1);
}
