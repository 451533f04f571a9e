//! Level 2: every interleaving of the statements of two requests, those of three within a bound, and a crash at each statement
//! of one.

use std::{ops::ControlFlow, time::Duration};

use serde_json::Value;

use super::{Gathered, Options, kills, races};
use crate::{
    client::{self, Sent, Wire},
    history::{Action, Details, HARNESS, Kind, Operation},
    proxy::{Proxy, StatementResult, TransactionStatus},
    reproduction::Scenario,
    safety::Stop,
    schedule::{
        CrashPoint, CrashRun, CrashableRequests, ExploreError, Fault, Requests, Schedule, SearchEnd,
        SearchSettings, StallableRequests, Step, crash::crash_once, explore, explore_crashes, explore_stalls,
    },
    session::{Object, Session, Variant},
    target::{Change, Request, Target},
};

/// Coverage of the interleavings of two requests, or of three.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Interleaved {
    /// `use ∥ use`.
    pub pair: String,
    /// Only schedules with at most this many switches away from a request that could have gone on; `None`: all.
    pub max_preemptions: Option<usize>,
    /// Schedules that were followed to their end.
    pub explored: u64,
    /// The interleavings that they stand for; `None` where the search was cut off.
    pub interleavings: Option<String>,
    /// Every interleaving was covered, within the bound on preemptions if there is one.
    pub complete: bool,
    /// Schedules that could not be followed.
    pub not_followed: u64,
    /// Schedules in which a statement waited for a lock.
    pub blocked: u64,
    /// The service's own statements, which were let through.
    pub background: Vec<String>,
    /// Why it ended before it was complete.
    pub why_incomplete: Option<String>,
    /// Duration, in milliseconds.
    pub milliseconds: u64,
}

/// The second request of a pair.
pub(super) enum Other<'t> {
    Use,
    /// Two more uses.
    Uses,
    /// A change by requests, each of which is sent when the one before it has been answered.
    Change(Action, Vec<&'t Request>),
    /// A change that takes place while the use is held.
    Held(Action, &'t [Change]),
}

pub(super) struct Pair<'s, 't, 'g> {
    session: &'s mut Session<'t>,
    gathered: &'g mut Gathered,
    payload: Option<&'g Value>,
    other: Other<'t>,
    variant: Variant,
    stalls: bool,
    /// The statement before which the use is held.
    held_before: usize,
    object: Option<Object>,
    /// By request; a change may be several.
    wires: Vec<Vec<Wire>>,
}

impl Other<'_> {
    /// The name of its role.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Use => Action::Use.word(),
            Self::Uses => format!("{0} ∥ {0}", Action::Use.word()),
            Self::Change(f, _) | Self::Held(f, _) => f.word(),
        }
    }

    /// The use, and every change that is either requests, or none.
    pub(super) fn all(target: &Target) -> Vec<Other<'_>> {
        let changes = changes(target).into_iter().filter_map(|(f, changes)| Other::of(f, changes));
        std::iter::once(Other::Use).chain(changes).collect()
    }
}

/// The changes that may take place while a use runs.
fn changes(target: &Target) -> Vec<(Action, &[Change])> {
    let roles = [
        (Action::Expire, &target.expire),
        (Action::Reject, &target.reject),
        (Action::Drift, &target.drift),
        (Action::Spoil, &target.spoil),
    ];
    roles.into_iter().filter_map(|(f, changes)| Some((f, changes.as_deref()?))).collect()
}

impl<'t> Other<'t> {
    fn of(f: Action, changes: &'t [Change]) -> Option<Self> {
        let request = |change: &'t Change| match change {
            Change::Request(request) => Some(request),
            Change::Sql(_) | Change::Wait(_) => None,
        };
        let requests: Vec<&Request> = changes.iter().filter_map(request).collect();
        if requests.is_empty() {
            return Some(Self::Held(f, changes));
        }
        // The requests are made before the schedule begins.
        let is_known = requests.iter().all(|request| request.capture.is_empty());
        (requests.len() == changes.len() && is_known).then_some(Self::Change(f, requests))
    }
}

