//! The instance's counters, for Prometheus.
//!
//! Labels never contain an id, a name or an address of a request: the number of series is fixed.

use std::{fmt, sync::Arc, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::{
        EncodeLabelSet,
        text::{encode_eof, encode_registry},
    },
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::log_writer::Lost;
use countersign::{protocol::Status, store::Backlog};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transition {
    from: String,
    to: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: String,
    path: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    path: String,
}

/// Counters of these outcomes, all at zero. Prometheus sees no increase in a series that begins with 1: a rule would miss the
/// first event.
fn from_zero(outcomes: &[&str]) -> Family<Outcome, Counter> {
    let family = Family::default();
    for &outcome in outcomes {
        drop(family.get_or_create(&Outcome { outcome: outcome.to_owned() }));
    }
    family
}

type Durations = Family<Route, Histogram, fn() -> Histogram>;

/// The counters of one instance. A copy counts along.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    transitions: Family<Transition, Counter>,
    consumes: Family<Outcome, Counter>,
    jobs: Family<Outcome, Counter>,
    launches: Counter,
    deploys: Family<Outcome, Counter>,
    deploys_waiting: Gauge,
    notices: Family<Outcome, Counter>,
    requests: Family<Answered, Counter>,
    durations: Durations,
    in_flight: Gauge,
    connections: Gauge,
    shed: Counter<u64, AtomicU64>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero, with a log that loses nothing.
    pub fn new() -> Self {
        Self::with_log(Lost::default())
    }

    /// All at zero, next to the counter of this log.
    pub fn with_log(lost: Lost) -> Self {
        let mut registry = Registry::default();
        registry.register("log_lines_lost", "Lines of the log that could not be written in time", lost);
        let transitions = Family::default();
        registry.register("approval_transitions", "Approvals that moved from one status to another", {
            transitions.clone()
        });
        let consumes = Family::default();
        registry.register("approval_consume", "Promotions by how they ended", consumes.clone());
        let jobs = from_zero(&["leased", "finished", "lease_lost", "given_back", "store_failed"]);
        registry.register("launch_jobs", "Launch jobs by what became of a worker's turn", jobs.clone());
        let launches = Counter::default();
        registry.register("launches", "Deploy commands that were started", launches.clone());
        let deploys = from_zero(&["healthy", "failed", "not_started"]);
        registry.register("deploys", "Deploys by how they ended, and attempts to start one that failed", {
            deploys.clone()
        });
        let deploys_waiting = Gauge::default();
        registry.register(
            "deploys_not_started",
            "Deploys whose command cannot be started, and that are tried again",
            deploys_waiting.clone(),
        );
        let notices = from_zero(&["sent", "failed", "too_late"]);
        registry.register("notices", "Links to be sent, by what became of sending them", notices.clone());
        let requests = Family::default();
        registry.register("http_requests", "Requests that were answered", requests.clone());
        let durations: Durations = Family::new_with_constructor(|| {
            Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
        });
        registry.register("http_request_duration_seconds", "From the request to its answer", {
            durations.clone()
        });
        let in_flight = Gauge::default();
        registry.register(
            "http_requests_in_flight",
            "Requests that wait for their answer",
            in_flight.clone(),
        );
        let connections = Gauge::default();
        registry.register("http_connections", "Open connections", connections.clone());
        let shed = Counter::default();
        registry.register("http_connections_shed", "Connections that were one too many", shed.clone());
        let registry = Arc::new(registry);
        Self {
            registry,
            transitions,
            consumes,
            jobs,
            launches,
            deploys,
            deploys_waiting,
            notices,
            requests,
            durations,
            in_flight,
            connections,
            shed,
        }
    }

    /// An approval has changed its status; `None` is the status before the request.
    pub fn transition(&self, from: Option<Status>, to: Status) {
        let from = from.map_or_else(|| "none".to_owned(), |from| from.to_string());
        self.transitions.get_or_create(&Transition { from, to: to.to_string() }).inc();
    }

    /// A promotion has ended: `executed`, `replayed`, or the code of a refusal.
    pub fn consumed(&self, outcome: &str) {
        self.consumes.get_or_create(&Outcome { outcome: outcome.to_owned() }).inc();
    }

    /// Result of a worker's turn, in one word.
    pub fn job(&self, outcome: &str) {
        self.jobs.get_or_create(&Outcome { outcome: outcome.to_owned() }).inc();
    }

    /// A deploy's command was started.
    pub(crate) fn launched(&self) {
        self.launches.inc();
    }

    /// A deploy has ended, or could not be started, in one word.
    pub(crate) fn deploy(&self, outcome: &str) {
        self.deploys.get_or_create(&Outcome { outcome: outcome.to_owned() }).inc();
    }

    /// A deploy waits to be started until the guard is dropped.
    pub(crate) fn deploy_waits(&self) -> InFlight {
        InFlight::of(&self.deploys_waiting)
    }

    /// Result of sending a link, in one word.
    pub fn notice(&self, outcome: &str) {
        self.notices.get_or_create(&Outcome { outcome: outcome.to_owned() }).inc();
    }

    /// A request begins. It is in flight until the guard is dropped.
    pub(super) fn begin(&self) -> InFlight {
        InFlight::of(&self.in_flight)
    }

    /// A request was answered. `path` is the route's template.
    pub(super) fn answered(&self, method: &str, path: &str, status: u16, seconds: f64) {
        // Clients can invent methods, and every label costs memory.
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(&method);
        let method = if known { method } else { "other" }.to_owned();
        self.requests.get_or_create(&Answered { method, path: path.to_owned(), status }).inc();
        self.durations.get_or_create(&Route { path: path.to_owned() }).observe(seconds);
    }

    /// A connection is open until the guard is dropped.
    pub(super) fn connection(&self) -> InFlight {
        InFlight::of(&self.connections)
    }

    /// A connection was one too many.
    pub(super) fn shed(&self) {
        self.shed.inc();
    }

    /// All of them, as OpenMetrics text.
    pub fn text(&self) -> String {
        self.text_with(None)
    }

    /// The same, with the work that the store says is owed.
    pub fn text_with(&self, backlog: Option<Backlog>) -> String {
        let owed = backlog.map(owed);
        let mut text = String::new();
        let registries = [&*self.registry].into_iter().chain(&owed);
        let mut encoded = registries.map(|registry| encode_registry(&mut text, registry));
        let all = encoded.all(|encoded| encoded.is_ok());
        drop(encoded);
        if all && encode_eof(&mut text).is_ok() { text } else { String::new() }
    }
}

