//! Protected environments: changed by approved promotions, or by an administrator who gives a reason.

use countersign_testkit::{Peek, Seed};
use serde_json::{Value, json};

use crate::gate::{Answer, Call, Gate, TEAM, admin, dev, environment, id_in, service};

const REASON: &str = "INC-4711: certificate expired";

/// Every direct change of what runs in this environment; `slug` is a stack in it.
fn changes(env: &str, slug: &str) -> Vec<(&'static str, Call)> {
    let stack = json!({"name": "api", "env": env, "services": [{"name": "web", "image_ref": "api:1"}]});
    vec![
        ("stack", Call::new("POST", "/api/v1/stacks").json(&stack)),
        (
            "image",
            Call::new("PATCH", &format!("/api/v1/stacks/{slug}/services/web"))
                .json(&json!({"image_ref": "x:1"})),
        ),
        ("variables", Call::new("PATCH", &format!("/api/v1/stacks/{slug}/env")).json(&json!({"A": "b"}))),
        ("vault", Call::new("PUT", &format!("/api/v1/vault/{env}/KEY")).json(&json!({"value": "hunter2"}))),
        (
            "resource",
            Call::new("POST", "/api/v1/resources").json(&json!({"name": "db", "type": "redis", "env": env})),
        ),
    ]
}

/// A gate with a stack of this environment, and the stack's slug.
fn gate_with_stack_in(env: &str) -> (Gate, String) {
    let gate = Gate::new();
    gate.store.seed_stack(TEAM, "live", environment(env), vec![service(Some("live:1"))], [].into());
    let slug = gate.store.stacks(TEAM).last().expect("it was created").slug();
    (gate, slug)
}

async fn events(gate: &Gate) -> Vec<Value> {
    let list = gate.get("/api/v1/admin/break-glass", &admin()).await.json();
    list["items"].as_array().expect("a list").clone()
}

fn kept(gate: &Gate) -> String {
    let vault = gate.store.vault(TEAM, &environment("production"), "KEY");
    format!("{:?} {:?} {vault:?}", gate.store.stacks(TEAM), gate.store.resources(TEAM))
}

#[tokio::test]
async fn a_direct_change_of_a_protected_environment_is_refused_and_changes_nothing() {
    for env in ["production", "staging", "development-2"] {
        let (gate, slug) = gate_with_stack_in(env);
        let before = kept(&gate);
        for (name, change) in changes(env, &slug) {
            for caller in [dev(), admin()] {
                let Some((_, change)) = changes(env, &slug).into_iter().find(|(other, _)| *other == name)
                else {
                    panic!("{name} is one of them")
                };
                let answer = gate.send(change.by(&caller)).await;
                assert_eq!(answer.problem(), (409, "protected_environment".to_owned()), "{name} in {env}");
            }
            let answer = gate.send(change.by(&dev()).header("break-glass", REASON)).await;
            assert_eq!(answer.problem(), (403, "admin_required".to_owned()), "{name} in {env}");
        }
        assert_eq!(kept(&gate), before, "{env}");
        assert!(events(&gate).await.is_empty());
    }
}

#[tokio::test]
async fn development_is_changed_directly_and_without_an_event() {
    let (gate, slug) = gate_with_stack_in("development");
    for (name, change) in changes("development", &slug) {
        let answer = gate.send(change.by(&dev())).await;
        assert!(answer.status.is_success(), "{name}: {}", answer.text);
    }
    assert!(events(&gate).await.is_empty());
}

#[tokio::test]
async fn an_administrator_with_a_reason_changes_it_and_the_audit_says_who_and_why() {
    let (gate, slug) = gate_with_stack_in("production");
    for (name, change) in changes("production", &slug) {
        let answer = gate.send(change.by(&admin()).header("break-glass", REASON)).await;
        assert!(answer.status.is_success(), "{name}: {}", answer.text);
    }
    let events = events(&gate).await;
    let what: Vec<_> = events.iter().map(|event| event["change"].as_str().expect("a text")).collect();
    let expected = [
        "resource db provisioned".to_owned(),
        "vault key KEY".to_owned(),
        format!("variables A of {slug}"),
        format!("image of web in {slug}"),
        "stack api created".to_owned(),
    ];
    assert_eq!(what, expected, "newest first");
    for event in &events {
        assert_eq!(
            [&event["by"], &event["reason"], &event["env"], &event["at"]],
            ["admin@example.com", REASON, "production", "2026-07-01T12:00:00.000Z"],
        );
        assert!(!event.to_string().contains("hunter2"), "no value is in the audit");
    }
    assert_eq!(gate.get("/api/v1/admin/break-glass", &dev()).await.problem().1, "admin_required");
    let theirs = gate.get("/api/v1/admin/break-glass", &crate::gate::stranger()).await.json();
    assert_eq!(theirs["items"], json!([]), "another team sees its own only");
}

#[tokio::test]
async fn a_reason_is_one_header_of_printable_text() {
    let (gate, slug) = gate_with_stack_in("production");
    let change = || {
        let path = format!("/api/v1/stacks/{slug}/env");
        Call::new("PATCH", &path).json(&json!({"A": "b"})).by(&admin())
    };
    let long = "x".repeat(501);
    for reason in ["", "  ", "na\u{ef}ve", &long] {
        let answer = gate.send(change().header("break-glass", reason)).await;
        assert_eq!(answer.problem(), (400, "invalid_break_glass".to_owned()), "{reason}");
    }
    let twice = change().header("break-glass", "one").header("break-glass", "two");
    assert_eq!(gate.send(twice).await.problem(), (400, "invalid_break_glass".to_owned()));
    assert!(events(&gate).await.is_empty());
}

/// Promotes the stack of this slug into development, with its vault keys.
async fn into_development(gate: &Gate, slug: &str, copy_vault: bool) -> Answer {
    let body = json!({"to": "development", "copy_vault": copy_vault});
    gate.send(Call::new("POST", &format!("/api/v1/stacks/{slug}/promote")).by(&dev()).json(&body)).await
}

#[tokio::test]
async fn secrets_leave_a_protected_environment_with_an_approval_only() {
    let (gate, slug) = gate_with_stack_in("production");
    gate.store.seed_vault(TEAM, environment("production"), "DB_PASSWORD", "hunter2");
    let answer = into_development(&gate, &slug, true).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (202, &json!("pending_approval")));
    assert_eq!(gate.store.vault(TEAM, &environment("development"), "DB_PASSWORD"), None);
    let approval = id_in(&answer, "approval_id");
    gate.decide(approval, "approve").await;
    let body = json!({"to": "development", "copy_vault": true, "approval_id": approval});
    let path = format!("/api/v1/stacks/{slug}/promote");
    let used = gate.send(Call::new("POST", &path).by(&dev()).json(&body)).await;
    assert_eq!(used.json()["vault_keys_copied"], json!(["DB_PASSWORD"]), "{}", used.text);
    // Without secrets it needs no approval.
    let answer = into_development(&gate, &slug, false).await;
    assert_eq!(answer.json()["status"], json!("building"), "{}", answer.text);
}
