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
    platform::{OPERATOR, Platform, REQUESTER, dry_run, until},
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

#[tokio::test]
async fn a_webhook_is_signed_and_tried_again_until_it_is_taken() {
    let platform = Platform::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/hook", listener.local_addr().expect("it has one"));
    let answers = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::TEMPORARY_REDIRECT].into();
    let (sender, mut received) = mpsc::unbounded_channel();
    let receiver = Receiver { answers: Arc::new(Mutex::new(answers)), received: sender };
    let router = Router::new().route("/hook", post(receive)).with_state(receiver);
    tokio::spawn(async move { axum::serve(listener, router).await });

    let webhook = Webhook::new(&url, SECRET, "https://gate.example.com", Arc::new(SystemClock));
    let instance = Instance::start(Parts {
        channel: Channel::Webhook(webhook.expect("it is safe")),
        ..platform.parts(dry_run(std::time::Duration::ZERO))
    });
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
