//! A campaign: races, schedules and kills against one service, and their verdicts.

mod again;
mod kills;
mod learning;
mod races;
mod roles;
mod statements;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use again::again;
pub use learning::learn;
pub use races::Races;
pub use statements::Interleaved;

use crate::{
    canary,
    client::Endpoint,
    clock::Clock,
    history::{Action, Details, Event, HARNESS, Kind, Operation, Trial},
    judge::Tally,
    proxy::{Proxy, Upstream},
    report::Report,
    reproduction::Scenario,
    safety::{self, Budget, Limits, Stop},
    session::{Object, Session},
    target::Target,
};

/// Options of a campaign.
#[derive(Clone, Debug)]
pub struct Options {
    /// The bounds.
    pub limits: Limits,
    /// A host that is not this machine, and belongs to the person who runs this.
    pub owned_host: Option<String>,
    /// Rounds of concurrent uses.
    pub races: usize,
    /// Callers of each round.
    pub callers: usize,
    /// Schedules of statements for each two or three requests, at most. 0: none.
    pub schedules: u64,
    /// Also three uses, in schedules with at most this many switches away from a request that could have gone on. `None`: two
    /// requests only.
    pub preemptions: Option<usize>,
    /// Kill the service under load.
    pub kills: bool,
    /// Keep the history of every object, not only of violations.
    pub keep_history: bool,
    /// File of the service's output.
    pub log: PathBuf,
    /// When it becomes true, the campaign ends with what was found until then.
    pub interrupted: Arc<AtomicBool>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            owned_host: None,
            races: 100,
            callers: 16,
            schedules: 2_000,
            preemptions: Some(2),
            kills: true,
            keep_history: false,
            log: std::env::temp_dir().join("countersign-attack-service.log"),
            interrupted: Arc::default(),
        }
    }
}

/// Results of a campaign so far.
pub(crate) struct Gathered {
    pub(crate) tally: Tally,
    pub(crate) history: Vec<Event>,
    pub(crate) races: Races,
    pub(crate) interleaved: Vec<Interleaved>,
    pub(crate) notes: Vec<String>,
    /// The part of the campaign that runs.
    pub(crate) scenario: Scenario,
    /// Origin of the shortest violation of each property.
    pub(crate) scenarios: BTreeMap<&'static str, Scenario>,
    keep: bool,
    /// Where objects expire by themselves: the greatest age at which one has been used.
    lived_ns: Option<u64>,
}

impl Gathered {
    fn new(keep: bool, target: &Target) -> Self {
        Self {
            tally: Tally::default(),
            history: Vec::new(),
            races: Races::default(),
            interleaved: Vec::new(),
            notes: Vec::new(),
            scenario: Scenario::default(),
            scenarios: BTreeMap::new(),
            keep,
            lived_ns: target.expires_by_itself().map(|_| 0),
        }
    }

    /// Judges an object whose operations are complete.
    pub(crate) fn add(&mut self, object: &Object) {
        let mut trial = object.trial.clone();
        trial.operations.sort_by_key(|operation| operation.invoked_ns);
        if let Some(lived_ns) = &mut self.lived_ns {
            may_expire(&mut trial, lived_ns);
        }
        let before: usize = self.tally.judged().iter().map(|judged| judged.violated).sum();
        for id in self.tally.add(&trial) {
            self.scenarios.insert(id, self.scenario.clone());
        }
        let after: usize = self.tally.judged().iter().map(|judged| judged.violated).sum();
        if self.keep || after > before {
            self.history.extend(events(&trial));
        }
    }
}

/// Marks an object that was refused at an age that no used object has reached: it may have expired by itself.
fn may_expire(trial: &mut Trial, lived_ns: &mut u64) {
    let of = |f: Action| trial.operations.iter().filter(move |operation| operation.f == f);
    let begin_ns = of(Action::Arrange).map(|made| made.invoked_ns).min().unwrap_or(0);
    let ready_ns =
        of(Action::Arrange).chain(of(Action::Approve)).map(|made| made.completed_ns).max().unwrap_or(0);
    if of(Action::Expire).next().is_some() {
        return;
    }
    let lived = of(Action::Use)
        .filter(|usage| usage.kind == Kind::Ok)
        .map(|usage| usage.invoked_ns.saturating_sub(ready_ns));
    *lived_ns = lived.max().unwrap_or(0).max(*lived_ns);
    let until_ns = begin_ns + *lived_ns;
    if of(Action::Use).any(|usage| usage.kind != Kind::Ok && usage.completed_ns > until_ns) {
        let details = Details {
            object: trial.object.clone(),
            error: Some("may have happened by itself, since it only waits".to_owned()),
            ..Details::default()
        };
        trial.operations.push(Operation {
            process: HARNESS,
            f: Action::Expire,
            kind: Kind::Info,
            invoked_ns: until_ns,
            completed_ns: until_ns,
            details,
        });
        trial.operations.sort_by_key(|operation| operation.invoked_ns);
    }
}

