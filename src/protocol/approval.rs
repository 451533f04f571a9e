//! The approval and its transitions: the whole table, in one `match`.
//!
//! Invariants: `rejected`, `expired`, `executed` and `revoked` are never left; `executed` and `revoked` are reached from
//! `approved` only.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A point in time, in milliseconds since the Unix epoch. The protocol receives it and never reads a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// A collision-resistant hash of what would run. What is hashed, and how,
/// is the caller's; the protocol only compares two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    /// 64 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Status of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Requested, not yet decided.
    Pending,
    /// Approved by a person; it may be consumed once.
    Approved,
    /// Rejected by a person.
    Rejected,
    /// The window passed before a decision.
    Expired,
    /// Consumed.
    Executed,
    /// Taken back after it was approved, and before it was used up.
    Revoked,
}

impl Status {
    /// Every status, in the order of the table in [`transition`].
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Approved, Self::Rejected, Self::Expired, Self::Executed, Self::Revoked];

    /// True if the status permits no transition.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Rejected | Self::Expired | Self::Executed | Self::Revoked)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Executed => "executed",
            Self::Revoked => "revoked",
        })
    }
}

/// An event in the life of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The operator says yes.
    Approve,
    /// The operator or an administrator says no.
    Reject,
    /// An access after the window has passed.
    Expire,
    /// A promotion uses it.
    Consume,
    /// An administrator takes it back.
    Revoke,
}

impl Event {
    /// Every event, in the order of the table in [`transition`].
    pub const ALL: [Self; 5] = [Self::Approve, Self::Reject, Self::Expire, Self::Consume, Self::Revoke];
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Expire => "expire",
            Self::Consume => "consume",
            Self::Revoke => "revoke",
        })
    }
}

/// Validity of an approval's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Validity {
    /// `now < expires_at`.
    Valid,
    /// `now >= expires_at`.
    Expired,
}

/// An event that the table does not allow in this state: a concurrent event was first, or it is too early or too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IllegalTransition {
    /// The approval's status.
    pub status: Status,
    /// The event that was refused.
    pub event: Event,
    /// Validity of the approval's window.
    pub validity: Validity,
}

impl fmt::Display for IllegalTransition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = match self.validity {
            Validity::Valid => "before",
            Validity::Expired => "after",
        };
        write!(f, "cannot {} an approval that is {}, {when} its expiry", self.event, self.status)
    }
}

impl std::error::Error for IllegalTransition {}

/// The transition table. A store applies it as a compare-and-swap on the status, so that of two events that
/// meet exactly one wins; the loser gets [`IllegalTransition`].
///
/// Only a pending approval expires: an approved one past its window stays approved, and it is the *consume*
/// that has to look at the window ([`crate::protocol::consume`]), because not every order of steps does.
///
/// # Errors
/// [`IllegalTransition`] for every combination that is not an arrow of the diagram in the crate's documentation.
#[inline]
pub fn transition(status: Status, event: Event, validity: Validity) -> Result<Status, IllegalTransition> {
    match (status, event, validity) {
        (Status::Pending, Event::Approve, Validity::Valid) => Ok(Status::Approved),
        (Status::Pending, Event::Reject, Validity::Valid | Validity::Expired) => Ok(Status::Rejected),
        (Status::Pending, Event::Expire, Validity::Expired) => Ok(Status::Expired),
        (Status::Approved, Event::Consume, Validity::Valid | Validity::Expired) => Ok(Status::Executed),
        (Status::Approved, Event::Revoke, Validity::Valid | Validity::Expired) => Ok(Status::Revoked),

        (Status::Pending, Event::Approve, Validity::Expired)
        | (Status::Pending, Event::Expire, Validity::Valid)
        | (Status::Pending, Event::Consume | Event::Revoke, Validity::Valid | Validity::Expired)
        | (
            Status::Approved,
            Event::Approve | Event::Reject | Event::Expire,
            Validity::Valid | Validity::Expired,
        )
        | (
            Status::Rejected | Status::Expired | Status::Executed | Status::Revoked,
            Event::Approve | Event::Reject | Event::Expire | Event::Consume | Event::Revoke,
            Validity::Valid | Validity::Expired,
        ) => Err(IllegalTransition { status, event, validity }),
    }
}

