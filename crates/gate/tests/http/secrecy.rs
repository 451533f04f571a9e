//! S16: no token in any answer, header or line of the log.

use countersign_models::fixtures::token_of;
use uuid::Uuid;

use crate::{
    gate::{Answer, Call, Gate, admin, dev},
    log,
};

fn shows(text: &str, approval: Uuid) -> bool {
    text.contains(&token_of(approval))
}

#[tokio::test]
async fn a_token_is_in_no_answer_and_in_no_line_of_the_log() {
    let gate = Gate::new();
    let approval = gate.requested().await;
    let link = Gate::link(approval);
    let page = |accept: &str| Call::new("GET", &link).header("accept", accept);
    let mut answers: Vec<Answer> = Vec::new();
    for call in [
        page("*/*"),
        page("text/html"),
        Call::new("HEAD", &link),
        Call::new("PUT", &link),
        Call::new("GET", &format!("{link}/nothing")),
        Call::new("GET", &format!("{link}?token={}", token_of(approval))),
        Call::new("POST", &link).form("decision=maybe"),
        Call::new("POST", &link).form("decision=approve").header("sec-fetch-site", "cross-site"),
        Call::new("POST", &link).body("decision=approve"),
    ] {
        answers.push(gate.send(call).await);
    }
    gate.clock.advance_ms(1000);
    let decided = gate.decide(approval, "approve").await;
    assert_eq!(decided.status, 303);
    // The redirect of a decision repeats the holder's own link, and is visible to the holder only.
    answers.push(Answer { headers: Default::default(), ..decided });
    for call in [
        Call::new("GET", &format!("{link}/result")),
        page("text/html"),
        Call::new("POST", &link).form("decision=reject"),
        gate.promote(Some(approval)),
        gate.promote(Some(approval)),
        Call::new("GET", &format!("/api/v1/approvals/{approval}")).by(&dev()),
        Call::new("GET", &format!("/api/v1/audit?approval_id={approval}")).by(&dev()),
        Call::new("GET", &format!("/api/v1/audit?approval_id={}", token_of(approval))).by(&dev()),
        Call::new("GET", "/api/v1/admin/promotions").by(&admin()),
        Call::new("GET", &format!("/api/v1/admin/promotions?cursor={}", token_of(approval))).by(&admin()),
        Call::new("GET", &format!("/api/v1/stacks/{}", token_of(approval))).by(&dev()),
        Call::new("GET", "/metrics"),
        Call::new("GET", "/openapi.json"),
    ] {
        answers.push(gate.send(call).await);
    }
    for answer in &answers {
        assert!(!shows(&format!("{answer:?}"), approval), "{answer:?}");
    }
    let log = log::of_this_thread();
    assert!(log.contains("/approve/{token}") && log.contains("answered"), "it was listened to: {log}");
    assert!(!shows(&log, approval), "{log}");
    assert!(!log.contains(dev().trim_start_matches("Bearer ")), "{log}");
}

#[test]
fn a_log_that_has_addresses_in_it_would_be_noticed() {
    log::install();
    let approval = Uuid::from_u128(1);
    tracing::info!(path = %Gate::link(approval), "answered");
    assert!(shows(&log::of_this_thread(), approval));
}
