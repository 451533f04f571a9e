//! Level 1: what requests alone show. Each role in turn, then uses together and at offsets.

use std::time::Duration;

use serde_json::Value;

use super::{
    Gathered, Options, is_spent, median,
    roles::{self, Roles},
};
use crate::{
    client::{self, Protocol, Runner, Sent},
    history::{Action, Details, Kind},
    proxy::Proxy,
    safety::Stop,
    session::{Object, Session, Variant},
    target::Change,
};

/// Timing of the races.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Races {
    /// Protocol of the requests of a round.
    pub protocol: Protocol,
    /// Rounds of concurrent uses.
    pub rounds: usize,
    /// Pairs at offsets.
    pub pairs: usize,
    /// Time between the release of the first and of the last request, in microseconds, per round.
    pub spreads_us: Vec<u64>,
    /// The most requests that were in flight at the same time, per round.
    pub in_flight: Vec<u64>,
    /// Latencies of undisturbed uses, in microseconds.
    pub latencies_us: Vec<u64>,
}

impl Races {
    /// The median spread, in microseconds.
    pub fn spread_us(&self) -> u64 {
        median(&self.spreads_us)
    }

    /// The requests of at least half of the rounds met.
    pub fn raced(&self) -> bool {
        median(&self.in_flight) > 1
    }

    /// Variation of the service's own time.
    pub(crate) fn jitter(&self) -> Duration {
        let mut sorted = self.latencies_us.clone();
        sorted.sort_unstable();
        let at = |tenths: usize| sorted.get(sorted.len() * tenths / 10).copied().unwrap_or(0);
        Duration::from_micros(at(8).saturating_sub(at(2)))
    }

    fn add(&mut self, sent: &[Sent]) {
        let first = sent.iter().map(|sent| sent.released_ns).min().unwrap_or(0);
        let last = sent.iter().map(|sent| sent.released_ns).max().unwrap_or(0);
        self.rounds += 1;
        self.spreads_us.push((last - first) / 1_000);
        let at =
            |time: u64| sent.iter().filter(|s| s.released_ns <= time && s.completed_ns > time).count() as u64;
        self.in_flight.push(sent.iter().map(|sent| at(sent.released_ns)).max().unwrap_or(0));
    }
}

/// Each role once. Returns the payload that an undisturbed use led to.
pub(super) async fn control(
    session: &mut Session<'_>,
    proxy: &mut Option<Proxy>,
    gathered: &mut Gathered,
) -> Result<Option<Value>, Stop> {
    let Roles { used, payload, notes, .. } = roles::run(session, proxy).await?;
    gathered.notes.extend(notes);
    gathered.add(&used);
    for _ in 0..10 {
        let mut object = session.arrange(true).await?;
        let sent = session.use_once(&mut object, 0, Variant::default()).await?;
        gathered.races.latencies_us.push((sent.completed_ns - sent.released_ns) / 1_000);
    }
    Ok(payload)
}

/// Each role alone: no luck is needed.
pub(super) async fn sequences(
    session: &mut Session<'_>,
    gathered: &mut Gathered,
    payload: Option<&Value>,
) -> Result<(), Stop> {
    let target = session.target;
    let plain = Variant::default();
    if let Some(time) = target.expires_by_itself() {
        // At this age an object can still be used.
        let mut object = session.arrange(true).await?;
        tokio::time::sleep(time / 2).await;
        session.use_once(&mut object, 0, plain).await?;
        session.settle(&mut object).await?;
        gathered.add(&object);
    }
    if let Some(spoil) = &target.spoil {
        let mut object = session.arrange(true).await?;
        session.change(&mut object, Action::Spoil, spoil, None, &Vec::new()).await?;
        // After the spoiling: what that changed is no trace of the refusal.
        session.read(&mut object, &[Action::Trace]).await?;
        session.use_once(&mut object, 0, plain).await?;
        session.settle(&mut object).await?;
        session.read(&mut object, &[Action::Trace]).await?;
        gathered.add(&object);
        if let Some(mend) = &target.mend {
            let mut object = session.arrange(true).await?;
            session.change(&mut object, Action::Spoil, spoil, None, &Vec::new()).await?;
            session.use_once(&mut object, 0, plain).await?;
            session.change(&mut object, Action::Mend, mend, None, &Vec::new()).await?;
            session.use_once(&mut object, 1, plain).await?;
            session.settle(&mut object).await?;
            gathered.add(&object);
        }
    }
    for (f, changes) in
        [(Action::Expire, &target.expire), (Action::Reject, &target.reject), (Action::Drift, &target.drift)]
    {
        let Some(changes) = changes else { continue };
        let mut object = session.arrange(true).await?;
        session.change(&mut object, f, changes, None, &Vec::new()).await?;
        session.use_once(&mut object, 0, plain).await?;
        session.settle(&mut object).await?;
        read_payload(session, &mut object, payload).await?;
        gathered.add(&object);
    }
    if target.other_owner.is_some() {
        let mut object = session.arrange(true).await?;
        session.use_once(&mut object, 0, Variant { stranger: true, ..plain }).await?;
        session.settle(&mut object).await?;
        gathered.add(&object);
    }
    for link in &target.safe_links {
        let mut object = session.arrange(true).await?;
        session.open_link(&mut object, link).await?;
        session.read(&mut object, &[Action::Effects, Action::Observe]).await?;
        session.use_once(&mut object, 0, plain).await?;
        gathered.add(&object);
    }
    approvals(session, gathered).await?;
    if target.usage.key_header.is_some() {
        retries(session, gathered).await?;
    }
    // A second use, after the first has been answered.
    let mut object = session.arrange(true).await?;
    for process in 0..=target.promise.uses {
        session.use_once(&mut object, i64::try_from(process).unwrap_or(0), plain).await?;
    }
    session.settle(&mut object).await?;
    session.read(&mut object, &[Action::Observe]).await?;
    gathered.add(&object);
    Ok(())
}

