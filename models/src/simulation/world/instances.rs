//! Actions of instances: workers, late messages, crashes.

use std::sync::Arc;

use countersign::{
    protocol::Commit,
    service::Launch,
    store::{JobState, StackStatus},
};

use super::{Consumer, Ending, Simulation, Slot, Taken, clients::Attempt};
use crate::{
    model::{self, Actor},
    properties::PromotionState,
    simulation::{
        Action, CallOutcome, Fault, Mutant,
        platform::{Deploy, Message, StepRecord, Who, WorkerStep},
        task,
    },
};

impl Simulation {
    pub(super) fn worker(&mut self, instance: u8, outcome: CallOutcome) -> Option<Taken> {
        let index = usize::from(instance);
        let skew_ms = self.instances.get(index)?.skew_ms;
        if self.instances[index].worker.is_none() {
            self.has_job().then_some(())?;
            self.instances[index].worker = Some(task::worker(&self.platform, skew_ms));
        }
        let worker = self.instances[index].worker.as_mut()?;
        self.platform.admit(Who::Worker { instance }, instance, outcome);
        let worked = task::poll(worker);
        if worked.is_some() {
            self.instances[index].worker = None;
        }
        let done = self.platform.done();
        let record = done.as_ref()?;
        let is_stale = self.apply_worker(record);
        self.describe_worker(instance, record, worked);
        let fault = record.outcome.fault().or(match record.worker {
            _ if is_stale => Some(Fault::PausedWorker),
            Some(WorkerStep::Leased) if skew_ms != 0 => Some(Fault::Skew),
            Some(WorkerStep::Renewed) => Some(Fault::SlowDeploy),
            _ => None,
        });
        let modelled = match record.worker {
            Some(WorkerStep::Leased) => Some(model::Action::Lease { act: 0, slot: 0 }),
            Some(WorkerStep::Launched) => Some(model::Action::LaunchJob { act: 0, slot: 0 }),
            Some(WorkerStep::Finished) => Some(model::Action::JobDeployEnds { act: 0, slot: 0 }),
            Some(WorkerStep::Renewed | WorkerStep::LaunchedAgain) | None => None,
        };
        Some(Taken { action: Action::Worker { instance, outcome: record.outcome }, fault, modelled })
    }

    /// True if the worker acted on a lease that another one has since acquired.
    fn apply_worker(&mut self, record: &StepRecord) -> bool {
        let faulted = record.outcome.fault().is_some();
        if let Some(launch) = self.platform.launched_by(record) {
            let (follows, overlaps) = self.reaches_target(&launch);
            if let Some(observer) = self.observers.iter_mut().find(|observer| observer.id == launch.approval)
            {
                observer.launched(&launch);
                observer.known.extra.deploy_followed |= follows;
                observer.known.extra.deploys_overlapped |= overlaps;
            }
        }
        if let Some(Launch { target: Some(target), fence, .. }) = record.launched_again {
            let seen = self.fences_seen.entry(target).or_default();
            *seen = fence.max(*seen);
        }
        let mut is_stale = false;
        if let Some((fence, succeeded)) = record.acted
            && let Some(observer) =
                self.observers.iter_mut().find(|observer| Some(observer.id) == record.approval)
        {
            // The state before the worker acted.
            is_stale = matches!(observer.job, Some(JobState::Leased { fence: latest, .. }) if fence < latest);
            observer.known.extra.stale_worker_tried |= is_stale;
            observer.known.extra.stale_worker_acted |= is_stale && succeeded;
        }
        if faulted {
            self.observers.iter_mut().for_each(|observer| observer.known.clean = false);
        }
        is_stale
    }

    /// Whether the target has another approval's deploy before this one, and whether that one still runs.
    fn reaches_target(&mut self, launch: &Launch) -> (bool, bool) {
        let Some(target) = launch.target else { return (false, false) };
        let seen = self.fences_seen.entry(target).or_default();
        if launch.fence < *seen {
            return (false, false);
        }
        let before = std::mem::replace(seen, launch.fence);
        let control = self.platform.control();
        let mut others = control.deploys.iter().filter(|deploy| {
            let Launch { approval, target: at, fence, .. } = deploy.launch;
            let by_worker = matches!(deploy.who, Who::Worker { .. });
            // One with a smaller fence was refused.
            by_worker && at == Some(target) && approval != launch.approval && fence == before
        });
        let other = others.next();
        (other.is_some(), other.is_some_and(|other| other.ended.is_none()))
    }

