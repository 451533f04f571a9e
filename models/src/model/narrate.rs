//! A run in words: who does what to whom, and what comes of it.

use std::fmt;

use countersign::protocol::{Commit, Effect, End, Op, Promotion, Refusal, Step, flow::Do};

use super::{Action, Model, Outcome, target_index};
use crate::world::State;

/// Who takes part in a run, in the order in which a diagram shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// Says yes, or comes too late.
    Operator,
    /// Says no.
    Administrator,
    /// A consumer of the approval, counted from 0.
    Consumer {
        /// Which one.
        index: u8,
        /// It asks for another stack than the approved one.
        foreign: bool,
    },
    /// The source that the promotion takes its images from.
    Source,
    /// Approvals, audit events and the outbox.
    Store,
    /// The target stack, and its deploys.
    Target,
    /// Leases jobs and launches them.
    Worker {
        /// Which one, counted from 0.
        index: u8,
    },
    /// What nobody does: the clock and the crash.
    World,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::Administrator => f.write_str("administrator"),
            Self::Consumer { index, foreign: false } => write!(f, "consumer {}", index + 1),
            Self::Consumer { index, foreign: true } => write!(f, "consumer {} (another stack)", index + 1),
            Self::Source => f.write_str("source"),
            Self::Store => f.write_str("store"),
            Self::Target => f.write_str("target"),
            Self::Worker { index: 0 } => f.write_str("worker"),
            Self::Worker { index } => write!(f, "worker {}", index + 1),
            Self::World => f.write_str("world"),
        }
    }
}

/// One action of a run, to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    /// Who acts.
    pub from: Actor,
    /// On whom; the same one when nobody else takes part.
    pub to: Actor,
    /// What is done, as a verb with its object.
    pub does: String,
    /// What comes of it, where that is not plain.
    pub result: Option<String>,
    /// A fault or a crash.
    pub is_harm: bool,
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            Actor::World => f.write_str(&self.does)?,
            from => write!(f, "{from} {}", self.does)?,
        }
        match &self.result {
            Some(result) => write!(f, ": {result}"),
            None => Ok(()),
        }
    }
}

impl Model {
    /// The action without its state: the little that can be said.
    pub(super) fn describe(&self, action: Action) -> String {
        match action {
            Action::Promotion { consumer, outcome } => {
                let actor = Actor::Consumer { index: consumer, foreign: self.is_foreign(consumer) };
                let how = match outcome {
                    Outcome::Happens => "goes on",
                    Outcome::Refuses => "is refused by its step",
                    Outcome::Fails => "meets a fault: nothing applied",
                    Outcome::LosesAnswer => "meets a fault: applied, answer lost",
                };
                format!("{actor} {how}")
            }
            _ => self.narrate(&self.initial(), action).to_string(),
        }
    }

    /// What `action` is in this state.
    pub fn narrate(&self, state: &State, action: Action) -> Scene {
        let scene = |from, to, does: &str| Scene {
            from,
            to,
            does: does.to_owned(),
            result: None,
            is_harm: action.is_harm(),
        };
        match action {
            Action::Approve => scene(Actor::Operator, Actor::Store, "approves"),
            Action::Expire => {
                scene(Actor::Operator, Actor::Store, "opens the link too late: the approval expires")
            }
            Action::Reject => scene(Actor::Administrator, Actor::Store, "rejects"),
            Action::ClockPasses => scene(Actor::World, Actor::World, "the clock passes expires_at"),
            Action::SourceChanges => scene(Actor::Source, Actor::Source, "gets new images"),
            Action::Lease => scene(Actor::Worker { index: 0 }, Actor::Store, "leases the launch job"),
            Action::LaunchJob => {
                scene(Actor::Worker { index: 0 }, Actor::Target, "launches the deploy under its key")
            }
            Action::JobDeployEnds => scene(Actor::Target, Actor::Target, "settles: the job's deploy ends"),
            Action::DeployEnds { consumer } => {
                let does = format!("settles: the deploy of consumer {} ends", consumer + 1);
                scene(Actor::Target, Actor::Target, &does)
            }
            Action::LeaseEnds => scene(Actor::World, Actor::World, "the lease is given back or runs out"),
            Action::Crash => scene(Actor::World, Actor::World, "the process crashes"),
            Action::Promotion { consumer, outcome } => self.narrate_promotion(state, consumer, outcome),
        }
    }

