//! Promotes from the request to the answer, with their effects.

use std::{sync::Arc, time::Duration};

use countersign::{protocol::Status, store::AuditKind};
use countersign_gate::instance::wakeups::Wakeups;
use countersign_testkit::{Peek, Seed};
use serde_json::json;
use tokio::{sync::Notify, time::timeout};
use uuid::Uuid;

use crate::gate::{Call, Gate, TEAM, dev, id_in};

/// A loop that is not woken finds its work at its next poll, and each test that waits for that would pass.
#[tokio::test]
async fn a_request_wakes_the_notifier_and_a_use_the_workers() {
    let gate = Gate::new();
    let wakeups = Arc::new(Wakeups::default());
    gate.app.wake_with(Arc::clone(&wakeups));
    let woken = async |bell: &Notify| timeout(Duration::ZERO, bell.notified()).await.is_ok();
    let woken = async || (woken(&wakeups.notices).await, woken(&wakeups.jobs).await);
    let approval = gate.requested().await;
    assert_eq!(woken().await, (true, false));
    gate.decide(approval, "approve").await;
    assert_eq!(gate.send(gate.promote(Some(approval))).await.status, 202);
    assert_eq!(woken().await, (false, true));
}

#[tokio::test]
async fn a_promote_is_asked_for_approved_done_once_and_refused_after() {
    let gate = Gate::new();
    let pending = gate.send(gate.promote(None)).await;
    assert_eq!(pending.status, 202);
    let approval = id_in(&pending, "approval_id");
    assert_eq!(
        pending.json(),
        json!({
            "ok": true, "status": "pending_approval", "approval_id": approval, "from": "staging",
            "to": "production", "source": gate.slug, "expires_at": "2026-07-02T12:00:00.000Z",
        })
    );
    let early = gate.send(gate.promote(Some(approval))).await;
    assert_eq!(early.problem(), (409, "approval_not_approved".to_owned()));
    assert_eq!(early.json()["approval_status"], "pending");
    assert_eq!(early.json()["retryable"], true);

    let approved = gate.decide(approval, "approve").await;
    assert_eq!(approved.status, 303);
    let result = gate.send(Call::new("GET", approved.header("location").expect("a place to go"))).await;
    assert_eq!(result.status, 200);
    assert!(result.text.contains("<h1>Approved</h1>"), "{}", result.text);

    let promoted = gate.send(gate.promote(Some(approval))).await;
    assert_eq!(promoted.status, 202);
    let stack = id_in(&promoted, "stack_id");
    assert_eq!(
        promoted.json(),
        json!({
            "ok": true, "action": "created", "stack_id": stack, "env": "production", "parent_id": gate.source,
            "source": gate.slug, "status": "building", "vault_keys_copied": [], "approval_id": approval,
        })
    );
    let again = gate.send(gate.promote(Some(approval))).await;
    assert_eq!(again.problem(), (409, "approval_not_approved".to_owned()));
    let body = again.json();
    assert_eq!((&body["approval_status"], &body["consumed"]), (&json!("executed"), &json!(true)));
    assert_eq!(body["retryable"], false);

    let seen = gate.approval(approval).await;
    assert_eq!(seen["status"], "executed");
    assert_eq!(seen["outcome"]["stack_id"], json!(stack));
    assert_eq!(seen["outcome"]["status"], "building");
    assert_eq!(seen["approved_at"], "2026-07-01T12:00:00.000Z");
    let audit = gate.get(&format!("/api/v1/audit?approval_id={approval}"), &dev()).await.json();
    let kinds: Vec<_> = audit["items"].as_array().expect("a list").iter().map(|item| &item["kind"]).collect();
    assert_eq!(kinds, ["promote.approval_requested", "promote.approved", "promote.executed"]);
    assert!(gate.store.job(TEAM, approval).is_some());
}

#[tokio::test]
async fn a_promote_into_a_stack_that_exists_is_200() {
    let gate = Gate::new();
    for (status, action) in [(202, "created"), (200, "updated_existing")] {
        let approval = gate.approved().await;
        let answer = gate.send(gate.promote(Some(approval))).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.json()["action"], action);
    }
    assert_eq!(gate.store.stacks(TEAM).len(), 2);
}

