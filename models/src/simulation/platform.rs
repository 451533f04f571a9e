//! The platform as a promotion and a worker see it: the real store in memory and a deployer, with a step gate before every effect.
//!
//! A task that is polled passes the step gate once, with what is to become of the effect behind it, and waits before the
//! next one: one poll is one atomic action. What really happened is noted as a [`StepRecord`].

mod deployer;
mod step_gate;
mod step_record;
mod store;

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use countersign::{
    protocol::{Change, Commit, Digest, Effect, Flow, Refusal, Step, Target, Timestamp},
    service::Launch,
    store::{
        Approvals, Clock, Committed, JobState, Lease, MemoryStore, Operations, Outbox, Plan,
        PromotionRequest, Reading, StackStatus, StoreError, Team, Tenants, memory::Records,
    },
};
use step_gate::StepGate;
use step_record::StepRecorder;
pub(super) use step_record::{Changed, StepRecord, WorkerStep};
use uuid::Uuid;

use super::{
    faults::{CallOutcome, SLOW_MS},
    mutants::{Mutant, Switchable},
};
use crate::{
    fixtures::{CountingIds, HandClock, run_ready},
    model::{Actor, deed},
    outages::Outages,
};

/// Position of a waiting task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum At {
    /// Before a read, an answer, or an effect of the worker's.
    #[default]
    Elsewhere,
    /// For a deploy to end.
    Deploy,
    /// Before a commit, or the look that it trusts.
    Change {
        /// The commit consumes.
        consumes: bool,
        /// The commit writes the target.
        writes_target: bool,
    },
}

/// The running task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Attempt { client: u8, attempt: u16 },
    Worker { instance: u8 },
}

/// A message that arrives later than its answer was given up.
#[derive(Clone, Debug)]
pub(super) struct Late {
    pub(super) who: Who,
    pub(super) message: Message,
}

#[derive(Clone, Debug)]
pub(super) enum Message {
    Commit {
        ask: PromotionRequest,
        step: usize,
        approval: Uuid,
        digest: Digest,
        target: Option<Target>,
        fence: Option<u64>,
        ops: Vec<Change>,
    },
    Finish {
        lease: Lease,
        ended: StackStatus,
    },
}

/// A deploy that runs, or has ended and waits for its worker to notice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deploy {
    pub(super) launch: Launch,
    pub(super) who: Who,
    pub(super) instance: u8,
    pub(super) ended: Option<StackStatus>,
}

/// Activity in addition to the tasks.
#[derive(Default)]
pub(super) struct Control {
    pub(super) late: Vec<Late>,
    pub(super) deploys: Vec<Deploy>,
    /// For stale reads: the values before the latest change, and after it.
    readings: Vec<Seen>,
}

struct Seen {
    approval: Uuid,
    source: Uuid,
    before: Option<Reading>,
    latest: Reading,
}

pub(super) struct Platform {
    pub(super) store: MemoryStore<Switchable>,
    outages: Arc<Outages>,
    pub(super) clock: Arc<HandClock>,
    pub(super) flow: Arc<Flow>,
    pub(super) mutant: Option<Mutant>,
    /// Diagrams are wanted.
    pub(super) narrates: bool,
    /// Stale reads may be wanted.
    pub(super) keeps_readings: bool,
    step_gate: StepGate,
    step_recorder: StepRecorder,
    control: Mutex<Control>,
}

impl Platform {
    /// With an empty store, at this time.
    pub(super) fn new(flow: Arc<Flow>, mutant: Option<Mutant>, now: Timestamp) -> Self {
        let (clock, ids) = (Arc::new(HandClock::at(now)), Arc::new(CountingIds::default()));
        let outages = Arc::new(Outages::default());
        let store = MemoryStore::with_strategy(Switchable::new(mutant), clock.clone(), ids.clone())
            .with_checks(outages.clone());
        Self {
            store,
            outages,
            clock,
            flow,
            mutant,
            narrates: false,
            keeps_readings: false,
            step_gate: StepGate::default(),
            step_recorder: StepRecorder::default(),
            control: Mutex::default(),
        }
    }

    /// True if this approval's lease is held.
    pub(super) fn is_leased(&self, team: Uuid, approval: Uuid) -> bool {
        let held = |(_, until)| self.clock.now() < until;
        let lease = || self.store.look(team, |records| records.lease(approval)).flatten();
        self.flow.takes_lease() && lease().is_some_and(held)
    }

