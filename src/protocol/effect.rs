//! The effects that an attempt asks for, one at a time, and the replies that answer them.

use uuid::Uuid;

use super::{
    approval::{Approval, Digest, Timestamp},
    flow::Change,
    refusal::Refusal,
};

/// The stack (or twin) that a promotion writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its id.
    pub id: Uuid,
    /// True if this promotion created it.
    pub created: bool,
}

/// One atomic action on the outside world. Each lists the replies that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// Read this approval, what would run now, and the clock. Takes [`Reply::Approval`], [`Reply::Failed`].
    Validate {
        /// Its id.
        approval: Uuid,
    },
    /// Read what the step of this name is about, and what would run now. Takes [`Reply::Read`],
    /// [`Reply::Refused`], [`Reply::Failed`].
    Check,
    /// Look for the outcome under the request's key. Takes [`Reply::Recalled`], [`Reply::NotRecalled`],
    /// [`Reply::InFlight`] (only where it claims), [`Reply::Refused`] (the key is another request's), [`Reply::Failed`].
    Recall {
        /// Inserts the in-flight marker if there is none.
        claim: bool,
    },
    /// Look for the target. Takes [`Reply::Target`], [`Reply::Refused`], [`Reply::Failed`].
    FindTarget,
    /// Read this approval and the clock, to consume it later. Takes [`Reply::Approval`], [`Reply::Failed`].
    ReadApproval {
        /// Its id.
        approval: Uuid,
    },
    /// Take this approval's lease, unless another attempt has it. Takes [`Reply::Leased`], [`Reply::LeaseHeld`],
    /// [`Reply::NotConsumed`] (there is no such approval), [`Reply::Failed`], [`Reply::OutcomeUnknown`].
    Lease {
        /// The approval's id.
        approval: Uuid,
    },
    /// Change the store, in one transaction. Takes [`Reply::Committed`], [`Reply::Refused`] (by a member's own
    /// judgement), [`Reply::NotConsumed`] (by a guard or a unique key), [`Reply::Failed`], [`Reply::OutcomeUnknown`].
    Commit(Commit<'a>),
    /// Start the deploy from this process. Takes [`Reply::Done`], [`Reply::Refused`].
    Launch {
        /// The index of the act among the flow's acts.
        act: u8,
        /// Digest of the payload to launch.
        digest: Digest,
        /// The target, if the promotion knows it.
        target: Option<Target>,
    },
    /// Call the other system. Takes [`Reply::Done`], [`Reply::Refused`], [`Reply::Failed`], [`Reply::OutcomeUnknown`].
    Call {
        /// The index of the act among the flow's acts.
        act: u8,
        /// The other system deduplicates by the use's key.
        key: bool,
        /// Digest of the payload of the call.
        digest: Digest,
    },
    /// Prepare what the final answer will show. Takes [`Reply::Done`], [`Reply::Refused`], [`Reply::Failed`].
    Prepare {
        /// The index of the act among the flow's acts.
        act: u8,
    },
    /// Undo an earlier step, before a refusal is answered. Takes [`Reply::Done`], [`Reply::Failed`],
    /// [`Reply::OutcomeUnknown`].
    Undo {
        /// The index of the step.
        step: usize,
    },
    /// Tell the caller that it succeeded. Takes [`Reply::Done`], [`Reply::OutcomeUnknown`].
    Answer,
}

/// Changes that happen all or not at all, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit<'a> {
    /// The approval that they are about.
    pub approval: Uuid,
    /// The digest that the promotion holds: what a consume compares and what a job carries.
    pub digest: Digest,
    /// The target that the promotion knows: a write that trusts an earlier look updates it.
    pub target: Option<Target>,
    /// The fencing number of the promotion's lease: what a consume compares under the `lease` guard.
    pub fence: Option<u64>,
    /// The count of uses that the promotion has read: what a consume that trusts an earlier look adds one to.
    pub uses_seen: u8,
    /// The changes.
    pub ops: &'a [Change],
}

/// The result of a read in addition to the object's row. The default is an unused object without history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The stored count of uses.
    pub uses: u8,
    /// A use that is not undone belongs to an attempt of the same caller.
    pub own_use: bool,
    /// The target's version is that of the approval.
    pub target_is_current: bool,
    /// The request is for what was approved.
    pub same_binding: bool,
}

impl Default for Observed {
    fn default() -> Self {
        Self { uses: 0, own_use: false, target_is_current: true, same_binding: true }
    }
}

/// Reply to an [`Effect`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The approval was read, or does not exist.
    Approval {
        /// Its row.
        approval: Option<&'a Approval>,
        /// Digest of the current payload.
        digest: Digest,
        /// The fencing number that was given last, as of this reading; 0 when there was none.
        fence: u64,
        /// The clock, as of this reading.
        now: Timestamp,
        /// The rest of this read.
        observed: Observed,
    },
    /// The check passed.
    Read {
        /// Digest of the current payload.
        digest: Digest,
    },
    /// An outcome is stored under the request's key: a success.
    Recalled {
        /// The target that it wrote, if it wrote one.
        target: Option<Target>,
    },
    /// No outcome is stored under the request's key. Where the recall claims, its marker now is.
    NotRecalled,
    /// Another attempt's marker is stored under the request's key; nothing changed.
    InFlight,
    /// The target that exists, if any.
    Target(Option<Uuid>),
    /// The lease was taken.
    Leased {
        /// Its fencing number, larger than any before.
        fence: u64,
    },
    /// Another attempt holds the lease; nothing changed. A promotion that waits keeps its position, and its driver
    /// retries.
    LeaseHeld,
    /// The transaction was committed.
    Committed {
        /// The target that it wrote, if it wrote one.
        target: Option<Target>,
        /// Its consume has accepted the use of an earlier attempt of the same caller.
        own_use: bool,
    },
    /// Started, called, prepared, undone or answered.
    Done,
    /// The step's own judgement refuses; nothing changed.
    Refused(Refusal),
    /// A guard or a unique key refuses, or no lease exists; nothing changed.
    NotConsumed(Refusal),
    /// The infrastructure failed, and nothing changed.
    Failed,
    /// The infrastructure failed, and perhaps everything changed. When in doubt, this one: [`Reply::Failed`]
    /// for a commit that did happen tells the caller that an executed approval can be used again.
    OutcomeUnknown,
}
