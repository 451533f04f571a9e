//! The cost of a promotion over HTTP, in memory, next to routes that do nothing.
//!
//! Three servers run in this process, each on a thread of its own with a runtime of its own: the gate; the same route of
//! the same gate on a store that does nothing, so that what is left of the promote is what its consume, its commit and
//! its reads cost; and a bare axum route that answers the same bytes immediately, without reading a token or a body. One
//! client sends each the same bytes over one connection, in turns. What counts is the time that the
//! server's thread was on a core, as the kernel says it, so that waiting and the client cost nothing.

mod idle;

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, mpsc},
    thread,
};

use axum::{
    Router,
    body::Bytes,
    http::{StatusCode, header},
    routing::post,
};
use countersign::{
    platform::{Binding, Environment, Kind},
    protocol::{Target, Timestamp},
    service::InMemoryDeployer,
    store::{
        Approvals, Decision, EnvVars, MemoryStore, Payload, Plan, PromotionRequest, Service, Team, Verdict,
    },
};
use countersign_gate::http::{App, ByPlan, Claims, Flows, Metrics, Parts, Settings, mint, router};
use countersign_models::fixtures::{CountingIds, HandClock, run_ready, token_of};
use countersign_testkit::{Peek, Seed};
use tokio::net::TcpListener;
use uuid::Uuid;

use self::idle::Idle;

const TEAM: Uuid = Uuid::from_u128(0xA);
const SECRET: &[u8] = b"the secret of the benchmark";
const OPENS: Timestamp = Timestamp(1_782_907_200_000);
const ROUNDS: usize = 9;
/// Promotes in a round, each of an approval of its own.
const PROMOTES: usize = 2_000;
/// Number of requests sent to a server in a row.
const TURN: usize = 50;
const WARM_UP: usize = 200;
const GOAL: f64 = 1.3;

fn main() -> io::Result<()> {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (rounds, promotes) = if is_test { (1, 20) } else { (ROUNDS, PROMOTES) };
    let gate = Gate::new(WARM_UP + rounds * promotes);
    let mut full = Server::start("gate", router(App::new(gate.parts)))?;
    // The same answer, from a route that does nothing for it.
    let answer = full.send(&gate.promotes[0])?;
    let nothing = move |_: Bytes| {
        let answer = answer.clone();
        async move { (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], answer) }
    };
    let bare = Router::new().route("/api/v1/stacks/{slug}/promote", post(nothing));
    let mut servers =
        [full, Server::start("idle", router(App::new(gate.idle)))?, Server::start("bare", bare)?];
    for promote in &gate.promotes[1..WARM_UP] {
        for server in &mut servers {
            server.send(promote)?;
        }
    }
    println!("microseconds of the server's CPU a promote");
    println!(
        "{:>8} {:>8} {:>16} {:>8} {:>12} {:>12}",
        "round", "gate", "idle store", "bare", "/ idle", "/ bare"
    );
    let (mut idle, mut bare) = (Vec::new(), Vec::new());
    for (round, promotes) in gate.promotes[WARM_UP..].chunks(promotes).enumerate() {
        let mut costs = [0.0; 3];
        // Turns are short, so that other load on the machine slows all of them equally.
        for (turn, some) in promotes.chunks(TURN).enumerate() {
            for place in 0..servers.len() {
                let next = (turn + place) % servers.len();
                costs[next] += servers[next].cost_us(some)?;
            }
        }
        let costs = costs.map(|cost| cost / promotes.len() as f64);
        let [ours, same, nothing] = costs;
        idle.push(ours / same);
        bare.push(ours / nothing);
        let (to_idle, to_bare) = (ours / same, ours / nothing);
        println!("{:>8} {ours:>8.1} {same:>16.1} {nothing:>8.1} {to_idle:>12.2} {to_bare:>12.2}", round + 1);
    }
    let met = if median(&mut idle) <= GOAL { "met" } else { "MISSED" };
    println!(
        "the gate / the same route on a store that does nothing: {:.3}, goal {GOAL}: {met}",
        median(&mut idle)
    );
    println!("the gate / a bare route, without sessions, bodies, logs and metrics: {:.3}", median(&mut bare));
    Ok(())
}

fn median(ratios: &mut [f64]) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// A gate with approvals that can be used, and the requests that use them.
struct Gate {
    parts: Parts<MemoryStore, InMemoryDeployer>,
    /// The same on a store that does nothing.
    idle: Parts<Idle, InMemoryDeployer>,
    promotes: Vec<Vec<u8>>,
}