/// Reads what the effect was made with, next to what an undisturbed use leads to.
pub(super) async fn read_payload(
    session: &mut Session<'_>,
    object: &mut Object,
    approved: Option<&Value>,
) -> Result<(), Stop> {
    session.read(object, &[Action::Payload]).await?;
    if let Some(read) = object.trial.operations.last_mut().filter(|o| o.f == Action::Payload) {
        read.details.approved = approved.cloned();
    }
    Ok(())
}

async fn approvals(session: &mut Session<'_>, gathered: &mut Gathered) -> Result<(), Stop> {
    let target = session.target;
    if target.approve.is_none() {
        return Ok(());
    }
    let plain = Variant::default();
    let mut presses: Vec<Vec<&str>> = vec![Vec::new()];
    if target.promise.approvers > 1 {
        presses.push(vec!["approver-1"; usize::try_from(target.promise.approvers).unwrap_or(2)]);
    }
    if target.requester.is_some() {
        presses.push(vec!["requester"]);
    }
    for people in presses {
        let mut object = session.arrange(false).await?;
        for who in people {
            session.approve(&mut object, who).await?;
        }
        session.use_once(&mut object, 0, plain).await?;
        session.settle(&mut object).await?;
        gathered.add(&object);
    }
    Ok(())
}

/// The same key again: after an answer, and after the client hung up.
async fn retries(session: &mut Session<'_>, gathered: &mut Gathered) -> Result<(), Stop> {
    let keyed = Variant { key: Some(1), stranger: false };
    let latency = Duration::from_micros(median(&gathered.races.latencies_us));
    let waits = [None, Some(0.0), Some(0.3), Some(0.6), Some(0.9), Some(1.2)];
    for wait in waits {
        let mut object = session.arrange(true).await?;
        let wire = session.use_wire(&object, keyed)?;
        let hang_up = wait.map(|share| latency.mul_f64(share));
        session.race(&mut object, 0, &[(Runner { hang_up, ..Runner::new(wire) }, keyed)]).await?;
        // Requests that were running when the client hung up end by themselves.
        tokio::time::sleep(latency.saturating_mul(3)).await;
        session.read(&mut object, &[Action::Effects, Action::Observe]).await?;
        session.use_once(&mut object, 1, keyed).await?;
        session.settle(&mut object).await?;
        if object.may_have_met_a_lease(keyed) {
            tokio::time::sleep(session.lease_is_over()).await;
            session.use_once(&mut object, 2, keyed).await?;
            session.settle(&mut object).await?;
        }
        gathered.add(&object);
    }
    Ok(())
}

/// Uses that are released together.
pub(super) async fn concurrent(
    session: &mut Session<'_>,
    gathered: &mut Gathered,
    options: &Options,
    share: f64,
) -> Result<(), Stop> {
    // Violations are shown by pairs, which are shorter.
    const ENOUGH: usize = 5;
    for _ in 0..options.races {
        if is_spent(session, share * 0.7) {
            gathered.notes.push(format!("time for {} of {} races", gathered.races.rounds, options.races));
            break;
        }
        let mut object = session.arrange(true).await?;
        let mut runners = Vec::with_capacity(options.callers);
        for _ in 0..options.callers {
            let variant = Variant::default();
            runners.push((Runner::new(session.use_wire(&object, variant)?), variant));
        }
        let sent = session.race(&mut object, 0, &runners).await?;
        gathered.races.add(&sent);
        session.settle(&mut object).await?;
        gathered.add(&object);
        if gathered.tally.judged().iter().any(|j| j.id == "S2" && j.violated >= ENOUGH) {
            break;
        }
    }
    Ok(())
}

