//! The simulation itself: takes one action after another, and keeps the ledgers.

use std::sync::Arc;

use countersign::{
    protocol::{End, Environment, Status, Timestamp},
    service::Worked,
    store::{Clock, Decision, Service, StackStatus, Store, StoreError, Tenants, Verdict},
};
use uuid::Uuid;

use super::{
    Action, LEASE_MS,
    faults::{Fault, SKEW_MS},
    ledger::{Found, Ledger},
    platform::{At, Deploy, Platform, Who},
    task::Task,
};
use crate::{
    fixtures::at_once,
    model::{self, Actor, Scene},
    properties::Facts,
};

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

type Worker = Task<Result<Worked, StoreError>>;

/// A scenario under way.
pub struct Simulation {
    /// By how much each instance's clock is ahead.
    skews_ms: Vec<i64>,
    /// How many clients the scenario has. Those that come in the heal phase are not counted.
    clients: usize,
    platform: Arc<Platform>,
    ledgers: Vec<Ledger>,
    consumers: Vec<Consumer>,
    workers: Vec<Option<Worker>>,
    /// Each team with the events that have been seen and the stacks that its plan has room for.
    teams: Vec<(Uuid, usize, usize)>,
    begins_at: At,
    found: Found,
    images: u64,
    endings: [u32; Ending::ALL.len()],
    answered_last: Option<End>,
    /// The client's request that was polled last, if that was what was done.
    acted: Option<(u8, bool)>,
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

    pub(super) fn clients(&self) -> usize {
        self.clients
    }

    pub(super) fn instances(&self) -> usize {
        self.skews_ms.len()
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
        self.acted = None;
        let plain = |modelled| Some(Taken { action, fault: None, modelled });
        let taken = match action {
            Action::Approve { approval } => {
                let ledger = self.ledgers.get(usize::from(approval))?;
                // Whether it is pending is for the store to say.
                (!ledger.known.window_passed && self.operator(approval, Verdict::Approve)).then_some(())?;
                self.note(Actor::Operator, Actor::Store, approval, "approves");
                plain(Some(model::Action::Approve))
            }
            Action::Expire { approval } => {
                let ledger = self.ledgers.get(usize::from(approval))?;
                (ledger.status == Status::Pending && ledger.known.window_passed).then_some(())?;
                self.operator(approval, Verdict::Approve);
                self.ledgers[usize::from(approval)].known.clean = false;
                self.note(
                    Actor::Operator,
                    Actor::Store,
                    approval,
                    "opens the link too late: the approval expires",
                );
                plain(Some(model::Action::Expire))
            }
            Action::Reject { approval } => {
                let ledger = self.ledgers.get(usize::from(approval))?;
                let (team, approval_id) = (ledger.team, ledger.id);
                let decision =
                    Decision::Administrator { team, approval: approval_id, by: "admin@example.com" };
                at_once(self.platform.store.decide(decision)).ok()?.ok()?;
                self.ledgers[usize::from(approval)].known.clean = false;
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
                self.ledgers.iter_mut().for_each(|ledger| ledger.known.clean = false);
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
        if taken.is_some() {
            self.observe();
        }
        taken
    }

    fn operator(&self, approval: u8, verdict: Verdict) -> bool {
        let token = &*self.ledgers[usize::from(approval)].token;
        let decision = Decision::Operator { token, verdict };
        matches!(at_once(self.platform.store.decide(decision)), Ok(Ok(_)))
    }

    fn leases_run_out(&mut self) -> Option<()> {
        self.leases_are_held().then_some(())?;
        self.platform.clock.advance_ms(LEASE_MS + SKEW_MS.unsigned_abs());
        Some(())
    }

    fn source_changes(&mut self, approval: u8) -> Option<()> {
        let ledger = self.ledgers.get(usize::from(approval))?;
        (ledger.approved && !ledger.known.drifted).then_some(())?;
        let (team, source) = (ledger.team, ledger.sources[0]);
        self.images += 1;
        at_once(self.platform.store.put_services(team, source, services(self.images))).ok();
        for ledger in self.ledgers.iter_mut().filter(|ledger| ledger.sources[0] == source) {
            ledger.known.drifted = true;
            ledger.known.clean = false;
        }
        Some(())
    }
}

mod clients;
mod enabled;
mod ending;
mod instances;
mod observe;
mod scenes;
mod setup;

use clients::{Attempt, Consumer, Slot};
pub use ending::Ending;
use setup::BEGIN;