    pub(super) fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The notes since the last call.
    pub(super) fn take_record(&self) -> StepRecord {
        self.step_recorder.take()
    }

    /// The launch of a step.
    pub(super) fn launched_by(&self, record: &StepRecord) -> Option<Launch> {
        let last = || self.control().deploys.last().map(|deploy| deploy.launch);
        if record.launched { last() } else { None }
    }

    /// The next task that is polled may pass the step gate once.
    pub(super) fn admit(&self, who: Who, instance: u8, outcome: CallOutcome) {
        self.step_gate.admit(who, instance, outcome);
    }

    /// Something arrives that this one has sent.
    pub(super) fn act_for(&self, who: Who) {
        let (_, instance) = self.step_gate.turn();
        self.step_gate.set_turn(who, instance);
    }

    /// The notes since the last call; `None` if no task has passed the step gate.
    pub(super) fn done(&self) -> Option<StepRecord> {
        // No notes before that.
        self.step_gate.take_permit().is_none().then(|| self.take_record())
    }

    /// Position of the last waiting task.
    pub(super) fn at(&self) -> At {
        self.step_gate.at()
    }

    /// The step gate: waits here until it is admitted, and returns the outcome of the effect behind it.
    pub(super) fn pass(&self, at: At) -> impl Future<Output = CallOutcome> {
        poll_fn(move |_| {
            let Some(outcome) = self.step_gate.take_permit() else {
                self.step_gate.wait(at);
                return Poll::Pending;
            };
            if outcome == CallOutcome::Slow {
                self.clock.advance_ms(SLOW_MS);
                self.step_recorder.outcome(CallOutcome::Slow);
            }
            Poll::Ready(outcome)
        })
    }

    /// The effect fails before anything happens, if that is its outcome.
    fn reach(&self, outcome: CallOutcome) -> Result<(), StoreError> {
        if outcome == CallOutcome::FailedBefore {
            self.step_recorder.outcome(outcome);
            self.say(|| (Actor::Store, String::new(), "fault, nothing applied".to_owned()));
            return Err(StoreError::not_applied("injected"));
        }
        Ok(())
    }

    fn say(&self, words: impl FnOnce() -> (Actor, String, String)) {
        if self.narrates {
            self.write_down(words);
        }
    }

    #[cold]
    fn write_down(&self, words: impl FnOnce() -> (Actor, String, String)) {
        self.step_recorder.say(words());
    }

    fn name(&self, effect: &Effect<'_>, step: Option<&Step>) {
        self.say(|| {
            let (to, does) = deed(effect, step, Actor::World, "approval");
            (to, does, "ok".to_owned())
        });
    }

    fn answered(&self, result: impl FnOnce() -> String) {
        self.say(|| (Actor::Store, String::new(), result()));
    }

    /// The reading of an earlier moment, where that is wanted and there is one. Keeps this one for later.
    fn reading_before(
        &self,
        approval: Uuid,
        ask: &PromotionRequest,
        fresh: &Reading,
        stale: bool,
    ) -> Option<Reading> {
        if !self.keeps_readings {
            return None;
        }
        let mut control = self.control();
        let source = ask.payload.source;
        let seen =
            control.readings.iter_mut().find(|seen| seen.approval == approval && seen.source == source);
        let Some(seen) = seen else {
            control.readings.push(Seen { approval, source, before: None, latest: fresh.clone() });
            return None;
        };
        if (&seen.latest.approval, seen.latest.digest) != (&fresh.approval, fresh.digest) {
            seen.before = Some(std::mem::replace(&mut seen.latest, fresh.clone()));
        }
        let before = seen.before.clone().filter(|_| stale)?;
        self.step_recorder.outcome(CallOutcome::StaleRead);
        Some(before)
    }

