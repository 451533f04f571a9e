//! Bearer tokens: only good ones, and nothing is said about why one is not.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use countersign::store::{Plan, Team};
use countersign_gate::http::{ClaimedPlan, Claims, mint};
use countersign_testkit::{Peek, Seed};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use uuid::Uuid;

use crate::gate::{Call, Gate, OPENS, SECRET, admin, bearer, claims, dev};

async fn refused(gate: &Gate, authorization: &str) -> serde_json::Value {
    let answer = gate.get(&format!("/api/v1/stacks/{}", gate.slug), authorization).await;
    assert_eq!(answer.problem(), (401, "unauthorized".to_owned()), "{authorization}");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    answer.json()
}

#[tokio::test]
async fn what_is_no_good_token_is_401_and_always_the_same() {
    let gate = Gate::new();
    let now_s = OPENS.0 / 1000;
    let with_header = |header: &Header, secret: &[u8]| {
        let token = encode(header, &claims(), &EncodingKey::from_secret(secret)).expect("a token");
        format!("Bearer {token}")
    };
    let unsigned = {
        let part = |json: &str| BASE64_URL_SAFE_NO_PAD.encode(json);
        let claims = serde_json::to_string(&claims()).expect("JSON");
        format!("Bearer {}.{}.", part(r#"{"alg":"none","typ":"JWT"}"#), part(&claims))
    };
    let good = dev();
    let mut forged = good.clone();
    let last = forged.pop().expect("it is not empty");
    // Four of the last letter's six bits count.
    forged.push(if last == 'A' { 'Q' } else { 'A' });
    let bad = [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer nonsense".to_owned(),
        good.replace("Bearer", "Basic"),
        bearer(&Claims { exp: now_s, ..claims() }),
        bearer(&Claims { exp: 0, ..claims() }),
        bearer(&Claims { nbf: Some(now_s + 61), ..claims() }),
        bearer(&Claims { email: Some("a\0b".to_owned()), ..claims() }),
        format!("Bearer {}", mint(b"another secret", &claims())),
        with_header(&Header::new(Algorithm::HS512), SECRET),
        with_header(&Header::new(Algorithm::HS384), SECRET),
        unsigned,
        forged,
    ];
    let first = refused(&gate, &bad[0]).await;
    for authorization in &bad {
        assert_eq!(refused(&gate, authorization).await, first);
    }
    let ahead = bearer(&Claims { nbf: Some(now_s + 60), ..claims() });
    assert_eq!(gate.get(&format!("/api/v1/stacks/{}", gate.slug), &ahead).await.status, 200);
    let twice = Call::new("GET", &format!("/api/v1/stacks/{}", gate.slug)).by(&good).by(&good);
    assert_eq!(gate.send(twice).await.status, 401);
    assert_eq!(gate.get(&format!("/api/v1/stacks/{}", gate.slug), &good).await.status, 200);
    gate.clock.advance_ms(7 * 24 * 60 * 60 * 1000);
    refused(&gate, &good).await;
}

#[tokio::test]
async fn administration_needs_an_administrator() {
    let gate = Gate::new();
    let list = "/api/v1/admin/promotions";
    let reject = format!("{list}/{}/reject", Uuid::nil());
    for call in [Call::new("GET", list), Call::new("POST", &reject)] {
        assert_eq!(gate.send(call.by(&dev())).await.problem(), (403, "admin_required".to_owned()));
    }
    assert_eq!(gate.get(list, &admin()).await.status, 200);
    assert_eq!(gate.send(Call::new("GET", list)).await.status, 401);
}

#[tokio::test]
async fn a_team_is_known_from_its_first_request_with_the_plan_that_the_policy_gives() {
    let newcomers = Uuid::from_u128(0xC);
    let gate = Gate::with(|parts| {
        parts.tenants = std::sync::Arc::new(|_: Uuid, claimed: Option<Plan>| Team {
            plan: claimed.unwrap_or(Plan::Free),
            deployment_cap: 7,
        });
    });
    assert_eq!(gate.store.deployment_cap(newcomers), None);
    let caller = bearer(&Claims { team: newcomers, plan: Some(ClaimedPlan::Pro), ..claims() });
    gate.get("/api/v1/stacks/none", &caller).await;
    assert_eq!(gate.store.deployment_cap(newcomers), Some(7));
    // Unchanged claims are not written again.
    gate.store.seed_team(newcomers, Team { plan: Plan::Pro, deployment_cap: 8 });
    gate.get("/api/v1/stacks/none", &caller).await;
    assert_eq!(gate.store.deployment_cap(newcomers), Some(8));
}

#[tokio::test]
async fn the_latest_of_conflicting_tokens_determines_the_tier() {
    let newcomers = Uuid::from_u128(0xC);
    let gate = Gate::new();
    let token = |iat: Option<u64>, plan: Option<ClaimedPlan>| {
        bearer(&Claims { team: newcomers, plan, iat, ..claims() })
    };
    let cap = async |bearer: &str| {
        gate.get("/api/v1/stacks/none", bearer).await;
        gate.store.deployment_cap(newcomers)
    };
    let (free, pro, enterprise) =
        (Some(ClaimedPlan::Free), Some(ClaimedPlan::Pro), Some(ClaimedPlan::Enterprise));
    assert_eq!(cap(&token(Some(1), pro)).await, Some(50));
    assert_eq!(cap(&token(Some(3), enterprise)).await, Some(1000), "later");
    for (iat, plan) in [(Some(2), free), (Some(1), pro), (None, free), (Some(9), None), (Some(3), pro)] {
        assert_eq!(cap(&token(iat, plan)).await, Some(1000), "{iat:?} {plan:?}");
    }
    // An earlier token's caller is of the same team, which has the plan that it has now.
    let twin = json!({"env": "production"});
    let path = format!("/api/v1/resources/{}/provision-twin", Uuid::nil());
    let paid = Call::new("POST", &path).by(&token(Some(2), free)).json(&twin);
    assert_eq!(gate.send(paid).await.problem(), (404, "not_found".to_owned()));
    assert_eq!(cap(&token(Some(4), free)).await, Some(3), "a plan can be given up");
    let unpaid = Call::new("POST", &path).by(&token(Some(3), enterprise)).json(&twin);
    assert_eq!(gate.send(unpaid).await.problem(), (402, "plan_required".to_owned()));
}

#[test]
fn claims_do_not_show_an_address_and_minted_ones_read_back() {
    let debugged = format!("{:?}", claims());
    assert!(!debugged.contains("dev@example.com"), "{debugged}");
}
