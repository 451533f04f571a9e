//! S12: what is another team's answers exactly as what does not exist.

use countersign_testkit::Peek;
use serde_json::json;
use uuid::Uuid;

use crate::gate::{Answer, Call, Gate, admin, dev, id_in, stranger};

/// All that a caller sees.
fn seen(answer: &Answer) -> (u16, String, Vec<(String, String)>) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "traceparent");
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
    (answer.status.as_u16(), answer.text.clone(), headers.collect())
}

#[tokio::test]
async fn every_route_answers_for_anothers_as_for_none() {
    let gate = Gate::new();
    let approval = gate.requested().await;
    let approved = gate.approved().await;
    let executed = gate.approved().await;
    gate.send(gate.promote(Some(executed))).await;
    let body = json!({"name": "db", "type": "redis", "env": "development"});
    let resource =
        id_in(&gate.send(Call::new("POST", "/api/v1/resources").by(&dev()).json(&body)).await, "id");
    let none = Uuid::from_u128(0xDEAD);
    let stack = |slug: &str, rest: &str| format!("/api/v1/stacks/{slug}{rest}");
    let promote = json!({"to": "production"});
    let calls = |slug: &str, approval: Uuid, resource: Uuid| {
        [
            Call::new("GET", &stack(slug, "")),
            Call::new("GET", &stack(slug, "/family")),
            Call::new("PATCH", &stack(slug, "/services/web")).json(&json!({"image_ref": "evil:1"})),
            Call::new("PATCH", &stack(slug, "/services/web")).json(&json!({"nonsense": 1})),
            Call::new("PATCH", &stack(slug, "/env")).json(&json!({"A": "b"})),
            Call::new("POST", &stack(slug, "/promote")).json(&promote),
            Call::new("POST", &stack(slug, "/promote")).json(&json!({"to": "no blanks"})),
            Call::new("GET", &format!("/api/v1/resources/{resource}")),
            Call::new("POST", &format!("/api/v1/resources/{resource}/provision-twin"))
                .json(&json!({"env": "production"})),
            Call::new("GET", &format!("/api/v1/approvals/{approval}")),
            Call::new("GET", &format!("/api/v1/audit?approval_id={approval}")),
            Call::new("POST", &format!("/api/v1/admin/promotions/{approval}/reject")),
            Call::new("POST", &format!("/api/v1/admin/promotions/{approval}/give-up")),
        ]
    };
    for id in [approval, approved, executed] {
        let theirs = calls(&gate.slug, id, resource);
        for (foreign, absent) in theirs.into_iter().zip(calls("shop-000000000001", none, none)) {
            let foreign = gate.send(foreign.by(&stranger())).await;
            let absent = gate.send(absent.by(&stranger())).await;
            assert_eq!(foreign.status, 404, "{}", foreign.text);
            assert_eq!(seen(&foreign), seen(&absent));
        }
    }
    let stacks = gate.store.stacks(crate::gate::TEAM);
    assert_eq!(stacks[0].services[0].image_ref.as_deref(), Some("shop:1"));
}

#[tokio::test]
async fn an_approval_of_another_team_cannot_be_used() {
    let gate = Gate::new();
    let approved = gate.approved().await;
    let body =
        json!({"name": "shop", "env": "development", "services": [{"name": "web", "image_ref": "shop:1"}]});
    let theirs = gate.send(Call::new("POST", "/api/v1/stacks").by(&stranger()).json(&body)).await;
    let slug = theirs.json()["slug"].as_str().expect("a slug").to_owned();
    let promote = |approval: Uuid| {
        Call::new("POST", &format!("/api/v1/stacks/{slug}/promote"))
            .by(&stranger())
            .json(&json!({"to": "production", "approval_id": approval}))
    };
    let foreign = gate.send(promote(approved)).await;
    let absent = gate.send(promote(Uuid::from_u128(0xDEAD))).await;
    assert_eq!(foreign.problem(), (404, "approval_not_found".to_owned()));
    assert_eq!(seen(&foreign), seen(&absent));
    assert_eq!(gate.approval(approved).await["status"], "approved");
}

#[tokio::test]
async fn a_list_has_the_own_teams_approvals_only_and_neither_tokens_nor_payloads() {
    let gate = Gate::new();
    let approval = gate.requested().await;
    let list = "/api/v1/admin/promotions";
    let own = gate.get(list, &admin()).await.json();
    assert_eq!((own["items"].as_array().map(Vec::len), &own["items"][0]["id"]), (Some(1), &json!(approval)));
    let names: Vec<_> = own["items"][0].as_object().expect("an object").keys().map(String::as_str).collect();
    let expected = [
        "created_at",
        "decided_at",
        "expires_at",
        "from_env",
        "id",
        "kind",
        "requested_by_email",
        "status",
        "to_env",
    ];
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(gate.get(list, &stranger()).await.json(), json!({"ok": true, "items": []}));
}
