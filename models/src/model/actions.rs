//! The actions: who may move, and what the move does.

use countersign::protocol::{Ending, Event, Outcome, RefusalKind, Status, StepAction};

use serde::{Deserialize, Serialize};

use super::{Model, Press};
use crate::{
    properties::PromotionState,
    world::{Attempt, JobStatus, Lease, State, World, stage_of},
};

/// Outcome of one atomic action of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// Executed, and judged by the protocol's rules.
    Happens,
    /// Its step refuses by its own judgement.
    Refuses,
    /// The infrastructure fails before anything changed. A fault.
    Fails,
    /// Applied, with a lost reply. A fault.
    LosesAnswer,
}

/// One atomic action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// A press of the approve button.
    Approve(Press),
    /// An approver opens the link too late.
    Expire,
    /// An administrator rejects.
    Reject,
    /// An administrator revokes.
    Revoke,
    /// The clock passes the end of the window.
    ClockPasses,
    /// The source gets new images.
    SourceChanges,
    /// Another deploy changes the target.
    TargetChanges,
    /// An attempt's next action.
    Promotion {
        /// The index of the attempt.
        consumer: u8,
        /// Outcome of the action.
        outcome: StepOutcome,
    },
    /// The worker leases a job.
    Lease {
        /// The index of the act.
        act: u8,
        /// The job's key.
        slot: u8,
    },
    /// The worker launches a job.
    LaunchJob {
        /// The index of the act.
        act: u8,
        /// The job's key.
        slot: u8,
    },
    /// The deploy of a job ends.
    JobDeployEnds {
        /// The index of the act.
        act: u8,
        /// The job's key.
        slot: u8,
    },
    /// A deploy that an attempt's process launched ends.
    DeployEnds {
        /// The index of the attempt.
        consumer: u8,
        /// The index of the act.
        act: u8,
    },
    /// The object's lease expires.
    LeaseEnds,
    /// An in-flight marker expires.
    MarkerEnds {
        /// The attempt that inserted it.
        consumer: u8,
    },
    /// Every process dies: attempts, deploys, the worker.
    Crash,
}

impl Action {
    /// True for a crash or an injected fault.
    pub fn is_fault(self) -> bool {
        matches!(
            self,
            Self::Crash | Self::Promotion { outcome: StepOutcome::Fails | StepOutcome::LosesAnswer, .. }
        )
    }

    /// The attempt whose move it is; `None` for the world's. A job is its attempt's where keys are (`own_keys`).
    pub(crate) fn attempt(self, own_keys: bool) -> Option<u8> {
        match self {
            Self::Promotion { consumer, .. }
            | Self::DeployEnds { consumer, .. }
            | Self::MarkerEnds { consumer } => Some(consumer),
            Self::Lease { slot, .. } | Self::LaunchJob { slot, .. } | Self::JobDeployEnds { slot, .. } => {
                own_keys.then_some(slot)
            }
            _ => None,
        }
    }

    /// The caller of the move, for counting switches between callers; `None` for the world's.
    pub fn mover(self) -> Option<u8> {
        match self {
            Self::Promotion { consumer, .. } => Some(consumer),
            _ => None,
        }
    }
}

impl Model {
    /// Every action that is possible in this state, with the state after it.
    pub fn moves(&self, state: &State) -> impl Iterator<Item = (State, Action)> {
        let mut actions = Vec::new();
        self.candidates(state, &mut actions);
        actions.into_iter().filter_map(move |action| Some((self.apply(state, action)?, action)))
    }

    /// Candidate moves in this state. [`apply`](Self::apply) rejects those that turn out to be disabled.
    pub(crate) fn candidates(&self, state: &State, actions: &mut Vec<Action>) {
        self.world_candidates(&state.world, actions);
        for attempt in 0..self.attempts() {
            self.attempt_candidates(state, attempt, actions);
        }
        let world = &state.world;
        for (act, jobs) in (0..).zip(&world.jobs) {
            for (slot, job) in (0..).zip(jobs).take(self.layout.slots) {
                match job.status {
                    JobStatus::Ready => actions.push(Action::Lease { act, slot }),
                    JobStatus::Leased => actions.push(Action::LaunchJob { act, slot }),
                    JobStatus::Running => actions.push(Action::JobDeployEnds { act, slot }),
                    JobStatus::Absent | JobStatus::Done => {}
                }
            }
        }
        if self.lease_may_end(state) {
            actions.push(Action::LeaseEnds);
        }
        // A crash that kills nothing is no event.
        let job_runs = |status| matches!(status, JobStatus::Leased | JobStatus::Running);
        let is_killable = state.attempts.iter().any(Attempt::is_killable)
            || world.jobs.iter().flatten().any(|job| job_runs(job.status))
            || (self.is_in_memory() && world.uses > 0);
        if world.crashes_left > 0 && is_killable {
            actions.push(Action::Crash);
        }
    }

