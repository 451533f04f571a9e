//! The simulation itself: takes one action after another, and keeps the ledgers.

use std::{future::Future, pin::Pin, sync::Arc};

use countersign::{
    protocol::{
        Binding, End, Environment, Flow, Kind, Promotion, Refusal, Request, Status, Target, Timestamp,
    },
    service::{Answer, Worked},
    store::{
        Ask, Clock, Decision, EnvVars, JobState, MemoryStore, Payload, Plan, Service, StackStatus, Store,
        StoreError, Team, Verdict,
    },
};
use uuid::Uuid;

use super::{
    Action, LEASE_MS,
    faults::{Fault, Outcome, SKEW_MS},
    ledger::{Found, Ledger},
    mutants::{Mutant, Switchable},
    platform::{At, Deed, Deploy, Message, Platform, Who, WorkerDeed},
    scenario::{Client, Scenario, Wants},
    task,
};
use crate::{
    fixtures::{CountingIds, HandClock, at_once},
    model::{self, Actor, Scene},
    properties::{Facts, PromotionFacts, Stage},
};

const BEGIN: Timestamp = Timestamp(1_800_000_000_000);
/// Between two requests for an approval: windows do not end all at once.
const BETWEEN_REQUESTS_MS: u64 = 60 * 60 * 1000;
const VAULT_KEY: &str = "KEY";

/// What taking an action came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The action, with what really became of it.
    pub action: Action,
    /// The kind of fault that it was.
    pub fault: Option<Fault>,
    /// What it is in the model; none for what the model has no word for.
    pub(super) modelled: Option<model::Action>,
}

enum Slot {
    /// There is no second request.
    Off,
    /// It has not begun.
    Waiting,
    Running(Pin<Box<dyn Future<Output = Answer>>>),
    Ended {
        succeeded: bool,
    },
}

/// One of the two requests of a client that may be under way.
struct Attempt {
    slot: Slot,
    /// Its place in the ledger; none for another team's.
    facts: Option<usize>,
    at: At,
    target: Option<Target>,
    /// It began after an outcome of its client that nobody knew.
    is_retry: bool,
    /// When it began, its client had consumed the approval.
    had_consumed: bool,
}

impl Attempt {
    fn new(slot: Slot, facts: Option<usize>) -> Self {
        Self { slot, facts, at: At::Elsewhere, target: None, is_retry: false, had_consumed: false }
    }
}

struct Consumer {
    plan: Client,
    ask: Arc<Ask>,
    attempts: [Attempt; 2],
    /// Under its key the approval was consumed, with this target.
    consumed: Option<Option<Uuid>>,
    /// An answer was lost, or its request's process has died.
    unknown: bool,
    retries: u8,
}

/// A scenario under way.
pub struct Simulation {
    scenario: Scenario,
    platform: Arc<Platform>,
    ledgers: Vec<Ledger>,
    consumers: Vec<Consumer>,
    workers: Vec<Option<Pin<Box<dyn Future<Output = Result<Worked, StoreError>>>>>>,
    /// Each team with the events that have been seen and the stacks that its plan has room for.
    teams: Vec<(Uuid, usize, usize)>,
    begins_at: At,
    found: Found,
    images: u64,
    endings: [u32; Ending::ALL.len()],
    answered_last: Option<End>,
    /// What a worker acted on last.
    worked_on: Option<usize>,
    /// The actions of the heal phase; none before it.
    healing: Option<Vec<Action>>,
    /// What had yet to come about, or was promised, when the heal phase began.
    owed: u32,
    scenes: Vec<Scene>,
}

fn environment(name: &str) -> Environment {
    Environment::parse(name).expect("a legal name")
}

fn services(image: u64) -> Vec<Service> {
    let image_ref = Some(format!("shop:{image}"));
    vec![Service { name: "web".to_owned(), image_ref, port: Some(80), expose: true }]
}

fn team_id(team: u8) -> Uuid {
    Uuid::from_u128(0xA0 + u128::from(team))
}

impl Simulation {
    /// The scenario at its start: every approval is pending, and nobody has begun.
    ///
    /// # Panics
    /// When the scenario names what is not there: [`Scenario::check`] says whether it does.
    pub fn new(flow: Arc<Flow>, scenario: &Scenario, mutant: Option<Mutant>) -> Self {
        Setup::new(flow, scenario, mutant).simulation()
    }