    /// One delivery of a commit.
    pub(super) fn deliver(
        &self,
        ask: &PromotionRequest,
        step: &Step,
        commit: Commit<'_>,
    ) -> Result<Committed, StoreError> {
        let ops = Mutant::ops(self.mutant, commit.ops);
        let commit = Commit { ops: &ops, ..commit };
        let team = ask.team;
        let capless = self.mutant == Some(Mutant::CapIgnored);
        let cap = |deployment_cap| {
            run_ready(self.store.put_team(team, Team { plan: Plan::Pro, deployment_cap })).ok();
        };
        let cap_now = || self.store.look(team, |records| records.team.deployment_cap);
        let before = capless.then(cap_now).flatten();
        if before.is_some() {
            cap(usize::MAX);
        }
        let committed = run_ready(self.store.commit(ask, step, commit));
        if let Some(before) = before {
            cap(before);
        }
        if let Ok(Committed::Applied { target }) = &committed {
            let mut changed = Changed::default();
            for op in commit.ops {
                match op {
                    Change::Consume(_) => changed.consumed += 1,
                    Change::WriteTarget { .. } => {
                        changed.wrote = true;
                        changed.other_services |= self.wrote_other(commit.approval, ask, target.as_ref());
                    }
                    Change::WriteVault => {
                        changed.wrote = true;
                        changed.vault = true;
                    }
                    Change::Audit | Change::Enqueue { .. } | Change::Row { .. } | Change::Remember => {}
                }
            }
            self.step_recorder.sent(changed);
            if target.is_some() {
                self.step_recorder.target(*target);
            }
        } else {
            self.step_recorder.sent(Changed::default());
        }
        committed
    }

    /// True if the target just written has other services than the approved ones.
    fn wrote_other(&self, approval: Uuid, ask: &PromotionRequest, target: Option<&Target>) -> bool {
        let team = ask.team;
        let Some(target) = target else { return false };
        if self.mutant == Some(Mutant::WritesWhatIsThere) {
            let source = ask.payload.source;
            let now = self.store.look(team, |records| {
                let source = records.stacks.iter().find(|stack| stack.id == source);
                source.map(|stack| Arc::clone(&stack.services))
            });
            if let Some(now) = now.flatten() {
                run_ready(self.store.put_services(team, target.id, now.to_vec())).ok();
            }
        }
        let differs = |records: Records<'_>| {
            let written = records.stacks.iter().find(|stack| stack.id == target.id);
            let approved = records.approval(approval);
            written.zip(approved).is_some_and(|(written, approved)| {
                !Arc::ptr_eq(&written.services, &approved.services) && written.services != approved.services
            })
        };
        self.store.look(team, differs).unwrap_or(false)
    }

    /// One delivery of the news that a deploy has ended.
    pub(super) fn deliver_finish(&self, lease: &Lease, ended: StackStatus) -> Result<bool, StoreError> {
        let mut lease = lease.clone();
        let fence = lease.fence;
        match self.mutant {
            Some(Mutant::Unfenced) => lease.fence = self.latest_fence(&lease).unwrap_or(lease.fence),
            // An id without a target.
            Some(Mutant::NeverSettles) => lease.target = Some(Uuid::max()),
            _ => {}
        }
        let done = run_ready(self.store.finish_job(&lease, ended))?;
        self.step_recorder.approval(Some(lease.approval));
        self.step_recorder.acted(fence, done);
        Ok(done)
    }

    fn latest_fence(&self, lease: &Lease) -> Option<u64> {
        let approval = run_ready(self.store.any_approval(lease.approval)).ok()??.approval;
        let job = |records: Records<'_>| records.job(lease.approval).map(|job| job.state);
        match self.store.look(approval.team, job).flatten()? {
            JobState::Leased { fence, .. } => Some(fence),
            JobState::Ready | JobState::Done => None,
        }
    }

    pub(super) fn answers_success(&self) {
        self.say(|| (Actor::World, "answers: success".to_owned(), "ok".to_owned()));
    }

    /// Records a worker's step, its job, and the step in words.
    fn worker_does(&self, worker: WorkerStep, approval: Option<Uuid>, words: &str) {
        self.step_recorder.worker(Some(worker));
        self.step_recorder.approval(approval);
        self.say(|| (Actor::Store, words.to_owned(), "ok".to_owned()));
    }
}

impl Platform {
    /// Starts an outage of the step's first refusal, if it is to refuse.
    fn begin_outage(&self, ask: &PromotionRequest, step: &Step, outcome: CallOutcome) -> Option<Refusal> {
        if outcome != CallOutcome::Refuses {
            return None;
        }
        let refusal = step.refusals().next().cloned()?;
        self.outages.begin(ask.team, refusal.clone());
        Some(refusal)
    }

    /// Ends the outage. If the step has refused meanwhile, that is the outcome.
    fn end_outage(&self, ask: &PromotionRequest, outage: Option<Refusal>, refused: bool) {
        if let Some(refusal) = outage {
            self.outages.end(ask.team, &refusal);
            if refused {
                self.step_recorder.outcome(CallOutcome::Refuses);
            }
        }
    }

    fn answer_of<T>(&self, judged: &Result<T, Refusal>) {
        if let Err(refusal) = judged {
            self.answered(|| refusal.to_string());
        }
    }
}
