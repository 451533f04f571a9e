//! Bad input: a clear problem, and nothing done.

use axum::body::Body;
use countersign::store::AuditKind;
use countersign_gate::http::Settings;
use countersign_testkit::Peek;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::gate::{Call, Gate, TEAM, dev};

#[tokio::test]
async fn an_unknown_path_is_404_and_a_wrong_method_405_with_those_that_there_are() {
    let gate = Gate::new();
    for path in ["/", "/api", "/api/v2/stacks", "/approve", "/approve/", "//", "/api/v1/stacks/"] {
        assert_eq!(gate.get(path, &dev()).await.problem(), (404, "no_such_path".to_owned()), "{path}");
    }
    let answer = gate.send(Call::new("DELETE", "/api/v1/stacks").by(&dev())).await;
    assert_eq!(answer.problem(), (405, "method_not_allowed".to_owned()));
    assert_eq!(answer.header("allow"), Some("POST"));
    let answer = gate.send(Call::new("BREW", "/livez")).await;
    assert_eq!(answer.problem().0, 405);
    assert_eq!(answer.header("allow"), Some("GET,HEAD"));
    // Each label costs memory, and callers can make methods up.
    let metrics = gate.get("/metrics", &dev()).await.text;
    assert!(metrics.contains("method=\"other\"") && !metrics.contains("BREW"), "{metrics}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_whether_it_says_so_or_not() {
    let gate = Gate::with(|parts| {
        parts.settings = Settings { max_body: 1000, ..Settings::default() };
    });
    let large = format!("{{\"to\": \"production\", \"name\": \"{}\"}}", "x".repeat(1000));
    let call =
        || Call::new("POST", &gate.promote_path()).by(&dev()).header("content-type", "application/json");
    let pieces: Vec<_> = large.as_bytes().chunks(100).map(<[u8]>::to_vec).collect();
    for body in [Body::from(large.clone()), Body::new(Pieces(pieces.into_iter()))] {
        assert_eq!(gate.send(call().body(body)).await.problem(), (413, "body_too_large".to_owned()));
    }
}

/// A body that comes in pieces and does not say how long it is.
struct Pieces(std::vec::IntoIter<Vec<u8>>);

impl hyper::body::Body for Pieces {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        let frame = |piece: Vec<u8>| Ok(hyper::body::Frame::data(piece.into()));
        std::task::Poll::Ready(self.0.next().map(frame))
    }
}

