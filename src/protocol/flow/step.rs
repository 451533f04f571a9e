//! The steps of a flow: the vocabulary of a flow file, as data.

use std::fmt;

use crate::protocol::refusal::Refusal;

/// The comparisons of a [`StepAction::Validate`] step. By default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Checks {
    /// The object belongs to the caller's team.
    pub owner: bool,
    /// The object is usable.
    pub status: bool,
    /// Kind, from and to are those of the request.
    pub binding: bool,
    /// Its window is open.
    pub expiry: bool,
    /// The current payload is the approved one.
    pub digest: bool,
    /// The target is as it was at the approval.
    pub target: bool,
}

impl Checks {
    /// Every check on the object itself: all but the target's version, which only a few objects are bound to.
    pub const ALL: Self =
        Self { owner: true, status: true, binding: true, expiry: true, digest: true, target: false };
}

/// The comparisons of a consume before its swap. By default none: an unconditional update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Guards {
    /// The object is usable.
    pub status: bool,
    /// Its window is open, by the clock of the store that executes the swap.
    pub expiry: bool,
    /// The digest that the attempt holds is the approved one.
    pub digest: bool,
    /// The target's current version is that of the approval.
    pub target: bool,
    /// No other attempt has taken the object's lease since this one did.
    pub lease: bool,
}

impl Guards {
    /// Every guard that any attempt can be held to: all but the target's version and the lease.
    pub const ALL: Self = Self { status: true, expiry: true, digest: true, target: false, lease: false };
}

/// The number of atomic actions that a change takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Atomicity {
    /// One atomic action.
    #[default]
    Atomic,
    /// Two: a read, and a later write that trusts it. Check-then-act.
    ReadThenWrite,
}

/// The record that a write changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteTarget {
    /// The target: created, or updated if there is one; its status becomes `building`.
    Target,
    /// The vault of the target's environment.
    Vault,
}

/// Location of the count of uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Storage {
    /// A row that survives a crash.
    #[default]
    Durable,
    /// The memory of the process; a crash loses it.
    Memory,
}

/// Reaction of an attempt to a step that answered 503.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnError {
    /// Ends with the 503.
    #[default]
    Refuse,
    /// Logs the error and goes on with the next step.
    Continue,
    /// Runs the whole step once more, then refuses.
    Retry,
}

/// Reaction of an attempt to a consume that changed no row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnConflict {
    /// Ends with the conflict.
    #[default]
    Refuse,
    /// Ignores the number of changed rows and goes on.
    Continue,
}

/// Reaction of an attempt to a lease held by another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnHeld {
    /// Waits for its end.
    #[default]
    Wait,
    /// Ends with a 409.
    Refuse,
}

/// A step that takes the object's lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Reaction to a lease held by another attempt.
    pub on_held: OnHeld,
    /// The lease may expire at any time, whether or not its holder is done.
    pub expires: bool,
    /// Its holder renews it: it runs out after the holder's death only.
    pub renewed: bool,
    /// Another attempt of the same caller gets it, too.
    pub reentrant: bool,
    /// The index of the step after which it is released; without one, the attempt's end.
    pub until: Option<usize>,
    /// A refusal later in the attempt releases it before the answer.
    pub undo: bool,
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            on_held: OnHeld::Wait,
            expires: true,
            renewed: false,
            reentrant: false,
            until: None,
            undo: false,
        }
    }
}

/// A step or a member that writes the target or the vault.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// Which of the two.
    pub what: WriteTarget,
    /// For the target: one action, or a look for it and a later write.
    pub atomicity: Atomicity,
    /// Its own refusals. Those of a member leave the group unapplied.
    pub refusals: Vec<Refusal>,
    /// A refusal later in the attempt restores what it replaced.
    pub undo: bool,
}

impl Write {
    /// An atomic write without refusals.
    pub fn new(what: WriteTarget) -> Self {
        Self { what, atomicity: Atomicity::Atomic, refusals: Vec::new(), undo: false }
    }
}

