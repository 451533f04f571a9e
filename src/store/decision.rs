//! Decisions about pending approvals: the decider, the decision and its effect, shared by every store.

use uuid::Uuid;

use super::AuditKind;
use crate::protocol::{ApprovalState, Event, Refusal, Status, Timestamp, Validity, transition};

/// The verdict on a pending approval, with its basis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The operator says yes.
    Approve,
    /// Rejects the approval.
    Reject,
}

/// A decision about an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// Made through the link.
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
        /// The administrator's account.
        by: &'a str,
    },
    /// Made by a platform rule, without a person, for a request that the team has just made.
    Policy {
        /// The team that asks. Another team's approval does not exist.
        team: Uuid,
        /// The approval.
        approval: Uuid,
        /// Name of the rule in the audit log.
        by: &'a str,
    },
}

/// The role of the decider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decider {
    /// Holder of the link.
    Operator(Verdict),
    /// An administrator, who says no.
    Administrator,
    /// A rule of the platform, which says yes.
    Policy,
}

/// The `by` of events that came through the link and not from an account.
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

    /// The account, or the rule, that decides; `None` when it is the link that is used.
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Operator { .. } => None,
            Self::Administrator { by, .. } | Self::Policy { by, .. } => Some(by),
        }
    }

    /// The `by` of the event.
    pub fn by(&self) -> &str {
        self.account().unwrap_or(OPERATOR)
    }
}

impl Decider {
    /// The resulting status of an approval in this state.
    ///
    /// # Errors
    /// [`Decider::too_late`] if the transition table has no such transition.
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

    /// The refusal for an approval that is not pending, or that a concurrent decision won; for the operator also when
    /// it has just expired.
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
