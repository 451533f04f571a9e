//! What a promotion asks of the outside world, and what it is told: one [`Effect`] at a time, each answered by one [`Reply`].

use uuid::Uuid;

use super::{
    approval::{Approval, Digest, Timestamp},
    flow::Op,
    refusal::Refusal,
};

/// The stack (or twin) that a promotion writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its id.
    pub id: Uuid,
    /// Whether this promotion created it.
    pub created: bool,
}

/// One atomic action on the outside world. Each says which replies it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// Read this approval, what would run now, and the clock. Takes [`Reply::Approval`], [`Reply::Failed`].
    Validate {
        /// Which one.
        approval: Uuid,
    },
    /// Read what the step of this name is about, and what would run now. Takes [`Reply::Read`],
    /// [`Reply::Refused`], [`Reply::Failed`].
    Check,
    /// Look whether there is a target. Takes [`Reply::Target`], [`Reply::Refused`], [`Reply::Failed`].
    FindTarget,
    /// Read this approval and the clock, to consume it later. Takes [`Reply::Approval`], [`Reply::Failed`].
    ReadApproval {
        /// Which one.
        approval: Uuid,
    },
    /// Take this approval's lease, if nobody has it. Takes [`Reply::Leased`], [`Reply::Held`], [`Reply::NotConsumed`]
    /// (there is no such approval), [`Reply::Failed`], [`Reply::Lost`].
    Lease {
        /// Which one.
        approval: Uuid,
    },
    /// Change the store, in one transaction. Takes [`Reply::Committed`], [`Reply::Refused`] (by a write in it),
    /// [`Reply::NotConsumed`] (by the consume in it), [`Reply::Failed`], [`Reply::Lost`].
    Commit(Commit<'a>),
    /// Start the deploy from this process. Takes [`Reply::Done`].
    Launch {
        /// What to launch.
        digest: Digest,
        /// Where to, as far as the promotion knows.
        target: Option<Target>,
    },
    /// Tell the caller that it succeeded. Takes [`Reply::Done`].
    Answer,
}

/// Changes that happen all or not at all, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit<'a> {
    /// The approval that they are about.
    pub approval: Uuid,
    /// The digest that the promotion holds: what a consume compares and what a job carries.
    pub digest: Digest,
    /// The target that the promotion knows of: what a write that trusts an earlier look updates.
    pub target: Option<Target>,
    /// The fencing number of the promotion's lease: what a consume compares under the `lease` guard.
    pub fence: Option<u64>,
    /// The changes.
    pub ops: &'a [Op],
}

/// What became of an [`Effect`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The approval was read, or there is none.
    Approval {
        /// Its row.
        approval: Option<&'a Approval>,
        /// What would run, as of this reading.
        digest: Digest,
        /// The fencing number that was given last, as of this reading; 0 when nobody has leased it.
        fence: u64,
        /// The clock, as of this reading.
        now: Timestamp,
    },
    /// The check passed.
    Read {
        /// What would run, as of this reading.
        digest: Digest,
    },
    /// The target that there is, if any.
    Target(Option<Uuid>),
    /// The lease was taken.
    Leased {
        /// Its fencing number, larger than any before.
        fence: u64,
    },
    /// Somebody has the lease; nothing changed. The promotion stays where it is, and its driver asks again.
    Held,
    /// The transaction was committed.
    Committed {
        /// The target that it wrote, if it wrote one.
        target: Option<Target>,
    },
    /// Launched, or answered.
    Done,
    /// The step refuses by its own judgement; nothing changed.
    Refused(Refusal),
    /// The approval's rules refuse the consume, or there is nothing to lease; nothing changed.
    NotConsumed(Refusal),
    /// The infrastructure failed, and certainly nothing changed.
    Failed,
    /// The infrastructure failed, and perhaps everything changed. When in doubt, this one: [`Reply::Failed`]
    /// for a commit that did happen tells the caller that an executed approval can be used again.
    Lost,
}