/// A step or a member that uses the object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Consume {
    /// The comparisons.
    pub guards: Guards,
    /// One action, or a read and a later write of `seen + 1`.
    pub atomicity: Atomicity,
    /// Reaction to a swap that changed no row.
    pub on_conflict: OnConflict,
    /// Location of the count.
    pub storage: Storage,
    /// An object that an earlier attempt of the same caller has used counts as usable, and is not used again.
    pub accept_own: bool,
    /// A refusal later in the attempt gives the use back.
    pub undo: bool,
}

impl Consume {
    /// An atomic consume under these guards.
    pub fn new(guards: Guards) -> Self {
        Self { guards, ..Self::default() }
    }
}

/// The way in which an act takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// Started by this process, without a key; lost when the process dies before it.
    Memory,
    /// A job, written once per object and name, that a worker leases and launches under that key.
    Outbox,
    /// A row: the effect takes place when it is written.
    Row {
        /// A second row under the same key is a 409.
        unique: bool,
    },
    /// A call of another system, which may refuse, fail, or lose the answer.
    Call {
        /// The other system deduplicates by a key.
        key: bool,
    },
    /// The final answer: the effect takes place when the caller receives it.
    Answer,
}

/// A step or a member that causes the effect that must not happen twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Act {
    /// The name of a member of a group. The name of a step that acts is the step's own.
    pub name: Option<String>,
    /// The way in which it takes effect.
    pub via: Via,
    /// Its own refusals.
    pub refusals: Vec<Refusal>,
    /// A refusal later in the attempt takes the effect back; for [`Via::Call`] only.
    pub undo: bool,
}

impl Act {
    /// An act without a name and without refusals.
    pub fn new(via: Via) -> Self {
        Self { name: None, via, refusals: Vec::new(), undo: false }
    }
}

/// The action of one step. It is atomic, or two atomic actions with [`Atomicity::ReadThenWrite`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StepAction {
    /// Reads the object and applies `checks`.
    Validate {
        /// The comparisons.
        checks: Checks,
        /// An object that an earlier attempt of the same caller has used counts as usable.
        accept_own: bool,
    },
    /// Reads something outside, without a change.
    Check {
        /// Its own refusals.
        refusals: Vec<Refusal>,
    },
    /// Looks for the outcome stored under the request's key, and ends the attempt with it.
    Recall {
        /// Also inserts an in-flight marker; the marker of another attempt is a 409.
        claim: bool,
        /// The marker may expire at any time.
        claim_expires: bool,
    },
    /// Acquires the object's lease. It saves waiting attempts their preflight, and protects nothing by itself: its
    /// holder may be slow, and the lease expire.
    Lease(Lease),
    /// Changes the target or the vault.
    Write(Write),
    /// Uses the object if its guards hold.
    Consume(Consume),
    /// Causes the effect.
    Act(Act),
    /// Writes the executed event. A failure is swallowed: the event is lost and the flow goes on.
    Audit,
    /// Stores the outcome under the request's key, and removes the marker.
    Remember,
    /// All members in one transaction, or none.
    Atomic(Vec<Member>),
}

/// A member of a group ([`StepAction::Atomic`]). `atomicity` and `undo` keep their defaults.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Member {
    /// As [`StepAction::Consume`].
    Consume(Consume),
    /// As [`StepAction::Write`].
    Write(Write),
    /// As [`StepAction::Act`], via a row or the outbox.
    Act(Act),
    /// As [`StepAction::Audit`], but it cannot be lost alone.
    Audit,
    /// As [`StepAction::Remember`].
    Remember,
}

/// One step of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// The name that the flow's author gives it. Need not be unique, but for acts.
    pub name: Option<String>,
    /// Reaction to a 503.
    pub on_error: OnError,
    /// The action.
    pub action: StepAction,
}

impl From<StepAction> for Step {
    fn from(action: StepAction) -> Self {
        Self { name: None, on_error: OnError::Refuse, action }
    }
}