    /// True if a worker would find a job. A job waits while another one for its target is leased.
    pub(in crate::simulation) fn has_job(&self) -> bool {
        let now = self.now();
        let is_busy = |target| {
            self.observers.iter().any(|observer| {
                observer.job_target == Some(target) && matches!(observer.job, Some(JobState::Leased { .. }))
            })
        };
        self.observers.iter().any(|observer| match observer.job {
            Some(JobState::Ready) => !observer.job_target.is_some_and(is_busy),
            Some(JobState::Leased { until, .. }) => until <= now,
            Some(JobState::Done) | None => false,
        })
    }

    pub(in crate::simulation) fn worker_runs(&self, instance: usize) -> bool {
        self.instances[instance].worker.is_some()
    }

    pub(super) fn arrives(&mut self, client: Option<u8>) -> Option<()> {
        let mut control = self.platform.control();
        let place = control.late.iter().position(|late| match (late.who, client) {
            (Who::Attempt { client: whose, .. }, Some(client)) => whose == client,
            (Who::Worker { .. }, None) => true,
            _ => false,
        })?;
        let late = control.late.remove(place);
        drop(control);
        self.platform.take_record();
        self.platform.act_for(late.who);
        match late.message {
            Message::Finish { lease, ended } => {
                self.platform.deliver_finish(&lease, ended).ok();
            }
            Message::Commit { ask, step, approval, digest, target, fence, ops } => {
                let flow = Arc::clone(&self.platform.flow);
                let commit = Commit { approval, digest, target, fence, uses_seen: 0, ops: &ops };
                self.platform.deliver(&ask, &flow.steps()[step], commit).ok();
            }
        }
        let record = self.platform.take_record();
        let now = self.now();
        if let Who::Attempt { client, attempt } = late.who {
            let consumer = &mut self.consumers[usize::from(client)];
            let observer = &mut self.observers[usize::from(consumer.plan.approval)];
            observer.changed(record.changed, now);
            if record.changed.consumed > 0 {
                consumer.consumed = Some(record.target.flatten().map(|target| target.id));
            }
            observer.change(usize::from(attempt), |facts| {
                let matters = facts.stage == PromotionState::Running || facts.stage.is_refused();
                facts.wrote |= record.changed.wrote && matters;
                facts.consumed |= record.changed.consumed > 0 && matters;
            });
        }
        self.apply_worker(&record);
        match client {
            Some(client) => {
                self.note_client(client, "has a late message arrive: it is applied, if it still can be");
            }
            None => self.note(Actor::Worker { index: 0 }, Actor::Store, 0, "has a late message arrive"),
        }
        Some(())
    }

    /// A deploy that a worker has launched ends.
    pub(super) fn deploy_ends(&mut self, approval: u8, failed: bool) -> Option<()> {
        let id = self.observers.get(usize::from(approval))?.id;
        let runs = |deploy: &&mut Deploy| {
            let by_worker = matches!(deploy.who, Who::Worker { .. });
            by_worker && deploy.launch.approval == id && deploy.ended.is_none()
        };
        let ended = if failed { StackStatus::Failed } else { StackStatus::Healthy };
        self.platform.control().deploys.iter_mut().find(runs)?.ended = Some(ended);
        self.note(Actor::Target, Actor::Target, approval, "the job's deploy ends");
        Some(())
    }

    pub(super) fn crash(&mut self, instance: u8) -> Option<()> {
        let index = usize::from(instance);
        let dies = |consumer: &Consumer| {
            let running = |attempt: &Attempt| matches!(attempt.slot, Slot::Running(_));
            consumer.plan.instance == instance && consumer.attempts.iter().any(running)
        };
        let mut control = self.platform.control();
        let deploys = control.deploys.iter().any(|deploy| deploy.instance == instance);
        let busy = deploys || self.instances.get(index)?.worker.is_some() || self.consumers.iter().any(dies);
        busy.then_some(())?;
        control.deploys.retain(|deploy| deploy.instance != instance);
        drop(control);
        self.instances[index].worker = None;
        for consumer in self.consumers.iter_mut().filter(|consumer| consumer.plan.instance == instance) {
            let observer = &mut self.observers[usize::from(consumer.plan.approval)];
            for attempt in &mut consumer.attempts {
                if matches!(attempt.slot, Slot::Running(_)) {
                    attempt.slot = Slot::Ended { succeeded: false };
                    consumer.unknown = true;
                    self.tally.endings[Ending::Killed as usize] += 1;
                    observer.requests -= 1;
                    if let Some(facts) = attempt.facts {
                        observer.ended(facts, PromotionState::Killed);
                    }
                }
            }
        }
        for observer in &mut self.observers {
            observer.known.clean = false;
            if self.platform.mutant == Some(Mutant::ForgottenOnRestart) {
                self.platform.store.strategy().forget(observer.id);
            }
        }
        self.narrate_fault(match self.instances.len() {
            1 => "the process crashes".to_owned(),
            _ => format!("instance {} crashes", instance + 1),
        });
        Some(())
    }
}
