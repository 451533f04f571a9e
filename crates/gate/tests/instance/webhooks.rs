//! Links by webhook: signed as the standard's own verifier expects, tried again, and in no log.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::post,
};
use countersign::store::Ids;
use countersign_gate::instance::{
    Instance, Parts,
    notify::{Channel, Webhook},
    operators::link_token,
    system_clock::SystemClock,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};

use crate::{
    log,
    platform::{OPERATOR, Platform, REQUESTER, dry_run, operators, until},
};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

#[derive(Clone)]
struct Receiver {
    answers: Arc<Mutex<VecDeque<StatusCode>>>,
    received: mpsc::UnboundedSender<(HeaderMap, Bytes)>,
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let answer = receiver.answers.lock().expect("not poisoned").pop_front();
    let _ = receiver.received.send((headers, body.clone()));
    // Some receivers echo what they do not like, or send one on.
    (answer.unwrap_or(StatusCode::NO_CONTENT), [("location", "/elsewhere")], body)
}

/// A receiver with these answers, and then 204; what it received.
async fn receiver(answers: &[StatusCode]) -> (Channel, mpsc::UnboundedReceiver<(HeaderMap, Bytes)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/hook", listener.local_addr().expect("it has one"));
    let (sender, received) = mpsc::unbounded_channel();
    let answers = answers.iter().copied().collect();
    let receiver = Receiver { answers: Arc::new(Mutex::new(answers)), received: sender };
    let router = Router::new().route("/hook", post(receive)).with_state(receiver);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let webhook = Webhook::new(&url, SECRET, "https://gate.example.com", Arc::new(SystemClock));
    (Channel::Webhook(webhook.expect("it is safe")), received)
}

#[tokio::test]
async fn a_webhook_is_signed_and_tried_again_until_it_is_taken() {
    let platform = Platform::new();
    let (channel, mut received) =
        receiver(&[StatusCode::INTERNAL_SERVER_ERROR, StatusCode::TEMPORARY_REDIRECT]).await;
    let instance = Instance::start(Parts { channel, ..platform.parts(dry_run(std::time::Duration::ZERO)) });
    let approval = platform.requested().await.approval;
    until(|| log::of_this_thread().contains("the link was sent").then_some(())).await;
    instance.stop().await;

    let token = link_token(&platform.ids.token(approval), OPERATOR);
    let verifier = standardwebhooks::Webhook::new(SECRET).expect("a secret");
    let other = standardwebhooks::Webhook::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").expect("a secret");
    for _ in 0..3 {
        let (headers, body) = received.recv().await.expect("it came");
        verifier.verify(&body, &headers).expect("it is signed");
        assert!(other.verify(&body, &headers).is_err() && verifier.verify(b"{}", &headers).is_err());
        assert_eq!(headers["webhook-id"], *approval.to_string());
        assert_eq!(headers["content-type"], "application/cloudevents+json");
        let event: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((&event["specversion"], &event["type"]), (&json!("1.0"), &json!("approval.created")));
        let data = &event["data"];
        assert_eq!(data["link"], json!(format!("https://gate.example.com/approve/{token}")));
        assert_eq!(
            (&data["recipients"], &data["requested_by_email"]),
            (&json!([OPERATOR]), &json!(REQUESTER))
        );
    }
    assert!(received.try_recv().is_err(), "once it is taken it is not sent again");
    let log = log::of_this_thread();
    assert!(log.contains("500 Internal Server Error") && log.contains("307 Temporary Redirect"), "{log}");
    assert!(!log.contains(&token), "{log}");
}

#[tokio::test]
async fn an_approver_who_cannot_be_reached_withholds_no_link_and_the_others_get_it_once() {
    let platform = Platform::new();
    let bad = StatusCode::INTERNAL_SERVER_ERROR;
    let good = StatusCode::NO_CONTENT;
    let (channel, mut received) = receiver(&[bad, good, good, bad, good]).await;
    let approvers = ["gone@example.com", OPERATOR, "more@example.com"];
    let parts = platform.parts(dry_run(std::time::Duration::ZERO));
    parts.operators.store(Arc::new(operators(&approvers)));
    let metrics = parts.metrics.clone();
    let instance = Instance::start(Parts { channel, ..parts });
    let approval = platform.requested().await.approval;
    until(|| log::of_this_thread().contains("the link was sent").then_some(())).await;
    instance.stop().await;
    let mut sent = Vec::new();
    while let Ok((headers, body)) = received.try_recv() {
        let event: Value = serde_json::from_slice(&body).expect("JSON");
        let id = headers["webhook-id"].to_str().expect("text").to_owned();
        sent.push((id, event["data"]["recipients"][0].as_str().expect("an address").to_owned()));
    }
    let expected = [("", 0), ("-2", 1), ("-3", 2), ("", 0), ("", 0)];
    assert_eq!(sent, expected.map(|(place, at)| (format!("{approval}{place}"), approvers[at].to_owned())));
    let text = metrics.text();
    for series in ["notices_total{outcome=\"failed\"} 2\n", "notices_total{outcome=\"sent\"} 1\n"] {
        assert!(text.contains(series), "{series}: {text}");
    }
    let log = log::of_this_thread();
    assert!(log.contains("gone@example.com") && log.contains("1 of 3 approvers were not reached"), "{log}");
}

#[tokio::test]
async fn a_webhook_names_the_variables_and_vault_keys_that_change_and_shows_no_value() {
    let platform = Platform::with_values();
    let (channel, mut received) = receiver(&[]).await;
    let instance = Instance::start(Parts { channel, ..platform.parts(dry_run(std::time::Duration::ZERO)) });
    platform.requested().await;
    let (_, body) = received.recv().await.expect("it came");
    instance.stop().await;
    let event: Value = serde_json::from_slice(&body).expect("JSON");
    let changed = |kind, name| json!({"kind": kind, "name": name, "value": "", "change": "changed: set to the value in staging"});
    let service = json!({"kind": "service", "name": "web", "value": "shop:1, port 80, reachable from outside", "change": "new"});
    let changes = [
        service,
        changed("variable", "DB"),
        changed("variable", "MODE"),
        changed("vault key", "DB_PASSWORD"),
    ];
    assert_eq!(event["data"]["changes"], json!(changes));
    assert!(!event.to_string().contains("hunter"), "{event}");
}
