//! A crash at each statement of one request: before it reached the database, and after, with its answer lost.

use std::{collections::BTreeSet, ops::ControlFlow, time::Duration};

use tokio::{
    task::{JoinError, JoinHandle},
    time::{Instant, sleep, timeout},
};

use super::{ExploreError, Requests, SearchSettings, Step, search};
use crate::{
    proxy::{Event, Proxy, TransactionStatus},
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

/// One place at which to crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrashPoint {
    /// The index of the statement.
    pub statement: usize,
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
    /// Statements of the longest run.
    pub statements: usize,
    /// Crash points that could not be reached, and why.
    pub not_followed: Vec<(CrashPoint, String)>,
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
    let ended = crash_at(point, proxy, requests, &background, settings).await?;
    requests.recover().await.map_err(ExploreError::Requests)?;
    Ok(match ended {
        Ended::Crashed(steps, response) => {
            let run = CrashRun { point, steps, response };
            // The run is over.
            requests.judge_crash(&run).await.map(drop).map_err(ExploreError::Requests)?;
            None
        }
        Ended::NoSuchStatement => Some("the request has fewer statements".to_owned()),
        Ended::NotFollowed(reason) => Some(reason),
    })
}

/// End of a run.
enum Ended<R> {
    /// At the crash point.
    Crashed(Vec<Step>, R),
    /// The request has fewer statements.
    NoSuchStatement,
    NotFollowed(String),
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
    let kinds = faults.iter().flat_map(|fault| [(*fault, Moment::Before), (*fault, Moment::After)]);
    for (fault, moment) in kinds {
        for statement in 0.. {
            let point = CrashPoint { statement, moment, fault };
            if began.elapsed() >= settings.max_time {
                exploration.out_of_time = true;
                return Ok(exploration);
            }
            requests.reset().await.map_err(ExploreError::Requests)?;
            match crash_at(point, proxy, requests, &background, settings).await? {
                Ended::Crashed(steps, response) => {
                    requests.recover().await.map_err(ExploreError::Requests)?;
                    exploration.explored += 1;
                    let run = CrashRun { point, steps, response };
                    if requests.judge_crash(&run).await.map_err(ExploreError::Requests)?.is_break() {
                        exploration.was_stopped = true;
                        return Ok(exploration);
                    }
                }
                Ended::NoSuchStatement => {
                    exploration.statements = exploration.statements.max(statement);
                    break;
                }
                Ended::NotFollowed(reason) => {
                    exploration.not_followed.push((point, reason));
                    requests.recover().await.map_err(ExploreError::Requests)?;
                    break;
                }
            }
        }
    }
    let has_seen_none = exploration.statements == 0 && exploration.explored == 0;
    if has_seen_none && exploration.not_followed.is_empty() {
        return Err(ExploreError::NoStatements);
    }
    Ok(exploration)
}

async fn crash_at<R: CrashableRequests>(
    point: CrashPoint,
    proxy: &mut Proxy,
    requests: &mut R,
    background: &BTreeSet<String>,
    settings: &SearchSettings,
) -> Result<Ended<R::Response>, ExploreError<R::Error>> {
    proxy.hold();
    let mut response = tokio::spawn(requests.start(0));
    let mut steps = Vec::new();
    let reached = timeout(settings.timeout, reach(point, proxy, &mut response, background, &mut steps)).await;
    let connection = match reached {
        Ok(Reached::Point(connection)) => connection,
        Ok(Reached::Response(_)) => {
            proxy.open();
            return Ok(Ended::NoSuchStatement);
        }
        Ok(Reached::Failed(error)) => {
            proxy.open();
            return Ok(Ended::NotFollowed(format!("the task of the request ended: {error}")));
        }
        Err(_) => {
            proxy.open();
            response.abort();
            let reason = format!("the request made no progress for {:?}", settings.timeout);
            return Ok(Ended::NotFollowed(reason));
        }
    };
    let backends = match point.fault {
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
    // The database rolls back when it notices; until then the object may be locked.
    let began = Instant::now();
    let monitor = proxy.monitor().await.map_err(ExploreError::Database)?;
    while monitor.any_alive(&backends).await.map_err(ExploreError::Database)? {
        if Instant::now() - began > settings.timeout {
            return Ok(Ended::NotFollowed(
                "the database did not notice that the connection ended".to_owned(),
            ));
        }
        sleep(Duration::from_millis(1)).await;
    }
    match timeout(settings.timeout, &mut response).await {
        Ok(Ok(response)) => Ok(Ended::Crashed(steps, response)),
        Ok(Err(error)) => Ok(Ended::NotFollowed(format!("the task of the request ended: {error}"))),
        Err(_) => {
            response.abort();
            Ok(Ended::NotFollowed("the request did not end after the crash".to_owned()))
        }
    }
}

pub(super) enum Reached<R> {
    /// The connection of the point's statement.
    Point(u64),
    Response(R),
    Failed(JoinError),
}

/// Runs the request up to the point; from then on nothing is relayed.
pub(super) async fn reach<R>(
    point: CrashPoint,
    proxy: &mut Proxy,
    response: &mut JoinHandle<R>,
    background: &BTreeSet<String>,
    steps: &mut Vec<Step>,
) -> Reached<R> {
    // Connections in a transaction of the request, and the ones that do background work.
    let (mut open, mut passing) = (BTreeSet::new(), BTreeSet::new());
    loop {
        tokio::select! {
            biased;
            Some(event) = proxy.next_event() => match event {
                Event::Arrived { connection, statements } => {
                    let mut fingerprints = statements.iter().map(|statement| sql::fingerprint(&statement.sql));
                    if !open.contains(&connection) && fingerprints.all(|text| background.contains(&text)) {
                        passing.insert(connection);
                        proxy.release(connection);
                        continue;
                    }
                    let index = steps.len();
                    steps.push(Step { request: 0, connection, statements, answer: None, answered_at: None });
                    if point.statement == index && point.moment == Moment::Before {
                        return Reached::Point(connection);
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
                    let unanswered =
                        steps.iter_mut().enumerate().rev().find(|(_, step)| step.connection == connection);
                    if let Some((index, step)) = unanswered {
                        step.answer = Some(answer);
                        step.answered_at = Some(index);
                        if point.statement == index && point.moment == Moment::After {
                            return Reached::Point(connection);
                        }
                    }
                    proxy.deliver(connection);
                }
                Event::Closed { .. } => {}
            },
            ended = &mut *response => return match ended {
                Ok(response) => Reached::Response(response),
                Err(error) => Reached::Failed(error),
            },
        }
    }
}