impl Member {
    /// The refusals that it answers by its own judgement.
    pub fn refusals(&self) -> &[Refusal] {
        match self {
            Self::Write(write) => &write.refusals,
            Self::Act(act) => &act.refusals,
            Self::Consume(_) | Self::Audit | Self::Remember => &[],
        }
    }
}

impl Step {
    /// The same step under a name.
    pub fn named(name: &str, action: StepAction) -> Self {
        Self { name: Some(name.to_owned()), ..action.into() }
    }

    /// The members of a group; none of any other step.
    pub fn members(&self) -> &[Member] {
        if let StepAction::Atomic(members) = &self.action { members } else { &[] }
    }

    /// The refusals that the step answers by its own judgement, as opposed to those of the object's rules.
    pub fn refusals(&self) -> impl Iterator<Item = &Refusal> {
        let own: &[Refusal] = match &self.action {
            StepAction::Check { refusals } => refusals,
            StepAction::Write(write) => &write.refusals,
            StepAction::Act(act) => &act.refusals,
            StepAction::Validate { .. }
            | StepAction::Recall { .. }
            | StepAction::Lease(_)
            | StepAction::Consume(_)
            | StepAction::Audit
            | StepAction::Remember
            | StepAction::Atomic(_) => &[],
        };
        own.iter().chain(self.members().iter().flat_map(Member::refusals))
    }

    /// True for a step of the preflight: a validate, or a check or a write outside of a group.
    pub fn is_preflight(&self) -> bool {
        matches!(self.action, StepAction::Validate { .. } | StepAction::Check { .. } | StepAction::Write(_))
    }

    /// True if a later refusal undoes the step.
    pub fn is_undone(&self) -> bool {
        match &self.action {
            StepAction::Lease(lease) => lease.undo,
            StepAction::Write(write) => write.undo,
            StepAction::Consume(consume) => consume.undo,
            StepAction::Act(act) => act.undo,
            StepAction::Validate { .. }
            | StepAction::Check { .. }
            | StepAction::Recall { .. }
            | StepAction::Audit
            | StepAction::Remember
            | StepAction::Atomic(_) => false,
        }
    }

    /// The consume in it, alone or as a member.
    pub fn consume(&self) -> Option<&Consume> {
        match &self.action {
            StepAction::Consume(consume) => Some(consume),
            StepAction::Atomic(members) => members.iter().find_map(|member| match member {
                Member::Consume(consume) => Some(consume),
                Member::Write(_) | Member::Act(_) | Member::Audit | Member::Remember => None,
            }),
            StepAction::Validate { .. }
            | StepAction::Check { .. }
            | StepAction::Recall { .. }
            | StepAction::Lease(_)
            | StepAction::Write(_)
            | StepAction::Act(_)
            | StepAction::Audit
            | StepAction::Remember => None,
        }
    }

    /// The acts in it with their names, in order.
    pub fn acts(&self) -> impl Iterator<Item = (&str, &Act)> {
        const UNNAMED: &str = "act";
        let alone = match &self.action {
            StepAction::Act(act) => Some((self.name.as_deref().unwrap_or(UNNAMED), act)),
            _ => None,
        };
        let members = self.members().iter().filter_map(|member| match member {
            Member::Act(act) => Some((act.name.as_deref().unwrap_or(UNNAMED), act)),
            Member::Consume(_) | Member::Write(_) | Member::Audit | Member::Remember => None,
        });
        alone.into_iter().chain(members)
    }
}

impl fmt::Display for Step {
    /// Its name, or else what it does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            return f.write_str(name);
        }
        f.write_str(match &self.action {
            StepAction::Validate { .. } => "validate",
            StepAction::Check { .. } => "check",
            StepAction::Recall { .. } => "recall",
            StepAction::Lease(_) => "lease",
            StepAction::Write(Write { what: WriteTarget::Target, .. }) => "write target",
            StepAction::Write(Write { what: WriteTarget::Vault, .. }) => "write vault",
            StepAction::Consume(_) => "consume",
            StepAction::Act(_) => "act",
            StepAction::Audit => "audit",
            StepAction::Remember => "remember",
            StepAction::Atomic(_) => "commit",
        })
    }
}