    /// Keeps a [`Scene`] of every action from now on.
    #[must_use]
    pub fn in_words(mut self) -> Self {
        self.platform_mut().in_words = true;
        self
    }

    pub(super) fn with_stale_reads(mut self) -> Self {
        self.platform_mut().keeps_readings = true;
        self
    }

    fn platform_mut(&mut self) -> &mut Platform {
        Arc::get_mut(&mut self.platform).expect("nobody has begun")
    }

    /// The scenes of what was done.
    pub fn scenes(&self) -> &[Scene] {
        &self.scenes
    }

    /// The properties that were found broken, and put to the test, so far.
    pub fn found(&self) -> Found {
        self.found
    }

    /// How many approvals there are.
    pub fn approvals(&self) -> usize {
        self.ledgers.len()
    }

    /// What is known of an approval.
    pub fn facts(&self, approval: usize) -> Facts<'_> {
        self.ledgers[approval].facts()
    }

    pub(super) fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    pub(super) fn ledgers(&self) -> &[Ledger] {
        &self.ledgers
    }

    pub(super) fn endings(&self) -> [u32; Ending::ALL.len()] {
        self.endings
    }

    pub(super) fn break_promises(&mut self, broken: u32) {
        self.found.broken |= broken;
    }

    fn now(&self) -> Timestamp {
        self.platform.clock.now()
    }

    /// What was really done in the heal phase.
    pub(super) fn healing(&self) -> &[Action] {
        self.healing.as_deref().unwrap_or_default()
    }

    /// The liveness properties that were owed something when the heal phase began.
    pub(super) fn owed(&self) -> u32 {
        self.owed
    }

    pub(super) fn begin_to_heal(&mut self) {
        self.healing = Some(Vec::new());
        self.owed = self.ledgers.iter().fold(0, |bits, ledger| bits | ledger.overdue() | ledger.promised());
    }

    /// Takes the action. None when it is not possible here: then nothing has happened.
    pub fn take(&mut self, action: Action) -> Option<Taken> {
        let taken = self.act(action)?;
        if let Some(healing) = &mut self.healing {
            healing.push(taken.action);
        }
        Some(taken)
    }

    fn act(&mut self, action: Action) -> Option<Taken> {
        let plain = |modelled| Some(Taken { action, fault: None, modelled });
        let taken = match action {
            Action::Approve { approval } => {
                let ledger = self.ledgers.get(usize::from(approval))?;
                let open = ledger.status == Status::Pending && !ledger.window_passed;
                (open && self.operator(approval, Verdict::Approve)).then_some(())?;
                self.note(Actor::Operator, Actor::Store, approval, "approves");
                plain(Some(model::Action::Approve))
            }
            Action::Expire { approval } => {
                let ledger = self.ledgers.get(usize::from(approval))?;
                (ledger.status == Status::Pending && ledger.window_passed).then_some(())?;
                self.operator(approval, Verdict::Approve);
                self.ledgers[usize::from(approval)].clean = false;
                self.note(
                    Actor::Operator,
                    Actor::Store,
                    approval,
                    "opens the link too late: the approval expires",
                );
                plain(Some(model::Action::Expire))
            }
            Action::Reject { approval } => {
                let id = self.ledgers.get(usize::from(approval))?.id;
                let decision = Decision::Administrator { approval: id, by: "admin@example.com" };
                at_once(self.platform.store.decide(decision)).ok()?.ok()?;
                self.ledgers[usize::from(approval)].clean = false;
                self.note(Actor::Administrator, Actor::Store, approval, "rejects");
                plain(Some(model::Action::Reject))
            }
            Action::ClockPasses { approval } => {
                let expires_at = self.ledgers.get(usize::from(approval))?.expires_at;
                (self.now() < expires_at).then_some(())?;
                self.platform.clock.set(expires_at);
                self.note(Actor::World, Actor::World, approval, "the clock passes expires_at");
                plain(Some(model::Action::ClockPasses))
            }
            Action::ClockJumps { ms } => {
                let now = self.now().0.saturating_add_signed(ms).max(BEGIN.0);
                (now != self.now().0).then_some(())?;
                self.platform.clock.set(Timestamp(now));
                self.ledgers.iter_mut().for_each(|ledger| ledger.clean = false);
                self.harm(format!("the store's clock jumps by {} minutes", ms / 60_000));
                Some(Taken { action, fault: Some(Fault::ClockJump), modelled: None })
            }
            Action::LeasesRunOut => {
                self.leases_run_out()?;
                self.note(Actor::World, Actor::World, 0, "time passes, and leases run out");
                plain(None)
            }
            Action::SourceChanges { approval } => {
                self.source_changes(approval)?;
                self.note(Actor::Source, Actor::Source, approval, "gets new images");
                plain(Some(model::Action::SourceChanges))
            }
            Action::Promotion { client, duplicate, outcome } => self.promotion(client, duplicate, outcome),
            Action::Duplicate { client } => {
                self.duplicate(client)?;
                Some(Taken { action, fault: Some(Fault::DuplicatedRequest), modelled: None })
            }
            Action::Retry { client } => {
                self.retry(client)?;
                Some(Taken { action, fault: Some(Fault::RetriedRequest), modelled: None })
            }
            Action::Arrives { client } => {
                self.arrives(client)?;
                plain(None)
            }
            Action::Worker { instance, outcome } => self.worker(instance, outcome),
            Action::DeployEnds { approval, failed } => {
                let id = self.ledgers.get(usize::from(approval))?.id;
                let ended = if failed { StackStatus::Failed } else { StackStatus::Healthy };
                let mut control = self.platform.control();
                let runs = |deploy: &&mut Deploy| {
                    let by_worker = matches!(deploy.who, Who::Worker { .. });
                    by_worker && deploy.launch.approval == id && deploy.ended.is_none()
                };
                control.deploys.iter_mut().find(runs)?.ended = Some(ended);
                drop(control);
                self.note(Actor::Target, Actor::Target, approval, "the job's deploy ends");
                let fault = failed.then_some(Fault::FailedDeploy);
                Some(Taken { action, fault, modelled: None })
            }
            Action::ProcessDeployEnds { client, failed } => self.process_deploy_ends(client, failed),
            Action::Crash { instance } => {
                self.crash(instance)?;
                self.harm(match self.workers.len() {
                    1 => "the process crashes".to_owned(),
                    _ => format!("instance {} crashes", instance + 1),
                });
                Some(Taken { action, fault: Some(Fault::Crash), modelled: Some(model::Action::Crash) })
            }
        };
        if let Some(taken) = &taken {
            self.observe(self.touched(taken.action));
        }
        taken
    }

    /// The approval whose family alone can have changed; none when anything may have.
    fn touched(&self, action: Action) -> Option<usize> {
        match action {
            Action::Approve { approval }
            | Action::Expire { approval }
            | Action::Reject { approval }
            | Action::DeployEnds { approval, .. } => Some(approval.into()),
            Action::Promotion { outcome: Outcome::Slow, .. }
            | Action::Worker { outcome: Outcome::Slow, .. } => None,
            Action::Promotion { client, .. }
            | Action::Duplicate { client }
            | Action::Retry { client }
            | Action::ProcessDeployEnds { client, .. } => {
                Some(self.consumers[usize::from(client)].plan.approval.into())
            }
            Action::Worker { .. } => self.worked_on,
            Action::ClockPasses { .. }
            | Action::ClockJumps { .. }
            | Action::LeasesRunOut
            | Action::SourceChanges { .. }
            | Action::Arrives { .. }
            | Action::Crash { .. } => None,
        }
    }

    fn operator(&self, approval: u8, verdict: Verdict) -> bool {
        let token = &self.ledgers[usize::from(approval)].token;
        let decision = Decision::Operator { token, verdict };
        matches!(at_once(self.platform.store.decide(decision)), Ok(Ok(_)))
    }

    fn leases_run_out(&mut self) -> Option<()> {
        let now = self.now();
        let held =
            |ledger: &Ledger| matches!(ledger.job, Some(JobState::Leased { until, .. }) if now < until);
        self.ledgers.iter().any(held).then_some(())?;
        self.platform.clock.advance_ms(LEASE_MS + SKEW_MS.unsigned_abs());
        Some(())
    }

    fn source_changes(&mut self, approval: u8) -> Option<()> {
        let ledger = self.ledgers.get(usize::from(approval))?;
        (ledger.approved && !ledger.drifted).then_some(())?;
        let (team, source) = (ledger.team, ledger.sources[0]);
        self.images += 1;
        self.platform.store.put_services(team, source, services(self.images));
        for ledger in self.ledgers.iter_mut().filter(|ledger| ledger.sources[0] == source) {
            ledger.drifted = true;
            ledger.clean = false;
        }
        Some(())
    }

    /// The source is again what was approved.
    pub(super) fn undo_drift(&mut self, approval: usize) {
        let ledger = &self.ledgers[approval];
        self.platform.store.put_services(ledger.team, ledger.sources[0], services(1));
    }

    fn duplicate(&mut self, client: u8) -> Option<()> {
        let consumer = self.consumers.get_mut(usize::from(client))?;
        let begun = matches!(consumer.attempts[0].slot, Slot::Running(_) | Slot::Ended { .. });
        let fits = begun && matches!(consumer.attempts[1].slot, Slot::Off);
        (fits && consumer.plan.wants != Wants::OtherTeam).then_some(())?;
        let ledger = &mut self.ledgers[usize::from(consumer.plan.approval)];
        let facts = begin_facts(ledger, consumer.plan.wants, self.begins_at);
        consumer.attempts[1] = Attempt::new(Slot::Waiting, facts);
        ledger.clean = false;
        self.note_client(client, "sends its request a second time");
        Some(())
    }

    fn retry(&mut self, client: u8) -> Option<()> {
        const MOST_RETRIES: u8 = 3;
        let consumer = self.consumers.get_mut(usize::from(client))?;
        let failed = matches!(consumer.attempts[0].slot, Slot::Ended { succeeded: false });
        (failed && consumer.retries < MOST_RETRIES).then_some(())?;
        consumer.retries += 1;
        let ledger = &mut self.ledgers[usize::from(consumer.plan.approval)];
        let facts = begin_facts(ledger, consumer.plan.wants, self.begins_at);
        let is_retry = consumer.unknown;
        consumer.attempts[0] = Attempt { is_retry, ..Attempt::new(Slot::Waiting, facts) };
        ledger.clean = false;
        self.note_client(client, "asks again");
        Some(())
    }

    fn promotion(&mut self, client: u8, duplicate: bool, outcome: Outcome) -> Option<Taken> {
        let consumer = self.consumers.get_mut(usize::from(client))?;
        let plan = consumer.plan;
        let ledger = &mut self.ledgers[usize::from(plan.approval)];
        let attempt = &mut consumer.attempts[usize::from(duplicate)];
        if matches!(attempt.slot, Slot::Waiting) {
            let source = self.platform.store.digest(&consumer.ask)?;
            attempt.slot = Slot::Running(task::request(&self.platform, &consumer.ask, source));
            attempt.had_consumed = consumer.consumed.is_some();
            if let Some(facts) = attempt.facts.and_then(|at| ledger.promotions.get_mut(at)) {
                facts.stage = Stage::Running;
                facts.began_on_approved = ledger.status == Status::Approved;
            }
            ledger.clean &= ledger.approved && plan.wants == Wants::Approved;
        }
        let Slot::Running(request) = &mut attempt.slot else { return None };
        let who = Who::Attempt { client, attempt: attempt.facts.map_or(u16::MAX, |at| at as u16) };
        self.platform.admit(who, plan.instance, outcome);
        let answer = task::poll(request);
        let (deed, at) = self.platform.done();
        let deed = deed.expect("a request passes the turnstile whenever it is polled");
        let now = self.platform.clock.now();
        attempt.at = at;
        if let Some(target) = deed.target {
            let created = |found: Target| attempt.target.is_some_and(|one| one.id == found.id && one.created);
            attempt.target = target.map(|found| Target { created: found.created || created(found), ..found });
            let mut control = self.platform.control();
            for deploy in control.deploys.iter_mut().filter(|deploy| deploy.who == who) {
                deploy.launch.target = attempt.target.map(|target| target.id);
            }
        }
        if deed.changed.consumed > 0 {
            consumer.consumed = Some(attempt.target.map(|target| target.id));
        }
        if let Some(facts) = attempt.facts.and_then(|at| ledger.promotions.get_mut(at)) {
            facts.consumed |= deed.changed.consumed > 0;
            facts.wrote |= deed.changed.wrote;
        }
        ledger.changed(deed.changed, now);
        ledger.launched(&deed);
        ledger.clean &= deed.outcome.fault().is_none();
        let stage = answer.as_ref().map(|answer| answered(consumer, ledger, duplicate, answer));
        if let (Some(answer), Some(stage)) = (&answer, stage) {
            self.endings[Ending::of(stage, answer.replayed) as usize] += 1;
            self.answered_last = Some(answer.end.clone());
        }
        self.describe_promotion(client, &deed, answer.as_ref(), stage);
        Some(Taken {
            action: Action::Promotion { client, duplicate, outcome: deed.outcome },
            fault: deed.outcome.fault(),
            modelled: modelled(client, deed.outcome),
        })
    }

    fn worker(&mut self, instance: u8, outcome: Outcome) -> Option<Taken> {
        let index = usize::from(instance);
        let skew_ms = *self.scenario.skews_ms.get(index)?;
        if self.workers[index].is_none() {
            self.has_job().then_some(())?;
            self.workers[index] = Some(task::worker(&self.platform, skew_ms));
        }
        let worker = self.workers[index].as_mut()?;
        self.platform.admit(Who::Worker { instance }, instance, outcome);
        let worked = task::poll(worker);
        if worked.is_some() {
            self.workers[index] = None;
        }
        let (deed, _) = self.platform.done();
        let deed = deed?;
        self.worked_on =
            deed.approval.and_then(|approval| self.ledgers.iter().position(|ledger| ledger.id == approval));
        self.apply_worker(&deed);
        self.describe_worker(instance, &deed, worked);
        let fault = deed.outcome.fault().or(match deed.worker {
            _ if deed.stale.is_some() => Some(Fault::PausedWorker),
            Some(WorkerDeed::Leased) if skew_ms != 0 => Some(Fault::Skew),
            Some(WorkerDeed::Renewed) => Some(Fault::SlowDeploy),
            _ => None,
        });
        let modelled = match deed.worker {
            Some(WorkerDeed::Leased) => Some(model::Action::Lease),
            Some(WorkerDeed::Launched) => Some(model::Action::LaunchJob),
            Some(WorkerDeed::Finished) => Some(model::Action::JobDeployEnds),
            Some(WorkerDeed::Renewed | WorkerDeed::LaunchedAgain) | None => None,
        };
        Some(Taken { action: Action::Worker { instance, outcome: deed.outcome }, fault, modelled })
    }

    fn apply_worker(&mut self, deed: &Deed) {
        let harmed = deed.outcome.fault().is_some();
        if let Some(launch) = deed.launched
            && let Some(ledger) = self.ledgers.iter_mut().find(|ledger| ledger.id == launch.approval)
        {
            ledger.launched(deed);
        }
        if let Some(acted) = deed.stale {
            for ledger in self.ledgers.iter_mut().filter(|ledger| Some(ledger.id) == deed.approval) {
                ledger.beyond.stale_worker_tried = true;
                ledger.beyond.stale_worker_acted |= acted;
            }
        }
        if harmed {
            self.ledgers.iter_mut().for_each(|ledger| ledger.clean = false);
        }
    }

    /// Whether a worker would find something to do.
    pub(super) fn has_job(&self) -> bool {
        let now = self.now();
        self.ledgers.iter().any(|ledger| match ledger.job {
            Some(JobState::Ready) => true,
            Some(JobState::Leased { until, .. }) => until <= now,
            Some(JobState::Done) | None => false,
        })
    }

    pub(super) fn worker_runs(&self, instance: usize) -> bool {
        self.workers[instance].is_some()
    }

    fn arrives(&mut self, client: Option<u8>) -> Option<()> {
        let mut control = self.platform.control();
        let place = control.late.iter().position(|late| match (late.who, client) {
            (Who::Attempt { client: whose, .. }, Some(client)) => whose == client,
            (Who::Worker { .. }, None) => true,
            _ => false,
        })?;
        let late = control.late.remove(place);
        control.deed = Deed::default();
        control.who = late.who;
        drop(control);
        match late.message {
            Message::Finish { lease, ended } => {
                self.platform.deliver_finish(&lease, ended).ok();
            }
            Message::Commit { ask, step, approval, digest, target, ops } => {
                let flow = Arc::clone(&self.platform.flow);
                let commit = countersign::protocol::Commit { approval, digest, target, ops: &ops };
                self.platform.deliver(&ask, &flow.steps()[step], commit).ok();
            }
        }
        let deed = std::mem::take(&mut self.platform.control().deed);
        let now = self.now();
        if let Who::Attempt { client, attempt } = late.who {
            let consumer = &mut self.consumers[usize::from(client)];
            let ledger = &mut self.ledgers[usize::from(consumer.plan.approval)];
            ledger.changed(deed.changed, now);
            if deed.changed.consumed > 0 {
                consumer.consumed = Some(deed.target.flatten().map(|target| target.id));
            }
            if let Some(facts) = ledger.promotions.get_mut(usize::from(attempt)) {
                let matters = facts.stage == Stage::Running || facts.stage.is_refused();
                facts.wrote |= deed.changed.wrote && matters;
                facts.consumed |= deed.changed.consumed > 0 && matters;
            }
        }
        self.apply_worker(&deed);
        match client {
            Some(client) => {
                self.note_client(client, "has a late message arrive: it is applied, if it still can be")
            }
            None => self.note(Actor::Worker { index: 0 }, Actor::Store, 0, "has a late message arrive"),
        }
        Some(())
    }

    fn process_deploy_ends(&mut self, client: u8, failed: bool) -> Option<Taken> {
        let mut control = self.platform.control();
        let mine =
            |deploy: &Deploy| matches!(deploy.who, Who::Attempt { client: whose, .. } if whose == client);
        let place = control.deploys.iter().position(mine)?;
        let deploy = control.deploys.remove(place);
        drop(control);
        let ended = if failed { StackStatus::Failed } else { StackStatus::Healthy };
        let launch = deploy.launch;
        at_once(self.platform.store.settle(launch.approval, launch.target, ended)).ok();
        let does = format!("settles: the deploy of consumer {} ends", client + 1);
        self.push_scene(Actor::Target, Actor::Target, does, None, false);
        Some(Taken {
            action: Action::ProcessDeployEnds { client, failed },
            fault: failed.then_some(Fault::FailedDeploy),
            modelled: Some(model::Action::DeployEnds { consumer: client }),
        })
    }

    fn crash(&mut self, instance: u8) -> Option<()> {
        let index = usize::from(instance);
        let dies = |consumer: &Consumer| {
            let running = |attempt: &Attempt| matches!(attempt.slot, Slot::Running(_));
            consumer.plan.instance == instance && consumer.attempts.iter().any(running)
        };
        let mut control = self.platform.control();
        let deploys = control.deploys.iter().any(|deploy| deploy.instance == instance);
        let busy = deploys || self.workers.get(index)?.is_some() || self.consumers.iter().any(dies);
        busy.then_some(())?;
        control.deploys.retain(|deploy| deploy.instance != instance);
        drop(control);
        self.workers[index] = None;
        for consumer in self.consumers.iter_mut().filter(|consumer| consumer.plan.instance == instance) {
            let ledger = &mut self.ledgers[usize::from(consumer.plan.approval)];
            for attempt in &mut consumer.attempts {
                if matches!(attempt.slot, Slot::Running(_)) {
                    attempt.slot = Slot::Ended { succeeded: false };
                    consumer.unknown = true;
                    self.endings[Ending::Killed as usize] += 1;
                    if let Some(facts) = attempt.facts {
                        ledger.ended(facts, Stage::Killed);
                    }
                }
            }
        }
        for ledger in &mut self.ledgers {
            ledger.clean = false;
            if self.platform.mutant == Some(Mutant::ForgottenOnRestart) {
                self.platform.strategy.forget(ledger.id);
            }
        }
        Some(())
    }

    /// Looks at what the store has, brings the ledgers up to date, and judges: those of one approval's family, or all.
    fn observe(&mut self, touched: Option<usize>) {
        let now = self.now();
        let only = touched.map(|approval| (self.ledgers[approval].team, self.ledgers[approval].sources));
        let seen_by = |ledger: &Ledger| only.is_none_or(|(_, sources)| ledger.sources == sources);
        let Self { platform, ledgers, consumers, teams, .. } = self;
        let control = platform.control();
        for (team, seen, cap) in
            teams.iter_mut().filter(|(team, ..)| only.is_none_or(|(only, _)| only == *team))
        {
            platform.store.look(*team, |records| {
                for event in &records.audit[*seen..] {
                    if let Some(ledger) = ledgers.iter_mut().find(|ledger| ledger.id == event.approval) {
                        ledger.event(event.kind);
                    }
                }
                *seen = records.audit.len();
                for ledger in ledgers.iter_mut().filter(|ledger| ledger.team == *team && seen_by(ledger)) {
                    ledger.look(records, *cap);
                }
            });
        }
        for (index, ledger) in ledgers.iter_mut().enumerate().filter(|(_, ledger)| seen_by(ledger)) {
            let Some(record) = platform.store.standing(ledger.id) else { continue };
            let had_passed = ledger.window_passed;
            ledger.stands(record.standing.status, now);
            ledger.clean &= had_passed || !ledger.window_passed;
            let has_targets = ledger.has_targets();
            let mut running = false;
            for consumer in consumers.iter().filter(|one| usize::from(one.plan.approval) == index) {
                for attempt in &consumer.attempts {
                    if !matches!(attempt.slot, Slot::Running(_)) {
                        continue;
                    }
                    running = true;
                    let Some(facts) = attempt.facts.and_then(|at| ledger.promotions.get_mut(at)) else {
                        continue;
                    };
                    let At::Change { consumes, writes_target } = attempt.at else {
                        (facts.at_consume, facts.at_contended_write) = (false, false);
                        continue;
                    };
                    facts.at_consume = consumes;
                    let created = attempt.target.is_some_and(|target| target.created);
                    facts.at_contended_write = writes_target && !created && has_targets;
                }
            }
            let runs = |deploy: &Deploy| deploy.launch.approval == ledger.id && deploy.ended.is_none();
            let deploys = control.deploys.iter().any(runs);
            let late = control.late.iter().any(|late| match &late.message {
                Message::Commit { approval, .. } => *approval == ledger.id,
                Message::Finish { lease, .. } => lease.approval == ledger.id,
            });
            ledger.under_way = running || deploys || late || ledger.job_is_open();
        }
        drop(control);
        for ledger in self.ledgers.iter().filter(|ledger| seen_by(ledger)) {
            self.found = ledger.judge(self.found);
        }
    }
}

