//! Who may move, and what the move does.

use countersign::protocol::{Effect, End, Event, Promotion, Status, Window};

use super::{Model, remember};
use crate::{
    properties::Stage,
    world::{Consumer, JobStatus, State, World},
};

/// What becomes of one atomic action of a promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It happens, and is judged by the protocol's rules.
    Happens,
    /// Its step refuses by its own judgement.
    Refuses,
    /// The infrastructure fails before anything changed. A fault.
    Fails,
    /// It is applied, and the answer is lost. A fault.
    LosesAnswer,
}

/// One atomic action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The operator says yes.
    Approve,
    /// The operator opens the link too late.
    Expire,
    /// An administrator says no.
    Reject,
    /// The clock passes the end of the window.
    ClockPasses,
    /// The source gets new images.
    SourceChanges,
    /// A promotion's next action.
    Promotion {
        /// Whose.
        consumer: u8,
        /// What becomes of it.
        outcome: Outcome,
    },
    /// The worker leases the job.
    Lease,
    /// The worker launches the job.
    LaunchJob,
    /// The deploy of the job ends.
    JobDeployEnds,
    /// A deploy that a consumer's process launched ends.
    DeployEnds {
        /// Whose.
        consumer: u8,
    },
    /// The approval's lease is given back, or runs out: at its holder's end or after its death, or because it is slow.
    LeaseEnds,
    /// Every process dies: promotions, deploys, the worker.
    Crash,
}

impl Action {
    /// Whether it is a crash or an injected fault.
    pub fn is_harm(self) -> bool {
        matches!(self, Self::Crash | Self::Promotion { outcome: Outcome::Fails | Outcome::LosesAnswer, .. })
    }
}

impl Model {
    /// Every action that is possible in this state, with the state after it.
    pub fn moves(&self, state: &State) -> impl Iterator<Item = (State, Action)> {
        let mut actions = Vec::new();
        self.candidates(state, &mut actions);
        actions.into_iter().filter_map(move |action| Some((self.apply(state, action)?, action)))
    }

    /// What may happen in this state. Some of it turns out not to be possible: then [`apply`](Self::apply) says so.
    pub(super) fn candidates(&self, state: &State, actions: &mut Vec<Action>) {
        let world = &state.world;
        // Whether a decision is legal is for the table of transitions to say.
        if world.window_passed {
            actions.push(Action::Expire);
        } else {
            actions.extend([Action::Approve, Action::ClockPasses]);
        }
        actions.push(Action::Reject);
        if world.approved && !world.drifted {
            actions.push(Action::SourceChanges);
        }
        let may_fault = world.faults_left > 0;
        for consumer in 0..self.bounds.consumers {
            let one = &state.consumers[usize::from(consumer)];
            if matches!(one.stage, Stage::Waiting | Stage::Running) {
                let line = &self.lines[usize::from(one.cursor)];
                let mut push = |outcome| actions.push(Action::Promotion { consumer, outcome });
                push(Outcome::Happens);
                if line.refusal.is_some() {
                    push(Outcome::Refuses);
                }
                if may_fault && line.may_fail {
                    push(Outcome::Fails);
                }
                if may_fault && line.may_lose_answer {
                    push(Outcome::LosesAnswer);
                }
            }
            if one.deploying {
                actions.push(Action::DeployEnds { consumer });
            }
        }
        match world.job.status {
            JobStatus::Ready => actions.push(Action::Lease),
            JobStatus::Leased => actions.push(Action::LaunchJob),
            JobStatus::Running => actions.push(Action::JobDeployEnds),
            JobStatus::Absent | JobStatus::Done => {}
        }
        if world.lease_held && self.leases_end {
            actions.push(Action::LeaseEnds);
        }
        // A crash that kills nothing is no event.
        let job_runs = matches!(world.job.status, JobStatus::Leased | JobStatus::Running);
        let killable = |one: &Consumer| one.stage == Stage::Running || one.deploying;
        if world.crashes_left > 0 && (job_runs || state.consumers.iter().any(killable)) {
            actions.push(Action::Crash);
        }
    }

