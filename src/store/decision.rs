//! Decisions about pending approvals: the decider, the decision and its effect, shared by every store.

use uuid::Uuid;

use super::{AuditKind, Way};
use crate::protocol::{ApprovalState, Event, Refusal, Status, Timestamp, Validity, transition};

/// The verdict on a pending approval, with its basis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The operator says yes.
    Approve,
    /// Rejects the approval.
    Reject,
    /// Takes an approval back that was not used.
    Revoke,
}

/// A decision about an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// A person who is named decides.
    Person(PersonalDecision<'a>),
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

/// The decision of a person who is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersonalDecision<'a> {
    /// The approval.
    pub about: Named<'a>,
    /// The decision.
    pub verdict: Verdict,
    /// The person.
    pub by: &'a str,
    /// The person's reason.
    pub reason: Option<&'a str>,
}

/// Reference to an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// By the token of a link.
    Link(&'a str),
    /// By its id, with a session. Another team's approval does not exist.
    OfTeam {
        /// The person's team.
        team: Uuid,
        /// The approval.
        approval: Uuid,
    },
}

impl Named<'_> {
    fn way(self) -> Way {
        match self {
            Self::Link(_) => Way::Link,
            Self::OfTeam { .. } => Way::Session,
        }
    }
}

impl Verdict {
    fn event(self) -> Event {
        match self {
            Self::Approve => Event::Approve,
            Self::Reject => Event::Reject,
            Self::Revoke => Event::Revoke,
        }
    }
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
    /// A person who is named, by a link or with a session.
    Person(Verdict, Way),
}

/// The `by` of events that came through the link and not from an account.
pub(super) const OPERATOR: &str = "operator";

/// The `by` of the event of an approval that expired without being touched.
pub(super) const EXPIRY: &str = "policy:expiry";

impl Decision<'_> {
    /// In what role it is decided.
    pub fn decider(&self) -> Decider {
        match self {
            Self::Person(PersonalDecision { about, verdict, .. }) => Decider::Person(*verdict, about.way()),
            Self::Operator { verdict, .. } => Decider::Operator(*verdict),
            Self::Administrator { .. } => Decider::Administrator,
            Self::Policy { .. } => Decider::Policy,
        }
    }

    /// The account, or the rule, that decides; `None` when it is the link that is used.
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Operator { .. } => None,
            Self::Person(PersonalDecision { by, .. })
            | Self::Administrator { by, .. }
            | Self::Policy { by, .. } => Some(by),
        }
    }

    /// The way of the decision, and its reason.
    pub(super) fn circumstances(&self) -> (Option<Way>, Option<&str>) {
        match self {
            Self::Person(PersonalDecision { about, reason, .. }) => (Some(about.way()), *reason),
            Self::Operator { .. } | Self::Administrator { .. } | Self::Policy { .. } => (None, None),
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
            (Self::Operator(Verdict::Approve | Verdict::Reject), Validity::Expired)
            | (Self::Person(Verdict::Approve, _), Validity::Expired) => Event::Expire,
            (Self::Policy, _) => Event::Approve,
            (Self::Administrator, _) => Event::Reject,
            // Also after its end: a pending approval is rejected by the person who says no.
            (Self::Operator(verdict) | Self::Person(verdict, _), _) => verdict.event(),
        }
    }

    /// True for a rejection of what has expired: it changes nothing, and is written down.
    pub(super) fn is_late_rejection(self, status: Status) -> bool {
        matches!(self, Self::Person(Verdict::Reject, _)) && status == Status::Expired
    }

    /// The refusal for an approval that is not pending, or that a concurrent decision won; for the operator also when
    /// it has just expired.
    pub fn too_late(self) -> Refusal {
        match self {
            Self::Person(Verdict::Revoke, _) | Self::Operator(Verdict::Revoke) => {
                Refusal::APPROVAL_NOT_APPROVED
            }
            Self::Operator(_) | Self::Person(_, Way::Link) => Refusal::APPROVAL_GONE,
            Self::Person(_, Way::Session) | Self::Administrator | Self::Policy => Refusal::NOT_PENDING,
        }
    }
}

impl AuditKind {
    /// The event of a move to this status. None is pending again.
    pub fn of(status: Status) -> Option<Self> {
        match status {
            Status::Pending => None,
            Status::Revoked => Some(Self::Revoked),
            Status::Approved => Some(Self::Approved),
            Status::Rejected => Some(Self::Rejected),
            Status::Expired => Some(Self::Expired),
            Status::Executed => Some(Self::Executed),
        }
    }
}