/// Gauges of the work that is owed.
fn owed(backlog: Backlog) -> Registry {
    let mut registry = Registry::default();
    let Backlog { jobs, notices } = backlog;
    for (count, age, owed, what) in [
        ("launch_jobs_owed", "launch_jobs_oldest_seconds", jobs, "Launch jobs whose deploys have not ended"),
        ("notices_owed", "notices_oldest_seconds", notices, "Links of pending approvals that were not sent"),
    ] {
        let (counted, oldest) = (Gauge::<f64, AtomicU64>::default(), Gauge::<f64, AtomicU64>::default());
        // Exact up to 2^53.
        counted.set(owed.count as f64);
        oldest.set(owed.oldest_ms as f64 / 1000.0);
        registry.register(count, what, counted);
        registry.register(age, format!("{what}: age of the oldest"), oldest);
    }
    registry
}

/// Counted in a gauge while it lives.
pub(crate) struct InFlight(Gauge);

impl InFlight {
    fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
        std::fs::read_to_string(page).expect("the page for operators")
    }

    /// Names as rules use them: a counter has its suffix.
    fn names() -> Vec<String> {
        let metrics = Metrics::new();
        // A family without a member is not written.
        metrics.transition(None, Status::Pending);
        for count in [Metrics::consumed, Metrics::job, Metrics::deploy, Metrics::notice] {
            count(&metrics, "outcome");
        }
        metrics.answered("GET", "/", 200, 0.0);
        let text = metrics.text_with(Some(Backlog::default()));
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let name = |line: &str| {
            let (name, kind) = line.split_once(' ').expect("a name and a type");
            if kind == "counter" { format!("{name}_total") } else { name.to_owned() }
        };
        types.map(name).collect()
    }

    #[test]
    fn every_metric_is_in_the_documentation() {
        let page = page();
        for name in names() {
            assert!(page.contains(&format!("| `{name}` |")), "{name}");
        }
    }

    #[test]
    fn outcomes_that_rules_are_about_begin_at_zero() {
        let (page, text) = (page(), Metrics::new().text());
        for name in ["launch_jobs_total", "deploys_total", "notices_total"] {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).expect("its row");
            let outcomes: Vec<&str> = row.split('`').skip(5).step_by(2).collect();
            assert!(outcomes.len() > 2, "{row}");
            for outcome in outcomes {
                assert!(text.contains(&format!("{name}{{outcome=\"{outcome}\"}} 0\n")), "{name} {outcome}");
            }
        }
    }

    #[test]
    fn the_example_of_rules_uses_metrics_that_exist() {
        let page = page();
        let rules = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("rules");
        let names = names();
        let mut used = 0;
        for expression in rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")) {
            // The one of the monitoring itself.
            if expression.starts_with("probe_success") {
                continue;
            }
            assert!(names.iter().any(|name| expression.contains(name.as_str())), "{expression}");
            // Series with different outcomes match only where the label is ignored.
            for word in [" unless ", " and "] {
                let Some((left, right)) = expression.split_once(word) else { continue };
                let outcome = |side: &str| side.split("outcome=").nth(1).map(|rest| rest[..4].to_owned());
                let is_ignored = right.starts_with("ignoring(outcome) ");
                assert!(is_ignored || outcome(left) == outcome(right), "{expression}");
            }
            used += 1;
        }
        assert!(used > 5, "{used}");
    }
}
