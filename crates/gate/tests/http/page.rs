//! The approval's page: shown without consequences, decided once, and closed to other sites.

use countersign_gate::http::{Settings, TrustedHeader};
use countersign_models::fixtures::token_of;
use serde_json::json;

use crate::gate::{Call, Gate, admin, bearer, claims, dev, id_in};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[tokio::test]
async fn it_shows_who_asks_for_what_until_when() {
    let gate = Gate::new();
    let approval = gate.requested().await;
    let page = gate.send(Call::new("GET", &Gate::link(approval))).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for shown in
        ["dev@example.com", "staging", "production", "shop", "web", "shop:1", "2 July 2026, 12:00 UTC"]
    {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    for accessible in ["<html lang=\"en\">", "<main>", "<h1>", "<form method=\"post\" aria-label=", "<title>"]
    {
        assert!(page.text.contains(accessible), "{accessible}");
    }
    assert!(!page.text.contains("<script") && !page.text.contains("://"), "it loads and runs nothing");
}

#[tokio::test]
async fn names_on_it_are_text_and_never_markup() {
    let gate = Gate::new();
    let body = json!({"name": "<b>shop", "env": "development", "services": [{"name": "<script>", "image_ref": "\"><i>"}]});
    let created = gate.send(Call::new("POST", "/api/v1/stacks").by(&dev()).json(&body)).await;
    let path = format!("/api/v1/stacks/{}/promote", created.json()["slug"].as_str().expect("a slug"));
    let body = json!({"to": "production", "name": "<u>"});
    let pending = gate.send(Call::new("POST", &path).by(&dev()).json(&body)).await;
    let page = gate.send(Call::new("GET", &Gate::link(id_in(&pending, "approval_id")))).await;
    for markup in ["<b>", "<script>", "<i>", "<u>"] {
        assert!(!page.text.contains(markup), "{markup}");
    }
}

#[tokio::test]
async fn characters_that_hide_or_reorder_text_are_marked() {
    let gate = Gate::new();
    let service = json!({"name": "web\u{200b}", "image_ref": "shop\u{202e}1:pohs"});
    let body = json!({"name": "sh\u{2066}op", "env": "development", "services": [service]});
    let created = gate.send(Call::new("POST", "/api/v1/stacks").by(&dev()).json(&body)).await;
    let path = format!("/api/v1/stacks/{}/promote", created.json()["slug"].as_str().expect("a slug"));
    let body = json!({"to": "production", "name": "x\u{2069}y"});
    let pending = gate.send(Call::new("POST", &path).by(&dev()).json(&body)).await;
    let approval = id_in(&pending, "approval_id");
    let page = gate.send(Call::new("GET", &Gate::link(approval))).await;
    for shown in ["web[U+200B]", "shop[U+202E]1:pohs", "sh[U+2066]op", "x[U+2069]y"] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    let reject = Call::new("POST", &format!("/api/v1/approvals/{approval}/reject")).by(&admin());
    assert_eq!(gate.send(reject.json(&json!({"reason": "no\u{202e}won"}))).await.status, 200);
    let result = gate.send(Call::new("GET", &format!("{}/result", Gate::link(approval)))).await;
    assert!(result.text.contains("no[U+202E]won"), "{}", result.text);
}

#[tokio::test]
async fn its_address_stays_where_it_is() {
    let gate = Gate::new();
    let approval = gate.requested().await;
    let link = Gate::link(approval);
    let expired = Call::new("GET", "/approve/guessed");
    for call in [Call::new("GET", &link), Call::new("HEAD", &link), expired, Call::new("POST", &link)] {
        let answer = gate.send(call).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let policy = answer.header("content-security-policy").expect("a policy");
        for part in
            ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "style-src 'sha256-"]
        {
            assert!(policy.contains(part), "{policy}");
        }
    }
}

#[tokio::test]
async fn the_policy_allows_the_style_that_is_on_it() {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use sha2::{Digest, Sha256};
    let gate = Gate::new();
    let page = gate.send(Call::new("GET", &Gate::link(gate.requested().await))).await;
    let (_, rest) = page.text.split_once("<style>").expect("a style");
    let (style, _) = rest.split_once("</style>").expect("an end");
    let hash = BASE64_STANDARD.encode(Sha256::digest(style));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains(&format!("'sha256-{hash}'")), "{policy}");
    assert!(style.contains("prefers-color-scheme: dark") && style.contains(":focus-visible"));
}

