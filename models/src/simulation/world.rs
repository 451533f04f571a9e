//! The simulation itself: takes one action after another, and keeps the observers.

mod clients;
mod decisions;
mod enabled;
mod ending;
mod instances;
mod narration;
mod observe;
mod setup;
mod time;

use std::{collections::BTreeMap, sync::Arc};

use countersign::{
    platform::Environment,
    protocol::{Outcome, Timestamp},
    service::Worked,
    store::{Clock, Service, StoreError},
};
use uuid::Uuid;

use self::clients::{Attempt, Consumer, Slot};
pub use self::ending::Ending;
use super::{
    Action,
    faults::Fault,
    observer::{ApprovalObserver, Found},
    platform::{At, Platform},
    task::Task,
};
use crate::{
    model::{self, NarratedEvent},
    properties::Facts,
};

/// Result of taking an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The action, with what really became of it.
    pub action: Action,
    /// The kind of fault that it was.
    pub fault: Option<Fault>,
    /// The corresponding action of the model, if it has one.
    pub(super) modelled: Option<model::Action>,
}

type Worker = Task<Result<Worked, StoreError>>;

/// A scenario under way.
pub struct Simulation {
    platform: Arc<Platform>,
    observers: Vec<ApprovalObserver>,
    consumers: Vec<Consumer>,
    instances: Vec<Instance>,
    teams: Vec<TeamSeen>,
    /// Of each target, the largest fence that its keeper has seen: it refuses a smaller one.
    fences_seen: BTreeMap<Uuid, u64>,
    /// First position of a promotion of the flow.
    begins_at: At,
    /// Number of clients in the scenario, without those of the liveness phase.
    clients: usize,
    /// Number of builds of a source so far.
    images: u64,
    tally: Tally,
    /// The client's request that was polled last, if the last action was a poll.
    acted: Option<(u8, bool)>,
    /// `None` before the liveness phase.
    liveness_phase: Option<LivenessPhase>,
    events: Vec<NarratedEvent>,
}

/// One of the processes that share the store.
struct Instance {
    /// By how much its clock is ahead.
    skew_ms: i64,
    /// The worker's current task.
    worker: Option<Worker>,
}

/// A team, and how much of it the observers know.
struct TeamSeen {
    id: Uuid,
    /// Events that have been seen.
    events: usize,
    /// The stacks that its plan has room for.
    cap: usize,
}

/// Results of the actions so far.
#[derive(Default)]
struct Tally {
    found: Found,
    endings: [u32; Ending::ALL.len()],
    answered_last: Option<Outcome>,
}

/// The phase without faults, in which liveness is judged.
struct LivenessPhase {
    actions: Vec<Action>,
    /// The liveness properties pending at its beginning.
    owed: u32,
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
    /// Keeps a [`NarratedEvent`] of every action from now on.
    #[must_use]
    pub fn narrate(mut self) -> Self {
        self.platform_mut().narrates = true;
        self
    }

    pub(super) fn with_stale_reads(mut self) -> Self {
        self.platform_mut().keeps_readings = true;
        self
    }

    fn platform_mut(&mut self) -> &mut Platform {
        Arc::get_mut(&mut self.platform).expect("nobody has begun")
    }

    /// The actions as scenes.
    pub fn events(&self) -> &[NarratedEvent] {
        &self.events
    }

    /// The properties that were violated and exercised so far.
    pub fn found(&self) -> Found {
        self.tally.found
    }

    /// Number of approvals.
    pub fn approvals(&self) -> usize {
        self.observers.len()
    }

    /// Facts of an approval.
    pub fn facts(&self, approval: usize) -> Facts<'_> {
        self.observers[approval].facts()
    }

    pub(super) fn clients(&self) -> usize {
        self.clients
    }

    pub(super) fn instances(&self) -> usize {
        self.instances.len()
    }

    pub(super) fn observers(&self) -> &[ApprovalObserver] {
        &self.observers
    }

    pub(super) fn endings(&self) -> [u32; Ending::ALL.len()] {
        self.tally.endings
    }

    pub(super) fn break_promises(&mut self, broken: u32) {
        self.tally.found.broken |= broken;
    }

    fn now(&self) -> Timestamp {
        self.platform.clock.now()
    }

    /// The actions taken in the liveness phase.
    pub(super) fn liveness_actions(&self) -> &[Action] {
        self.liveness_phase.as_ref().map_or(&[], |phase| &phase.actions)
    }

    /// The liveness properties pending at the beginning of the liveness phase.
    pub(super) fn owed(&self) -> u32 {
        self.liveness_phase.as_ref().map_or(0, |phase| phase.owed)
    }

    pub(super) fn begin_liveness_phase(&mut self) {
        let owed =
            self.observers.iter().fold(0, |bits, observer| bits | observer.overdue() | observer.promised());
        self.liveness_phase = Some(LivenessPhase { actions: Vec::new(), owed });
    }

    /// Takes the action. `None` when it is not possible here: then nothing has happened.
    pub fn take(&mut self, action: Action) -> Option<Taken> {
        self.acted = None;
        let taken = self.act(action)?;
        self.observe();
        if let Some(phase) = &mut self.liveness_phase {
            phase.actions.push(taken.action);
        }
        Some(taken)
    }

    fn act(&mut self, action: Action) -> Option<Taken> {
        let modelled = |modelled| Taken { action, fault: None, modelled: Some(modelled) };
        let beyond_the_model = |fault| Taken { action, fault, modelled: None };
        Some(match action {
            Action::Approve { approval } => {
                self.approve(approval)?;
                modelled(model::Action::Approve(model::Press::Another))
            }
            Action::Expire { approval } => {
                self.expire(approval)?;
                modelled(model::Action::Expire)
            }
            Action::Reject { approval } => {
                self.reject(approval)?;
                modelled(model::Action::Reject)
            }
            Action::ClockPasses { approval } => {
                self.clock_passes(approval)?;
                modelled(model::Action::ClockPasses)
            }
            Action::ClockJumps { ms } => {
                self.clock_jumps(ms)?;
                beyond_the_model(Some(Fault::ClockJump))
            }
            Action::LeasesRunOut => {
                self.leases_run_out()?;
                beyond_the_model(None)
            }
            Action::SourceChanges { approval } => {
                self.source_changes(approval)?;
                modelled(model::Action::SourceChanges)
            }
            Action::Promotion { client, duplicate, outcome } => self.promotion(client, duplicate, outcome)?,
            Action::Duplicate { client } => {
                self.duplicate(client)?;
                beyond_the_model(Some(Fault::DuplicatedRequest))
            }
            Action::Retry { client } => {
                self.retry(client)?;
                beyond_the_model(Some(Fault::RetriedRequest))
            }
            Action::Arrives { client } => {
                self.arrives(client)?;
                beyond_the_model(None)
            }
            Action::Worker { instance, outcome } => self.worker(instance, outcome)?,
            Action::DeployEnds { approval, failed } => {
                self.deploy_ends(approval, failed)?;
                beyond_the_model(failed.then_some(Fault::FailedDeploy))
            }
            Action::ProcessDeployEnds { client, failed } => self.process_deploy_ends(client, failed)?,
            Action::Crash { instance } => {
                self.crash(instance)?;
                Taken { fault: Some(Fault::Crash), ..modelled(model::Action::Crash) }
            }
        })
    }
}