/// A promotion that has not begun gets its place in the ledger; another team's has none.
fn begin_facts(ledger: &mut Ledger, wants: Wants, begins_at: At) -> Option<usize> {
    let foreign = match wants {
        Wants::Approved => false,
        Wants::OtherStack => true,
        Wants::OtherTeam => return None,
    };
    let at_consume = matches!(begins_at, At::Change { consumes: true, .. });
    ledger.promotions.push(PromotionFacts { foreign, at_consume, ..PromotionFacts::default() });
    Some(ledger.promotions.len() - 1)
}

/// How a request ended, for the coverage of a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// 200 or 202.
    Succeeded,
    /// 200 or 202 again, under the same key.
    Replayed,
    /// 409 by the approval's rules.
    Conflict,
    /// Any other refusal by the approval's rules.
    Refused,
    /// Refused by the preflight.
    PreflightRefused,
    /// Outcome unknown.
    Unknown,
    /// Its process died.
    Killed,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Succeeded,
        Self::Replayed,
        Self::Conflict,
        Self::Refused,
        Self::PreflightRefused,
        Self::Unknown,
        Self::Killed,
    ];

    /// What a report calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Replayed => "same outcome again",
            Self::Conflict => "409",
            Self::Refused => "refused otherwise",
            Self::PreflightRefused => "preflight refusal",
            Self::Unknown => "outcome unknown",
            Self::Killed => "killed",
        }
    }

    fn of(stage: Stage, replayed: bool) -> Self {
        match stage {
            Stage::Succeeded if replayed => Self::Replayed,
            Stage::Succeeded => Self::Succeeded,
            Stage::Conflict => Self::Conflict,
            Stage::PreflightRefused => Self::PreflightRefused,
            Stage::Unknown => Self::Unknown,
            Stage::Killed => Self::Killed,
            Stage::Refused | Stage::Waiting | Stage::Running => Self::Refused,
        }
    }
}

