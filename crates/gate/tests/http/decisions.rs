//! Decisions in a person's own name: by a link of their own or with a session, with a reason, and taken back.

use std::sync::Arc;

use arc_swap::ArcSwap;
use countersign::{
    protocol::Status,
    store::{Operations, Plan, Team, TokenHash},
};
use countersign_gate::{
    http::{ByPlan, Claims, Settings, TenantPolicy},
    instance::operators::{Operators, link_token},
};
use countersign_models::fixtures::token_of;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::gate::{Answer, Call, Gate, TEAM, admin, bearer, claims, dev, stranger};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

/// Alice and Bob approve.
struct Approvers(ArcSwap<Operators>);

impl TenantPolicy for Approvers {
    fn terms(&self, team: Uuid, claimed: Option<Plan>) -> Team {
        ByPlan.terms(team, claimed)
    }

    fn may_decide(&self, team: Uuid, requester: &str, person: &str) -> bool {
        self.0.load().may_decide(team, requester, person)
    }
}

fn approvers(addresses: &[&str]) -> Operators {
    let everywhere = addresses.iter().map(|&address| address.to_owned()).collect();
    Operators { everywhere, ..Operators::default() }
}

fn gate() -> Gate {
    gate_with(&Arc::new(Approvers(ArcSwap::from_pointee(approvers(&[ALICE, BOB])))))
}

fn gate_with(approvers: &Arc<Approvers>) -> Gate {
    Gate::with(|parts| parts.tenants = approvers.clone())
}

fn session(email: &str) -> String {
    bearer(&Claims { email: Some(email.to_owned()), ..claims() })
}

/// The link of an approver, as the notifier makes it.
async fn link(gate: &Gate, approval: Uuid, approver: &str) -> String {
    let token = link_token(&token_of(approval), approver);
    let links = [(TokenHash::of(&token), approver.to_owned())];
    gate.store.put_links(approval, &links).await.expect("nothing fails");
    format!("/approve/{token}")
}

async fn by_link(gate: &Gate, link: &str, form: &str) -> Answer {
    gate.send(Call::new("POST", link).form(form)).await
}

async fn with_session(gate: &Gate, approval: Uuid, verdict: &str, body: Value, caller: &str) -> Answer {
    let path = format!("/api/v1/approvals/{approval}/{verdict}");
    gate.send(Call::new("POST", &path).by(caller).json(&body)).await
}

/// Kind, person, way and reason of each event.
async fn audit(gate: &Gate, approval: Uuid) -> Vec<[String; 4]> {
    let audit = gate.get(&format!("/api/v1/audit?approval_id={approval}"), &dev()).await.json();
    let text = |event: &Value, name: &str| event[name].as_str().unwrap_or("-").to_owned();
    let items = audit["items"].as_array().expect("a list").clone();
    items.iter().map(|event| ["kind", "by", "way", "reason"].map(|name| text(event, name))).collect()
}

fn event(kind: &str, by: &str, way: &str, reason: &str) -> [String; 4] {
    [format!("promote.{kind}"), by.to_owned(), way.to_owned(), reason.to_owned()]
}

#[tokio::test]
async fn the_audit_names_the_person_and_the_way() {
    let gate = gate();
    let (one, other) = (gate.requested().await, gate.requested().await);
    let link = link(&gate, one, ALICE).await;
    assert_eq!(by_link(&gate, &link, "decision=approve&reason=tested+by+QA").await.status, 303);
    let decided = with_session(&gate, other, "approve", json!({}), &session("Bob@Example.com")).await;
    assert_eq!((decided.status.as_u16(), &decided.json()["status"]), (200, &json!("approved")));
    let asked = |by| event("approval_requested", by, "-", "-");
    assert_eq!(
        audit(&gate, one).await,
        [asked("dev@example.com"), event("approved", ALICE, "link", "tested by QA")]
    );
    assert_eq!(
        audit(&gate, other).await,
        [asked("dev@example.com"), event("approved", "Bob@Example.com", "session", "-")]
    );
    let shown = gate.approval(one).await;
    assert_eq!((&shown["decided_by"], &shown["reason"]), (&json!(ALICE), &json!("tested by QA")));
    assert_eq!(gate.send(gate.promote(Some(other))).await.status, 202);
}