#[tokio::test]
async fn a_promote_into_development_runs_immediately_and_names_its_rule() {
    let gate = Gate::new();
    let call =
        || Call::new("POST", &gate.promote_path()).by(&dev()).json(&json!({"to": "development"})).key("mine");
    let answer = gate.send(call()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let approval = id_in(&answer, "approval_id");
    let audit = gate.get(&format!("/api/v1/audit?approval_id={approval}"), &dev()).await.json();
    let who: Vec<_> = audit["items"].as_array().expect("a list").iter().map(|item| &item["by"]).collect();
    assert_eq!(who, ["dev@example.com", "policy:development", "dev@example.com"]);
    // The same outcome again, though the source has changed since.
    let services = vec![crate::gate::service(Some("shop:2"))];
    gate.store.seed_services(TEAM, gate.source, services);
    let again = gate.send(call()).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!((again.status, again.json()), (answer.status, answer.json()));
    assert_eq!(gate.count(AuditKind::Executed), 1);
}

#[tokio::test]
async fn a_refused_promote_into_development_can_be_asked_for_again_under_its_key() {
    let gate = Gate::new();
    let call =
        || Call::new("POST", &gate.promote_path()).by(&dev()).json(&json!({"to": "development"})).key("mine");
    gate.store.seed_services(TEAM, gate.source, vec![crate::gate::service(None)]);
    let refused = gate.send(call()).await;
    assert_eq!(refused.problem(), (412, "missing_image_ref".to_owned()));
    assert_eq!(refused.json()["consumed"], false);
    // The current payload is not the one of the first approval.
    gate.store.seed_services(TEAM, gate.source, vec![crate::gate::service(Some("shop:1"))]);
    let answer = gate.send(call()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(gate.count(AuditKind::Executed), 1);
}

#[tokio::test]
async fn a_twin_is_provisioned_once_in_each_environment() {
    let gate = Gate::new();
    let body = json!({"name": "db", "type": "postgres", "env": "development"});
    let created = gate.send(Call::new("POST", "/api/v1/resources").by(&dev()).json(&body)).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let id = id_in(&created, "id");
    let call = |name: &str, approval: Option<Uuid>| {
        let mut body = json!({"env": "production", "name": name});
        if let Some(approval) = approval {
            body["approval_id"] = json!(approval);
        }
        Call::new("POST", &format!("/api/v1/resources/{id}/provision-twin")).by(&dev()).json(&body)
    };
    let first = id_in(&gate.send(call("one", None)).await, "approval_id");
    let second = id_in(&gate.send(call("two", None)).await, "approval_id");
    for approval in [first, second] {
        gate.decide(approval, "approve").await;
    }
    let twin = gate.send(call("one", Some(first))).await;
    assert_eq!(twin.status, 201, "{}", twin.text);
    assert_eq!(twin.json()["family_root_id"], json!(id));
    let refused = gate.send(call("two", Some(second))).await;
    assert_eq!(refused.problem(), (409, "twin_exists".to_owned()));
    assert_eq!(refused.json()["approval_status"], "approved");
    assert_eq!(gate.approval(first).await["outcome"]["id"], twin.json()["id"]);
}

#[tokio::test]
async fn of_sixteen_concurrent_promotes_exactly_one_succeeds_and_the_others_get_409() {
    let gate = std::sync::Arc::new(Gate::new());
    let approval = gate.approved().await;
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let gate = gate.clone();
            tokio::spawn(async move { gate.send(gate.promote(Some(approval))).await })
        })
        .collect();
    let mut won = 0;
    for caller in callers {
        let answer = caller.await.expect("it does not panic");
        match answer.status.as_u16() {
            202 => won += 1,
            409 => assert_eq!(answer.json()["consumed"], true),
            other => panic!("{other}: {}", answer.text),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(gate.approval(approval).await["status"], Status::Executed.to_string());
}