fn events(trial: &Trial) -> Vec<Event> {
    trial.events()
}

/// The first event of a history: the requirements.
fn promise(target: &Target) -> Event {
    let value = Details { promise: Some(target.promise.clone()), ..Details::default() };
    Event { process: HARNESS, kind: Kind::Info, f: Action::Promise, value, time: 0 }
}

/// Runs a campaign to its end or to a limit.
///
/// # Errors
/// [`Stop::BadInput`]: the target file does not fit the service. A limit ends the campaign with a report.
pub fn attack(target: &Target, options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Report, Stop> {
    runtime()?.block_on(run(target, options, progress))
}

fn runtime() -> Result<tokio::runtime::Runtime, Stop> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::BadInput(format!("cannot start the runtime: {error}")))
}

async fn run(target: &Target, options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Report, Stop> {
    let clock = Clock::start();
    let (mut session, mut proxy) = unless_interrupted(options, open(target, options, clock)).await?;
    let mut gathered = Gathered::new(options.keep_history, target);
    let mut cut_off = None;
    let phases = phases(&mut session, &mut proxy, options, &mut gathered, progress);
    match unless_interrupted(options, phases).await {
        Ok(()) => {}
        Err(Stop::CutOff(why)) => cut_off = Some(why),
        Err(bad) => {
            close(session).await;
            return Err(bad);
        }
    }
    gathered.notes.extend(session.notes());
    let jitter = gathered.races.jitter();
    let calibration = if is_interrupted(options) {
        None
    } else {
        progress("calibrating with the canary");
        let rounds = gathered.races.rounds.max(1);
        canary::calibrate(rounds, options.callers, jitter, session.protocol, clock).await.ok()
    };
    gathered.history.insert(0, promise(target));
    gathered.races.protocol = session.protocol;
    let report =
        Report::new(target, &session.budget, session.secrets.clone(), gathered, calibration, cut_off, clock);
    close(session).await;
    Ok(report)
}

fn is_interrupted(options: &Options) -> bool {
    options.interrupted.load(Ordering::Relaxed)
}

/// The result of some work, which an interruption drops and so cuts off.
pub(super) async fn unless_interrupted<T>(
    options: &Options,
    work: impl Future<Output = Result<T, Stop>>,
) -> Result<T, Stop> {
    const POLL: Duration = Duration::from_millis(50);
    let interrupted = async {
        while !is_interrupted(options) {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::select! {
        done = work => done,
        () = interrupted => Err(Stop::CutOff("it was interrupted".to_owned())),
    }
}

async fn open<'t>(
    target: &'t Target,
    options: &Options,
    clock: Clock,
) -> Result<(Session<'t>, Option<Proxy>), Stop> {
    let address = safety::address(&target.base_url, options.owned_host.as_deref())?;
    let endpoint = if target.base_url.is_encrypted {
        let bad = |error: std::io::Error| Stop::BadInput(format!("cannot encrypt connections: {error}"));
        Endpoint::encrypted(address, &target.base_url.host, target.ca.as_deref()).map_err(bad)?
    } else {
        address.into()
    };
    let budget = Budget::new(options.limits, clock);
    let mut session = Session::open(target, endpoint, budget, clock, options.log.clone()).await?;
    let mut proxy = None;
    if let (Some(url), Some(_)) = (session.upstream()?, &target.service) {
        let upstream: Upstream =
            url.parse().map_err(|error| Stop::BadInput(format!("[database]: {error}")))?;
        let started = Proxy::start(upstream).await;
        let started = started.map_err(|error| Stop::BadInput(format!("cannot start the proxy: {error}")))?;
        session.values.insert("database_url".into(), started.url().into());
        proxy = Some(started);
    }
    session.start_service().await?;
    session.choose_protocol().await;
    Ok((session, proxy))
}

async fn close(mut session: Session<'_>) {
    if let Some(mut service) = session.service.take() {
        service.kill().await;
    }
}

async fn phases(
    session: &mut Session<'_>,
    proxy: &mut Option<Proxy>,
    options: &Options,
    gathered: &mut Gathered,
    progress: &mut dyn FnMut(&str),
) -> Result<(), Stop> {
    progress("one use of a fresh object");
    let payload = races::control(session, proxy, gathered).await?;
    progress("each role alone");
    races::sequences(session, gathered, payload.as_ref()).await?;
    progress("races");
    // The schedules and the kills need the rest of the time.
    let share = if proxy.is_some() { 0.35 } else { 0.85 };
    gathered.scenario = Scenario::Races;
    races::concurrent(session, gathered, options, share).await?;
    gathered.scenario = Scenario::Pairs;
    races::pairs(session, gathered, share).await?;
    gathered.scenario = Scenario::Changes;
    races::against_changes(session, gathered, payload.as_ref()).await?;
    match proxy {
        Some(proxy) if options.schedules > 0 => {
            progress("every interleaving of the statements");
            statements::interleave(session, proxy, gathered, options, payload.as_ref()).await?;
            progress("a use that is held while others go on");
            statements::stall(session, proxy, gathered, options, payload.as_ref()).await?;
            if options.kills {
                progress("a crash at each statement");
                statements::crash(session, proxy, gathered, options).await?;
            }
            if options.preemptions.is_some() {
                progress("interleavings of three uses");
                statements::interleave_three(session, proxy, gathered, options).await?;
            }
        }
        _ => {
            let why = match (&session.target.database, &session.target.service) {
                (None, _) => "no role `[database]`: statements were not interleaved",
                (_, None) => "no role `[service]`: statements were not interleaved",
                _ => "statements were not interleaved (`--schedules 0`)",
            };
            gathered.notes.push(why.into());
        }
    }
    if options.kills && session.target.service.is_some() {
        progress("kills under load");
        gathered.scenario = Scenario::Kills;
        kills::under_load(session, gathered).await?;
    }
    Ok(())
}

/// Result of one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The role.
    pub role: String,
    /// The answer, or the captured value.
    pub result: String,
}

/// Runs every role once, as an attack does before it begins.
///
/// # Errors
/// The role that failed, and how.
pub fn check(target: &Target, options: &Options) -> Result<Vec<Checked>, Stop> {
    runtime()?.block_on(async {
        let opened = open(target, options, Clock::start());
        let (mut session, mut proxy) = unless_interrupted(options, opened).await?;
        let checked = unless_interrupted(options, roles::run(&mut session, &mut proxy)).await;
        let secrets = session.secrets.clone();
        close(session).await;
        let line = |(role, result): (String, String)| Checked { role, result: secrets.redact(&result) };
        Ok(checked?.lines.into_iter().map(line).collect())
    })
}

/// The median of some numbers; 0 of none.
pub(crate) fn median(numbers: &[u64]) -> u64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

/// The share of the campaign's time that may be spent is spent.
pub(crate) fn is_spent(session: &Session<'_>, share: f64) -> bool {
    session.budget.time_spent() >= share
}

/// A pause between two attempts, where a schedule of the system decides anyway.
pub(crate) const BREATH: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn target(expire: &str) -> Target {
        let text = format!(
            "base_url = \"http://127.0.0.1:1\"\n[arrange]\nrequest = \"POST /a\"\n[use]\nrequest = \"POST /u\"\n\
             [expire]\n{expire}\n"
        );
        crate::target::parse(text.as_bytes(), Path::new(".")).unwrap()
    }

    /// A crash, and a use of this status at this age that finds the object unused.
    fn crashed(status: u16, age_ms: u64) -> Object {
        let operation = |f, kind, at_ms: u64, status: Option<u16>, read: Option<bool>| {
            let read = read.map(serde_json::Value::from);
            let (invoked_ns, completed_ns) = (at_ms * 1_000_000, at_ms * 1_000_000 + 1);
            let details = Details { status, read, ..Details::default() };
            Operation { process: 0, f, kind, invoked_ns, completed_ns, details }
        };
        let kind = if status < 300 { Kind::Ok } else { Kind::Fail };
        let operations = vec![
            operation(Action::Arrange, Kind::Ok, 0, None, None),
            operation(Action::Use, Kind::Info, 1, None, None),
            operation(Action::Crash, Kind::Ok, 2, None, None),
            operation(Action::Restart, Kind::Ok, 3, None, None),
            operation(Action::Observe, Kind::Ok, 4, None, Some(false)),
            operation(Action::Use, kind, age_ms, Some(status), None),
        ];
        let trial = Trial { object: "link-1".into(), promise: Default::default(), operations };
        Object { trial, values: Default::default() }
    }

    #[test]
    fn an_object_that_expires_by_itself_is_not_judged_by_its_refusal_at_a_later_age() {
        let progress = |expire: &str, objects: &[Object]| {
            let mut gathered = Gathered::new(false, &target(expire));
            objects.iter().for_each(|object| gathered.add(object));
            gathered.tally.is_violated("L4")
        };
        let waits = "wait_ms = 1500";
        assert!(progress("sql = \"update links set expired = true\"", &[crashed(410, 900)]));
        assert!(!progress(waits, &[crashed(410, 900)]));
        assert!(!progress(waits, &[crashed(200, 800), crashed(410, 900)]));
        // At this age another one was used.
        assert!(progress(waits, &[crashed(200, 1_000), crashed(410, 900)]));
    }
}