#[tokio::test]
async fn an_approved_ones_page_says_until_when_it_is_usable_and_offers_to_revoke_it() {
    let gate = gate();
    let approval = gate.requested().await;
    let (alice, bob) = (link(&gate, approval, ALICE).await, link(&gate, approval, BOB).await);
    assert_eq!(by_link(&gate, &alice, "decision=approve").await.header("location"), Some(&*alice));
    for link in [&alice, &bob] {
        let page = gate.send(Call::new("GET", link)).await;
        for text in ["<h1>Approved</h1>", "2 July 2026, 12:00 UTC", ALICE, "value=\"revoke\""] {
            assert!(page.text.contains(text), "{text}: {}", page.text);
        }
    }
    let revoked = by_link(&gate, &bob, "decision=revoke&reason=wrong+release+%3Cb%3E").await;
    let result = gate.send(Call::new("GET", revoked.header("location").expect("a place"))).await;
    assert!(result.text.contains("<h1>Revoked</h1>") && result.text.contains(BOB), "{}", result.text);
    assert!(result.text.contains("wrong release") && !result.text.contains("<b>"), "{}", result.text);
    assert_eq!(audit(&gate, approval).await[2], event("revoked", BOB, "link", "wrong release <b>"));
    let refused = gate.send(gate.promote(Some(approval))).await;
    assert_eq!(refused.problem(), (409, "approval_not_approved".to_owned()));
    assert_eq!(refused.json()["approval_status"], "revoked");
    assert_eq!(gate.send(Call::new("GET", &alice)).await.status, 410);
}

#[tokio::test]
async fn what_is_used_is_not_revoked_and_what_is_pending_neither() {
    let gate = gate();
    let pending = gate.requested().await;
    let early = with_session(&gate, pending, "revoke", json!({}), &session(ALICE)).await;
    assert_eq!(early.problem(), (409, "approval_not_approved".to_owned()));
    let used = gate.approved().await;
    assert_eq!(gate.send(gate.promote(Some(used))).await.status, 202);
    let late = with_session(&gate, used, "revoke", json!({}), &session(ALICE)).await;
    assert_eq!(late.problem(), (409, "approval_not_approved".to_owned()));
    assert_eq!(late.json()["approval_status"], Status::Executed.to_string());
    let link = link(&gate, used, ALICE).await;
    assert_eq!(by_link(&gate, &link, "decision=revoke").await.status, 409);
}

#[tokio::test]
async fn only_approvers_approve_and_administrators_reject_and_revoke_too() {
    let gate = gate();
    let (approval, other) = (gate.requested().await, gate.requested().await);
    for (caller, verdict) in [
        (dev(), "approve"),
        (dev(), "reject"),
        (dev(), "revoke"),
        (admin(), "approve"),
        (session("mallory@example.com"), "approve"),
    ] {
        let answer = with_session(&gate, approval, verdict, json!({}), &caller).await;
        assert_eq!(answer.problem(), (403, "not_an_approver".to_owned()), "{verdict}");
    }
    let theirs = with_session(&gate, approval, "reject", json!({}), &stranger()).await;
    assert_eq!(theirs.problem(), (404, "approval_not_found".to_owned()));
    let reason = json!({"reason": "not on a Friday"});
    let rejected = with_session(&gate, approval, "reject", reason, &admin()).await;
    assert_eq!((rejected.status.as_u16(), &rejected.json()["status"]), (200, &json!("rejected")));
    assert_eq!(
        audit(&gate, approval).await[1],
        event("rejected", "admin@example.com", "session", "not on a Friday")
    );
    let again = with_session(&gate, approval, "approve", json!({}), &session(ALICE)).await;
    assert_eq!(again.problem(), (409, "not_pending".to_owned()));
    assert_eq!(with_session(&gate, other, "approve", json!({}), &session(ALICE)).await.status, 200);
    assert_eq!(with_session(&gate, other, "revoke", json!({}), &admin()).await.status, 200);
    assert!(gate.approval(other).await["revoked_at"].is_string());
    for body in [json!({"reason": ""}), json!({"reason": "x".repeat(501)}), json!({"why": "so"})] {
        let answer = with_session(&gate, other, "revoke", body, &admin()).await;
        assert_eq!(answer.problem(), (400, "invalid_body".to_owned()));
    }
    assert_eq!(gate.get("/api/v1/approvals/17/approve", &dev()).await.status, 405);
    let _ = TEAM;
}

