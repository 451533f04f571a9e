//! A gate in this process: the whole surface on a store in memory, and callers of two teams.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Request, StatusCode, header},
};
use countersign::{
    platform::Environment,
    protocol::Timestamp,
    service::InMemoryDeployer,
    store::{AuditKind, EnvVars, MemoryStore, Plan, Service, Team, memory},
};
use countersign_gate::http::{App, ByPlan, Claims, Flows, Metrics, Parts, Settings, mint, openapi, router};
use countersign_models::fixtures::{CountingIds, HandClock, token_of};
use countersign_testkit::{Faulty, Peek, Seed};
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

pub(crate) const TEAM: Uuid = Uuid::from_u128(0xA);
pub(crate) const STRANGERS: Uuid = Uuid::from_u128(0xB);
pub(crate) const SECRET: &[u8] = b"the secret of the tests";
/// 1 July 2026, noon.
pub(crate) const OPENS: Timestamp = Timestamp(1_782_907_200_000);

pub(crate) type Instance = App<Faulty<MemoryStore>, InMemoryDeployer>;

pub(crate) struct Gate {
    pub(crate) store: Arc<Faulty<MemoryStore>>,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) app: Instance,
    router: Router,
    /// The stack that is promoted.
    pub(crate) slug: String,
    pub(crate) source: Uuid,
    /// The request of each approval: repeating it would return the same approval.
    asked: Mutex<BTreeMap<Uuid, Value>>,
}

pub(crate) fn environment(name: &str) -> Environment {
    Environment::parse(name).expect("a legal name")
}

pub(crate) fn service(image_ref: Option<&str>) -> Service {
    Service { name: "web".to_owned(), image_ref: image_ref.map(str::to_owned), port: Some(80), expose: true }
}

/// A developer of the team.
pub(crate) fn claims() -> Claims {
    Claims {
        team: TEAM,
        email: Some("dev@example.com".to_owned()),
        plan: None,
        admin: false,
        exp: OPENS.0 / 1000 + 7 * 24 * 60 * 60,
        nbf: None,
        iat: None,
    }
}

pub(crate) fn bearer(claims: &Claims) -> String {
    format!("Bearer {}", mint(SECRET, claims))
}

pub(crate) fn dev() -> String {
    bearer(&claims())
}

pub(crate) fn admin() -> String {
    bearer(&Claims { admin: true, email: Some("admin@example.com".to_owned()), ..claims() })
}

/// An administrator of another team.
pub(crate) fn stranger() -> String {
    bearer(&Claims { team: STRANGERS, admin: true, email: Some("eve@example.org".to_owned()), ..claims() })
}

/// A response.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// Status and code of a problem; 0 and the empty code for other responses.
    pub(crate) fn problem(&self) -> (u16, String) {
        let kind = self.header("content-type").unwrap_or_default();
        if kind != "application/problem+json" {
            return (0, String::new());
        }
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        (self.status.as_u16(), body["code"].as_str().expect("a code").to_owned())
    }
}

/// A request to be sent.
pub(crate) struct Call {
    request: axum::http::request::Builder,
    body: Body,
}

