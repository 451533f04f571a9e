//! One race for one approval, on the real driver and store and tokio's paused clock, and what must be true of it.

use std::{
    future::{pending, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use countersign::{
    platform::{Binding, Environment, Kind},
    protocol::{Change, Commit, Digest, Flow, Outcome, Refusal, Status, Step, Timestamp},
    service::{Driver, InMemoryDeployer},
    store::{
        Approvals, AttemptReads, AuditKind, Clock, Committed, Decision, EnvVars, Leases, MemoryStore,
        Operations, Payload, Plan, PromotionRequest, Reading, Service, StoreError, Team, Verdict,
    },
};
use countersign_models::fixtures::{CountingIds, UseRequest, token_of};
use countersign_testkit::{Peek, Seed};
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use crate::contention::{Contention, Flight, Shared, WaitQueue};

/// Duration of a preflight.
pub(crate) const PREFLIGHT_MS: u64 = 100;
/// All contenders arrive within this time, which is shorter than a preflight.
pub(crate) const ARRIVALS_MS: u64 = 10;

const OPENS: Timestamp = Timestamp(1_800_000_000_000);
const TEAM: Uuid = Uuid::from_u128(0xA);

/// The runtime's clock, as the store reads it: who sleeps sees leases expire.
pub(crate) struct VirtualClock(Instant);

impl VirtualClock {
    fn starts_now() -> Self {
        Self(Instant::now())
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp(OPENS.0 + self.elapsed_ms())
    }
}

/// The parameters of a race.
#[derive(Clone)]
pub(crate) struct Race {
    pub(crate) contention: Contention,
    pub(crate) flow: Arc<Flow>,
    pub(crate) contenders: usize,
    /// Percentage of preflights that fail.
    pub(crate) failing_percent: u64,
    pub(crate) preflight_ms: u64,
    /// The first contender to begin its preflight crashes during it.
    pub(crate) first_dies: bool,
    /// The same contenders arrive at the same time with the same luck, under every policy.
    pub(crate) seed: u64,
}

/// Result of a race. Times count from the first arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finish {
    /// Number of preflights begun.
    pub(crate) preflights: usize,
    pub(crate) executed_ms: Option<u64>,
    pub(crate) last_answer_ms: u64,
}

impl Finish {
    /// Every preflight except that of the execution.
    pub(crate) fn wasted(&self) -> usize {
        self.preflights - usize::from(self.executed_ms.is_some())
    }
}

/// State shared by all contenders.
struct Track {
    clock: Arc<VirtualClock>,
    race: Race,
    preflights: AtomicUsize,
    /// The contender that consumed the approval, and when.
    consumed: Mutex<Vec<(usize, u64)>>,
}

/// The store as one contender meets it: its preflight takes time, and may fail.
struct Contender {
    number: usize,
    store: Arc<MemoryStore>,
    track: Arc<Track>,
    fails: bool,
    death: Notify,
}

impl Approvals for Contender {
    async fn read_approval(&self, approval: Uuid, ask: &PromotionRequest) -> Result<Reading, StoreError> {
        self.store.read_approval(approval, ask).await
    }

    async fn commit(
        &self,
        ask: &PromotionRequest,
        step: &Step,
        commit: Commit<'_>,
    ) -> Result<Committed, StoreError> {
        let consumes = commit.ops.iter().any(|op| matches!(op, Change::Consume(_)));
        let committed = self.store.commit(ask, step, commit).await;
        if consumes && matches!(committed, Ok(Committed::Applied { .. })) {
            let mut consumed = self.track.consumed.lock().unwrap_or_else(PoisonError::into_inner);
            consumed.push((self.number, self.track.clock.elapsed_ms()));
        }
        committed
    }

    countersign_models::decisions_pass_through!(store);
    countersign_models::recalls_pass_through!(store);
}

impl AttemptReads for Contender {
    fn can_produce(&self, refusal: &Refusal) -> bool {
        self.store.can_produce(refusal)
    }

    async fn check(
        &self,
        approval: Uuid,
        ask: &PromotionRequest,
        step: &Step,
    ) -> Result<Result<Digest, Refusal>, StoreError> {
        let Track { race, preflights, .. } = &*self.track;
        let is_first = preflights.fetch_add(1, Ordering::Relaxed) == 0;
        if race.first_dies && is_first {
            tokio::time::sleep(Duration::from_millis(race.preflight_ms / 2)).await;
            self.death.notify_one();
            return pending().await;
        }
        tokio::time::sleep(Duration::from_millis(race.preflight_ms)).await;
        if self.fails {
            return Ok(Err(Refusal::FETCH_FAILED));
        }
        self.store.check(approval, ask, step).await
    }

    async fn find_target(
        &self,
        ask: &PromotionRequest,
        step: &Step,
    ) -> Result<Result<Option<Uuid>, Refusal>, StoreError> {
        self.store.find_target(ask, step).await
    }
}

impl Leases for Contender {
    countersign_models::leases_pass_through!(store);
}

/// Answer to a contender, and its time. `None` after a crash.
struct Answer {
    told: Option<Shared>,
    at_ms: u64,
}

impl Race {
    /// Runs the race.
    ///
    /// # Errors
    /// The violated invariant of a race.
    pub(crate) fn run(&self) -> Result<Finish, String> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().expect("a runtime can be started");
        runtime.block_on(self.run_here())
    }

    fn draw(&self, contender: usize, what: u64) -> u64 {
        // SplitMix64, from a place that only this draw has.
        let place = (self.seed << 16) + ((contender as u64) << 1) + what;
        let mut mixed = place.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn arrival_ms(&self, contender: usize) -> u64 {
        self.draw(contender, 0) % ARRIVALS_MS
    }

    fn fails(&self, contender: usize) -> bool {
        self.draw(contender, 1) % 100 < self.failing_percent
    }

    async fn run_here(&self) -> Result<Finish, String> {
        let clock = Arc::new(VirtualClock::starts_now());
        let store = Arc::new(MemoryStore::new(clock.clone(), Arc::new(CountingIds::default())));
        let ask = Arc::new(approved(&store).await);
        let source = store.digest(&ask).expect("the team is there");
        let track = Arc::new(Track {
            clock: Arc::clone(&clock),
            race: self.clone(),
            preflights: AtomicUsize::new(0),
            consumed: Mutex::new(Vec::new()),
        });
        let line = Arc::new(WaitQueue::default());
        let flight = Arc::new(Flight::default());
        let runs: Vec<_> = (0..self.contenders)
            .map(|number| {
                let (store, track) = (Arc::clone(&store), Arc::clone(&track));
                let contender =
                    Contender { number, store, track, fails: self.fails(number), death: Notify::new() };
                let (ask, line, flight) = (Arc::clone(&ask), Arc::clone(&line), Arc::clone(&flight));
                tokio::spawn(async move { contender.contend(&ask, source, &line, &flight).await })
            })
            .collect();
        let mut answers = Vec::new();
        for run in runs {
            answers.push(run.await.expect("no task panics"));
        }
        self.judge(&store, &ask, &track, &answers).await
    }

    async fn judge(
        &self,
        store: &MemoryStore,
        ask: &UseRequest,
        track: &Track,
        answers: &[Answer],
    ) -> Result<Finish, String> {
        let approval = ask.approval;
        let events = store.audit(approval).await.expect("nothing fails in memory");
        let executed = events.iter().filter(|event| event.kind == AuditKind::Executed).count();
        let consumed = track.consumed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if executed > 1 || consumed.len() > 1 {
            return Err(format!("executed {executed} times, consumed by {consumed:?}"));
        }
        let status = store.standing(approval).map(|record| record.standing.status);
        let expected = if executed == 1 { Status::Executed } else { Status::Approved };
        if status != Some(expected) || consumed.len() != executed {
            return Err(format!("executed {executed} times, and it is {status:?}: consumed by {consumed:?}"));
        }
        if let Some((number, _)) = consumed.iter().find(|(number, _)| self.fails(*number)) {
            return Err(format!("consumed by {number}, whose preflight failed"));
        }
        let won = |answer: &&Answer| {
            let own = answer.told.as_ref().filter(|told| told.is_own);
            own.is_some_and(|told| matches!(told.end, Some(Outcome::Succeeded { .. })))
        };
        let won = answers.iter().filter(won).count();
        if won != executed {
            return Err(format!("executed {executed} times, and {won} were told that they had"));
        }
        let some_could = (0..self.contenders).any(|number| !self.fails(number));
        let everybody_tries = self.contention != Contention::SingleFlight && !self.first_dies;
        if everybody_tries && some_could != (executed == 1) {
            return Err(format!("executed {executed} times, and some could: {some_could}"));
        }
        let begins = (0..self.contenders).map(|number| self.arrival_ms(number)).min().unwrap_or(0);
        let last_answer = answers.iter().filter(|answer| answer.told.is_some()).map(|answer| answer.at_ms);
        Ok(Finish {
            preflights: track.preflights.load(Ordering::Relaxed),
            executed_ms: consumed.first().map(|(_, at_ms)| at_ms - begins),
            last_answer_ms: last_answer.max().unwrap_or(begins) - begins,
        })
    }
}

impl Contender {
    /// Comes, and tries until it has its answer or dies.
    async fn contend(&self, ask: &UseRequest, source: Digest, line: &WaitQueue, flight: &Flight) -> Answer {
        let Track { race, clock, .. } = &*self.track;
        tokio::time::sleep(Duration::from_millis(race.arrival_ms(self.number))).await;
        let mut death = pin!(self.death.notified());
        let mut trying = pin!(self.attempt(ask, source, line, flight));
        let told = poll_fn(|context| match death.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => trying.as_mut().poll(context).map(Some),
        });
        Answer { told: told.await, at_ms: clock.elapsed_ms() }
    }

    async fn attempt(&self, ask: &UseRequest, source: Digest, line: &WaitQueue, flight: &Flight) -> Shared {
        let Race { contention, flow, .. } = &self.track.race;
        // The launch is the worker's: it is irrelevant here.
        let deployer = InMemoryDeployer::default();
        let driver = Driver::new(flow, self, &deployer).expect("it is supported");
        let own = |end| Shared { end: Some(end), is_own: true };
        match contention {
            Contention::Optimistic => own(driver.promote(ask.approval, ask, source).await),
            Contention::Lease => own(driver.waiting(line).promote(ask.approval, ask, source).await),
            Contention::SingleFlight => flight.join(driver.promote(ask.approval, ask, source)).await,
        }
    }
}

/// An ask with an approval that the operator has given.
async fn approved(store: &MemoryStore) -> UseRequest {
    let environment = |name| Environment::parse(name).expect("a legal name");
    store.seed_team(TEAM, Team { plan: Plan::Pro, deployment_cap: usize::MAX });
    let image_ref = Some("shop:1".to_owned());
    let services = vec![Service { name: "web".to_owned(), image_ref, port: Some(80), expose: true }];
    let source = store.seed_stack(TEAM, "shop", environment("staging"), services, EnvVars::new());
    let binding = Binding { kind: Kind::Stack, from: environment("staging"), to: environment("production") };
    let ask = PromotionRequest {
        team: TEAM,
        binding,
        requested_by: "dev@example.com".into(),
        payload: Payload { source, name: None, copy_vault: false },
        key: None,
    };
    let record = store.request_approval(&ask).await.expect("nothing fails in memory").record;
    let decision = Decision::Operator { token: &token_of(record.approval.id), verdict: Verdict::Approve };
    store.decide(decision).await.expect("nothing fails in memory").expect("it is pending");
    UseRequest::new(record.approval.id, ask)
}