/// Pairs of uses whose distance is swept, then bisected towards the distance at which the outcome changes.
pub(super) async fn pairs(
    session: &mut Session<'_>,
    gathered: &mut Gathered,
    share: f64,
) -> Result<(), Stop> {
    const STEPS: u64 = 20;
    const WIDTH_NS: u64 = 5_000_000;
    let mut outcomes: Vec<(u64, bool)> = Vec::new();
    for step in 0..=STEPS {
        if is_spent(session, share) {
            return Ok(());
        }
        let offset_ns = step * WIDTH_NS / STEPS;
        outcomes.push((offset_ns, pair(session, gathered, offset_ns).await?));
    }
    let change = outcomes.windows(2).find(|pair| pair[0].1 != pair[1].1);
    let Some([(mut low, at_low), (mut high, _)]) = change.map(|pair| [pair[0], pair[1]]) else {
        return Ok(());
    };
    while high - low > 20_000 && !is_spent(session, share) {
        let middle = low.midpoint(high);
        if pair(session, gathered, middle).await? == at_low {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(())
}

/// One pair; whether the second request was answered before the first one was.
async fn pair(session: &mut Session<'_>, gathered: &mut Gathered, offset_ns: u64) -> Result<bool, Stop> {
    let mut object = session.arrange(true).await?;
    let plain = Variant::default();
    let first = Runner::new(session.use_wire(&object, plain)?);
    let second = Runner { offset_ns, ..Runner::new(session.use_wire(&object, plain)?) };
    let sent = session.race(&mut object, 0, &[(first, plain), (second, plain)]).await?;
    gathered.races.pairs += 1;
    session.settle(&mut object).await?;
    gathered.add(&object);
    let statuses: Vec<bool> =
        object.trial.operations.iter().filter(|o| o.f == Action::Use).map(|o| o.kind == Kind::Ok).collect();
    // The outcome changes where the requests no longer meet.
    Ok(sent[1].released_ns < sent[0].completed_ns && statuses.first() == Some(&true))
}

/// A use, and a change that takes place while it runs.
pub(super) async fn against_changes(
    session: &mut Session<'_>,
    gathered: &mut Gathered,
    payload: Option<&Value>,
) -> Result<(), Stop> {
    let target = session.target;
    let roles = [
        (Action::Expire, &target.expire),
        (Action::Reject, &target.reject),
        (Action::Drift, &target.drift),
        (Action::Spoil, &target.spoil),
    ];
    let latency = Duration::from_micros(median(&gathered.races.latencies_us).max(1_000));
    for (f, changes) in roles {
        let Some(changes) = changes else { continue };
        for share in [0.0, 0.25, 0.5, 0.75] {
            during(session, gathered, f, changes, latency.mul_f64(share), payload).await?;
        }
    }
    if let (Some(_), Some(reject)) = (&target.approve, &target.reject) {
        for _ in 0..5 {
            decide(session, gathered, reject).await?;
        }
    }
    Ok(())
}

async fn during(
    session: &mut Session<'_>,
    gathered: &mut Gathered,
    f: Action,
    changes: &[Change],
    after: Duration,
    payload: Option<&Value>,
) -> Result<(), Stop> {
    let mut object = session.arrange(true).await?;
    let plain = Variant::default();
    let wire = session.use_wire(&object, plain)?;
    session.budget.spend(1)?;
    let (endpoint, clock, patience) = (session.endpoint(), session.clock, session.budget.patience());
    let sending = wire.clone();
    let task = tokio::spawn(async move { client::send(&endpoint, &sending, patience, clock).await });
    tokio::time::sleep(after.max(super::BREATH)).await;
    session.change(&mut object, f, changes, None, &Vec::new()).await?;
    // A read of "unused" from here on shows that the use took effect later.
    session.read(&mut object, &[Action::Effects, Action::Observe]).await?;
    let sent = task.await.map_err(|error| Stop::CutOff(error.to_string()))?;
    let operation = session.operation(&object, 0, &wire, plain, &sent);
    object.trial.operations.push(operation);
    session.settle(&mut object).await?;
    if f == Action::Drift {
        read_payload(session, &mut object, payload).await?;
    }
    gathered.add(&object);
    Ok(())
}

/// Approval against rejection of a pending object.
async fn decide(session: &mut Session<'_>, gathered: &mut Gathered, reject: &[Change]) -> Result<(), Stop> {
    let mut object = session.arrange(false).await?;
    for person in 1..session.target.promise.approvers {
        session.approve(&mut object, &format!("approver-{person}")).await?;
    }
    let last = format!("approver-{}", session.target.promise.approvers);
    let Some([Change::Request(approve)]) = session.target.approve.as_deref() else { return Ok(()) };
    let [Change::Request(reject)] = reject else { return Ok(()) };
    object.values.insert("approver".into(), Value::String(session.target.promise.approvers.to_string()));
    let plain = Variant::default();
    let runners = [
        (Runner::new(session.request_wire(&object, approve)?), plain),
        (Runner::new(session.request_wire(&object, reject)?), plain),
    ];
    session.race(&mut object, 0, &runners).await?;
    let count = object.trial.operations.len();
    for (operation, f) in
        object.trial.operations[count - 2..].iter_mut().zip([Action::Approve, Action::Reject])
    {
        operation.f = f;
        operation.details = Details {
            who: (f == Action::Approve).then(|| last.clone()),
            ..std::mem::take(&mut operation.details)
        };
        // These have no list of successes.
        operation.kind = match operation.details.status {
            Some(200..400) => Kind::Ok,
            Some(400..500) => Kind::Fail,
            _ => operation.kind,
        };
    }
    session.use_once(&mut object, 2, plain).await?;
    gathered.add(&object);
    Ok(())
}