/// What a client's answer means, for the ledger and for the client itself.
fn answered(consumer: &mut Consumer, ledger: &mut Ledger, duplicate: bool, answer: &Answer) -> Stage {
    let attempt = &mut consumer.attempts[usize::from(duplicate)];
    let stage = model::stage(&answer.end);
    let succeeded = stage == Stage::Succeeded;
    attempt.slot = Slot::Ended { succeeded };
    if let Some(facts) = attempt.facts {
        // To be told again what one has done oneself is no second success.
        let again = answer.replayed && succeeded && consumer.consumed.is_some();
        ledger.ended(facts, if again { Stage::Unknown } else { stage });
    } else {
        let told = match &answer.end {
            End::Succeeded { .. } => true,
            End::Refused { refusal, preflight: false } => {
                refusal.status() < 500 && *refusal != countersign::protocol::Refusal::APPROVAL_NOT_FOUND
            }
            End::Refused { preflight: true, .. } | End::Unknown { .. } => false,
        };
        ledger.beyond.stranger_asked = true;
        ledger.beyond.stranger_told |= told;
    }
    let has_key = consumer.ask.key.is_some();
    if has_key && attempt.is_retry && consumer.plan.wants == Wants::Approved {
        let differs = match &answer.end {
            End::Succeeded { target } => {
                let target = target.map(|target| target.id);
                attempt.had_consumed && consumer.consumed != Some(target)
            }
            // A server error is no outcome: one asks again.
            End::Refused { refusal, .. } => attempt.had_consumed && refusal.status() < 500,
            End::Unknown { .. } => false,
        };
        ledger.beyond.retried |= stage != Stage::Unknown;
        ledger.beyond.retry_differs |= differs;
    }
    consumer.unknown |= stage == Stage::Unknown;
    stage
}

