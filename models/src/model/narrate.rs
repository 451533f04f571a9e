//! A run in words: participants, actions and results.

use std::fmt;

use countersign::protocol::{
    Act, Change, Commit, Effect, Outcome, Promotion, Refusal, Step, StepAction, Via,
};

use super::{Action, Model, Press, Role, StepOutcome, target_index};
use crate::{properties::PromotionState, world::State};

/// The participants of a run, in the order of a diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// Says yes, or comes too late.
    Operator,
    /// Says no.
    Administrator,
    /// A caller, counted from 0.
    Consumer {
        /// Which one.
        index: u8,
        /// Requests another payload than the approved one.
        foreign: bool,
    },
    /// Another owner's caller who knows the id.
    OtherTenant,
    /// A link scanner.
    Scanner,
    /// The source that the promotion takes its images from.
    Source,
    /// Approvals, audit events and the outbox.
    Store,
    /// The target stack, and its deploys.
    Target,
    /// Another system, which an act calls.
    OtherSystem,
    /// Leases jobs and launches them.
    Worker {
        /// Which one, counted from 0.
        index: u8,
    },
    /// The world: the clock and the crash.
    World,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::Administrator => f.write_str("administrator"),
            Self::Consumer { index, foreign: false } => write!(f, "caller {}", index + 1),
            Self::Consumer { index, foreign: true } => write!(f, "caller {} (another payload)", index + 1),
            Self::OtherTenant => f.write_str("stranger"),
            Self::Scanner => f.write_str("scanner"),
            Self::Source => f.write_str("source"),
            Self::Store => f.write_str("store"),
            Self::Target => f.write_str("target"),
            Self::OtherSystem => f.write_str("other system"),
            Self::Worker { index: 0 } => f.write_str("worker"),
            Self::Worker { index } => write!(f, "worker {}", index + 1),
            Self::World => f.write_str("world"),
        }
    }
}

/// One action of a run, to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NarratedEvent {
    /// The acting participant.
    pub from: Actor,
    /// The other participant; the same one if there is none.
    pub to: Actor,
    /// The action, as a verb with its object.
    pub does: String,
    /// The result, if it is not obvious.
    pub result: Option<String>,
    /// A fault or a crash.
    pub is_fault: bool,
}