impl Gate {
    fn new(approvals: usize) -> Self {
        let clock = Arc::new(HandClock::at(OPENS));
        let ids = Arc::new(CountingIds::default());
        let store = Arc::new(MemoryStore::new(clock.clone(), ids.clone()));
        store.seed_team(TEAM, Team { plan: Plan::Pro, deployment_cap: 50 });
        let env = |name: &str| Environment::parse(name).expect("a legal name");
        let image_ref = Some("registry.example.com/shop@sha256:7".to_owned());
        let services = vec![Service { name: "web".to_owned(), image_ref, port: Some(80), expose: true }];
        let source = store.seed_stack(TEAM, "shop", env("staging"), services, EnvVars::new());
        let stack = store.stacks(TEAM).first().cloned().expect("it was created");
        let slug = stack.slug();
        let claims = Claims {
            team: TEAM,
            email: Some("dev@example.com".to_owned()),
            plan: None,
            admin: false,
            exp: OPENS.0 / 1_000 + 3_600,
            nbf: None,
            iat: None,
        };
        let bearer = mint(SECRET, &claims);
        let binding = Binding { kind: Kind::Stack, from: env("staging"), to: env("production") };
        let ask = PromotionRequest {
            team: TEAM,
            binding,
            requested_by: "dev@example.com".into(),
            payload: Payload { source, name: None, copy_vault: false },
            key: None,
        };
        let promote = |_| {
            let id =
                run_ready(store.request_approval(&ask)).expect("nothing fails in memory").record.approval.id;
            let yes = Decision::Operator { token: &token_of(id), verdict: Verdict::Approve };
            run_ready(store.decide(yes)).expect("nothing fails in memory").expect("it is pending");
            let body = format!("{{\"from\":\"staging\",\"to\":\"production\",\"approval_id\":\"{id}\"}}");
            let length = body.len();
            format!(
                "POST /api/v1/stacks/{slug}/promote HTTP/1.1\r\nhost: gate.example\r\nauthorization: Bearer {bearer}\r\n\
                 content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            )
            .into_bytes()
        };
        let promotes = (0..approvals).map(promote).collect();
        let idle = Idle { stack, now: OPENS, target: Target { id: Uuid::from_u128(7), created: false } };
        let parts = parts_of(store.clone(), clock.clone(), ids.clone());
        Self { parts, idle: parts_of(Arc::new(idle), clock, ids), promotes }
    }
}

fn parts_of<B>(store: Arc<B>, clock: Arc<HandClock>, ids: Arc<CountingIds>) -> Parts<B, InMemoryDeployer> {
    Parts {
        store,
        deployer: Arc::new(InMemoryDeployer::default()),
        flows: Flows::default(),
        clock,
        ids,
        secret: SECRET.to_vec(),
        earlier_secrets: Vec::new(),
        identity: None,
        tenants: Arc::new(ByPlan),
        settings: Settings::default(),
        metrics: Metrics::new(),
    }
}

/// A server on a thread of its own, and a client's connection to it.
struct Server {
    connection: BufReader<TcpStream>,
    /// The kernel's file with the thread's CPU time.
    thread: String,
}

impl Server {
    fn start(name: &str, router: Router) -> io::Result<Self> {
        let (tell, hear) = mpsc::channel();
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let thread = fs::read_link("/proc/thread-self")?.display().to_string();
                let told = tell.send((listener.local_addr()?, thread));
                told.map_err(|_| io::Error::other("the receiver is gone"))?;
                axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await
            })
        };
        thread::Builder::new().name(name.to_owned()).spawn(serve)?;
        let (address, thread) =
            hear.recv().map_err(|_| io::Error::other("the server could not be started"))?;
        let connection = TcpStream::connect(address)?;
        connection.set_nodelay(true)?;
        let thread = format!("/proc/{thread}/schedstat");
        Ok(Self { connection: BufReader::new(connection), thread })
    }

    /// Sends the request, and returns the answer's body.
    fn send(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.connection.get_mut().write_all(request)?;
        let mut line = String::new();
        self.connection.read_line(&mut line)?;
        let status = line.trim().to_owned();
        let mut length = 0;
        loop {
            line.clear();
            self.connection.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        self.connection.read_exact(&mut body)?;
        if !status.starts_with("HTTP/1.1 2") {
            let body = String::from_utf8_lossy(&body);
            return Err(io::Error::other(format!("answered {status}: {body}")));
        }
        Ok(body)
    }

    /// Microseconds on a core, for all of these.
    fn cost_us(&mut self, requests: &[Vec<u8>]) -> io::Result<f64> {
        let before = self.on_core_ns()?;
        for request in requests {
            self.send(request)?;
        }
        Ok((self.on_core_ns()? - before) / 1_000.0)
    }

    fn on_core_ns(&self) -> io::Result<f64> {
        let text = fs::read_to_string(&self.thread)?;
        let first = text.split_whitespace().next().unwrap_or_default();
        first.parse().map_err(io::Error::other)
    }
}
