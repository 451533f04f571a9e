//! One schedule: starts the requests, releases their statements in the order that a chooser decides, and notices which
//! request each event belongs to.

mod events;
mod waiting;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Requests, SearchSettings, Step,
    catalog::Catalog,
    independence::{Footprint, Transaction, changes_snapshots},
    policy::Policy,
};
use crate::{
    proxy::{Answer, MonitorError, Proxy, Statement},
    sql,
};

/// Wait for a second event where the first could belong to either of two requests, and watch of a request after its
/// response if it is known to send statements then.
const GRACE: Duration = Duration::from_millis(30);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Knowledge of the service and its database.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    pub(super) catalog: Catalog,
    /// Fingerprints of the statements that it sends without a request.
    pub(super) background: BTreeSet<String>,
    /// Requests wait for each other inside the service.
    pub(super) service_waits: bool,
    /// Requests send statements after their response.
    pub(super) lingers: bool,
    /// A request sent a statement after its response.
    pub(super) saw_late: bool,
    /// The background contains what the service sends when a request is over.
    pub(super) knows_afterwards: bool,
    /// Transactions may have a snapshot that lasts without asking for it.
    pub(super) snapshots: bool,
}

/// A request that can continue.
#[derive(Clone, Debug)]
pub(super) struct Enabled {
    pub(super) request: usize,
    pub(super) footprint: Footprint,
    /// The common part of its next statements in all runs.
    pub(super) key: String,
}

pub(super) enum Choice {
    Release(usize),
    /// All that could follow repeats other schedules.
    Abandon,
}

/// Decides the order of the releases.
pub(super) trait Chooser {
    /// An error says how this run differs from the one before.
    fn choose(&mut self, enabled: &[Enabled]) -> Result<Choice, String>;

    /// The footprint of the chosen step, after its execution.
    fn executed(&mut self, footprint: &Footprint);
}

/// A schedule that was followed.
pub(super) struct Followed<R> {
    pub(super) steps: Vec<Step>,
    pub(super) responses: Vec<R>,
    pub(super) footprints: Vec<Footprint>,
    /// Pairs of steps of which the first made the second possible.
    pub(super) enabling: Vec<(usize, usize)>,
}

pub(super) enum Outcome<R> {
    Followed(Followed<R>),
    Abandoned,
}

/// Why a schedule was not followed.
pub(super) enum Broken {
    NotFollowed { steps: Vec<Step>, reason: String },
    Database(MonitorError),
}

enum Stop {
    NotFollowed(String),
    Database(MonitorError),
}

impl From<MonitorError> for Stop {
    fn from(error: MonitorError) -> Self {
        Self::Database(error)
    }
}

fn not_followed(reason: impl Into<String>) -> Stop {
    Stop::NotFollowed(reason.into())
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    connection: u64,
    step: usize,
}

#[derive(Debug)]
enum State {
    NotStarted,
    Running(Option<InFlight>),
    Held { connection: u64, statements: Vec<Statement> },
    Blocked { in_flight: InFlight, is_answered: bool },
    WaitsInService,
    Done,
}

/// A connection, as far as this schedule has used it.
#[derive(Default)]
struct Connection {
    transaction: Transaction,
    is_open: bool,
    last_user: Option<usize>,
    /// Its transaction is a background one.
    is_background: bool,
    /// The unit that was let through and is not answered yet.
    passing: Option<Vec<Statement>>,
    /// Units that were let through before they could be attributed.
    prelude: Vec<(Vec<Statement>, Answer)>,
}

pub(super) struct Run<'a, R: Requests, P> {
    proxy: &'a mut Proxy,
    requests: &'a mut R,
    settings: &'a SearchSettings,
    policy: &'a P,
    knowledge: &'a mut Knowledge,
    states: Vec<State>,
    responses: Vec<Option<R::Response>>,
    tasks: JoinSet<(usize, R::Response)>,
    connections: BTreeMap<u64, Connection>,
    steps: Vec<Step>,
    footprints: Vec<Footprint>,
    enabling: Vec<(usize, usize)>,
    /// By request: the step that made its next one possible.
    unblocked_by: Vec<Option<usize>>,
    current: usize,
    /// An arrival that may belong to the running request or to one that waits in the service.
    ambiguous: Option<(u64, Vec<Statement>, Instant)>,
}

