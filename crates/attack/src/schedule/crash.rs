//! A crash at each statement of one request: before it reached the database, and after, with its answer lost.

use std::{collections::BTreeSet, ops::ControlFlow, time::Duration};

use tokio::{
    task::{JoinError, JoinHandle},
    time::{Instant, sleep, timeout},
};

use super::{ExploreError, Requests, SearchSettings, Step, search};
use crate::{
    proxy::{Event, Proxy, Statement, TransactionStatus},
    sql,
};

/// Requests of a service that can be killed and started again.
pub trait CrashableRequests: Requests {
    /// Kills the service, as `kill -9` does, and returns when it is dead.
    ///
    /// # Errors
    /// The exploration ends with it.
    fn kill(&mut self) -> impl Future<Output = Result<(), Self::Error>>;

    /// Starts the service again, if it is dead, and lets it recover.
    ///
    /// # Errors
    /// The exploration ends with it.
    fn recover(&mut self) -> impl Future<Output = Result<(), Self::Error>>;

    /// Judges a crash, after `recover`; `Break` ends the exploration.
    ///
    /// # Errors
    /// The exploration ends with it.
    fn judge_crash(
        &mut self,
        run: &CrashRun<Self::Response>,
    ) -> impl Future<Output = Result<ControlFlow<()>, Self::Error>>;
}

/// The fault at a crash point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The service is killed.
    Kill,
    /// The connection to the database ends; the service continues.
    Cut,
}

/// When it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Before the statement reached the database.
    Before,
    /// After the database answered, before the service received the answer.
    After,
}

/// A statement of a run, whichever statements of the service's own come between.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// The text, without its values.
    pub statement: String,
    /// Statements with the same text that came before.
    pub occurrence: usize,
}

impl Place {
    /// The place of these statements, after these steps.
    fn after(before: &[Step], statements: &[Statement]) -> Self {
        let text = |statements: &[Statement]| {
            let texts = statements.iter().map(|statement| sql::fingerprint(&statement.sql));
            texts.collect::<Vec<_>>().join("; ")
        };
        let statement = text(statements);
        let occurrence = before.iter().filter(|step| text(&step.statements) == statement).count();
        Self { statement, occurrence }
    }
}

/// One place at which to crash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrashPoint {
    /// The statement.
    pub place: Place,
    /// Before or after it.
    pub moment: Moment,
    /// The fault.
    pub fault: Fault,
}

/// A request that crashed.
#[derive(Clone, Debug)]
pub struct CrashRun<R> {
    /// Its position.
    pub point: CrashPoint,
    /// The statements until then; the last one is the point's.
    pub steps: Vec<Step>,
    /// The client's response.
    pub response: R,
}

/// Coverage of the crash points.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrashExploration {
    /// Crash points that were reached and judged.
    pub explored: u64,
    /// Places of all runs.
    pub statements: usize,
    /// Crash points that could not be reached, and why.
    pub not_followed: Vec<(Fault, Moment, String)>,
    /// True if `judge_crash` ended the exploration.
    pub was_stopped: bool,
    /// [`SearchSettings::max_time`] ended the exploration.
    pub out_of_time: bool,
}

impl CrashExploration {
    /// True if every crash point was reached and judged.
    pub fn is_complete(&self) -> bool {
        !self.was_stopped && !self.out_of_time && self.not_followed.is_empty()
    }
}

/// Crashes the first request at one point, and judges it. Returns why the point was not reached, if so.
///
/// # Errors
/// As [`explore_crashes`].
pub async fn crash_once<R: CrashableRequests>(
    proxy: &mut Proxy,
    requests: &mut R,
    point: CrashPoint,
    settings: &SearchSettings,
) -> Result<Option<String>, ExploreError<R::Error>> {
    let background = search::background(proxy, settings.quiet_phase).await;
    requests.reset().await.map_err(ExploreError::Requests)?;
    let crash = Crash {
        fault: point.fault,
        moment: point.moment,
        is_wanted: &|place| *place == point.place,
        background: &background,
        settings,
    };
    let ended = crash.run(proxy, requests).await?;
    requests.recover().await.map_err(ExploreError::Requests)?;
    Ok(match ended {
        Some(Ended::Crashed(_, steps, response)) => {
            let run = CrashRun { point, steps, response };
            // The run is over.
            requests.judge_crash(&run).await.map(drop).map_err(ExploreError::Requests)?;
            None
        }
        Some(Ended::NotFollowed(_, reason)) => Some(reason),
        None => Some("the request does not have this statement".to_owned()),
    })
}

