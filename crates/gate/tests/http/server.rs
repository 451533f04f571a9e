//! A server that stays up: callers who hang up, who are slow, who are too many, and a shutdown.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use countersign::{
    platform::Environment,
    protocol::Flow,
    service::{Deployer, Driver, Launch},
    store::{Approvals, Decision, EnvVars, MemoryStore, Plan, StackStatus, Team, Verdict},
};
use countersign_gate::http::{App, ByPlan, Flows, Metrics, Parts, Settings, router, serve};
use countersign_models::{
    fixtures::{CountingIds, HandClock, run_ready, token_of},
    flows::BuiltIn,
};
use countersign_testkit::{Peek, Seed};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    task::JoinHandle,
};
use tower::ServiceExt;
use uuid::Uuid;

use crate::gate::{OPENS, SECRET, TEAM, dev, service};

/// Deploys that do not start until they are let through.
pub(crate) struct Held {
    begun: Semaphore,
    gate: Semaphore,
    launched: Semaphore,
}

impl Deployer for Held {
    async fn launch(&self, _: &Launch) {
        self.begun.add_permits(1);
        self.gate.acquire().await.expect("never closed").forget();
        self.launched.add_permits(1);
    }

    async fn outcome(&self, _: &Launch, _: u64) -> Option<StackStatus> {
        None
    }
}

/// An instance whose promotes end with a launch from the process itself, which takes its time.
pub(crate) struct Slow {
    store: Arc<MemoryStore>,
    deployer: Arc<Held>,
    pub(crate) app: App<MemoryStore, Held>,
    path: String,
    source: Uuid,
}

impl Slow {
    pub(crate) fn new(settings: Settings) -> Self {
        crate::log::install();
        let clock = Arc::new(HandClock::at(OPENS));
        let ids = Arc::new(CountingIds::default());
        let store = Arc::new(MemoryStore::new(clock.clone(), ids.clone()));
        store.seed_team(TEAM, Team { plan: Plan::Pro, deployment_cap: 50 });
        let staging = Environment::parse("staging").expect("a legal name");
        let source = store.seed_stack(TEAM, "shop", staging, vec![service(Some("shop:1"))], EnvVars::new());
        let slug = store.stacks(TEAM).first().expect("it was created").slug();
        let stacks = BuiltIn::find("consume-last").expect("it is built in").subject().flow;
        let deployer =
            Arc::new(Held { begun: Semaphore::new(0), gate: Semaphore::new(0), launched: Semaphore::new(0) });
        let app = App::new(Parts {
            store: store.clone(),
            deployer: deployer.clone(),
            flows: Flows { stacks, twins: Flow::atomic_commit_for_twins() },
            clock,
            ids,
            secret: SECRET.to_vec(),
            earlier_secrets: Vec::new(),
            identity: None,
            tenants: Arc::new(ByPlan),
            settings,
            metrics: Metrics::new(),
        });
        Self { store, deployer, app, path: format!("/api/v1/stacks/{slug}/promote"), source }
    }

    pub(crate) fn router(&self) -> Router {
        router(self.app.clone())
    }

    /// An approval that the operator has given.
    pub(crate) async fn approved(&self) -> Uuid {
        self.approved_of("{\"to\": \"production\"}").await
    }

    /// An approved request of this.
    pub(crate) async fn approved_of(&self, body: &str) -> Uuid {
        let request = self.request(body, None);
        let answer = self.router().oneshot(request).await.expect("a router does not fail");
        assert_eq!(answer.status(), 202);
        let pending = self.store.look(TEAM, |records| records.events.last().map(|event| event.approval));
        let id = pending.flatten().expect("it was asked for");
        let decision = Decision::Operator { token: &token_of(id), verdict: Verdict::Approve };
        run_ready(self.store.decide(decision)).expect("nothing fails").expect("it is pending");
        id
    }