impl fmt::Display for NarratedEvent {
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
                let actor = self.actor(consumer);
                let how = match outcome {
                    StepOutcome::Happens => "goes on",
                    StepOutcome::Refuses => "is refused by its step",
                    StepOutcome::Fails => "meets a fault: nothing applied",
                    StepOutcome::LosesAnswer => "meets a fault: applied, answer lost",
                };
                format!("{actor} {how}")
            }
            _ => self.narrate(&self.initial(), action).to_string(),
        }
    }

    pub(super) fn actor(&self, attempt: u8) -> Actor {
        match self.role(attempt) {
            Role::Caller { index, foreign } => Actor::Consumer { index, foreign },
            Role::OtherTenant => Actor::OtherTenant,
            Role::Scanner => Actor::Scanner,
        }
    }

    pub(super) fn act_name(&self, act: u8) -> &str {
        self.flow.acts().nth(usize::from(act)).map_or("act", |(name, _)| name)
    }

    /// Narrates `action` in this state.
    pub fn narrate(&self, state: &State, action: Action) -> NarratedEvent {
        let noun = self.flow.object().noun.as_str();
        let scene = |from, to, does: String| NarratedEvent {
            from,
            to,
            does,
            result: None,
            is_fault: action.is_fault(),
        };
        match action {
            Action::Approve(press) => {
                let does = match press {
                    Press::Another => format!("approves the {noun}"),
                    Press::Again => format!("approves the {noun} again"),
                    Press::Requester => format!("approves the {noun} that it requested itself"),
                    Press::Scanner => format!("follows the link and approves the {noun}"),
                };
                let from = if press == Press::Scanner { Actor::Scanner } else { Actor::Operator };
                scene(from, Actor::Store, does)
            }
            Action::Expire => {
                scene(Actor::Operator, Actor::Store, format!("opens the link too late: the {noun} expires"))
            }
            Action::Reject => scene(Actor::Administrator, Actor::Store, format!("rejects the {noun}")),
            Action::Revoke => scene(Actor::Administrator, Actor::Store, format!("revokes the {noun}")),
            Action::ClockPasses => {
                scene(Actor::World, Actor::World, "the clock passes expires_at".to_owned())
            }
            Action::SourceChanges => scene(Actor::Source, Actor::Source, "gets new images".to_owned()),
            Action::TargetChanges => {
                scene(Actor::World, Actor::World, "another deploy changes the target".to_owned())
            }
            Action::Lease { act, .. } => {
                let does = format!("leases the job ({})", self.act_name(act));
                scene(Actor::Worker { index: 0 }, Actor::Store, does)
            }
            Action::LaunchJob { act, .. } => {
                let does = format!("launches the job under its key ({})", self.act_name(act));
                scene(Actor::Worker { index: 0 }, Actor::Target, does)
            }
            Action::JobDeployEnds { .. } => {
                scene(Actor::Target, Actor::Target, "settles: the job's deploy ends".to_owned())
            }
            Action::DeployEnds { consumer, .. } => {
                let does = format!("settles: the deploy of {} ends", self.actor(consumer));
                scene(Actor::Target, Actor::Target, does)
            }
            Action::LeaseEnds => scene(Actor::World, Actor::World, "the lease runs out".to_owned()),
            Action::MarkerEnds { .. } => {
                scene(Actor::World, Actor::World, "the in-flight marker expires".to_owned())
            }
            Action::Crash => scene(Actor::World, Actor::World, "the process crashes".to_owned()),
            Action::Promotion { consumer, outcome } => self.narrate_attempt(state, consumer, outcome),
        }
    }

    fn narrate_attempt(&self, state: &State, attempt: u8, outcome: StepOutcome) -> NarratedEvent {
        let from = self.actor(attempt);
        let one = &state.attempts[usize::from(attempt)];
        let at = self.checkpoint(&state.world, one, attempt);
        let step = Promotion::at_position(&self.flow, self.request(attempt), at).step();
        let mut after = *state;
        let Some((effect, promotion)) = self.advance(&mut after, attempt, outcome) else {
            let does = "cannot do this here".to_owned();
            return NarratedEvent { from, to: from, does, result: None, is_fault: true };
        };
        let undone = match effect {
            Effect::Undo { step } => self.flow.steps().get(step),
            _ => None,
        };
        let noun = self.flow.object().noun.as_str();
        let (to, mut does) = deed(&effect, step.or(undone), from, noun);
        if self.cast[usize::from(attempt)].retry_of.is_some() {
            does = match one.stage {
                PromotionState::Waiting => format!("sends the request again and {does}"),
                _ => format!("{does} (second request)"),
            };
        }
        let is_fault = matches!(outcome, StepOutcome::Fails | StepOutcome::LosesAnswer);
        if undone.is_some() {
            let result = match outcome {
                StepOutcome::Fails => "fault, the change stays",
                StepOutcome::LosesAnswer => "undone, though the answer is lost",
                _ => "ok",
            };
            let answers = if promotion.outcome().is_some() { "; answers the refusal" } else { "" };
            return NarratedEvent { from, to, does, result: Some(format!("{result}{answers}")), is_fault };
        }
        let refusal = match promotion.outcome() {
            Some(Outcome::Refused { refusal, .. } | Outcome::Unknown { refusal }) => Some(refusal),
            Some(Outcome::Succeeded { .. }) | None => None,
        };
        let or_logged = |prefix: &str| match (refusal, promotion.pending_refusal()) {
            (Some(refusal), _) => format!("{prefix}{}", shown(refusal, noun)),
            (None, Some(refusal)) => format!("{prefix}{}; starts to undo", shown(refusal, noun)),
            (None, None) => format!("{prefix}logged, and it goes on"),
        };
        let uses = step.is_some_and(|step| step.consume().is_some());
        let result = match outcome {
            StepOutcome::Happens if refusal.is_some() || promotion.pending_refusal().is_some() => {
                Some(or_logged(""))
            }
            StepOutcome::Happens if uses && changes_nothing(&effect, state, &after) => {
                Some("no row changed; goes on".to_owned())
            }
            StepOutcome::Happens => {
                outcome_of(&effect, &promotion, after.world.created() > state.world.created())
            }
            StepOutcome::Refuses => Some(or_logged("")),
            StepOutcome::Fails => Some(or_logged("fault, nothing applied, ")),
            StepOutcome::LosesAnswer if effect == Effect::Answer => Some("the answer is lost".to_owned()),
            StepOutcome::LosesAnswer => Some(or_logged("fault, applied but the answer is lost, ")),
        };
        NarratedEvent { from, to, does, result, is_fault }
    }
}

