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
    /// The stack that it was promoted from.
    pub parent: Option<Uuid>,
    /// The first of its family: itself, unless it was promoted.
    pub root: Uuid,
    /// Its services.
    pub services: Arc<[Service]>,
    /// Its variables.
    pub env_vars: EnvVars,
}

impl Stack {
    /// What it is called in addresses: unlike its name, nobody else's in the team.
    pub fn slug(&self) -> String {
        let (_, low) = self.id.as_u64_pair();
        format!("{}-{:012x}", simplified(&self.name), low & 0xFFFF_FFFF_FFFF)
    }
}

/// A name with nothing in it but small letters, digits and single dashes.
fn simplified(name: &str) -> String {
    const LONGEST: usize = 40;
    let mut simple = String::new();
    for letter in name.chars().take(LONGEST) {
        if letter.is_ascii_alphanumeric() {
            simple.push(letter.to_ascii_lowercase());
        } else if !simple.is_empty() && !simple.ends_with('-') {
            simple.push('-');
        }
    }
    let simple = simple.trim_end_matches('-');
    if simple.is_empty() { "stack".to_owned() } else { simple.to_owned() }
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
    pub by: Arc<str>,
    /// What is to be promoted.
    pub payload: Payload,
    /// What the caller calls this request, to be told the same outcome when it asks again.
    pub key: Option<Arc<str>>,
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

/// An approval with all that is kept of it, but the hash of its link's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRecord {
    /// What the rules look at.
    pub approval: Arc<Approval>,
    /// What was asked for.
    pub payload: Payload,
    /// The source's services when it was asked for. They are what is approved: what was built since is not.
    pub services: Arc<[Service]>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its status last changed; none while it is pending.
    pub decided_at: Option<Timestamp>,
}

/// The approval that a request was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    /// The approval as it stands now.
    pub record: ApprovalRecord,
    /// Whether this request created it; false when an earlier request under the same key did.
    pub created: bool,
}

/// The promotion that consumed an approval, as it is written in the same transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// What its caller called it.
    pub key: Option<Arc<str>>,
    /// What it asked for.
    pub payload: Payload,
    /// The target that it wrote, if it wrote one.
    pub target: Option<Target>,
    /// The keys that it copied into the vault.
    pub vault_keys: Vec<String>,
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
    pub approval: Arc<Approval>,
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
    pub by: Arc<str>,
    /// What the approval is bound to.
    pub binding: Binding,
    /// Who had asked for it.
    pub requested_by: Arc<str>,
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

/// What became of a wish to have an approval's lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leased {
    /// The caller has it, under this fencing number, until it runs out or is given back.
    Taken {
        /// Larger than that of any lease of this approval before.
        fence: u64,
    },
    /// Somebody else has it.
    Held {
        /// When it runs out, by the store's clock.
        until: Timestamp,
    },
    /// The team has no such approval.
    Absent,
}

/// A link that has to be sent to the operator, held by whoever sends it until the lease runs out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The approval that it is about.
    pub record: ApprovalRecord,
    /// How often it was tried before.
    pub attempts: u32,
    /// The fencing number.
    pub fence: u64,
    /// The store's clock, as of the lease.
    pub now: Timestamp,
}

/// Where a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeState {
    /// To be sent, but not before this pause is over.
    Due {
        /// In milliseconds, by the store's clock.
        after_ms: u64,
    },
    /// Sent, or nobody is waiting for it any more.
    Done,
}

/// What became of a wish to use an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The caller has it until its time runs out, or it is released.
    Granted {
        /// When it runs out, by the store's clock.
        until: Timestamp,
    },
    /// Somebody else has it for the same request.
    InFlight,
    /// It is another request's.
    OtherRequest,
}

/// What a deploy has printed, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployLog {
    /// The approval that it was for.
    pub approval: Uuid,
    /// When it ended.
    pub ended_at: Timestamp,
    /// The exit code; none when a signal ended it, or it could not be started.
    pub exit_code: Option<i32>,
    /// What it printed, cut to the last of it.
    pub output: String,
}

/// A stack to be deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewStack {
    /// What it is called.
    pub name: String,
    /// Where it runs.
    pub env: Environment,
    /// The stack whose family it joins; none: it is the first of its own.
    pub parent: Option<Uuid>,
    /// Its services.
    pub services: Vec<Service>,
    /// Its variables.
    pub env_vars: EnvVars,
}

impl NewStack {
    /// The stack that it becomes, under this id, in the family of this root.
    pub(super) fn deployed(self, id: Uuid, root: Uuid) -> Stack {
        let Self { name, env, parent, services, env_vars } = self;
        let services = services.into();
        Stack { id, name, env, status: StackStatus::Healthy, parent, root, services, env_vars }
    }
}

/// A resource to be provisioned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewResource {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub kind: ResourceKind,
    /// Where it is.
    pub env: Environment,
}