    fn world_candidates(&self, world: &World, actions: &mut Vec<Action>) {
        let object = self.flow.object();
        // The table of transitions decides if a decision is legal.
        if object.approvers > 0 {
            actions.extend(Press::ALL.map(Action::Approve));
            if world.window_passed {
                actions.push(Action::Expire);
            }
            actions.push(Action::Reject);
        }
        if object.revocable {
            actions.push(Action::Revoke);
        }
        if object.expires && !world.window_passed {
            actions.push(Action::ClockPasses);
        }
        let may_drift = matches!(world.status, Status::Approved | Status::Executed | Status::Revoked);
        if may_drift && object.bound && !world.drifted {
            actions.push(Action::SourceChanges);
        }
        if may_drift && object.target_bound && !world.target_drifted {
            actions.push(Action::TargetChanges);
        }
    }

    fn attempt_candidates(&self, state: &State, attempt: u8, actions: &mut Vec<Action>) {
        let one = &state.attempts[usize::from(attempt)];
        let may_fault = state.world.faults_left > 0;
        let mut push = |outcome| actions.push(Action::Promotion { consumer: attempt, outcome });
        if one.ending.is_some() {
            // An undo whose reply is lost is the same as a successful one.
            push(StepOutcome::Happens);
            if may_fault {
                push(StepOutcome::Fails);
            }
        } else if one.stage == PromotionState::Running
            || (one.stage == PromotionState::Waiting && self.may_begin(state, attempt))
        {
            let line = &self.profiles[usize::from(one.cursor)];
            push(StepOutcome::Happens);
            if line.refusal.is_some() {
                push(StepOutcome::Refuses);
            }
            if may_fault && line.may_fail {
                push(StepOutcome::Fails);
            }
            if may_fault && line.may_lose_answer {
                push(StepOutcome::LosesAnswer);
            }
        }
        for (act, deploy) in (0..).zip(&one.deploys) {
            if deploy.runs {
                actions.push(Action::DeployEnds { consumer: attempt, act });
            }
        }
        if one.has_marker && self.markers_expire() {
            actions.push(Action::MarkerEnds { consumer: attempt });
        }
    }

    /// A retry begins as soon as the first attempt has begun and has not been seen to succeed.
    pub(crate) fn may_begin(&self, state: &State, attempt: u8) -> bool {
        self.cast[usize::from(attempt)].retry_of.is_none_or(|first| {
            !matches!(
                state.attempts[usize::from(first)].stage,
                PromotionState::Waiting | PromotionState::Succeeded
            )
        })
    }

    /// The state after `action`; `None` when it is not possible here.
    pub(crate) fn apply(&self, state: &State, action: Action) -> Option<State> {
        // Written in the place in which it is returned: a state is large.
        let mut after = Some(*state);
        let next = after.as_mut()?;
        let world = &mut next.world;
        match action {
            Action::Approve(press) => self.press(world, press)?,
            Action::Expire => self.decide(world, Event::Expire)?,
            Action::Reject => self.decide(world, Event::Reject)?,
            Action::Revoke => {
                self.decide(world, Event::Revoke)?;
                world.was_revoked = true;
            }
            Action::ClockPasses => {
                world.window_passed = true;
                world.clean = false;
            }
            Action::SourceChanges => {
                world.drifted = true;
                world.clean = false;
            }
            Action::TargetChanges => {
                world.target_drifted = true;
                world.clean = false;
            }
            Action::Promotion { consumer, outcome } => self.promote(next, consumer, outcome)?,
            Action::Lease { act, slot } => {
                world.jobs[usize::from(act)][usize::from(slot)].status = JobStatus::Leased;
            }
            Action::LaunchJob { act, slot } => self.launch_job(world, act, slot),
            Action::JobDeployEnds { act, slot } => {
                let job = &mut world.jobs[usize::from(act)][usize::from(slot)];
                job.status = JobStatus::Done;
                let target = job.target;
                world.settle(target);
            }
            Action::DeployEnds { consumer, act } => {
                let deploy = &mut next.attempts[usize::from(consumer)].deploys[usize::from(act)];
                deploy.runs = false;
                world.settle(deploy.target.take());
            }
            Action::LeaseEnds => Self::free_lease(world),
            Action::MarkerEnds { consumer } => next.attempts[usize::from(consumer)].has_marker = false,
            Action::Crash => self.crash(next),
        }
        self.normalise(next);
        after
    }