    pub(crate) fn request(&self, body: &str, key: Option<&str>) -> Request<Body> {
        let request = Request::post(&self.path)
            .header("authorization", dev())
            .header("content-type", "application/json");
        let request = match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        };
        request.body(body.to_owned().into()).expect("a request")
    }

    pub(crate) fn promote(&self, approval: Uuid, key: Option<&str>) -> Request<Body> {
        self.request(&json!({"to": "production", "approval_id": approval}).to_string(), key)
    }

    /// Sends it on a task, and waits until the launch has begun.
    pub(crate) async fn begin(&self, request: Request<Body>) -> JoinHandle<StatusCode> {
        let router = self.router();
        let caller =
            tokio::spawn(
                async move { router.oneshot(request).await.expect("a router does not fail").status() },
            );
        self.deployer.begun.acquire().await.expect("never closed").forget();
        caller
    }

    /// Lets one launch through, and waits for it.
    pub(crate) async fn launch(&self) {
        self.deployer.gate.add_permits(1);
        self.deployer.launched.acquire().await.expect("never closed").forget();
    }

    /// Serves on a port of its own; the shutdown, and the server.
    pub(crate) async fn listen(&self) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let app = self.app.clone();
        let server = tokio::spawn(serve(listener, app, async {
            let _ = stopped.await;
        }));
        (address, stop, server)
    }
}

#[tokio::test]
async fn a_promote_goes_on_when_its_caller_hangs_up() {
    let slow = Slow::new(Settings::default());
    let approval = slow.approved().await;
    let caller = slow.begin(slow.promote(approval, None)).await;
    caller.abort();
    assert!(caller.await.expect_err("it was aborted").is_cancelled());
    slow.launch().await;
    // A promotion that were the caller's own would have died with it.
    let flow = BuiltIn::find("consume-last").expect("it is built in").subject().flow;
    let (store, deployer) = (slow.store.clone(), slow.deployer.clone());
    let second = slow.approved().await;
    let record = run_ready(slow.store.approval(TEAM, second)).expect("nothing fails").expect("it is there");
    let mut ask = countersign::store::TenantState::asked(&record);
    ask.payload.source = slow.source;
    let digest = record.approval.digest;
    let own = tokio::spawn(async move {
        Driver::new(&flow, &*store, &*deployer).expect("it is supported").promote(second, &ask, digest).await
    });
    slow.deployer.begun.acquire().await.expect("never closed").forget();
    own.abort();
    assert!(own.await.expect_err("it was aborted").is_cancelled());
    slow.deployer.gate.add_permits(1);
    tokio::task::yield_now().await;
    assert!(slow.deployer.launched.try_acquire().is_err());
}

#[tokio::test]
async fn while_a_request_is_worked_on_its_key_is_409_and_for_another_422() {
    let slow = Slow::new(Settings::default());
    let approval = slow.approved().await;
    let caller = slow.begin(slow.promote(approval, Some("mine"))).await;
    let status = async |request: Request<Body>| {
        slow.router().oneshot(request).await.expect("it does not fail").status()
    };
    assert_eq!(status(slow.promote(approval, Some("mine"))).await, 409);
    assert_eq!(status(slow.request("{\"to\": \"qa\"}", Some("mine"))).await, 422);
    slow.launch().await;
    assert_eq!(caller.await.expect("it does not panic"), 202);
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_503_and_happens_all_the_same() {
    let slow = Slow::new(Settings::default());
    let approval = slow.approved().await;
    let answer = slow.router().oneshot(slow.promote(approval, None)).await.expect("it does not fail");
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    slow.deployer.begun.acquire().await.expect("never closed").forget();
    slow.launch().await;
}

#[tokio::test]
async fn an_overload_is_503_without_effect() {
    let slow = Slow::new(Settings { max_under_way: 1, ..Settings::default() });
    let other = "{\"to\": \"production\", \"name\": \"other\"}";
    let (first, second) = (slow.approved().await, slow.approved_of(other).await);
    let caller = slow.begin(slow.promote(first, None)).await;
    let answer = slow.router().oneshot(slow.promote(second, None)).await.expect("it does not fail");
    assert_eq!(answer.status(), 503);
    let record = run_ready(slow.store.approval(TEAM, second)).expect("nothing fails").expect("it is there");
    assert_eq!(record.approval.status.to_string(), "approved");
    slow.launch().await;
    assert_eq!(caller.await.expect("it does not panic"), 202);
}

/// All that comes until the other side closes.
pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8(text).expect("text")
}