    /// The state after `action`; none when it is not possible here.
    pub(super) fn apply(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        let world = &mut next.world;
        match action {
            Action::Approve => self.decide(world, Event::Approve)?,
            Action::Expire => self.decide(world, Event::Expire)?,
            Action::Reject => self.decide(world, Event::Reject)?,
            Action::ClockPasses => {
                world.window_passed = true;
                world.clean = false;
            }
            Action::SourceChanges => {
                world.drifted = true;
                world.clean = false;
            }
            Action::Promotion { consumer, outcome } => self.promote(&mut next, consumer, outcome)?,
            Action::Lease => world.job.status = JobStatus::Leased,
            Action::LaunchJob => {
                world.job.status = JobStatus::Running;
                world.job.launched = true;
                world.launch(world.job.payload);
            }
            Action::JobDeployEnds => {
                world.job.status = JobStatus::Done;
                world.settle(world.job.target);
            }
            Action::DeployEnds { consumer } => {
                let one = &mut next.consumers[usize::from(consumer)];
                world.settle(one.target);
                one.end_deploy();
            }
            Action::LeaseEnds => world.lease_held = false,
            Action::Crash => crash(&mut next),
        }
        Some(next)
    }

    /// The operator or the administrator decides, by compare-and-swap.
    fn decide(&self, world: &mut World, event: Event) -> Option<()> {
        let window = if world.window_passed { Window::Passed } else { Window::Open };
        let status = (self.transitions)(world.status, event, window).ok()?;
        world.move_to(status);
        world.decisions = (world.decisions + 1).min(2);
        match event {
            Event::Approve => world.approved = true,
            Event::Reject | Event::Expire => world.clean = false,
            Event::Consume => unreachable!("a consume is no decision"),
        }
        Some(())
    }

    /// One action of the real promotion: begins it if need be, does what it asks and tells it the answer. None when
    /// the outcome is not possible here.
    pub(super) fn advance(
        &self,
        state: &mut State,
        consumer: u8,
        outcome: Outcome,
    ) -> Option<(Effect<'_>, Promotion<'_>)> {
        let State { world, consumers } = state;
        let one = &mut consumers[usize::from(consumer)];
        if one.stage == Stage::Waiting {
            one.stage = Stage::Running;
            one.held = self.source(world, consumer);
            one.began_on_approved = world.status == Status::Approved;
            world.clean &= world.approved && !self.is_foreign(consumer);
        }
        let mut promotion =
            Promotion::restore(&self.flow, self.request(consumer), self.checkpoint(world, one, consumer));
        let effect = promotion.effect()?;
        promotion.resume(self.reply(effect, world, one, consumer, outcome)?);
        Some((effect, promotion))
    }

    fn promote(&self, state: &mut State, consumer: u8, outcome: Outcome) -> Option<()> {
        let (_, promotion) = self.advance(state, consumer, outcome)?;
        let State { world, consumers } = state;
        let one = &mut consumers[usize::from(consumer)];
        match promotion.end() {
            None => remember(one, promotion.checkpoint()),
            Some(end) => {
                let stage = stage(end);
                world.clean &= stage != Stage::PreflightRefused;
                one.end(stage);
                world.forget_lease_of(consumer);
            }
        }
        if matches!(outcome, Outcome::Fails | Outcome::LosesAnswer) {
            world.faults_left -= 1;
            world.clean = false;
        }
        Some(())
    }
}

/// Where this end leaves a promotion.
pub(crate) fn stage(end: &End) -> Stage {
    match end {
        End::Succeeded { .. } => Stage::Succeeded,
        End::Refused { preflight: true, .. } => Stage::PreflightRefused,
        End::Refused { refusal, preflight: false } if refusal.status() == 409 => Stage::Conflict,
        End::Refused { preflight: false, .. } => Stage::Refused,
        End::Unknown { .. } => Stage::Unknown,
    }
}

fn crash(state: &mut State) {
    for one in &mut state.consumers {
        if one.deploying {
            one.end_deploy();
        }
        if one.stage == Stage::Running {
            one.end(Stage::Killed);
        }
    }
    let world = &mut state.world;
    // The dead give nothing back.
    world.lease_last = None;
    world.crashes_left -= 1;
    world.clean = false;
    // The lease runs out, and the job is there again.
    if matches!(world.job.status, JobStatus::Leased | JobStatus::Running) {
        world.job.status = JobStatus::Ready;
    }
}