/// End of a run.
enum Ended<R> {
    /// At this place.
    Crashed(Place, Vec<Step>, R),
    /// At this place, or before it was reached.
    NotFollowed(Option<Place>, String),
}

/// Crashes the first request at every statement, before and after it, with each of the faults.
///
/// # Errors
/// [`ExploreError`]: the requests or the database failed. A crash point that could not be reached is no error.
pub async fn explore_crashes<R: CrashableRequests>(
    proxy: &mut Proxy,
    requests: &mut R,
    faults: &[Fault],
    settings: &SearchSettings,
) -> Result<CrashExploration, ExploreError<R::Error>> {
    let began = Instant::now();
    requests.reset().await.map_err(ExploreError::Requests)?;
    let background = search::background(proxy, settings.quiet_phase).await;
    let mut exploration = CrashExploration::default();
    let mut places = BTreeSet::new();
    let kinds = faults.iter().flat_map(|fault| [(*fault, Moment::Before), (*fault, Moment::After)]);
    for (fault, moment) in kinds {
        // Each run crashes at the first place at which none has crashed.
        let mut visited = BTreeSet::new();
        loop {
            if began.elapsed() >= settings.max_time {
                exploration.out_of_time = true;
                return Ok(exploration);
            }
            requests.reset().await.map_err(ExploreError::Requests)?;
            let is_wanted = &|place: &Place| !visited.contains(place);
            let crash = Crash { fault, moment, is_wanted, background: &background, settings };
            let Some(ended) = crash.run(proxy, requests).await? else { break };
            requests.recover().await.map_err(ExploreError::Requests)?;
            let place = match ended {
                Ended::Crashed(place, steps, response) => {
                    exploration.explored += 1;
                    let point = CrashPoint { place: place.clone(), moment, fault };
                    let run = CrashRun { point, steps, response };
                    if requests.judge_crash(&run).await.map_err(ExploreError::Requests)?.is_break() {
                        exploration.was_stopped = true;
                        return Ok(exploration);
                    }
                    place
                }
                Ended::NotFollowed(place, reason) => {
                    exploration.not_followed.push((fault, moment, reason));
                    let Some(place) = place else { break };
                    place
                }
            };
            places.insert(place.clone());
            exploration.statements = places.len();
            visited.insert(place);
        }
    }
    let has_seen_none = exploration.statements == 0 && exploration.explored == 0;
    if has_seen_none && exploration.not_followed.is_empty() {
        return Err(ExploreError::NoStatements);
    }
    Ok(exploration)
}

/// A crash at the first place that is wanted.
struct Crash<'a> {
    fault: Fault,
    moment: Moment,
    is_wanted: &'a dyn Fn(&Place) -> bool,
    background: &'a BTreeSet<String>,
    settings: &'a SearchSettings,
}

impl Crash<'_> {
    /// `None` if the request ended before such a place.
    async fn run<R: CrashableRequests>(
        &self,
        proxy: &mut Proxy,
        requests: &mut R,
    ) -> Result<Option<Ended<R::Response>>, ExploreError<R::Error>> {
        let Self { fault, moment, is_wanted, background, settings } = *self;
        proxy.hold();
        let mut response = tokio::spawn(requests.start(0));
        let mut steps = Vec::new();
        let reach = Reach { moment, is_wanted, background, most: settings.timeout };
        let (place, connection) = match reach.run(proxy, &mut response, &mut steps).await {
            Ok(Some(reached)) => reached,
            Ok(None) => return Ok(None),
            Err(reason) => return Ok(Some(Ended::NotFollowed(None, reason))),
        };
        let backends = match fault {
            Fault::Kill => {
                let backends = proxy.backends();
                requests.kill().await.map_err(ExploreError::Requests)?;
                proxy.cut_all();
                backends
            }
            Fault::Cut => {
                proxy.cut(connection);
                proxy.backend(connection).into_iter().collect()
            }
        };
        proxy.open();
        let not_followed = |reason: String| Ok(Some(Ended::NotFollowed(Some(place.clone()), reason)));
        // The database rolls back when it notices; until then the object may be locked.
        let began = Instant::now();
        let monitor = proxy.monitor().await.map_err(ExploreError::Database)?;
        while monitor.any_alive(&backends).await.map_err(ExploreError::Database)? {
            if Instant::now() - began > settings.timeout {
                return not_followed("the database did not notice that the connection ended".to_owned());
            }
            sleep(Duration::from_millis(1)).await;
        }
        match timeout(settings.timeout, &mut response).await {
            Ok(Ok(response)) => Ok(Some(Ended::Crashed(place, steps, response))),
            Ok(Err(error)) => not_followed(format!("the task of the request ended: {error}")),
            Err(_) => {
                response.abort();
                not_followed("the request did not end after the crash".to_owned())
            }
        }
    }
}