#[tokio::test]
async fn a_body_of_another_type_is_415() {
    let gate = Gate::new();
    for kind in
        [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonx")]
    {
        let call = Call::new("POST", &gate.promote_path()).by(&dev()).body("{\"to\": \"production\"}");
        let call = match kind {
            Some(kind) => call.header("content-type", kind),
            None => call,
        };
        assert_eq!(gate.send(call).await.problem(), (415, "unsupported_media_type".to_owned()), "{kind:?}");
    }
    let call = Call::new("POST", &gate.promote_path()).by(&dev()).body("{\"to\": \"production\"}");
    let answer = gate.send(call.header("content-type", "Application/JSON; charset=utf-8")).await;
    assert_eq!(answer.status, 202);
}

#[tokio::test]
async fn what_is_not_the_json_that_was_expected_is_400_and_says_what() {
    let gate = Gate::new();
    let call = |body: &[u8]| {
        Call::new("POST", &gate.promote_path())
            .by(&dev())
            .header("content-type", "application/json")
            .body(body.to_vec())
    };
    let deep = "[".repeat(100_000);
    for body in [
        &b""[..],
        b"null",
        b"[]",
        b"{",
        b"{}",
        b"{\"to\": 1}",
        b"{\"to\": null}",
        b"{\"to\": \"production\", \"copy_vault\": \"yes\"}",
        b"{\"to\": \"production\", \"to\": \"qa\"}",
        b"{\"to\": \"production\", \"nonsense\": 1}",
        b"{\"to\": \"production\", \"name\": \"\"}",
        b"{\"to\": \"production\", \"name\": \"a\\u0000b\"}",
        b"{\"to\": \"production\"} more",
        b"{\"to\": \"\xff\"}",
        b"{\"to\": \"\\ud800\"}",
        deep.as_bytes(),
    ] {
        let answer = gate.send(call(body)).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(answer.problem(), (400, "invalid_body".to_owned()), "{shown}");
        let detail = answer.json()["detail"].as_str().expect("a detail").to_owned();
        assert!((1..=300).contains(&detail.chars().count()), "{detail}");
    }
    let answer = gate.send(call(b"{\"to\": \"production\", \"nonsense\": 1}")).await;
    assert!(answer.json()["detail"].as_str().is_some_and(|detail| detail.contains("nonsense")));
    assert_eq!(gate.count(AuditKind::Requested), 0);
}

#[tokio::test]
async fn stacks_and_resources_are_checked_before_they_are_created() {
    let gate = Gate::new();
    let service = |name: &str| json!({"name": name, "image_ref": "a:1"});
    let many: Vec<_> = (0..101).map(|index| service(&index.to_string())).collect();
    let stacks = [
        json!({"name": "", "env": "development", "services": []}),
        json!({"name": "x".repeat(101), "env": "development", "services": []}),
        json!({"name": "a\nb", "env": "development", "services": []}),
        json!({"name": "a", "env": "development"}),
        json!({"name": "a", "env": "development", "services": [service("web"), service("web")]}),
        json!({"name": "a", "env": "development", "services": many}),
        json!({"name": "a", "env": "development", "services": [{"name": "web", "port": 65536}]}),
        json!({"name": "a", "env": "development", "services": [{"name": "web", "image_ref": ""}]}),
        json!({"name": "a", "env": "development", "services": [{"name": "web", "ports": 1}]}),
        json!({"name": "a", "env": "development", "services": [], "env_vars": {"A B": "c"}}),
        json!({"name": "a", "env": "development", "services": [], "env_vars": {"A": "\u{0}"}}),
        json!({"name": "a", "env": "development", "services": [], "env_vars": {"A": null}}),
    ];
    let refused = async |path: &str, body: &Value, code: &str| {
        let answer = gate.send(Call::new("POST", path).by(&dev()).json(body)).await;
        assert_eq!(answer.problem(), (400, code.to_owned()), "{body}");
    };
    for body in &stacks {
        refused("/api/v1/stacks", body, "invalid_body").await;
    }
    refused("/api/v1/stacks", &json!({"name": "a", "env": "no blanks", "services": []}), "invalid_env").await;
    for body in [
        json!({"name": "db", "type": "oracle", "env": "development"}),
        json!({"name": "", "type": "redis", "env": "development"}),
    ] {
        refused("/api/v1/resources", &body, "invalid_body").await;
    }
    assert_eq!((gate.store.stacks(TEAM).len(), gate.store.resources(TEAM).len()), (1, 0));
}

#[tokio::test]
async fn addresses_that_name_nothing_are_404() {
    let gate = Gate::new();
    for path in [
        "/api/v1/stacks/%00".to_owned(),
        "/api/v1/stacks/%ff".to_owned(),
        "/api/v1/stacks/..%2f".to_owned(),
        format!("/api/v1/stacks/{}", "x".repeat(5000)),
        "/api/v1/stacks/none/family".to_owned(),
        "/api/v1/resources/17".to_owned(),
        format!("/api/v1/resources/{}", Uuid::nil()),
    ] {
        assert_eq!(gate.get(&path, &dev()).await.problem(), (404, "not_found".to_owned()), "{path}");
    }
    for (path, code) in [
        ("/api/v1/approvals/17", (400, "invalid_approval_id")),
        ("/api/v1/approvals/00000000-0000-0000-0000-000000000000", (404, "approval_not_found")),
        ("/api/v1/audit", (400, "invalid_approval_id")),
        ("/api/v1/audit?approval_id=17", (400, "invalid_approval_id")),
        ("/api/v1/audit?approval=17", (400, "invalid_query")),
        ("/api/v1/audit?approval_id=00000000-0000-0000-0000-000000000000", (404, "approval_not_found")),
    ] {
        assert_eq!(gate.get(path, &dev()).await.problem(), (code.0, code.1.to_owned()), "{path}");
    }
    let vault = |path: &str| Call::new("PUT", path).by(&dev()).json(&json!({"value": "secret"}));
    assert_eq!(gate.send(vault("/api/v1/vault/development/a%20b")).await.status, 404);
    assert_eq!(gate.send(vault("/api/v1/vault/a%20b/KEY")).await.problem(), (400, "invalid_env".to_owned()));
    assert_eq!(gate.send(vault("/api/v1/vault/development/KEY")).await.status, 204);
}

#[tokio::test]
async fn a_handler_that_panics_is_a_500_and_the_next_request_is_served() {
    let gate = Gate::with(|parts| {
        parts.tenants =
            std::sync::Arc::new(|_: Uuid, _: Option<countersign::store::Plan>| -> countersign::store::Team {
                panic!("on purpose")
            });
    });
    let answer = gate.get(&format!("/api/v1/stacks/{}", gate.slug), &dev()).await;
    assert_eq!(answer.problem(), (500, "internal".to_owned()));
    assert!(!answer.text.contains("on purpose"));
    assert_eq!(gate.send(Call::new("GET", "/livez")).await.status, 200);
}
