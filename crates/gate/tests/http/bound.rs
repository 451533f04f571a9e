//! What an approval is bound to, as its page shows it, and what no longer is what was approved.

use countersign::store::Service;
use countersign_testkit::{Peek, Seed};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::gate::{Answer, Call, Gate, TEAM, admin, dev, environment, id_in, service};

async fn asked(gate: &Gate, body: Value) -> Uuid {
    let answer = gate.send(Call::new("POST", &gate.promote_path()).by(&dev()).json(&body)).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    id_in(&answer, "approval_id")
}

async fn used(gate: &Gate, mut body: Value, approval: Uuid) -> Answer {
    body["approval_id"] = json!(approval);
    gate.send(Call::new("POST", &gate.promote_path()).by(&dev()).json(&body)).await
}

async fn page(gate: &Gate, approval: Uuid) -> String {
    let page = gate.send(Call::new("GET", &Gate::link(approval))).await;
    assert_eq!(page.status, 200, "{}", page.text);
    page.text
}

/// Sets variables of the stack in staging.
async fn patch(gate: &Gate, variables: Value) {
    let path = format!("/api/v1/stacks/{}/env", gate.slug);
    let call = Call::new("PATCH", &path).by(&admin()).header("break-glass", "the test's").json(&variables);
    assert_eq!(gate.send(call).await.status, 200);
}

#[tokio::test]
async fn the_page_shows_all_that_is_bound_as_a_difference_to_what_runs() {
    let gate = Gate::new();
    gate.store.seed_vault(TEAM, environment("production"), "DB", "hunter2");
    patch(&gate, json!({"MODE": "hunter3", "DB": "vault:DB", "MAIL": "vault:MAIL"})).await;
    let promote = json!({"to": "production"});
    let first = asked(&gate, promote.clone()).await;
    let shown = page(&gate, first).await;
    for text in ["There is no such stack in production yet", "shop:1, port 80, reachable from outside", "new"]
    {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    assert!(shown.contains("MODE") && shown.contains("changed: set to the value in staging"), "{shown}");
    assert!(shown.contains("MAIL") && shown.contains("has no value in production yet"), "{shown}");
    assert!(!shown.contains("hunter"), "values are not shown: {shown}");
    gate.store.seed_vault(TEAM, environment("production"), "MAIL", "smtp");
    gate.decide(first, "approve").await;
    assert_eq!(used(&gate, promote.clone(), first).await.status, 202);

    let mut build = service(Some("shop:2"));
    build.expose = false;
    let mut extra = service(Some("job:1"));
    (extra.name, extra.port) = ("job".to_owned(), None);
    gate.store.seed_services(TEAM, gate.source, vec![build, extra]);
    let production = gate.store.stacks(TEAM).last().expect("it was promoted").id;
    let mut old = service(Some("cron:1"));
    old.name = "cron".to_owned();
    gate.store.seed_services(TEAM, production, vec![service(Some("shop:1")), old]);
    let second = asked(&gate, promote).await;
    let shown = page(&gate, second).await;
    for text in [
        "Compared with what ran in production",
        "shop:2, port 80",
        "changed, was shop:1, port 80, reachable from outside",
        "removed, was cron:1, port 80, reachable from outside",
        "unchanged",
    ] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
}

/// Each part of a service that can change, alone.
#[tokio::test]
async fn a_service_is_unchanged_on_the_page_only_if_all_of_it_is() {
    let gate = Gate::new();
    let promote = json!({"to": "production"});
    let first = asked(&gate, promote.clone()).await;
    gate.decide(first, "approve").await;
    assert_eq!(used(&gate, promote.clone(), first).await.status, 202);
    let production = gate.store.stacks(TEAM).last().expect("it was promoted").id;
    let ran = service(Some("shop:1"));
    // A field that is added needs a case here.
    let Service { name: _, image_ref: _, port: _, expose: _ } = &ran;
    let changes: [(Service, &str, &str); 5] = [
        (ran.clone(), "shop:1, port 80, reachable from outside", "unchanged"),
        (
            Service { image_ref: Some("shop:2".to_owned()), ..ran.clone() },
            "shop:2, port 80, reachable from outside",
            "changed, was shop:1, port 80, reachable from outside",
        ),
        (
            Service { port: Some(8080), ..ran.clone() },
            "shop:1, port 8080, reachable from outside",
            "changed, was shop:1, port 80, reachable from outside",
        ),
        (
            Service { port: None, ..ran.clone() },
            "shop:1, reachable from outside",
            "changed, was shop:1, port 80, reachable from outside",
        ),
        (
            Service { expose: false, ..ran.clone() },
            "shop:1, port 80",
            "changed, was shop:1, port 80, reachable from outside",
        ),
    ];
    gate.store.seed_services(TEAM, production, vec![ran.clone()]);
    for (build, value, change) in changes {
        gate.store.seed_services(TEAM, gate.source, vec![build]);
        let shown = page(&gate, asked(&gate, promote.clone()).await).await;
        let line = format!("web<br><code>{value}</code><br><span class=\"change\">{change}</span>");
        assert!(shown.contains(&line), "{line}: {shown}");
    }
}

#[tokio::test]
async fn what_is_no_longer_what_was_approved_is_409_and_the_approval_is_unused() {
    let gate = Gate::new();
    patch(&gate, json!({"MODE": "safe"})).await;
    let promote = json!({"to": "production"});
    let approval = asked(&gate, promote.clone()).await;
    gate.decide(approval, "approve").await;
    patch(&gate, json!({"MODE": "unsafe"})).await;
    let refused = used(&gate, promote.clone(), approval).await;
    assert_eq!(refused.problem(), (409, "approval_payload_mismatch".to_owned()));
    let body = refused.json();
    assert_eq!((&body["approval_status"], &body["consumed"]), (&json!("approved"), &json!(false)));
    patch(&gate, json!({"MODE": "safe"})).await;
    assert_eq!(used(&gate, promote, approval).await.status, 202);
}

#[tokio::test]
async fn an_approval_is_for_the_target_as_it_was() {
    let gate = Gate::new();
    gate.store.bind_targets();
    // The name goes into a new target only: these two are different requests for one target.
    let (one, other) = (json!({"to": "production"}), json!({"to": "production", "name": "shop"}));
    let (first, stale) = (asked(&gate, one.clone()).await, asked(&gate, other.clone()).await);
    for approval in [first, stale] {
        gate.decide(approval, "approve").await;
    }
    assert_eq!(used(&gate, one, first).await.status, 202);
    let refused = used(&gate, other, stale).await;
    assert_eq!(refused.problem(), (409, "target_changed".to_owned()));
    let body = refused.json();
    assert_eq!((&body["approval_status"], &body["retryable"]), (&json!("approved"), &json!(false)));
}