impl<'a, R: Requests, P: Policy> Run<'a, R, P> {
    pub(super) fn new(
        proxy: &'a mut Proxy,
        requests: &'a mut R,
        settings: &'a SearchSettings,
        policy: &'a P,
        knowledge: &'a mut Knowledge,
    ) -> Self {
        let count = requests.count();
        Self {
            proxy,
            requests,
            settings,
            policy,
            knowledge,
            states: (0..count).map(|_| State::NotStarted).collect(),
            responses: vec![None; count],
            tasks: JoinSet::new(),
            connections: BTreeMap::new(),
            steps: Vec::new(),
            footprints: Vec::new(),
            enabling: Vec::new(),
            unblocked_by: vec![None; count],
            current: 0,
            ambiguous: None,
        }
    }

    /// Follows one schedule; afterwards the proxy is open and no request runs.
    pub(super) async fn follow(mut self, chooser: &mut impl Chooser) -> Result<Outcome<R::Response>, Broken> {
        self.proxy.hold();
        let result = self.until_done(chooser).await;
        self.proxy.open();
        let rest = timeout(self.settings.timeout, async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Ok((request, response)) = ended {
                    self.responses[request].get_or_insert(response);
                }
            }
        });
        let all_ended = rest.await.is_ok();
        if !all_ended {
            self.proxy.cut_all();
            self.tasks.shutdown().await;
        }
        if self.knowledge.lingers && !matches!(result, Ok(true)) {
            // Statements after the responses must not reach into the next schedule.
            sleep(GRACE).await;
        }
        let steps = self.steps;
        match result {
            Err(Stop::Database(error)) => Err(Broken::Database(error)),
            Err(Stop::NotFollowed(reason)) => Err(Broken::NotFollowed { steps, reason }),
            Ok(false) => Ok(Outcome::Abandoned),
            Ok(true) => {
                let responses: Option<Vec<_>> = self.responses.into_iter().collect();
                let Some(responses) = responses else {
                    let reason = "a request has no response".to_owned();
                    return Err(Broken::NotFollowed { steps, reason });
                };
                let (footprints, enabling) = (self.footprints, self.enabling);
                Ok(Outcome::Followed(Followed { steps, responses, footprints, enabling }))
            }
        }
    }

    /// False when the schedule was given up because it repeats others.
    async fn until_done(&mut self, chooser: &mut impl Chooser) -> Result<bool, Stop> {
        // If requests wait for each other inside the service, their order of start matters.
        if !self.knowledge.service_waits {
            for request in 0..self.states.len() {
                self.start(request).await?;
            }
        }
        loop {
            if self.states.iter().any(|state| matches!(state, State::WaitsInService)) {
                self.listen(GRACE).await?;
            }
            let enabled = self.enabled();
            if enabled.is_empty() {
                if self.states.iter().all(|state| matches!(state, State::Done)) {
                    return Ok(true);
                }
                self.until_someone_goes_on().await?;
                continue;
            }
            let chosen = match chooser.choose(&enabled).map_err(Stop::NotFollowed)? {
                Choice::Release(request) => request,
                Choice::Abandon => return Ok(false),
            };
            if matches!(self.states[chosen], State::NotStarted) {
                self.start(chosen).await?;
                chooser.executed(&Footprint::opaque());
                continue;
            }
            let requests: Vec<_> = enabled.iter().map(|enabled| enabled.request).collect();
            let released = self.policy.released(chosen, &requests);
            for request in &released {
                self.release(*request);
            }
            for request in released {
                self.settle(request).await?;
            }
            self.wake().await?;
            chooser.executed(&self.footprints[self.current]);
        }
    }

    fn enabled(&self) -> Vec<Enabled> {
        let mut enabled = Vec::new();
        for (request, state) in self.states.iter().enumerate() {
            match state {
                State::NotStarted => {
                    enabled.push(Enabled {
                        request,
                        footprint: Footprint::opaque(),
                        key: "start".to_owned(),
                    });
                }
                State::Held { connection, statements } => {
                    let transaction = self.connections.get(connection).map(|known| &known.transaction);
                    let footprint =
                        transaction.map(|known| known.footprint(statements, &self.knowledge.catalog));
                    let key: Vec<_> =
                        statements.iter().map(|statement| sql::fingerprint(&statement.sql)).collect();
                    enabled.push(Enabled {
                        request,
                        footprint: footprint.unwrap_or_else(Footprint::opaque),
                        key: key.join("; "),
                    });
                }
                _ => {}
            }
        }
        enabled
    }

    async fn start(&mut self, request: usize) -> Result<(), Stop> {
        let response = self.requests.start(request);
        self.tasks.spawn(async move { (request, response.await) });
        self.states[request] = State::Running(None);
        self.settle(request).await?;
        self.wake().await
    }

    fn release(&mut self, request: usize) {
        let State::Held { connection, statements } =
            std::mem::replace(&mut self.states[request], State::Done)
        else {
            return;
        };
        let known = self.connections.entry(connection).or_default();
        let footprint = known.transaction.footprint(&statements, &self.knowledge.catalog);
        self.knowledge.snapshots |= changes_snapshots(&statements);
        known.last_user = Some(request);
        self.current = self.push(request, connection, statements, footprint);
        self.states[request] = State::Running(Some(InFlight { connection, step: self.current }));
        self.proxy.release(connection);
    }

    fn push(
        &mut self,
        request: usize,
        connection: u64,
        statements: Vec<Statement>,
        footprint: Footprint,
    ) -> usize {
        let index = self.steps.len();
        if let Some(before) = self.unblocked_by[request].take() {
            self.enabling.push((before, index));
        }
        self.steps.push(Step { request, connection, statements, answer: None, answered_at: None });
        self.footprints.push(footprint);
        index
    }

    /// Waits until the running request holds a statement, is blocked, waits in the service, or is done.
    async fn settle(&mut self, request: usize) -> Result<(), Stop> {
        let began = Instant::now();
        let mut pause = self.settings.blocked_after;
        let mut check = began + pause;
        // The pauses in which nothing came. A machine that is busy makes one longer, and is not the service's silence.
        let mut quiet = Duration::ZERO;
        while let State::Running(in_flight) = self.states[request] {
            if in_flight.is_none() && self.responses[request].is_some() && self.is_over(request, quiet) {
                self.states[request] = State::Done;
                self.assign_ambiguous(None)?;
                break;
            }
            tokio::select! {
                biased;
                event = self.proxy.next_event() => {
                    self.event(request, event)?;
                    quiet = Duration::ZERO;
                }
                Some(ended) = self.tasks.join_next() => {
                    self.responded(ended)?;
                    quiet = Duration::ZERO;
                }
                () = sleep_until(check) => {
                    let now = Instant::now();
                    if now - began > self.settings.timeout {
                        return Err(not_followed(format!("request {} made no progress for {:?}", request + 1, now - began)));
                    }
                    quiet += pause;
                    match in_flight {
                        Some(in_flight) => self.check_blocked(request, in_flight).await?,
                        None => self.check_service(request, quiet)?,
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    check = Instant::now() + pause;
                }
            }
        }
        Ok(())
    }

    /// True if a request that has responded sends no more statements.
    fn is_over(&self, request: usize, quiet: Duration) -> bool {
        let has_transaction =
            self.connections.values().any(|known| known.is_open && known.last_user == Some(request));
        if has_transaction {
            quiet >= self.settings.service_patience
        } else {
            !self.knowledge.lingers || quiet >= GRACE
        }
    }
}

impl fmt::Display for Enabled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {}: {}", self.request + 1, self.key)
    }
}