#[tokio::test]
async fn a_slow_client_is_disconnected() {
    let brief = Duration::from_millis(50);
    let slow = Slow::new(Settings { header_time: brief, body_time: brief, ..Settings::default() });
    let (address, _stop, _server) = slow.listen().await;
    let mut head = TcpStream::connect(address).await.expect("it listens");
    head.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n").await.expect("it is read");
    assert!(!rest(&mut head).await.contains("200 OK"));
    let mut idle = TcpStream::connect(address).await.expect("it listens");
    assert_eq!(rest(&mut idle).await, "");
    let mut body = TcpStream::connect(address).await.expect("it listens");
    let request = format!(
        "POST {} HTTP/1.1\r\nhost: a\r\nauthorization: {}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{",
        slow.path,
        dev()
    );
    body.write_all(request.as_bytes()).await.expect("it is read");
    assert!(rest(&mut body).await.starts_with("HTTP/1.1 408 "));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let (brief, long) = (Duration::from_millis(50), Duration::from_secs(3600));
    let settings =
        Settings { write_time: brief, header_time: long, max_connections: 1, ..Settings::default() };
    let slow = Slow::new(settings);
    let (address, _stop, _server) = slow.listen().await;
    let mut deaf = TcpStream::connect(address).await.expect("it listens");
    // It sends until the server stops reading, and then until the connection is closed.
    let ask = b"GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(100);
    while deaf.write_all(&ask).await.is_ok() {}
    // Its place becomes free as soon as the server has let go of it.
    loop {
        let mut next = TcpStream::connect(address).await.expect("it listens");
        let _ = next.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        if rest(&mut next).await.starts_with("HTTP/1.1 200 OK") {
            break;
        }
    }
}

#[tokio::test]
async fn a_connection_beyond_the_limit_gets_503_and_the_others_are_served() {
    let slow = Slow::new(Settings { max_connections: 2, ..Settings::default() });
    let (address, _stop, _server) = slow.listen().await;
    let ask = b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut served = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(ask).await.expect("it is read");
        let mut head = [0; 15];
        stream.read_exact(&mut head).await.expect("it answers");
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        served.push(stream);
    }
    let mut one_too_many = TcpStream::connect(address).await.expect("it listens");
    assert!(rest(&mut one_too_many).await.starts_with("HTTP/1.1 503 "));
    drop(served);
    // Their places become free as soon as the server sees that they have gone.
    loop {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        // A connection that is shed may be reset while it is written to.
        let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        if rest(&mut stream).await.starts_with("HTTP/1.1 200 OK") {
            break;
        }
    }
}

#[tokio::test]
async fn a_shutdown_takes_no_more_and_waits_for_what_is_under_way() {
    let slow = Slow::new(Settings::default());
    let approval = slow.approved().await;
    let (address, stop, server) = slow.listen().await;
    let mut idle = TcpStream::connect(address).await.expect("it listens");
    let body = json!({"to": "production", "approval_id": approval}).to_string();
    let request = format!(
        "POST {} HTTP/1.1\r\nhost: a\r\nauthorization: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        slow.path,
        dev(),
        body.len()
    );
    let mut caller = TcpStream::connect(address).await.expect("it listens");
    caller.write_all(request.as_bytes()).await.expect("it is read");
    slow.deployer.begun.acquire().await.expect("never closed").forget();
    stop.send(()).expect("it waits for this");
    assert_eq!(rest(&mut idle).await, "", "whoever waits for nothing is let go");
    assert!(!server.is_finished());
    // Until it runs its own program, a process that another test has just started shares the listener.
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), refused).await.expect("the port is closed");
    slow.launch().await;
    assert!(rest(&mut caller).await.starts_with("HTTP/1.1 202 "));
    server.await.expect("it does not panic");
}

#[tokio::test]
async fn a_shutdown_waits_for_promotes_whose_callers_have_hung_up() {
    let slow = Slow::new(Settings::default());
    let approval = slow.approved().await;
    let (_, stop, server) = slow.listen().await;
    let caller = slow.begin(slow.promote(approval, None)).await;
    caller.abort();
    stop.send(()).expect("it waits for this");
    // It waits for nothing else.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(!server.is_finished());
    slow.launch().await;
    server.await.expect("it does not panic");
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_ever() {
    let slow = Slow::new(Settings { grace: Duration::from_millis(20), ..Settings::default() });
    let approval = slow.approved().await;
    let (_, stop, server) = slow.listen().await;
    let _caller = slow.begin(slow.promote(approval, None)).await;
    stop.send(()).expect("it waits for this");
    server.await.expect("it does not panic");
}
