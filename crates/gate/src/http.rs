//! The gate over HTTP: paths, sessions, problems, the approval's page, and resource limits.
//!
//! This module only translates: decisions belong to [`service`](countersign::service),
//! [`protocol`](countersign::protocol) and the store. The HTTP form of each refusal is in one table (`problem.rs`).
//!
//! - [`App`] is an instance: a store, a deployer, the flows, a clock, a secret and its [`Settings`].
//! - [`router`] is the surface, for callers that bring their own server; [`serve`] is a server.
//! - [`openapi`] describes the surface; it is generated from the same handlers.
//!
//! Invariants: GET and HEAD change nothing; responses and logs never contain a token; a request that changes something
//! runs to completion after its caller hangs up.

mod admin;
mod approvals;
mod bodies;
mod break_glass;
mod decisions;
mod environment;
mod extract;
mod idempotency;
mod identity;
mod limits;
mod metrics;
mod middleware;
mod openapi;
mod page;
mod probes;
mod problem;
mod promote;
mod resources;
mod server;
mod session;
mod stacks;
mod time;
mod views;
mod wait_queue;

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use admin::Cursors;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, header},
    middleware::{from_fn, from_fn_with_state},
};
pub use identity::{IdentityProvider, IdentitySettings, NoKeys};
use limits::{Concurrent, Limiter};
pub use limits::{Settings, TrustedHeader};
pub use metrics::Metrics;
use openapi::route;
use problem::Code;
pub use problem::Problem;
pub use server::{serve, serve_probes};
use session::Sessions;
pub use session::{ByPlan, ClaimedPlan, Claims, TenantPolicy, mint};
use tokio::sync::Semaphore;
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};
use tracing::Instrument;
use utoipa_axum::router::OpenApiRouter;
use wait_queue::WaitQueue;

use crate::instance::{health::Health, wakeups::Wakeups};
use countersign::{
    protocol::{Flow, Timestamp},
    service::Deployer,
    store::{Clock, Ids, Operations, Store, Tenants},
};

/// A store with all that the surface needs of one.
pub trait Backend: Store + Tenants + Operations + 'static {}

impl<T: Store + Tenants + Operations + 'static> Backend for T {}

/// The order of the steps, for each kind of promote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flows {
    /// The flow of a stack.
    pub stacks: Flow,
    /// The flow of a resource's twin.
    pub twins: Flow,
}

impl Flows {
    /// Validate, plan and one commit, for both: all requests plan concurrently.
    pub fn atomic_commit() -> Self {
        Self { stacks: Flow::atomic_commit(), twins: Flow::atomic_commit_for_twins() }
    }

    /// The same with the approval's lease: requests for one approval plan one at a time, the others wait.
    pub fn atomic_commit_lease() -> Self {
        Self { stacks: Flow::atomic_commit_lease(), twins: Flow::atomic_commit_lease_for_twins() }
    }
}

impl Default for Flows {
    fn default() -> Self {
        Self::atomic_commit()
    }
}

/// Parts of an instance.
pub struct Parts<B, D> {
    /// The store.
    pub store: Arc<B>,
    /// For flows that launch by themselves; others leave it to the worker.
    pub deployer: Arc<D>,
    /// The order of the steps.
    pub flows: Flows,
    /// Says until when a token is good, and how long a key is held. Approvals go by the store's clock.
    pub clock: Arc<dyn Clock>,
    /// For the ids of traces.
    pub ids: Arc<dyn Ids>,
    /// The secret that signs sessions.
    pub secret: Vec<u8>,
    /// Earlier secrets, whose sessions go on.
    pub earlier_secrets: Vec<Vec<u8>>,
    /// Whose tokens are accepted in addition.
    pub identity: Option<Arc<IdentityProvider>>,
    /// Tier and limits of teams.
    pub tenants: Arc<dyn TenantPolicy>,
    /// Limits of the instance.
    pub settings: Settings,
    /// The counters.
    pub metrics: Metrics,
}

/// An instance. A copy is the same one.
pub struct App<B, D>(Arc<Instance<B, D>>);

struct Instance<B, D> {
    store: Arc<B>,
    deployer: Arc<D>,
    flows: Flows,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    tenants: Arc<dyn TenantPolicy>,
    settings: Settings,
    metrics: Metrics,
    sessions: Sessions,
    cursors: Cursors,
    limiter: Limiter,
    concurrent: Concurrent,
    wait_queue: WaitQueue,
    /// Permits of tasks that continue after their caller hangs up.
    under_way: Arc<Semaphore>,
    shutting_down: AtomicBool,
    wakeups: OnceLock<Arc<Wakeups>>,
    health: OnceLock<Arc<Health>>,
    description: OnceLock<String>,
}

