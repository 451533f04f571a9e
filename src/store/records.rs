//! The records of a store: executions, lists, events, jobs, leases and notices.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    platform::{ApprovalRecord, Binding, Payload, PromotionRequest},
    protocol::{Approval, Change, Digest, Status, Target, Timestamp},
};

/// The approval that a request was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    /// The approval as it stands now.
    pub record: ApprovalRecord,
    /// True if this request created it, false if an earlier request under the same key did.
    pub created: bool,
}

/// The promotion that consumed an approval, as it is written in the same transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The key under which its outcome is stored; none if the commit does not remember it, or the request had no key.
    pub key: Option<Arc<str>>,
    /// The requested payload.
    pub payload: Payload,
    /// The target that it wrote, if it wrote one.
    pub target: Option<Target>,
    /// The keys that it copied into the vault.
    pub vault_keys: Vec<String>,
}

impl Execution {
    /// The record of a commit of these changes, which consumes for `ask`.
    pub fn of(
        ask: &PromotionRequest,
        changes: &[Change],
        target: Option<Target>,
        vault_keys: Vec<String>,
    ) -> Self {
        let key = ask.key.clone().filter(|_| changes.contains(&Change::Remember));
        Self { key, payload: ask.payload.clone(), target, vault_keys }
    }
}

/// Position of an approval in a list, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When it was created.
    pub created_at: Timestamp,
    /// Which of those it is.
    pub id: Uuid,
}

/// Filter and range of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Only this team.
    pub team: Option<Uuid>,
    /// In this status only.
    pub status: Option<Status>,
    /// Maximum length; [`Query::DEFAULT_LIMIT`] by default, at most [`Query::MAX_LIMIT`].
    pub limit: Option<usize>,
    /// Starts after this position.
    pub after: Option<Place>,
}

impl Query {
    /// Default length of a list.
    pub const DEFAULT_LIMIT: usize = 50;
    /// Maximum length of a list.
    pub const MAX_LIMIT: usize = 200;

    /// Length of this list at most.
    pub fn limit(&self) -> usize {
        self.limit.unwrap_or(Self::DEFAULT_LIMIT).min(Self::MAX_LIMIT)
    }
}

/// An approval in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The approval, without its secret.
    pub approval: Arc<Approval>,
    /// What it is for.
    pub binding: Binding,
    /// Time of the request.
    pub created_at: Timestamp,
    /// Time of the last change of status; `None` while pending.
    pub decided_at: Option<Timestamp>,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Newest first.
    pub items: Vec<Listed>,
    /// Position at which the next page starts; `None` on the last.
    pub next: Option<Place>,
}

/// Kind of an audit event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditKind {
    /// `promote.approval_requested`
    Requested,
    /// `promote.approved`
    Approved,
    /// `promote.rejected`
    Rejected,
    /// `promote.expired`
    Expired,
    /// `promote.executed`
    Executed,
    /// `promote.revoked`
    Revoked,
    /// `promote.rejected_after_expiry`: a rejection that came too late to change anything.
    RejectedLate,
}

impl AuditKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Requested,
        Self::Approved,
        Self::Rejected,
        Self::Expired,
        Self::Executed,
        Self::Revoked,
        Self::RejectedLate,
    ];

    /// Its name in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "promote.approval_requested",
            Self::Approved => "promote.approved",
            Self::Rejected => "promote.rejected",
            Self::Expired => "promote.expired",
            Self::Executed => "promote.executed",
            Self::Revoked => "promote.revoked",
            Self::RejectedLate => "promote.rejected_after_expiry",
        }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// Kind of the event.
    pub kind: AuditKind,
    /// To which approval.
    pub approval: Uuid,
    /// When.
    pub at: Timestamp,
    /// The account that caused it.
    pub by: Arc<str>,
    /// The binding of the approval.
    pub binding: Binding,
    /// The requester of the approval.
    pub requested_by: Arc<str>,
    /// The way of a person's decision; `None` for other events, and for events of an older schema.
    pub way: Option<Way>,
    /// The person's reason, where one was given.
    pub reason: Option<Arc<str>>,
}

/// The way of a person's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a link of their own.
    Link,
    /// By a session.
    Session,
}

impl Way {
    /// Its name in the audit.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Session => "session",
        }
    }
}

/// Approvals that a sweep has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Number of expired approvals.
    pub expired: usize,
    /// Approvals that were asked for up to this time need no other sweep.
    pub until: Timestamp,
}

/// Work that is owed: launch jobs that are not done, and links of pending approvals that were not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The jobs, waiting or running.
    pub jobs: Owed,
    /// The notices.
    pub notices: Owed,
}

/// Work of one kind that is owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// Its amount.
    pub count: u64,
    /// Age of the oldest, in milliseconds; 0 without any. That of a job counts from the use of its approval, that of a
    /// notice from the request.
    pub oldest_ms: u64,
}

/// State of a launch job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Free.
    Ready,
    /// Held until `until`, under the fencing number `fence`.
    Leased {
        /// Larger than that of any lease of this job before.
        fence: u64,
        /// End of the lease.
        until: Timestamp,
    },
    /// Its deploy has ended.
    Done,
}

/// A launch job in the outbox. Its key is the approval: there is at most one for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The approval.
    pub approval: Uuid,
    /// Digest of the payload to launch.
    pub digest: Digest,
    /// The target that the writer of the job knew.
    pub target: Option<Uuid>,
    /// State of the job.
    pub state: JobState,
}

/// A job that the holder may work on until the lease expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The job's key.
    pub approval: Uuid,
    /// Digest of the payload to launch.
    pub digest: Digest,
    /// The target to deploy to.
    pub target: Option<Uuid>,
    /// The fencing number.
    pub fence: u64,
}

/// Result of acquiring an approval's lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leased {
    /// The caller has it, under this fencing number, until it runs out or is given back.
    Taken {
        /// Larger than that of any lease of this approval before.
        fence: u64,
    },
    /// Another attempt holds it.
    Held {
        /// Its end, by the store's clock.
        until: Timestamp,
    },
    /// The team has no such approval.
    Absent,
}

/// A link to send to the operator; the sender holds it until its lease expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The approval that it is about.
    pub record: ApprovalRecord,
    /// Number of earlier attempts.
    pub attempts: u32,
    /// The fencing number.
    pub fence: u64,
    /// The store's clock, as of the lease.
    pub now: Timestamp,
}

/// State of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeState {
    /// To be sent, but not before this pause is over.
    Due {
        /// In milliseconds, by the store's clock.
        after_ms: u64,
    },
    /// Sent, or no longer needed.
    Done,
}

/// Result of claiming an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The caller has it until its time runs out, or it is released.
    Granted {
        /// Its end, by the store's clock.
        until: Timestamp,
    },
    /// Held by a concurrent request with the same digest.
    InFlight,
    /// Bound to another request.
    OtherRequest,
}

/// Output and result of a deploy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployLog {
    /// The approval that it was for.
    pub approval: Uuid,
    /// When it ended.
    pub ended_at: Timestamp,
    /// The exit code; `None` when a signal ended it, or it could not be started.
    pub exit_code: Option<i32>,
    /// The end of the output.
    pub output: String,
}