/// The fields that the rules read. A store's record has more (the token, the payload, the decision and its time), none
/// of which affects a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Approval {
    /// Its id.
    pub id: Uuid,
    /// The team that it belongs to. For every other team it does not exist.
    pub team: Uuid,
    /// The e-mail address of the requester.
    #[serde(with = "shared_text")]
    pub requested_by: Arc<str>,
    /// Digest of the approved payload.
    pub digest: Digest,
    /// The status.
    pub status: Status,
    /// The end of its window.
    pub expires_at: Timestamp,
}

impl Approval {
    /// Validity of the window at `now`.
    pub fn validity(&self, now: Timestamp) -> Validity {
        self.state().validity(now)
    }

    /// The part of it that a consume compares.
    pub fn state(&self) -> ApprovalState {
        ApprovalState { status: self.status, expires_at: self.expires_at, digest: self.digest }
    }
}

/// State of an approval: all fields that its transitions compare. Only the status ever changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ApprovalState {
    /// The status.
    pub status: Status,
    /// The end of its window.
    pub expires_at: Timestamp,
    /// Digest of the approved payload.
    pub digest: Digest,
}

impl ApprovalState {
    /// Validity of the window at `now`.
    #[inline]
    pub fn validity(&self, now: Timestamp) -> Validity {
        if now < self.expires_at { Validity::Valid } else { Validity::Expired }
    }
}

/// Text that is shared is written and read as any other.
mod shared_text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(from).map(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_five_kinds_of_arrow_exist() {
        let mut arrows = Vec::new();
        for status in Status::ALL {
            for event in Event::ALL {
                for validity in [Validity::Valid, Validity::Expired] {
                    if let Ok(next) = transition(status, event, validity) {
                        arrows.push((status, event, validity, next));
                    }
                }
            }
        }
        assert_eq!(
            arrows,
            [
                (Status::Pending, Event::Approve, Validity::Valid, Status::Approved),
                (Status::Pending, Event::Reject, Validity::Valid, Status::Rejected),
                (Status::Pending, Event::Reject, Validity::Expired, Status::Rejected),
                (Status::Pending, Event::Expire, Validity::Expired, Status::Expired),
                (Status::Approved, Event::Consume, Validity::Valid, Status::Executed),
                (Status::Approved, Event::Consume, Validity::Expired, Status::Executed),
                (Status::Approved, Event::Revoke, Validity::Valid, Status::Revoked),
                (Status::Approved, Event::Revoke, Validity::Expired, Status::Revoked),
            ]
        );
    }

    #[test]
    fn final_statuses_are_those_that_nothing_leaves() {
        for status in Status::ALL {
            let left = Event::ALL.into_iter().any(|event| {
                [Validity::Valid, Validity::Expired]
                    .into_iter()
                    .any(|validity| transition(status, event, validity).is_ok())
            });
            assert_eq!(status.is_final(), !left, "{status}");
        }
    }

    #[test]
    fn names_are_printed_as_they_are_written() {
        let statuses = Status::ALL.map(|status| status.to_string());
        assert_eq!(statuses, ["pending", "approved", "rejected", "expired", "executed", "revoked"]);
        let mut bytes = [0; 32];
        (bytes[0], bytes[31]) = (0xA0, 0x0B);
        assert_eq!(Digest(bytes).to_string(), format!("a0{}0b", "0".repeat(60)));
        let illegal = transition(Status::Executed, Event::Consume, Validity::Valid).expect_err("it is final");
        assert_eq!(illegal.to_string(), "cannot consume an approval that is executed, before its expiry");
    }
}