impl<B, D> Clone for App<B, D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B: Backend, D: Deployer + 'static> App<B, D> {
    /// An instance of these parts.
    pub fn new(parts: Parts<B, D>) -> Self {
        let Parts { store, deployer, flows, clock, ids, secret, tenants, settings, metrics, .. } = parts;
        Self(Arc::new(Instance {
            sessions: Sessions::new(&secret, &parts.earlier_secrets, parts.identity),
            cursors: Cursors::new(&secret),
            limiter: Limiter::new(settings.page_requests_per_second, clock.clone()),
            concurrent: Concurrent::new(&settings),
            wait_queue: WaitQueue::default(),
            under_way: Arc::new(Semaphore::new(settings.max_under_way)),
            shutting_down: AtomicBool::new(false),
            wakeups: OnceLock::new(),
            health: OnceLock::new(),
            description: OnceLock::new(),
            store,
            deployer,
            flows,
            clock,
            ids,
            tenants,
            settings,
            metrics,
        }))
    }

    /// Wakes these loops when there is work for them. Without them the loops poll.
    pub fn wake_with(&self, wakeups: Arc<Wakeups>) {
        // Set once: the first call wins.
        let _ = self.0.wakeups.set(wakeups);
    }

    /// Reports readiness only while these loops are healthy. By default the store alone decides.
    pub fn ready_with(&self, health: Arc<Health>) {
        let _ = self.0.health.set(health);
    }

    fn health(&self) -> Option<&Health> {
        self.0.health.get().map(|health| &**health)
    }

    fn wakeups(&self) -> Option<&Wakeups> {
        self.0.wakeups.get().map(|wakeups| &**wakeups)
    }

    /// From now on it says that it is not ready.
    pub fn begin_shutdown(&self) {
        self.0.shutting_down.store(true, Ordering::SeqCst);
    }

    fn is_shutting_down(&self) -> bool {
        self.0.shutting_down.load(Ordering::SeqCst)
    }

    fn store(&self) -> &B {
        &self.0.store
    }

    fn deployer(&self) -> &D {
        &self.0.deployer
    }

    fn flows(&self) -> &Flows {
        &self.0.flows
    }

    fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn ids(&self) -> &dyn Ids {
        &*self.0.ids
    }

    fn tenants(&self) -> &dyn TenantPolicy {
        &*self.0.tenants
    }

    fn settings(&self) -> &Settings {
        &self.0.settings
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    fn cursors(&self) -> &Cursors {
        &self.0.cursors
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.0.wait_queue
    }

    fn limiter(&self) -> &Limiter {
        &self.0.limiter
    }

    fn concurrent(&self) -> &Concurrent {
        &self.0.concurrent
    }

    fn description(&self) -> String {
        self.0.description.get_or_init(openapi::<B, D>).clone()
    }

    /// Runs the work in a separate task, so that it continues after its caller hangs up.
    ///
    /// # Errors
    /// 503 at the limit of concurrent work, which was not begun; 500 after a panic.
    async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        let place = self.0.under_way.clone().try_acquire_owned();
        let place = place.map_err(|_| Problem::new(Code::Overloaded))?;
        let shares = limits::current_shares();
        let work = async move {
            let done = work.await;
            drop((place, shares));
            done
        };
        tokio::spawn(work.in_current_span()).await.map_err(|_| Problem::new(Code::Internal))
    }

    /// Waits until all tasks have ended.
    async fn all_done(&self) {
        let all = u32::try_from(self.0.settings.max_under_way).unwrap_or(u32::MAX);
        // Fails only on a closed semaphore, and this one is never closed.
        let _ = self.0.under_way.acquire_many(all).await;
    }
}

/// A layer that sets this header where it is missing.
fn fixed(name: header::HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

/// Every route, with its description.
fn surface<B: Backend, D: Deployer + 'static>() -> OpenApiRouter<App<B, D>> {
    endpoints().merge(probe_routes())
}