impl<'s, 't, 'g> Pair<'s, 't, 'g> {
    pub(super) fn new(
        session: &'s mut Session<'t>,
        gathered: &'g mut Gathered,
        payload: Option<&'g Value>,
        other: Other<'t>,
    ) -> Self {
        let variant = Variant::default();
        Self {
            session,
            gathered,
            payload,
            other,
            variant,
            stalls: false,
            held_before: 0,
            object: None,
            wires: Vec::new(),
        }
    }

    /// A use that is retried under the key of the first attempt, where there are keys.
    pub(super) fn keyed(session: &'s mut Session<'t>, gathered: &'g mut Gathered) -> Self {
        let key = session.target.usage.key_header.as_ref().map(|_| 1);
        let variant = Variant { key, stranger: false };
        Self { variant, ..Self::new(session, gathered, None, Other::Use) }
    }

    /// A use that is held while something else happens.
    pub(super) fn holding(
        session: &'s mut Session<'t>,
        gathered: &'g mut Gathered,
        payload: Option<&'g Value>,
        other: Other<'t>,
    ) -> Self {
        Self { stalls: true, ..Self::new(session, gathered, payload, other) }
    }

    /// Puts the requests and their statements into the object's history.
    fn record(&mut self, steps: &[Step], responses: &[Sent]) -> Option<Object> {
        let mut object = self.object.take()?;
        let variants = [self.variant, Variant::default(), Variant::default()];
        let mut operations = Vec::new();
        for (index, sent) in responses.iter().enumerate() {
            let [wire, others @ ..] = self.wires[index].as_slice() else { continue };
            let mut operation = self.session.operation(&object, index as i64, wire, variants[index], sent);
            if !others.is_empty() {
                let lines = self.wires[index].iter().map(|wire| wire.line.as_str());
                operation.details.request = Some(lines.collect::<Vec<_>>().join(", "));
            }
            if let (1, Other::Change(f, _)) = (index, &self.other) {
                operation.f = *f;
                operation.kind = match operation.details.status {
                    Some(200..400) => Kind::Ok,
                    Some(400..500) => Kind::Fail,
                    _ => operation.kind,
                };
            }
            for (place, step) in steps.iter().enumerate().filter(|(_, step)| step.request == index) {
                let statements = step.statements.iter().map(|statement| (place, statement.to_string()));
                operation.details.sql.extend(statements);
            }
            operations.push(operation);
        }
        if let ([usage, change], Other::Change(..)) = (operations.as_mut_slice(), &self.other) {
            let first_write = steps.iter().position(|step| step.request == 0 && wrote(step));
            let last_of_change = steps.iter().rposition(|step| step.request == 1);
            if first_write.zip(last_of_change).is_some_and(|(write, change)| write > change) {
                usage.details.wrote_after_ns = Some(change.completed_ns.saturating_add(1));
            }
        }
        if let ([usage], Other::Held(f, _)) = (operations.as_mut_slice(), &self.other) {
            let change =
                object.trial.operations.iter().rfind(|change| change.f == *f && change.kind == Kind::Ok);
            let write = steps.iter().position(wrote);
            if let Some((change, write)) = change.zip(write)
                && write >= self.held_before
            {
                usage.details.wrote_after_ns = Some(change.completed_ns.saturating_add(1));
            }
        }
        if let ([_, refused, next], true) = (responses, self.stalls) {
            // Between the refusal and the next attempt.
            let completed_ns = next.released_ns.saturating_sub(1);
            let held = Duration::from_nanos(completed_ns.saturating_sub(refused.completed_ns));
            let details = Details {
                object: object.trial.object.clone(),
                request: Some(format!("caller 0 was held for {} ms", held.as_millis())),
                ..Details::default()
            };
            operations.push(Operation {
                process: HARNESS,
                f: Action::Stall,
                kind: Kind::Ok,
                invoked_ns: refused.completed_ns,
                completed_ns,
                details,
            });
        }
        object.trial.operations.extend(operations);
        Some(object)
    }
}

/// The statements changed rows.
fn wrote(step: &Step) -> bool {
    let results = step.answer.iter().flat_map(|answer| &answer.results);
    results.filter_map(StatementResult::changed).any(|rows| rows > 0)
}

