//! Stalls: a request is held before each of its statements for longer than a lease, while others continue.

use std::{collections::BTreeSet, ops::ControlFlow, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use super::{
    ExploreError, Moment, Requests, Schedule, SearchSettings, Step,
    crash::{Place, Reach},
    search,
};
use crate::{
    proxy::{Event, Proxy},
    sql,
};

/// Requests of which the first is held while the second and the third use the object.
///
/// Request 1 is sent as soon as request 0 is held. If it is refused, a lock or a lease may be the reason: request 2 is
/// sent when the lease must have run out, and then request 0 goes on.
pub trait StallableRequests: Requests {
    /// True if the service refused the request.
    fn is_refused(&self, response: &Self::Response) -> bool;

    /// Changes the object while the first request is held, after these steps, with the next one on this connection. None:
    /// the others use the object instead.
    ///
    /// # Errors
    /// The exploration ends with it.
    fn change(
        &mut self,
        steps: &[Step],
        connection: u64,
    ) -> impl Future<Output = Option<Result<(), Self::Error>>>;
}

/// Coverage of the stalls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StallExploration {
    /// Statements before which the request was held, and the run judged.
    pub explored: u64,
    /// Of these, the number held for the whole time, since the second request was refused.
    pub waited: u64,
    /// Why it could not be held, or what it did then was not followed.
    pub not_followed: Vec<String>,
    /// [`SearchSettings::max_time`] ended it.
    pub out_of_time: bool,
}

/// Holds the first request before each of its statements, for up to `stall`.
///
/// # Errors
/// [`ExploreError`]: the requests or the database failed. A statement that could not be reached is no error.
pub async fn explore_stalls<R: StallableRequests>(
    proxy: &mut Proxy,
    requests: &mut R,
    stall: Duration,
    settings: &SearchSettings,
) -> Result<StallExploration, ExploreError<R::Error>> {
    let began = Instant::now();
    let background = search::background(proxy, settings.quiet_phase).await;
    let mut exploration = StallExploration::default();
    // Each run holds it at the first place at which none has held it.
    let mut visited = BTreeSet::new();
    loop {
        if began.elapsed() >= settings.max_time {
            exploration.out_of_time = true;
            break;
        }
        requests.reset().await.map_err(ExploreError::Requests)?;
        match stall_at(&mut visited, stall, proxy, requests, &background, settings).await? {
            Stalled::Held(run) => {
                exploration.explored += 1;
                exploration.waited += u64::from(run.responses.len() > 2);
                if requests.judge(&run).await.map_err(ExploreError::Requests)? == ControlFlow::Break(()) {
                    break;
                }
            }
            Stalled::NotReached => break,
            Stalled::NotFollowed(reason) => exploration.not_followed.push(reason),
            Stalled::NotStarted(reason) => {
                exploration.not_followed.push(reason);
                break;
            }
        }
    }
    Ok(exploration)
}

/// End of a run.
enum Stalled<R> {
    Held(Schedule<R>),
    /// The request ended before.
    NotReached,
    /// After it was held.
    NotFollowed(String),
    /// Before it was held.
    NotStarted(String),
}

/// The schedule's number is the number of statements before which the request was held.
async fn stall_at<R: StallableRequests>(
    visited: &mut BTreeSet<Place>,
    stall: Duration,
    proxy: &mut Proxy,
    requests: &mut R,
    background: &BTreeSet<String>,
    settings: &SearchSettings,
) -> Result<Stalled<R::Response>, ExploreError<R::Error>> {
    proxy.hold();
    let mut first = tokio::spawn(requests.start(0));
    let mut steps = Vec::new();
    let is_wanted = &|place: &Place| !visited.contains(place);
    let reach = Reach { moment: Moment::Before, is_wanted, background, most: settings.timeout };
    let (place, connection) = match reach.run(proxy, &mut first, &mut steps).await {
        Ok(Some(reached)) => reached,
        Ok(None) => return Ok(Stalled::NotReached),
        Err(reason) => return Ok(Stalled::NotStarted(reason)),
    };
    visited.insert(place);
    // It is executed later.
    let held = steps.pop();
    let number = steps.len() as u64;
    let patience = settings.service_patience;
    let before = steps.clone();
    let mut relay = Relay { proxy, background, passing: BTreeSet::new(), steps, patience };
    let changed = relay.during(requests.change(&before, connection)).await;
    if let Some(Err(error)) = changed {
        relay.proxy.open();
        return Err(ExploreError::Requests(error));
    }
    let others =
        Others { requests, stall, connection, held, alone: changed.is_some(), most: settings.timeout };
    let responses = others.run(&mut relay, &mut first).await;
    let steps = relay.steps;
    proxy.open();
    Ok(match responses {
        Ok(responses) => Stalled::Held(Schedule { number, steps, responses, interleavings: None }),
        Err(reason) => Stalled::NotFollowed(reason),
    })
}

