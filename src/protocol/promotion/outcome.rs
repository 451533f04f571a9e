//! Outcomes of a promotion: its answer, and the kinds of refusal that properties distinguish.

use crate::protocol::{effect::Target, refusal::Refusal};

/// Outcome of a promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The attempt reached the end of its flow: 202 for a target that it created, otherwise 200.
    Succeeded {
        /// The target, where the flow writes one.
        target: Option<Target>,
        /// The outcome repeats that of an earlier attempt of the same caller.
        repeats: bool,
    },
    /// The attempt was refused. The action that answers also releases its lease, and removes its marker and the outcome
    /// that it stored under its key.
    Refused {
        /// The answer.
        refusal: Refusal,
        /// Origin of the refusal.
        kind: RefusalKind,
    },
    /// The answer of a step that may have used the object or caused an act was lost: it may or may not have happened.
    /// Only a read of the object can tell.
    Unknown {
        /// The answer.
        refusal: Refusal,
    },
}

/// Origin of a refusal. Properties judge each kind differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// The own judgement of a check, a write, an act or a member of a group. Preflight.
    Own,
    /// A check of `validate`. Preflight.
    Validation,
    /// A 503 of a check, a write or a `validate`, failed or lost. Preflight.
    PreflightUnavailable,
    /// A guard, a held lease, a marker or a unique key.
    Conflict,
    /// A 503 of any other step that was certainly not applied.
    Unavailable,
    /// A 503 of a consume, an act, a `remember` or a group that may have been applied.
    Unknown,
}

impl RefusalKind {
    /// True for a refusal of the preflight.
    pub fn is_preflight(self) -> bool {
        matches!(self, Self::Own | Self::Validation | Self::PreflightUnavailable)
    }

    /// True if the object's rules refuse, as opposed to a step's own judgement or a failure.
    pub fn is_by_rule(self) -> bool {
        matches!(self, Self::Validation | Self::Conflict)
    }

    /// True for the 503 of a failed step.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::PreflightUnavailable | Self::Unavailable | Self::Unknown)
    }
}

/// A refusal that is still to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ending {
    /// Origin of the refusal.
    pub kind: RefusalKind,
    /// Its HTTP status.
    pub status: u16,
}

impl Ending {
    pub(super) fn outcome(self, refusal: Refusal) -> Outcome {
        match self.kind {
            RefusalKind::Unknown => Outcome::Unknown { refusal },
            kind => Outcome::Refused { refusal, kind },
        }
    }

    /// A refusal with this status whose code is no longer known.
    pub(super) fn anonymous(self) -> Refusal {
        match self.status {
            404 => Refusal::APPROVAL_NOT_FOUND,
            409 => Refusal::APPROVAL_NOT_APPROVED,
            410 => Refusal::APPROVAL_EXPIRED,
            400 => Refusal::APPROVAL_MISMATCH,
            503 => Refusal::UPDATE_FAILED,
            _ => Refusal::PLAN_REQUIRED,
        }
    }
}
