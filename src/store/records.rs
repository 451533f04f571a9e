//! The records: teams, stacks, resources, approvals, events and jobs.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use crate::protocol::{Approval, Binding, Digest, Environment, Kind, Request, Status, Target, Timestamp};

/// What a team pays for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plan {
    /// One environment.
    Free,
    /// Several environments, and with them promotes.
    Pro,
    /// As Pro, with more of everything.
    Enterprise,
}

/// A tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Team {
    /// What it pays for.
    pub plan: Plan,
    /// The most stacks that it may have.
    pub deployment_cap: usize,
}

/// Where a stack, a twin or a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StackStatus {
    /// Its deploy has not ended.
    Building,
    /// It ended well.
    Healthy,
    /// It did not.
    Failed,
}

/// One service of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The image that was built for it.
    pub image_ref: Option<String>,
    /// The port that it listens on.
    pub port: Option<u16>,
    /// Whether it can be reached from outside.
    pub expose: bool,
}

/// Names and values. A value `vault:KEY` stands for what the environment's vault has under `KEY`.
pub type EnvVars = BTreeMap<String, String>;

/// A deployed stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Its id.
    pub id: Uuid,
    /// What it is called.
    pub name: String,
    /// Where it runs.
    pub env: Environment,
    /// Where it is.
    pub status: StackStatus,
    /// The stack that it was promoted from. Those with one root are a family.
    pub parent: Option<Uuid>,
    /// Its services.
    pub services: Vec<Service>,
    /// Its variables.
    pub env_vars: EnvVars,
}

/// What a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// PostgreSQL.
    Postgres,
    /// Redis.
    Redis,
    /// MongoDB.
    Mongodb,
}

/// A provisioned resource, or one's twin in another environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its id.
    pub id: Uuid,
    /// What it is called.
    pub name: String,
    /// What it is.
    pub kind: ResourceKind,
    /// Where it is.
    pub env: Environment,
    /// The first of its family.
    pub root: Uuid,
    /// Where it stands.
    pub status: StackStatus,
}

/// What is asked for: the body of the original request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Payload {
    /// The stack or the resource that it is about.
    pub source: Uuid,
    /// What the target is to be called, if not as its source.
    pub name: Option<String>,
    /// Whether vault keys go along.
    pub copy_vault: bool,
}

/// A caller's request: who asks, for what, with which approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The caller's team, the binding, and the approval that the caller names.
    pub request: Request,
    /// The e-mail address of the caller.
    pub by: String,
    /// What is to be promoted.
    pub payload: Payload,
    /// What the caller calls this request, to be told the same outcome when it asks again.
    pub key: Option<String>,
}

impl Ask {
    /// The binding.
    pub fn binding(&self) -> &Binding {
        &self.request.binding
    }

    /// Whether it is about a resource's twin.
    pub fn is_twin(&self) -> bool {
        self.request.binding.kind == Kind::ResourceTwin
    }
}

/// An approval with all that is kept of it. The token is in it: it is for the operator's link and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct ApprovalRecord {
    /// What the rules look at.
    pub approval: Approval,
    /// The secret in the operator's link: 32 random bytes, URL-safe.
    pub token: String,
    /// What was asked for.
    pub payload: Payload,
    /// The source's services when it was asked for. They are what is approved: what was built since is not.
    pub services: Arc<[Service]>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its status last changed; none while it is pending.
    pub decided_at: Option<Timestamp>,
}

/// The promotion that consumed an approval, as it is written in the same transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// What its caller called it.
    pub key: Option<String>,
    /// What it asked for.
    pub payload: Payload,
    /// The target that it wrote, if it wrote one.
    pub target: Option<Target>,
}

impl std::fmt::Debug for ApprovalRecord {
    /// All but the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApprovalRecord")
            .field("approval", &self.approval)
            .field("payload", &self.payload)
            .field("created_at", &self.created_at)
            .field("decided_at", &self.decided_at)
            .finish_non_exhaustive()
    }
}

/// Where an approval stands in a list: those that were created later come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When it was created.
    pub created_at: Timestamp,
    /// Which of those it is.
    pub id: Uuid,
}

/// What a list is to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Of this team only.
    pub team: Option<Uuid>,
    /// In this status only.
    pub status: Option<Status>,
    /// At most so many; none: [`Query::DEFAULT_LIMIT`]. Never more than [`Query::MAX_LIMIT`].
    pub limit: Option<usize>,
    /// Those that follow this place.
    pub after: Option<Place>,
}

impl Query {
    /// How many a list has where nobody says.
    pub const DEFAULT_LIMIT: usize = 50;
    /// How many a list has at most.
    pub const MAX_LIMIT: usize = 200;

    /// How many it has at most.
    pub fn limit(&self) -> usize {
        self.limit.unwrap_or(Self::DEFAULT_LIMIT).min(Self::MAX_LIMIT)
    }
}

/// An approval in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The approval, without its secret.
    pub approval: Approval,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its status last changed; none while it is pending.
    pub decided_at: Option<Timestamp>,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Newest first.
    pub items: Vec<Listed>,
    /// How many there are in all, whatever the limit and the place.
    pub total: usize,
    /// The place to go on from; none when nothing follows.
    pub next: Option<Place>,
}

/// What happened to an approval.
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
}

impl AuditKind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Requested, Self::Approved, Self::Rejected, Self::Expired, Self::Executed];

    /// Its name in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "promote.approval_requested",
            Self::Approved => "promote.approved",
            Self::Rejected => "promote.rejected",
            Self::Expired => "promote.expired",
            Self::Executed => "promote.executed",
        }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// What happened.
    pub kind: AuditKind,
    /// To which approval.
    pub approval: Uuid,
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub by: String,
    /// What the approval is bound to.
    pub binding: Binding,
    /// Who had asked for it.
    pub requested_by: String,
}

/// Where a launch job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Nobody holds it.
    Ready,
    /// Held until `until`, under the fencing number `fence`.
    Leased {
        /// Larger than that of any lease of this job before.
        fence: u64,
        /// When the lease runs out.
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
    /// What to launch.
    pub digest: Digest,
    /// The target that whoever wrote it knew.
    pub target: Option<Uuid>,
    /// Where it is.
    pub state: JobState,
}

/// A job that the holder may work on until the lease runs out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The job's key.
    pub approval: Uuid,
    /// What to launch.
    pub digest: Digest,
    /// Where to.
    pub target: Option<Uuid>,
    /// The fencing number.
    pub fence: u64,
}