#[tokio::test]
async fn what_an_administrator_does_is_done_by_name() {
    let gate = gate();
    let (used, pending) = (gate.approved().await, gate.requested().await);
    assert_eq!(gate.send(gate.promote(Some(used))).await.status, 202);
    let on = |approval, what| format!("/api/v1/admin/promotions/{approval}/{what}");
    let calls = || {
        let variables = format!("/api/v1/stacks/{}/env", gate.slug);
        let change = Call::new("PATCH", &variables).json(&json!({"A": "b"})).header("break-glass", "INC-1");
        [Call::new("POST", &on(pending, "reject")), Call::new("POST", &on(used, "give-up")), change]
    };
    for email in [None, Some(String::new())] {
        for call in calls() {
            let nameless = bearer(&Claims { admin: true, email: email.clone(), ..claims() });
            assert_eq!(gate.send(call.by(&nameless)).await.problem(), (400, "missing_email".to_owned()));
        }
    }
    assert_eq!(audit(&gate, pending).await.len(), 1);
    let reject = |body: Value| Call::new("POST", &on(pending, "reject")).json(&body);
    for body in [json!({"reason": ""}), json!({"why": "so"})] {
        assert_eq!(gate.send(reject(body).by(&admin())).await.problem(), (400, "invalid_body".to_owned()));
    }
    for call in [reject(json!({"reason": "not on a Friday"}))].into_iter().chain(calls().into_iter().skip(1))
    {
        let answer = gate.send(call.by(&admin())).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let expected = event("rejected", "admin@example.com", "session", "not on a Friday");
    assert_eq!(audit(&gate, pending).await[1], expected);
}

#[tokio::test]
async fn the_link_of_a_former_approver_neither_shows_nor_decides() {
    let operators = Arc::new(Approvers(ArcSwap::from_pointee(approvers(&[ALICE, BOB]))));
    let gate = gate_with(&operators);
    let approval = gate.requested().await;
    let (alice, bob) = (link(&gate, approval, ALICE).await, link(&gate, approval, BOB).await);
    operators.0.store(Arc::new(approvers(&[BOB])));
    for path in [alice.clone(), format!("{alice}/result")] {
        let shown = gate.send(Call::new("GET", &path).header("accept", "text/html")).await;
        assert_eq!(shown.status, 403, "{path}");
        assert!(shown.text.contains("<h1>Not an approver</h1>"), "{}", shown.text);
    }
    for form in ["decision=approve", "decision=reject"] {
        assert_eq!(by_link(&gate, &alice, form).await.problem(), (403, "not_an_approver".to_owned()));
    }
    assert_eq!(by_link(&gate, &bob, "decision=approve").await.status, 303);
    let revoked = by_link(&gate, &alice, "decision=revoke").await;
    assert_eq!(revoked.problem(), (403, "not_an_approver".to_owned()));
}

#[tokio::test]
async fn a_no_that_comes_too_late_is_its_persons_rejection() {
    let gate = gate();
    let (pending, swept) = (gate.requested().await, gate.requested().await);
    let alice = link(&gate, pending, ALICE).await;
    gate.clock.advance_ms(24 * 60 * 60 * 1000);
    assert_eq!(by_link(&gate, &alice, "decision=reject&reason=no").await.status, 303);
    assert_eq!(gate.approval(pending).await["status"], "rejected");
    assert_eq!(audit(&gate, pending).await[1], event("rejected", ALICE, "link", "no"));
    let swept_now = gate.store.expire_overdue(countersign::protocol::Timestamp(0), 10).await;
    assert_eq!(swept_now.expect("nothing fails").expired, 1);
    let bob = link(&gate, swept, BOB).await;
    for _ in 0..2 {
        let late = by_link(&gate, &bob, "decision=reject&reason=no").await;
        assert_eq!(late.problem(), (410, "approval_gone".to_owned()));
    }
    assert_eq!(gate.approval(swept).await["status"], "expired");
    let events = audit(&gate, swept).await;
    assert_eq!(
        events[1..],
        [event("expired", "policy:expiry", "-", "-"), event("rejected_after_expiry", BOB, "link", "no"),]
    );
    // A late yes is neither.
    assert_eq!(by_link(&gate, &bob, "decision=approve").await.status, 410);
    assert_eq!(audit(&gate, swept).await.len(), 3);
}

#[tokio::test]
async fn the_requester_does_not_approve_with_a_session_where_self_approval_is_forbidden() {
    const REQUESTER: &str = "dev@example.com";
    let gate = |forbid_self_approval| {
        Gate::with(|parts| {
            parts.tenants = Arc::new(Approvers(ArcSwap::from_pointee(approvers(&[REQUESTER, ALICE]))));
            parts.settings = Settings { forbid_self_approval, ..Settings::default() };
        })
    };
    let (strict, lenient) = (gate(true), gate(false));
    let approval = strict.requested().await;
    let own = with_session(&strict, approval, "approve", json!({}), &session(REQUESTER)).await;
    assert_eq!(own.problem(), (403, "self_approval_forbidden".to_owned()));
    assert_eq!(with_session(&strict, approval, "approve", json!({}), &session(ALICE)).await.status, 200);
    let approval = lenient.requested().await;
    assert_eq!(with_session(&lenient, approval, "approve", json!({}), &session(REQUESTER)).await.status, 200);
}