impl Requests for Pair<'_, '_, '_> {
    type Response = Sent;
    type Error = Stop;

    fn count(&self) -> usize {
        if matches!(self.other, Other::Uses) { 3 } else { 2 }
    }

    async fn reset(&mut self) -> Result<(), Stop> {
        let object = self.session.arrange(true).await?;
        let second = match &self.other {
            Other::Use | Other::Uses | Other::Held(..) => {
                vec![self.session.use_wire(&object, Variant::default())?]
            }
            Other::Change(_, requests) => {
                let wires = requests.iter().map(|request| self.session.request_wire(&object, request));
                wires.collect::<Result<_, _>>()?
            }
        };
        self.wires = vec![vec![self.session.use_wire(&object, self.variant)?], second];
        if self.stalls || matches!(self.other, Other::Uses) {
            self.wires.push(vec![self.session.use_wire(&object, Variant::default())?]);
        }
        self.object = Some(object);
        self.session.budget.spend(self.wires.iter().map(|wires| wires.len() as u64).sum())
    }

    fn start(&mut self, request: usize) -> impl Future<Output = Sent> + Send + 'static {
        let (endpoint, clock) = (self.session.endpoint(), self.session.clock);
        let patience = self.session.budget.patience();
        let wires = self.wires[request].clone();
        async move { client::send_in_turn(&endpoint, &wires, patience, clock).await }
    }

    async fn judge(&mut self, schedule: &Schedule<Sent>) -> Result<ControlFlow<()>, Stop> {
        self.gathered.scenario = if self.stalls {
            self.held_before = usize::try_from(schedule.number).unwrap_or(0);
            Scenario::Stall { other: self.other.name(), statement: self.held_before }
        } else {
            let order = schedule.steps.iter().map(|step| step.request).collect();
            Scenario::Interleaving { other: self.other.name(), order }
        };
        if let Some(mut object) = self.record(&schedule.steps, &schedule.responses) {
            self.session.settle(&mut object).await?;
            if matches!(self.other, Other::Change(Action::Drift, _) | Other::Held(Action::Drift, _)) {
                races::read_payload(self.session, &mut object, self.payload).await?;
            }
            self.gathered.add(&object);
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl CrashableRequests for Pair<'_, '_, '_> {
    async fn kill(&mut self) -> Result<(), Stop> {
        let Some(mut object) = self.object.take() else { return Ok(()) };
        self.session.kill(&mut object).await?;
        self.object = Some(object);
        Ok(())
    }

    async fn recover(&mut self) -> Result<(), Stop> {
        let Some(mut object) = self.object.take() else { return self.session.start_service().await };
        self.session.restart(&mut object).await?;
        self.object = Some(object);
        Ok(())
    }

    async fn judge_crash(&mut self, run: &CrashRun<Sent>) -> Result<ControlFlow<()>, Stop> {
        let CrashPoint { place, moment, fault } = run.point.clone();
        self.gathered.scenario = Scenario::Crash { place, moment, fault };
        if let Some(mut object) = self.record(&run.steps, std::slice::from_ref(&run.response)) {
            kills::aftermath(self.session, self.gathered, &mut object, self.variant).await?;
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl StallableRequests for Pair<'_, '_, '_> {
    fn is_refused(&self, response: &Sent) -> bool {
        matches!(&response.outcome, client::Outcome::Answered(answer) if (400..500).contains(&answer.status))
    }

    async fn change(&mut self, steps: &[Step], connection: u64) -> Option<Result<(), Stop>> {
        let Other::Held(f, changes) = &self.other else { return None };
        let object = self.object.as_mut()?;
        if let Err(stop) = self.session.change(object, *f, changes, None, &Vec::new()).await {
            return Some(Err(stop));
        }
        // A use that has been written, and is not committed, is not seen by others, and took place before the change.
        let of_connection = steps.iter().rev().filter(|step| step.connection == connection);
        let is_open = |step: &&Step| {
            let transaction = step.answer.as_ref().and_then(|answer| answer.transaction);
            transaction != Some(TransactionStatus::Idle)
        };
        if of_connection.take_while(is_open).any(wrote) {
            return Some(Ok(()));
        }
        Some(self.session.read(object, &[Action::Effects, Action::Observe]).await)
    }
}

pub(super) fn stop(error: ExploreError<Stop>) -> Stop {
    match error {
        ExploreError::Requests(stop) => stop,
        other => Stop::BadInput(format!("[database]: {other}")),
    }
}

/// The second requests that are wanted, and the time for each: until this share of the campaign is spent.
fn others<'t>(
    session: &Session<'t>,
    options: &Options,
    share: f64,
    is_wanted: impl Fn(&Other<'t>) -> bool,
) -> (Vec<Other<'t>>, Duration) {
    let others: Vec<Other<'t>> = Other::all(session.target).into_iter().filter(is_wanted).collect();
    let left = options.limits.time.mul_f64((share - session.budget.time_spent()).max(0.02));
    let count = u32::try_from(others.len()).unwrap_or(u32::MAX).max(1);
    (others, left / count)
}

/// Interleaves a use with a use, and with every change that is one request.
pub(super) async fn interleave(
    session: &mut Session<'_>,
    proxy: &mut Proxy,
    gathered: &mut Gathered,
    options: &Options,
    payload: Option<&Value>,
) -> Result<(), Stop> {
    const SHARE: f64 = 0.65;
    let max_schedules = options.schedules;
    for (f, changes) in changes(session.target) {
        if Other::of(f, changes).is_none() {
            let what = "mixes requests with `sql` or `wait_ms`, or its requests pass values on";
            gathered.notes.push(format!("use ∥ {}: not interleaved, since it {what}", f.word()));
        }
    }
    let (others, max_time) = others(session, options, SHARE, |other| !matches!(other, Other::Held(..)));
    for other in others {
        let pair = Pair::new(session, gathered, payload, other);
        search(proxy, pair, SearchSettings { max_schedules, max_time, ..SearchSettings::default() }).await?;
    }
    Ok(())
}

/// Interleaves three uses, within a bound.
pub(super) async fn interleave_three(
    session: &mut Session<'_>,
    proxy: &mut Proxy,
    gathered: &mut Gathered,
    options: &Options,
) -> Result<(), Stop> {
    const SHARE: f64 = 0.9;
    let (_, max_time) = others(session, options, SHARE, |_| false);
    let settings = SearchSettings {
        max_schedules: options.schedules,
        max_time,
        max_preemptions: options.preemptions,
        ..SearchSettings::default()
    };
    search(proxy, Pair::new(session, gathered, None, Other::Uses), settings).await
}

/// One search, and its line of the report.
async fn search(
    proxy: &mut Proxy,
    mut requests: Pair<'_, '_, '_>,
    settings: SearchSettings,
) -> Result<(), Stop> {
    let pair = format!("use ∥ {}", requests.other.name());
    let done = match explore(proxy, &mut requests, &settings).await {
        // A use that sends none is not what `[database]` says, and is not judged by its statements.
        Err(ExploreError::NoStatements) if matches!(requests.other, Other::Change(..)) => {
            requests.gathered.notes.push(format!("{pair}: {}", ExploreError::<Stop>::NoStatements));
            return Ok(());
        }
        other => other.map_err(stop)?,
    };
    let why = match done.end {
        SearchEnd::Finished | SearchEnd::Stopped if done.not_followed.is_empty() => None,
        SearchEnd::MaxSchedules => Some(format!("the limit of {} schedules", settings.max_schedules)),
        SearchEnd::MaxTime => Some("the time limit".to_owned()),
        _ => done.not_followed.first().map(|first| first.reason.clone()),
    };
    if !done.background.is_empty() {
        let whose = match done.background.len() {
            1 => "1 kind of statement is the service's own, and was".to_owned(),
            count => format!("{count} kinds of statements are the service's own, and were"),
        };
        requests.gathered.notes.push(format!("{pair}: {whose} let through"));
    }
    requests.gathered.interleaved.push(Interleaved {
        pair,
        max_preemptions: done.max_preemptions,
        explored: done.explored,
        interleavings: done.interleavings.map(|count| count.to_string()),
        complete: done.is_complete(),
        not_followed: done.not_followed.len() as u64,
        blocked: done.with_blocking,
        background: done.background,
        why_incomplete: why,
        milliseconds: u64::try_from(done.elapsed.as_millis()).unwrap_or(u64::MAX),
    });
    Ok(())
}

/// Crashes the service at each statement of a use.
pub(super) async fn crash(
    session: &mut Session<'_>,
    proxy: &mut Proxy,
    gathered: &mut Gathered,
    options: &Options,
) -> Result<(), Stop> {
    let mut requests = Pair::keyed(session, gathered);
    let left = options.limits.time.mul_f64((0.95 - requests.session.budget.time_spent()).max(0.02));
    let settings = SearchSettings { max_time: left.max(Duration::from_secs(1)), ..SearchSettings::default() };
    match explore_crashes(proxy, &mut requests, &[Fault::Kill, Fault::Cut], &settings).await {
        Ok(done) => {
            let complete = if done.is_complete() { "at every one" } else { "not at every one" };
            gathered.notes.push(format!(
                "{} crash points over {} statements, {complete}",
                done.explored, done.statements
            ));
            Ok(())
        }
        Err(ExploreError::NoStatements) => Ok(()),
        Err(error) => Err(stop(error)),
    }
}

/// Repeats a crash of the service at its recorded position.
pub(super) async fn crash_again(
    session: &mut Session<'_>,
    proxy: &mut Proxy,
    gathered: &mut Gathered,
    point: CrashPoint,
) -> Result<(), Stop> {
    let mut requests = Pair::keyed(session, gathered);
    let left_out = crash_once(proxy, &mut requests, point, &SearchSettings::default()).await.map_err(stop)?;
    gathered.notes.extend(left_out.map(|why| format!("the crash point was not reached: {why}")));
    Ok(())
}

/// Holds a use before each of its statements, while others go on or a change takes place.
pub(super) async fn stall(
    session: &mut Session<'_>,
    proxy: &mut Proxy,
    gathered: &mut Gathered,
    options: &Options,
    payload: Option<&Value>,
) -> Result<(), Stop> {
    let (others, max_time) = others(session, options, 0.8, |other| !matches!(other, Other::Change(..)));
    let settings = SearchSettings { max_time, ..SearchSettings::default() };
    for other in others {
        let what = match &other {
            Other::Held(f, _) => f.word(),
            _ => "another use".to_owned(),
        };
        let time = session.lease_is_over();
        let mut requests = Pair::holding(session, gathered, payload, other);
        let done = explore_stalls(proxy, &mut requests, time, &settings).await.map_err(stop)?;
        let all = !done.out_of_time && done.not_followed.is_empty();
        let mut note = format!(
            "a use was held before {}{} statements for {what}",
            if all { "all " } else { "" },
            done.explored
        );
        if done.waited > 0 {
            let times = if done.waited == 1 { "once".to_owned() } else { format!("{} times", done.waited) };
            note.push_str(&format!("; {times} for {} ms, since that was refused", time.as_millis()));
        }
        gathered.notes.push(note);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_change_by_several_requests_is_interleaved() {
        let other = |drift: &str| {
            let text = format!(
                "base_url = \"http://127.0.0.1:1\"\n[arrange]\nrequest = \"POST /a\"\n[use]\nrequest = \"POST /u\"\n\
                 [drift]\nsteps = [{drift}]\n"
            );
            let target = crate::target::parse(text.as_bytes(), Path::new(".")).unwrap();
            Other::of(Action::Drift, target.drift.as_deref().unwrap()).map(|other| match other {
                Other::Change(_, requests) => format!("{} requests", requests.len()),
                Other::Held(_, changes) => format!("{} changes while it is held", changes.len()),
                Other::Use | Other::Uses => other.name(),
            })
        };
        let (one, two) =
            ("{ request = \"PUT /edit\" }", "{ request = \"PUT /edit\" }, { request = \"PUT /save\" }");
        assert_eq!(other(one).as_deref(), Some("1 requests"));
        assert_eq!(other(two).as_deref(), Some("2 requests"));
        assert_eq!(
            other("{ sql = \"select 1\" }, { wait_ms = 5 }").as_deref(),
            Some("2 changes while it is held")
        );
        assert_eq!(other(&format!("{one}, {{ wait_ms = 5 }}")), None);
        assert_eq!(other("{ request = \"PUT /edit\", capture = { v = \"$.v\" } }"), None);
    }
}