/// Liveness, readiness and counters.
fn probe_routes<B: Backend, D: Deployer + 'static>() -> OpenApiRouter<App<B, D>> {
    OpenApiRouter::new()
        .routes(route::<probes::__path_livez, _, _, _>(probes::livez))
        .routes(route::<probes::__path_readyz, _, _, _>(probes::readyz::<B, D>))
        .routes(route::<probes::__path_metrics, _, _, _>(probes::metrics::<B, D>))
        .layer(fixed(header::CACHE_CONTROL, "no-store"))
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
}

/// Every other route.
fn endpoints<B: Backend, D: Deployer + 'static>() -> OpenApiRouter<App<B, D>> {
    let pages = OpenApiRouter::new()
        .routes(route::<page::__path_show_page, _, _, _>(page::show_page::<B, D>))
        .routes(route::<page::__path_decide, _, _, _>(page::decide::<B, D>))
        .routes(route::<page::__path_show_result, _, _, _>(page::show_result::<B, D>))
        .layer(from_fn(page::dressed));
    OpenApiRouter::with_openapi(openapi::base())
        .routes(route::<stacks::__path_create, _, _, _>(stacks::create::<B, D>))
        .routes(route::<stacks::__path_show, _, _, _>(stacks::show::<B, D>))
        .routes(route::<stacks::__path_family, _, _, _>(stacks::family::<B, D>))
        .routes(route::<stacks::__path_put_image, _, _, _>(stacks::put_image::<B, D>))
        .routes(route::<stacks::__path_patch_env, _, _, _>(stacks::patch_env::<B, D>))
        .routes(route::<stacks::__path_put_vault, _, _, _>(stacks::put_vault::<B, D>))
        .routes(route::<promote::__path_promote_stack, _, _, _>(promote::promote_stack::<B, D>))
        .routes(route::<resources::__path_provision, _, _, _>(resources::provision::<B, D>))
        .routes(route::<resources::__path_show_resource, _, _, _>(resources::show_resource::<B, D>))
        .routes(route::<promote::__path_provision_twin, _, _, _>(promote::provision_twin::<B, D>))
        .routes(route::<approvals::__path_show_approval, _, _, _>(approvals::show_approval::<B, D>))
        .routes(route::<decisions::__path_approve, _, _, _>(decisions::approve::<B, D>))
        .routes(route::<decisions::__path_reject_with_session, _, _, _>(
            decisions::reject_with_session::<B, D>,
        ))
        .routes(route::<decisions::__path_revoke, _, _, _>(decisions::revoke::<B, D>))
        .routes(route::<approvals::__path_audit, _, _, _>(approvals::audit::<B, D>))
        .routes(route::<admin::__path_list, _, _, _>(admin::list::<B, D>))
        .routes(route::<admin::__path_reject, _, _, _>(admin::reject::<B, D>))
        .routes(route::<admin::__path_give_up, _, _, _>(admin::give_up::<B, D>))
        .routes(route::<break_glass::__path_list_glass_broken, _, _, _>(
            break_glass::list_glass_broken::<B, D>,
        ))
        .routes(route::<probes::__path_openapi, _, _, _>(probes::openapi::<B, D>))
        .layer(fixed(header::CACHE_CONTROL, "no-store"))
        .merge(pages)
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
}

/// The surface of an instance.
pub fn router<B: Backend, D: Deployer + 'static>(app: App<B, D>) -> Router {
    let routes = if app.settings().probes_apart { endpoints::<B, D>() } else { surface::<B, D>() };
    finished(routes, app)
}

/// Liveness, readiness and counters of an instance alone.
fn probe_router<B: Backend, D: Deployer + 'static>(app: App<B, D>) -> Router {
    finished(probe_routes::<B, D>(), app)
}

fn finished<B: Backend, D: Deployer + 'static>(routes: OpenApiRouter<App<B, D>>, app: App<B, D>) -> Router {
    let (router, _) = routes.split_for_parts();
    router
        .fallback(middleware::no_such_path)
        .layer(from_fn_with_state(app.clone(), limits::concurrent::<B, D>))
        .layer(DefaultBodyLimit::max(app.settings().max_body))
        .layer(CatchPanicLayer::custom(middleware::panicked))
        .layer(from_fn_with_state(app.clone(), middleware::observed::<B, D>))
        .with_state(app)
}

/// The surface of [`router`], as an OpenAPI 3.1 document.
pub fn openapi<B: Backend, D: Deployer + 'static>() -> String {
    let (_, description) = surface::<B, D>().split_for_parts();
    match description.to_pretty_json() {
        Ok(json) => json + "\n",
        Err(error) => unreachable!("a description is plain data: {error}"),
    }
}