    fn launch_job(&self, world: &mut World, act: u8, slot: u8) {
        let job = &mut world.jobs[usize::from(act)][usize::from(slot)];
        job.status = JobStatus::Running;
        let payload = job.payload;
        if !std::mem::replace(&mut job.launched, true) {
            self.count_effect(world, act, payload);
        } else {
            world.violated.acted_other |= self.is_other(payload);
        }
    }

    /// Kills attempts that have begun, deploys that run, leases with `renewed`, and what is stored in memory. Rows
    /// stay; a leased job comes back.
    fn crash(&self, state: &mut State) {
        let world = &mut state.world;
        if matches!(world.lease, Lease::Held { known: true, .. }) && self.lease_is_renewed(world) {
            Self::free_lease(world);
        }
        // The dead release nothing.
        (world.lease_last, world.fence_shared) = (None, false);
        world.crashes_left -= 1;
        world.clean = false;
        for job in world.jobs.iter_mut().flatten() {
            if matches!(job.status, JobStatus::Leased | JobStatus::Running) {
                job.status = JobStatus::Ready;
            }
        }
        if self.is_in_memory() {
            world.uses = 0;
            if world.status == Status::Executed {
                world.move_to(Status::Approved);
            }
        }
        for attempt in 0..self.attempts() {
            let one = &mut state.attempts[usize::from(attempt)];
            one.deploys = Default::default();
            one.is_forgotten |= self.layout.forgets_uses && one.uses > 0;
            if one.stage == PromotionState::Running {
                self.end(state, attempt, PromotionState::Killed);
            }
        }
    }

    fn is_in_memory(&self) -> bool {
        use countersign::protocol::Storage;
        self.flow.consume().is_some_and(|consume| consume.storage == Storage::Memory)
    }

    fn markers_expire(&self) -> bool {
        let expires =
            |action: &StepAction| matches!(action, StepAction::Recall { claim: true, claim_expires: true });
        self.flow.steps().iter().any(|step| expires(&step.action))
    }
}

/// Stage of an attempt after this outcome.
pub(crate) fn stage(outcome: &Outcome) -> PromotionState {
    match outcome {
        Outcome::Succeeded { .. } => PromotionState::Succeeded,
        Outcome::Refused { refusal, kind } => stage_of(*kind, refusal.status()),
        Outcome::Unknown { .. } => PromotionState::Unknown,
    }
}

/// The refusal that a stage stands for, while its undos run.
pub(super) fn ending(stage: PromotionState) -> Ending {
    let (kind, status) = match stage {
        PromotionState::PreflightRefused => (RefusalKind::Own, 412),
        PromotionState::PreflightConflict => (RefusalKind::Validation, 409),
        PromotionState::PreflightAbsent => (RefusalKind::Validation, 404),
        PromotionState::PreflightInvalid => (RefusalKind::Validation, 410),
        PromotionState::Conflict => (RefusalKind::Conflict, 409),
        PromotionState::Gone => (RefusalKind::Conflict, 410),
        PromotionState::Refused => (RefusalKind::Unavailable, 503),
        PromotionState::Unknown
        | PromotionState::Waiting
        | PromotionState::Running
        | PromotionState::Succeeded
        | PromotionState::AnswerLost
        | PromotionState::Killed => (RefusalKind::Unknown, 503),
    };
    Ending { kind, status }
}