impl Call {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self { request: Request::builder().method(method).uri(path), body: Body::empty() }
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.request = self.request.header(name, value.as_ref());
        self
    }

    pub(crate) fn by(self, bearer: &str) -> Self {
        self.header("authorization", bearer)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header(header::CONTENT_TYPE.as_str(), "application/json").body(body.to_string())
    }

    pub(crate) fn form(self, body: &str) -> Self {
        self.header(header::CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded").body(body.to_owned())
    }

    pub(crate) fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub(crate) fn from(mut self, address: &str) -> Self {
        let address: SocketAddr = address.parse().expect("an address");
        self.request = self.request.extension(ConnectInfo(address));
        self
    }
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// With parts that the test wants otherwise.
    pub(crate) fn with(change: impl FnOnce(&mut Parts<Faulty<MemoryStore>, InMemoryDeployer>)) -> Self {
        crate::log::install();
        let clock = Arc::new(HandClock::at(OPENS));
        let ids = Arc::new(CountingIds::default());
        let memory = MemoryStore::new(clock.clone(), ids.clone());
        let store = Arc::new(Faulty::new(|outages| memory.with_checks(outages)));
        for team in [TEAM, STRANGERS] {
            store.seed_team(team, Team { plan: Plan::Pro, deployment_cap: 50 });
        }
        let services = vec![service(Some("shop:1"))];
        let source = store.seed_stack(TEAM, "shop", environment("staging"), services, EnvVars::new());
        let slug = store.stacks(TEAM).first().expect("it was created").slug();
        let mut parts = Parts {
            store: store.clone(),
            deployer: Arc::new(InMemoryDeployer::default()),
            flows: Flows::default(),
            clock: clock.clone(),
            ids,
            secret: SECRET.to_vec(),
            earlier_secrets: Vec::new(),
            identity: None,
            tenants: Arc::new(ByPlan),
            settings: Settings::default(),
            metrics: Metrics::new(),
        };
        change(&mut parts);
        let app = App::new(parts);
        Self { store, clock, router: router(app.clone()), app, slug, source, asked: Mutex::default() }
    }

    /// The response, which the description has to allow.
    pub(crate) async fn send(&self, call: Call) -> Answer {
        let request = call.request.body(call.body).expect("a request");
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.expect("a router does not fail");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("a body");
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        let answer = Answer { status: parts.status, headers: parts.headers, text };
        assert!(is_described(&method, &path, &answer), "{method} {path}: {answer:?} is not described");
        answer
    }

    pub(crate) fn promote_path(&self) -> String {
        format!("/api/v1/stacks/{}/promote", self.slug)
    }

    /// To promote the stack to production.
    pub(crate) fn promote(&self, approval: Option<Uuid>) -> Call {
        let asked = self.asked.lock().expect("no test panics with it");
        let body = approval.and_then(|approval| asked.get(&approval).cloned());
        let mut body = body.unwrap_or_else(|| json!({"from": "staging", "to": "production"}));
        if let Some(approval) = approval {
            body["approval_id"] = json!(approval);
        }
        Call::new("POST", &self.promote_path()).by(&dev()).json(&body)
    }

    /// A pending approval of its own.
    pub(crate) async fn requested(&self) -> Uuid {
        let mut body = json!({"from": "staging", "to": "production"});
        let before = self.asked.lock().expect("no test panics with it").len();
        if before > 0 {
            body["name"] = json!(format!("shop {before}"));
        }
        let answer = self.send(Call::new("POST", &self.promote_path()).by(&dev()).json(&body)).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        let approval = id_in(&answer, "approval_id");
        self.asked.lock().expect("no test panics with it").insert(approval, body);
        approval
    }

    /// The link's page.
    pub(crate) fn link(approval: Uuid) -> String {
        format!("/approve/{}", token_of(approval))
    }

    pub(crate) async fn decide(&self, approval: Uuid, decision: &str) -> Answer {
        let form = format!("decision={decision}");
        self.send(Call::new("POST", &Self::link(approval)).form(&form)).await
    }

    /// An approval that the operator has given.
    pub(crate) async fn approved(&self) -> Uuid {
        let approval = self.requested().await;
        let answer = self.decide(approval, "approve").await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        approval
    }

    pub(crate) async fn get(&self, path: &str, bearer: &str) -> Answer {
        self.send(Call::new("GET", path).by(bearer)).await
    }

    /// Number of the team's events of this kind. An execution is written with its one launch job.
    pub(crate) fn count(&self, kind: AuditKind) -> usize {
        let count = |events: &[memory::Event]| events.iter().filter(|event| event.kind == kind).count();
        self.store.look(TEAM, |records| count(records.events)).expect("the team is there")
    }

    /// The approval, as its own page shows it.
    pub(crate) async fn approval(&self, approval: Uuid) -> Value {
        self.get(&format!("/api/v1/approvals/{approval}"), &dev()).await.json()
    }
}

pub(crate) fn id_in(answer: &Answer, name: &str) -> Uuid {
    let value = &answer.json()[name];
    value.as_str().and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no {name}: {}", answer.text))
}

/// The OpenAPI description.
pub(crate) static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(&openapi::<Faulty<MemoryStore>, InMemoryDeployer>()).expect("it is JSON")
});

/// True if the description has an answer of this status and type, or no such route.
fn is_described(method: &str, path: &str, answer: &Answer) -> bool {
    let parts: Vec<_> = path.split('/').collect();
    let matches = |template: &str| {
        let template: Vec<_> = template.split('/').collect();
        template.len() == parts.len()
            && template.iter().zip(&parts).all(|(a, b)| (a.starts_with('{') && !b.is_empty()) || a == b)
    };
    let method = if method == "HEAD" { "get".to_owned() } else { method.to_lowercase() };
    let paths = DESCRIPTION["paths"].as_object().expect("paths");
    let Some((_, operations)) = paths.iter().find(|(template, _)| matches(template)) else { return true };
    let Some(operation) = operations.get(&method) else { return true };
    let response = &operation["responses"][answer.status.as_str()];
    let kind = answer.header("content-type").map(|kind| kind.split(';').next().unwrap_or_default());
    match kind {
        None => response.is_object(),
        Some(kind) => response["content"].get(kind).is_some(),
    }
}
