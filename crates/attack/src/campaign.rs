//! A campaign: races, schedules and kills against one service, and their verdicts.

mod again;
mod kills;
mod learning;
mod races;
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
    client::{Endpoint, Protocol},
    clock::Clock,
    history::{Action, Event, HARNESS, Kind, Trial},
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
}

impl Gathered {
    fn new(keep: bool) -> Self {
        Self {
            tally: Tally::default(),
            history: Vec::new(),
            races: Races::default(),
            interleaved: Vec::new(),
            notes: Vec::new(),
            scenario: Scenario::default(),
            scenarios: BTreeMap::new(),
            keep,
        }
    }

    /// Judges an object whose operations are complete.
    pub(crate) fn add(&mut self, object: &Object) {
        let mut trial = object.trial.clone();
        trial.operations.sort_by_key(|operation| operation.invoked_ns);
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

fn events(trial: &Trial) -> Vec<Event> {
    trial.events()
}

/// The first event of a history: the requirements.
fn promise(target: &Target) -> Event {
    let value = crate::history::Details {
        promise: Some(target.promise.clone()),
        ..crate::history::Details::default()
    };
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
    let mut gathered = Gathered::new(options.keep_history);
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
    let payload = races::control(session, gathered).await?;
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
    races::against_changes(session, gathered).await?;
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

/// Runs every role once.
///
/// # Errors
/// The role that failed, and how.
pub fn check(target: &Target, options: &Options) -> Result<Vec<Checked>, Stop> {
    runtime()?.block_on(async {
        let opened = open(target, options, Clock::start());
        let (mut session, _proxy) = unless_interrupted(options, opened).await?;
        let checked = unless_interrupted(options, check_roles(&mut session)).await;
        close(session).await;
        checked
    })
}

async fn check_roles(session: &mut Session<'_>) -> Result<Vec<Checked>, Stop> {
    let mut checked = Vec::new();
    let mut object = session.arrange(true).await?;
    let races = match session.protocol {
        Protocol::Http1 => "HTTP/1.1, released by their last byte",
        Protocol::Http2 => "HTTP/2, in one packet",
    };
    checked.push(("races".to_owned(), races.to_owned()));
    let captured: Vec<String> =
        object.values.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    checked.push(("arrange".to_owned(), captured.join(", ")));
    let before = object.trial.operations.len();
    let reads =
        [Action::Effects, Action::Observe, Action::Audit, Action::Targets, Action::Trace, Action::Settled];
    session.read(&mut object, &reads).await?;
    session.use_once(&mut object, 0, crate::session::Variant::default()).await?;
    session.settle(&mut object).await?;
    session.read(&mut object, &[Action::Payload, Action::Trace]).await?;
    checked.extend(object.trial.operations[before..].iter().map(described));
    let target = session.target;
    let roles = [
        (Action::Reject, &target.reject),
        (Action::Expire, &target.expire),
        (Action::Drift, &target.drift),
        (Action::Spoil, &target.spoil),
        (Action::Mend, &target.mend),
    ];
    for (f, role) in roles {
        let Some(changes) = role else { continue };
        let mut object = session.arrange(true).await?;
        session.change(&mut object, f, changes, None, &Vec::new()).await?;
        checked.extend(object.trial.operations.last().map(described));
    }
    let secrets = &session.secrets;
    let line = |(role, result): (String, String)| Checked { role, result: secrets.redact(&result) };
    Ok(checked.into_iter().map(line).collect())
}

fn described(operation: &crate::history::Operation) -> (String, String) {
    let details = &operation.details;
    let mut words: Vec<String> = details.request.iter().cloned().collect();
    words.extend(details.status.map(|status| format!("got {status}")));
    words.extend(details.error.clone());
    match &details.read {
        Some(read) => words.push(format!("read {read}")),
        None if operation.kind == Kind::Info => words.push("shows nothing that can be read".into()),
        None => {}
    }
    (operation.f.word(), words.join(", "))
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
