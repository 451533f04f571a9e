//! Why a flow is refused, and where.

use std::fmt;

use super::{Flow, Object};

/// Why a flow is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidFlow {
    /// The index of the step that is wrong; `None` for `[object]` and `[decision]`.
    pub step: Option<usize>,
    /// The index of the member, within a group.
    pub member: Option<usize>,
    /// The violated rule.
    pub problem: FlowProblem,
}

/// The rules that a flow can violate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowProblem {
    /// `uses` is not 1 to [`Object::MAX_USES`].
    Uses(u8),
    /// More than [`Object::MAX_APPROVERS`].
    Approvers(u8),
    /// A rule for a decision that is never taken: `approvers = 0`.
    DecisionWithoutApprovers,
    /// Approvers other than the requester, and none at all: `approvers = 0`.
    SeparateWithoutApprovers,
    /// No step at all.
    NoSteps,
    /// More steps than [`Flow::MAX_STEPS`].
    TooManySteps(usize),
    /// A group without members.
    EmptyGroup,
    /// A group of more members than [`Flow::MAX_STEPS`].
    TooManyMembers(usize),
    /// More than one consume.
    SecondConsume,
    /// More acts than [`Flow::MAX_ACTS`].
    TooManyActs,
    /// Two acts of one name.
    SameAct(String),
    /// Two steps of one name.
    SameStep(String),
    /// A check or guard that compares the object with something that it is not bound to.
    NothingBound {
        /// The check or guard.
        condition: &'static str,
        /// The promise that binds the object.
        promise: &'static str,
    },
    /// A consume under the `lease` guard, and no step before it takes the lease.
    GuardWithoutLease,
    /// `recall` or `remember`, and clients send no key.
    KeyWithoutRetry,
    /// A lease that is renewed and does not expire.
    RenewedForever,
    /// `until` names a step that does not come after the lease.
    UntilBeforeLease(usize),
    /// `how` on a write of the vault.
    VaultReadThenWrite,
    /// `how` within a group.
    ReadThenWriteInGroup,
    /// `undo` within a group.
    UndoInGroup,
    /// `undo` on an act other than via a call.
    UndoOfAct,
    /// An act within a group that is neither a row nor a job.
    ActInGroup,
    /// An act outside of groups has a name in addition to its step's.
    ActNamedTwice,
}

impl fmt::Display for FlowProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uses(found) => write!(f, "uses = {found}, expected 1 to {}", Object::MAX_USES),
            Self::Approvers(found) => {
                write!(f, "approvers = {found}, expected at most {}", Object::MAX_APPROVERS)
            }
            Self::DecisionWithoutApprovers => {
                f.write_str("a decision rule for an object that needs no approval (approvers = 0)")
            }
            Self::SeparateWithoutApprovers => f.write_str(
                "approvers other than the requester (separate = true), and none at all (approvers = 0)",
            ),
            Self::NoSteps => f.write_str("no step"),
            Self::TooManySteps(found) => {
                write!(f, "{found} steps, and at most {} are allowed", Flow::MAX_STEPS)
            }
            Self::EmptyGroup => f.write_str("an atomic group without members"),
            Self::TooManyMembers(_) => {
                write!(f, "an atomic group of more than {} members", Flow::MAX_STEPS)
            }
            Self::SecondConsume => f.write_str("a second consume"),
            Self::TooManyActs => write!(f, "more than {} acts", Flow::MAX_ACTS),
            Self::SameAct(name) => write!(f, "a second act of the name {name:?}"),
            Self::SameStep(name) => write!(f, "a second step of the name {name:?}"),
            Self::NothingBound { condition, promise } => {
                write!(f, "the condition {condition:?} for an object that is not bound ({promise} = false)")
            }
            Self::GuardWithoutLease => f.write_str("a guard of a lease that no step before it takes"),
            Self::KeyWithoutRetry => {
                f.write_str("a step that needs the request's key, and clients send none (retry = \"key\")")
            }
            Self::RenewedForever => f.write_str("a lease that is renewed and never expires"),
            Self::UntilBeforeLease(until) => {
                write!(f, "a lease until step {}, which does not come after it", until + 1)
            }
            Self::VaultReadThenWrite => f.write_str("a write of the vault that reads first"),
            Self::ReadThenWriteInGroup => f.write_str("a read and a later write within one transaction"),
            Self::UndoInGroup => f.write_str("an undo of a member of a group"),
            Self::UndoOfAct => f.write_str("an undo of an act that is no call"),
            Self::ActInGroup => f.write_str("an act in a transaction that is neither a row nor a job"),
            Self::ActNamedTwice => f.write_str("an act with a name of its own next to its step's"),
        }
    }
}

impl fmt::Display for InvalidFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(step) = self.step {
            write!(f, "step {}: ", step + 1)?;
        }
        if let Some(member) = self.member {
            write!(f, "member {}: ", member + 1)?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for InvalidFlow {}