fn modelled(consumer: u8, outcome: Outcome) -> Option<model::Action> {
    let outcome = match outcome {
        Outcome::Happens => model::Outcome::Happens,
        Outcome::Refuses => model::Outcome::Refuses,
        Outcome::FailedBefore => model::Outcome::Fails,
        Outcome::AnswerLost => model::Outcome::LosesAnswer,
        Outcome::AppliedTwice | Outcome::AppliedLate | Outcome::Slow | Outcome::StaleRead => return None,
    };
    Some(model::Action::Promotion { consumer, outcome })
}

impl Simulation {
    /// A client that was not there before asks for what was approved, and is served to the end. The refusal, if it is
    /// one.
    pub(super) fn ask_afresh(&mut self, approval: usize) -> Result<(), Option<Refusal>> {
        let ledger = &mut self.ledgers[approval];
        let known = self
            .consumers
            .iter()
            .find(|one| usize::from(one.plan.approval) == approval && one.plan.wants == Wants::Approved);
        let Some(known) = known else { return Ok(()) };
        let plan = known.plan;
        let ask = Arc::new(Ask { key: None, ..Ask::clone(&known.ask) });
        let Some(source) = self.platform.store.digest(&ask) else { return Ok(()) };
        let facts = begin_facts(ledger, Wants::Approved, self.begins_at);
        let mut attempt = Attempt::new(Slot::Waiting, facts);
        attempt.slot = Slot::Running(task::request(&self.platform, &ask, source));
        if let Some(facts) = facts {
            ledger.promotions[facts].stage = Stage::Running;
        }
        ledger.clean = false;
        let attempts = [attempt, Attempt::new(Slot::Off, None)];
        self.consumers.push(Consumer { plan, ask, attempts, consumed: None, unknown: false, retries: 0 });
        let place = self.consumers.len() - 1;
        self.answered_last = None;
        while let Slot::Running(_) = self.consumers[place].attempts[0].slot {
            self.take(Action::Promotion { client: place as u8, duplicate: false, outcome: Outcome::Happens });
        }
        match self.answered_last.take() {
            Some(End::Succeeded { .. }) => Ok(()),
            Some(End::Refused { refusal, .. } | End::Unknown { refusal }) => Err(Some(refusal)),
            None => Err(None),
        }
    }
}

mod enabled;
mod scenes;
mod setup;

pub(super) use enabled::Enabled;
use setup::Setup;