/// The way of a request to the first place that is wanted.
pub(super) struct Reach<'a> {
    pub(super) moment: Moment,
    pub(super) is_wanted: &'a dyn Fn(&Place) -> bool,
    pub(super) background: &'a BTreeSet<String>,
    /// Time limit.
    pub(super) most: Duration,
}

impl Reach<'_> {
    /// The place, and the connection of its statement: from then on nothing is relayed. `None` if the request ended before. The
    /// proxy holds statements already, and no longer does if there is no such place.
    ///
    /// An error says why the request did not get on.
    pub(super) async fn run<R>(
        &self,
        proxy: &mut Proxy,
        response: &mut JoinHandle<R>,
        steps: &mut Vec<Step>,
    ) -> Result<Option<(Place, u64)>, String> {
        let reached = match timeout(self.most, self.relay(proxy, response, steps)).await {
            Ok(reached) => reached.map_err(|error| format!("the task of the request ended: {error}")),
            Err(_) => {
                response.abort();
                Err(format!("the request made no progress for {:?}", self.most))
            }
        };
        if !matches!(reached, Ok(Some(_))) {
            proxy.open();
        }
        reached
    }

    async fn relay<R>(
        &self,
        proxy: &mut Proxy,
        response: &mut JoinHandle<R>,
        steps: &mut Vec<Step>,
    ) -> Result<Option<(Place, u64)>, JoinError> {
        // Connections in a transaction of the request, and the ones that do background work.
        let (mut open, mut passing) = (BTreeSet::new(), BTreeSet::new());
        loop {
            tokio::select! {
                biased;
                Some(event) = proxy.next_event() => match event {
                    Event::Arrived { connection, statements } => {
                        let mut texts = statements.iter().map(|statement| sql::fingerprint(&statement.sql));
                        if !open.contains(&connection) && texts.all(|text| self.background.contains(&text)) {
                            passing.insert(connection);
                            proxy.release(connection);
                            continue;
                        }
                        let step = Step { request: 0, connection, statements, answer: None, answered_at: None };
                        steps.push(step);
                        if let Some(place) = self.wanted(Moment::Before, steps) {
                            return Ok(Some((place, connection)));
                        }
                        proxy.release(connection);
                    }
                    Event::Answered { connection, answer } => {
                        if passing.remove(&connection) {
                            proxy.deliver(connection);
                            continue;
                        }
                        match answer.transaction {
                            Some(TransactionStatus::Idle) => open.remove(&connection),
                            _ => open.insert(connection),
                        };
                        if let Some(index) = steps.iter().rposition(|step| step.connection == connection) {
                            steps[index].answer = Some(answer);
                            steps[index].answered_at = Some(index);
                            if let Some(place) = self.wanted(Moment::After, &steps[..=index]) {
                                return Ok(Some((place, connection)));
                            }
                        }
                        proxy.deliver(connection);
                    }
                    Event::Closed { .. } => {}
                },
                ended = &mut *response => return ended.map(|_| None),
            }
        }
    }

    /// The place of the last of these steps, if this moment of it is wanted.
    fn wanted(&self, moment: Moment, steps: &[Step]) -> Option<Place> {
        let (last, before) = steps.split_last().filter(|_| moment == self.moment)?;
        Some(Place::after(before, &last.statements)).filter(self.is_wanted)
    }
}