/// The rest of a run, once the first request is held.
struct Others<'r, R> {
    requests: &'r mut R,
    stall: Duration,
    connection: u64,
    held: Option<Step>,
    /// The object has no other user.
    alone: bool,
    most: Duration,
}

impl<R: StallableRequests> Others<'_, R> {
    async fn run(
        self,
        relay: &mut Relay<'_>,
        first: &mut JoinHandle<R::Response>,
    ) -> Result<Vec<R::Response>, String> {
        let mut waiting = Vec::new();
        let mut responses = Vec::new();
        for request in if self.alone { 0..0 } else { 1..3 } {
            if request == 2 {
                // Only a refusal can be one that a lease is the reason of.
                if !responses.last().is_some_and(|response| self.requests.is_refused(response)) {
                    break;
                }
                sleep(self.stall).await;
            }
            let mut task = tokio::spawn(self.requests.start(request));
            match relay.until_over(request, &mut task).await? {
                Some(response) => responses.push(response),
                // It waits for a lock of the held request.
                None => waiting.push((request, task)),
            }
        }
        relay.steps.extend(self.held);
        relay.proxy.release(self.connection);
        responses.insert(0, relay.until_its_end(0, first, self.most).await?);
        for (request, mut task) in waiting {
            responses.push(relay.until_its_end(request, &mut task, self.most).await?);
        }
        Ok(responses)
    }
}

/// Lets every statement through that arrives, and notes it.
struct Relay<'a> {
    proxy: &'a mut Proxy,
    background: &'a BTreeSet<String>,
    passing: BTreeSet<u64>,
    steps: Vec<Step>,
    patience: Duration,
}

impl Relay<'_> {
    /// Lets through what the change and its reads send.
    async fn during<T>(&mut self, change: impl Future<Output = T>) -> T {
        let mut change = std::pin::pin!(change);
        let noted = self.steps.len();
        let done = loop {
            tokio::select! {
                biased;
                Some(event) = self.proxy.next_event() => { self.event(0, event); }
                done = &mut change => break done,
            }
        };
        self.steps.truncate(noted);
        done
    }

    /// `None` if the request neither sends a statement nor ends.
    async fn until_over<T>(&mut self, request: usize, task: &mut JoinHandle<T>) -> Result<Option<T>, String> {
        let mut quiet_since = Instant::now();
        loop {
            tokio::select! {
                biased;
                Some(event) = self.proxy.next_event() => {
                    if self.event(request, event) {
                        quiet_since = Instant::now();
                    }
                }
                ended = &mut *task => return match ended {
                    Ok(response) => Ok(Some(response)),
                    Err(error) => {
                        self.proxy.open();
                        Err(format!("the task of the request ended: {error}"))
                    }
                },
                () = sleep_until(quiet_since + self.patience) => return Ok(None),
            }
        }
    }

    async fn until_its_end<T>(
        &mut self,
        request: usize,
        task: &mut JoinHandle<T>,
        most: Duration,
    ) -> Result<T, String> {
        let began = Instant::now();
        while began.elapsed() < most {
            if let Some(response) = self.until_over(request, task).await? {
                return Ok(response);
            }
        }
        self.proxy.open();
        task.abort();
        Err(format!("request {} made no progress for {most:?}", request + 1))
    }

    /// True if it was the event of a request.
    fn event(&mut self, request: usize, event: Event) -> bool {
        match event {
            Event::Arrived { connection, statements } => {
                let mut texts = statements.iter().map(|statement| sql::fingerprint(&statement.sql));
                let is_background = texts.all(|text| self.background.contains(&text));
                if is_background {
                    self.passing.insert(connection);
                } else {
                    self.steps.push(Step {
                        request,
                        connection,
                        statements,
                        answer: None,
                        answered_at: None,
                    });
                }
                self.proxy.release(connection);
                !is_background
            }
            Event::Answered { connection, answer } => {
                let is_background = self.passing.remove(&connection);
                let waits = |step: &&mut Step| step.connection == connection && step.answer.is_none();
                if !is_background && let Some(step) = self.steps.iter_mut().find(waits) {
                    step.answer = Some(answer);
                }
                self.proxy.deliver(connection);
                !is_background
            }
            Event::Closed { .. } => false,
        }
    }
}