#[tokio::test]
async fn of_two_decisions_the_first_one_counts() {
    for (first, second, status) in [
        ("approve", "reject", "approved"),
        ("reject", "approve", "rejected"),
        ("approve", "approve", "approved"),
    ] {
        let gate = Gate::new();
        let approval = gate.requested().await;
        let decided = gate.decide(approval, first).await;
        assert_eq!(decided.status, 303);
        let late = gate.decide(approval, second).await;
        assert_eq!(late.problem(), (410, "approval_gone".to_owned()));
        assert_eq!(late.json()["approval_status"], status);
        assert_eq!(gate.approval(approval).await["status"], status);
        // What is approved can be revoked on its page; what is rejected is closed, and its result can be looked at.
        let page = gate.send(Call::new("GET", &Gate::link(approval))).await.status;
        assert_eq!(page.as_u16(), if status == "approved" { 200 } else { 410 });
        let result = gate.send(Call::new("GET", decided.header("location").expect("a place"))).await;
        assert_eq!(result.status, 200);
    }
}

#[tokio::test]
async fn of_sixteen_concurrent_decisions_one_counts() {
    let gate = std::sync::Arc::new(Gate::new());
    let approval = gate.requested().await;
    let callers: Vec<_> = (0..16)
        .map(|index| {
            let gate = gate.clone();
            tokio::spawn(async move {
                let decision = if index % 2 == 0 { "decision=approve" } else { "decision=reject" };
                let from = format!("192.0.2.{index}:80");
                gate.send(Call::new("POST", &Gate::link(approval)).form(decision).from(&from)).await
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for caller in callers {
        statuses.push(caller.await.expect("it does not panic").status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses[0], 303);
    assert!(statuses[1..].iter().all(|status| *status == 410), "{statuses:?}");
}

#[tokio::test]
async fn past_its_end_a_look_changes_nothing_and_a_decision_makes_it_expired() {
    let gate = Gate::new();
    let approval = gate.requested().await;
    gate.clock.advance_ms(DAY_MS);
    let look = gate.send(Call::new("GET", &Gate::link(approval))).await;
    assert_eq!(look.problem(), (410, "approval_gone".to_owned()));
    assert_eq!(look.json()["approval_status"], "pending");
    assert_eq!(gate.approval(approval).await["status"], "pending");
    let decided = gate.decide(approval, "approve").await;
    assert_eq!(decided.problem(), (410, "approval_gone".to_owned()));
    assert_eq!(decided.json()["approval_status"], "expired");
    assert_eq!(gate.approval(approval).await["status"], "expired");
}

#[tokio::test]
async fn an_unknown_link_is_404_and_an_unclear_decision_400() {
    let gate = Gate::new();
    let approval = gate.requested().await;
    for call in [
        Call::new("GET", "/approve/guessed"),
        Call::new("GET", "/approve/guessed/result"),
        Call::new("POST", "/approve/guessed").form("decision=approve"),
        Call::new("GET", "/approve/%00"),
        Call::new("GET", "/approve/%ff"),
    ] {
        assert_eq!(gate.send(call).await.problem(), (404, "not_found".to_owned()));
    }
    // Another second, another ten requests.
    gate.clock.advance_ms(1000);
    for form in ["", "decision=", "decision=maybe", "decision=approve&decision=reject", "approve"] {
        let answer = gate.send(Call::new("POST", &Gate::link(approval)).form(form)).await;
        assert_eq!(answer.problem(), (400, "invalid_body".to_owned()), "{form}");
    }
    let json = Call::new("POST", &Gate::link(approval)).json(&json!({"decision": "approve"}));
    assert_eq!(gate.send(json).await.status, 415);
    assert_eq!(gate.approval(approval).await["status"], "pending");
}

#[tokio::test]
async fn a_browser_is_refused_with_a_page() {
    let gate = Gate::new();
    let call = Call::new("GET", "/approve/guessed").header("accept", "text/html,*/*;q=0.8");
    let answer = gate.send(call).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (404, Some("text/html; charset=utf-8"))
    );
    assert!(answer.text.contains("<h1>Not found</h1>"), "{}", answer.text);
}

#[tokio::test]
async fn another_sites_form_is_403_and_the_pages_own_is_not() {
    let gate = Gate::new();
    let approval = gate.requested().await;
    let form = || Call::new("POST", &Gate::link(approval)).form("decision=approve");
    for call in [
        form().header("sec-fetch-site", "cross-site"),
        form().header("sec-fetch-site", "same-site"),
        form().header("origin", "https://evil.example").header("host", "gate.example"),
    ] {
        assert_eq!(gate.send(call).await.problem(), (403, "cross_site".to_owned()));
    }
    assert_eq!(gate.approval(approval).await["status"], "pending");
    let own = form().header("sec-fetch-site", "same-origin").header("origin", "null");
    assert_eq!(gate.send(own).await.status, 303);
}

#[tokio::test]
async fn the_requester_may_not_approve_where_self_approval_is_forbidden() {
    let strict = || {
        Gate::with(|parts| {
            parts.settings = Settings { forbid_self_approval: true, ..Settings::default() };
        })
    };
    let form = |gate: &Gate, approval, decision: &str, caller: &str| {
        let _ = gate;
        Call::new("POST", &Gate::link(approval)).form(decision).by(caller)
    };
    let gate = strict();
    let approval = gate.requested().await;
    let written =
        |email: &str| bearer(&countersign_gate::http::Claims { email: Some(email.to_owned()), ..claims() });
    for requester in [dev(), written("DEV@example.com"), written("dev+approvals@example.com")] {
        let answer = gate.send(form(&gate, approval, "decision=approve", &requester)).await;
        assert_eq!(answer.problem(), (403, "self_approval_forbidden".to_owned()));
    }
    let forged = gate.send(form(&gate, approval, "decision=approve", "Bearer nonsense")).await;
    assert_eq!(forged.problem(), (401, "unauthorized".to_owned()));
    let other = written("ops@example.com");
    assert_eq!(gate.send(form(&gate, approval, "decision=approve", &other)).await.status, 303);
    // Withdrawing one's own request is not an approval, and self-approval is only restricted if configured.
    let approval = gate.requested().await;
    assert_eq!(gate.send(form(&gate, approval, "decision=reject", &dev())).await.status, 303);
    let lenient = Gate::new();
    let approval = lenient.requested().await;
    assert_eq!(lenient.send(form(&lenient, approval, "decision=approve", &dev())).await.status, 303);
}

#[tokio::test]
async fn more_than_ten_requests_a_second_from_one_address_are_429() {
    let gate = Gate::new();
    let call = |from: &str| Call::new("GET", "/approve/guessed").from(from);
    for _ in 0..10 {
        assert_eq!(gate.send(call("192.0.2.1:1")).await.status, 404);
    }
    let answer = gate.send(call("192.0.2.1:2")).await;
    assert_eq!(answer.problem(), (429, "too_many_requests".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(gate.send(call("192.0.2.2:1")).await.status, 404, "another address has its own");
    // A limited decision changes nothing.
    let approval = gate.requested().await;
    let form = Call::new("POST", &Gate::link(approval)).form("decision=approve").from("192.0.2.1:3");
    assert_eq!(gate.send(form).await.status, 429);
    assert_eq!(gate.approval(approval).await["status"], "pending");
    gate.clock.advance_ms(1000);
    assert_eq!(gate.send(call("192.0.2.1:4")).await.status, 404);
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_callers_address_counts() {
    let gate = Gate::with(|parts| {
        parts.settings =
            Settings { trusted_header: Some(TrustedHeader::XForwardedFor), ..Settings::default() };
    });
    let call = |caller: &str| {
        Call::new("GET", "/approve/guessed").from("10.0.0.1:1").header("x-forwarded-for", caller)
    };
    for index in 0..20 {
        assert_eq!(gate.send(call(&format!("192.0.2.{index}"))).await.status, 404);
    }
    let statuses: Vec<_> = {
        let mut all = Vec::new();
        for index in 0..11 {
            all.push(gate.send(call(&format!("10.9.9.{index}, 198.51.100.1"))).await.status.as_u16());
        }
        all
    };
    assert_eq!(statuses.last(), Some(&429), "what a caller adds in front does not help");
}

#[tokio::test]
async fn the_form_has_no_token_in_it() {
    let gate = Gate::new();
    let approval = gate.requested().await;
    let page = gate.send(Call::new("GET", &Gate::link(approval))).await;
    assert!(!page.text.contains(&token_of(approval)));
}