    fn narrate_promotion(&self, state: &State, consumer: u8, outcome: Outcome) -> Scene {
        let from = Actor::Consumer { index: consumer, foreign: self.is_foreign(consumer) };
        let one = &state.consumers[usize::from(consumer)];
        let at = self.checkpoint(&state.world, one, consumer);
        let step = Promotion::restore(&self.flow, self.request(consumer), at).step();
        let mut after = *state;
        let Some((effect, promotion)) = self.advance(&mut after, consumer, outcome) else {
            let does = "cannot do this here".to_owned();
            return Scene { from, to: from, does, result: None, is_harm: true };
        };
        let (to, does) = deed(&effect, step, from);
        let refusal = match promotion.end() {
            Some(End::Refused { refusal, .. } | End::Unknown { refusal }) => Some(refusal),
            Some(End::Succeeded { .. }) | None => None,
        };
        let result = match outcome {
            Outcome::Happens => match refusal {
                Some(refusal) => Some(refusal.to_string()),
                None => outcome_of(&effect, &promotion, after.world.created() > state.world.created()),
            },
            Outcome::Refuses => Some(or_logged(refusal, "")),
            Outcome::Fails => Some(or_logged(refusal, "fault, nothing applied, ")),
            Outcome::LosesAnswer => Some(or_logged(refusal, "fault, applied but the answer is lost, ")),
        };
        let is_harm = matches!(outcome, Outcome::Fails | Outcome::LosesAnswer);
        Scene { from, to, does, result, is_harm }
    }
}

fn or_logged(refusal: Option<&Refusal>, prefix: &str) -> String {
    match refusal {
        Some(refusal) => format!("{prefix}{refusal}"),
        None => format!("{prefix}logged, and it goes on"),
    }
}

fn outcome_of(effect: &Effect<'_>, promotion: &Promotion<'_>, created: bool) -> Option<String> {
    let known = promotion.checkpoint().target.map(|target| target_index(target.id) + 1);
    let writes = |commit: &Commit<'_>| commit.ops.iter().any(|op| matches!(op, Op::WriteTarget { .. }));
    match (effect, known) {
        (Effect::FindTarget, Some(number)) => Some(format!("there is target {number}")),
        (Effect::FindTarget, None) => Some("there is none".to_owned()),
        (Effect::Commit(commit), Some(number)) if writes(commit) && created => {
            Some(format!("creates target {number}"))
        }
        (Effect::Commit(commit), Some(number)) if writes(commit) => Some(format!("updates target {number}")),
        (Effect::Launch { .. } | Effect::Answer, _) => None,
        _ => Some("ok".to_owned()),
    }
}

/// On whom the effect acts, and what it is called.
pub(crate) fn deed(effect: &Effect<'_>, step: Option<&Step>, consumer: Actor) -> (Actor, String) {
    let name = step.and_then(|step| step.name.as_deref());
    let (to, does) = match effect {
        Effect::Validate { .. } => (Actor::Store, "validates the approval"),
        Effect::Check => match name {
            Some(name) => return (Actor::Source, format!("checks {name}")),
            None => (Actor::Source, "checks"),
        },
        Effect::Lease { .. } => (Actor::Store, "takes the lease"),
        Effect::FindTarget => (Actor::Target, "looks for the target"),
        Effect::ReadApproval { .. } => (Actor::Store, "looks at the approval"),
        Effect::Launch { .. } => (Actor::Target, "launches the deploy"),
        Effect::Answer => (consumer, "answers: success"),
        Effect::Commit(_) if matches!(step.map(|step| &step.action), Some(Do::Atomic(_))) => {
            (Actor::Store, "commits")
        }
        Effect::Commit(commit) => match commit.ops {
            [Op::WriteTarget { .. }] => (Actor::Target, "writes the target"),
            [Op::WriteVault] => (Actor::Target, "writes the vault"),
            [Op::Audit] => (Actor::Store, "writes the executed event"),
            [Op::Enqueue] => (Actor::Store, "writes the launch job"),
            _ => (Actor::Store, "consumes the approval"),
        },
    };
    let does = match name {
        Some(name) => format!("{does} ({name})"),
        None => does.to_owned(),
    };
    (to, does)
}