/// The refusal in the object's terms: the codes of the gate's approvals are no other endpoint's.
pub(super) fn shown(refusal: &Refusal, noun: &str) -> String {
    let is_ours = refusal.status() == 503 || refusal.code().starts_with("approval_");
    if noun == "approval" || !is_ours {
        return refusal.to_string();
    }
    let why = match refusal.status() {
        404 => " (not found)",
        409 if *refusal == Refusal::APPROVAL_PAYLOAD_MISMATCH => " (another payload)",
        409 => " (not usable)",
        410 => " (expired)",
        400 => " (does not match)",
        _ => "",
    };
    format!("{}{why}", refusal.status())
}

/// True if a swap found no row to change, or its own use.
fn changes_nothing(effect: &Effect<'_>, before: &State, after: &State) -> bool {
    let swaps = |commit: &Commit<'_>| commit.ops.iter().any(|op| matches!(op, Change::Consume { .. }));
    matches!(effect, Effect::Commit(commit) if swaps(commit)) && before.world.applied == after.world.applied
}

fn outcome_of(effect: &Effect<'_>, promotion: &Promotion<'_>, created: bool) -> Option<String> {
    let known = promotion.position().target.map(|target| target_index(target.id) + 1);
    let writes = |commit: &Commit<'_>| commit.ops.iter().any(|op| matches!(op, Change::WriteTarget { .. }));
    match (effect, known) {
        (Effect::FindTarget, Some(number)) => Some(format!("finds target {number}")),
        (Effect::FindTarget, None) => Some("finds none".to_owned()),
        (Effect::Commit(commit), Some(number)) if writes(commit) && created => {
            Some(format!("creates target {number}"))
        }
        (Effect::Commit(commit), Some(number)) if writes(commit) => Some(format!("updates target {number}")),
        (Effect::Launch { .. } | Effect::Answer, _) => None,
        _ => Some("ok".to_owned()),
    }
}

/// The participant that the effect acts on, and the name of the effect.
pub(crate) fn deed(effect: &Effect<'_>, step: Option<&Step>, caller: Actor, noun: &str) -> (Actor, String) {
    let name = step.and_then(|step| step.name.as_deref());
    let the = |verb: &str| format!("{verb} the {noun}");
    let (to, does) = match effect {
        Effect::Validate { .. } => (Actor::Store, the("validates")),
        Effect::Check => match name {
            Some(name) => return (Actor::Source, format!("checks {name}")),
            None => (Actor::Source, "checks".to_owned()),
        },
        Effect::Recall { .. } => (Actor::Store, "looks for the outcome under its key".to_owned()),
        Effect::Lease { .. } => (Actor::Store, "takes the lease".to_owned()),
        Effect::FindTarget => (Actor::Target, "looks for the target".to_owned()),
        Effect::ReadApproval { .. } => (Actor::Store, the("reads")),
        Effect::Launch { .. } => (Actor::Target, "acts from memory".to_owned()),
        Effect::Call { .. } => {
            let does = name.map_or("calls the other system".to_owned(), |name| format!("calls {name}"));
            return (Actor::OtherSystem, does);
        }
        Effect::Prepare { .. } => (caller, "prepares its answer".to_owned()),
        Effect::Undo { .. } => {
            let to = match step.map(|step| &step.action) {
                Some(StepAction::Act(Act { via: Via::Call { .. }, .. })) => Actor::OtherSystem,
                Some(StepAction::Write(_)) => Actor::Target,
                _ => Actor::Store,
            };
            return (to, format!("undoes {}", name.unwrap_or("its change")));
        }
        Effect::Answer => (caller, "answers: success".to_owned()),
        Effect::Commit(_) if matches!(step.map(|step| &step.action), Some(StepAction::Atomic(_))) => {
            (Actor::Store, "commits".to_owned())
        }
        Effect::Commit(commit) => match commit.ops {
            [Change::WriteTarget { .. }] => (Actor::Target, "writes the target".to_owned()),
            [Change::WriteVault] => (Actor::Target, "writes the vault".to_owned()),
            [Change::Audit] => (Actor::Store, "writes the executed event".to_owned()),
            [Change::Enqueue { .. }] => (Actor::Store, "writes the job".to_owned()),
            [Change::Row { .. }] => (Actor::Store, "writes the row".to_owned()),
            [Change::Remember] => (Actor::Store, "stores its outcome under its key".to_owned()),
            _ => (Actor::Store, the("uses")),
        },
    };
    let does = match name {
        Some(name) => format!("{does} ({name})"),
        None => does,
    };
    (to, does)
}
