//! Decisions: who decides what about a pending approval, and what comes of it, once for every store.

use uuid::Uuid;

use super::AuditKind;
use crate::protocol::{ApprovalState, Event, Refusal, Status, Timestamp, Validity, transition};

/// What a decision about a pending approval is based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The operator says yes.
    Approve,
    /// Somebody says no.
    Reject,
}

/// Who decides what about which approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// Whoever holds the link.
    Operator {
        /// The link's token.
        token: &'a str,
        /// Yes or no.
        verdict: Verdict,
    },
    /// An administrator says no.
    Administrator {
        /// The administrator's team. Another team's approval does not exist.
        team: Uuid,
        /// The approval.
        approval: Uuid,
        /// Who.
        by: &'a str,
    },
    /// Nobody has to be asked: a rule of the platform says yes to what the team has just asked for.
    Policy {
        /// The team that asks. Another team's approval does not exist.
        team: Uuid,
        /// The approval.
        approval: Uuid,
        /// What the rule is called in the audit.
        by: &'a str,
    },
}

/// In what role somebody decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decider {
    /// Whoever holds the link.
    Operator(Verdict),
    /// An administrator, who says no.
    Administrator,
    /// A rule of the platform, which says yes.
    Policy,
}

/// Who an event names when it is the link that was used, and not an account.
pub(super) const OPERATOR: &str = "operator";

impl Decision<'_> {
    /// In what role it is decided.
    pub fn decider(&self) -> Decider {
        match self {
            Self::Operator { verdict, .. } => Decider::Operator(*verdict),
            Self::Administrator { .. } => Decider::Administrator,
            Self::Policy { .. } => Decider::Policy,
        }
    }

    /// The account, or the rule, that decides; none when it is the link that is used.
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Operator { .. } => None,
            Self::Administrator { by, .. } | Self::Policy { by, .. } => Some(by),
        }
    }

    /// Whom the event names.
    pub fn by(&self) -> &str {
        self.account().unwrap_or(OPERATOR)
    }
}

impl Decider {
    /// What becomes of an approval that stands like this.
    ///
    /// # Errors
    /// [`Decider::too_late`] when the table of transitions has no such arrow.
    pub fn judge(self, standing: ApprovalState, now: Timestamp) -> Result<Status, Refusal> {
        let window = standing.validity(now);
        transition(standing.status, self.event(window), window).map_err(|_| self.too_late())
    }

    fn event(self, window: Validity) -> Event {
        match (self, window) {
            // Touched by the operator after its end, a pending approval expires.
            (Self::Operator(_), Validity::Expired) => Event::Expire,
            (Self::Operator(Verdict::Approve), Validity::Valid) | (Self::Policy, _) => Event::Approve,
            (Self::Operator(Verdict::Reject), Validity::Valid) | (Self::Administrator, _) => Event::Reject,
        }
    }

    /// It is not pending, or somebody else was quicker; also the operator's answer when it has expired just now.
    pub fn too_late(self) -> Refusal {
        match self {
            Self::Operator(_) => Refusal::APPROVAL_GONE,
            Self::Administrator | Self::Policy => Refusal::NOT_PENDING,
        }
    }
}

impl AuditKind {
    /// The event of a move to this status. None is pending again.
    pub fn of(status: Status) -> Option<Self> {
        match status {
            // No event of the gate revokes.
            Status::Pending | Status::Revoked => None,
            Status::Approved => Some(Self::Approved),
            Status::Rejected => Some(Self::Rejected),
            Status::Expired => Some(Self::Expired),
            Status::Executed => Some(Self::Executed),
        }
    }
}
