//! The records: teams, stacks, resources, approvals, events and jobs.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use crate::protocol::{
    Approval, Binding, Change, Digest, Environment, Kind, Request, Status, Target, Timestamp,
};

/// The tier of a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plan {
    /// One environment.
    Free,
    /// Several environments, and with them promotes.
    Pro,
    /// Pro with higher limits.
    Enterprise,
}

/// A tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Team {
    /// The team's tier.
    pub plan: Plan,
    /// The most stacks that it may have.
    pub deployment_cap: usize,
}

/// State of a stack, a twin or a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StackStatus {
    /// Its deploy has not ended.
    Building,
    /// Its deploy succeeded.
    Healthy,
    /// Its deploy failed.
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
    /// Reachable from outside.
    pub expose: bool,
}

/// Names and values. A value `vault:KEY` stands for what the environment's vault has under `KEY`.
pub type EnvVars = BTreeMap<String, String>;

/// A deployed stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Its id.
    pub id: Uuid,
    /// Display name.
    pub name: String,
    /// The environment.
    pub env: Environment,
    /// State of its latest deploy.
    pub status: StackStatus,
    /// The stack that it was promoted from.
    pub parent: Option<Uuid>,
    /// The first of its family: itself, unless it was promoted.
    pub root: Uuid,
    /// Its services.
    pub services: Arc<[Service]>,
    /// Its variables.
    pub env_vars: EnvVars,
    /// How often its services or variables were written since it was created. It tells a target that has become again what
    /// it was from one that has not changed.
    pub version: u64,
}

impl Stack {
    /// Name in addresses, unique in the team.
    pub fn slug(&self) -> String {
        let (_, low) = self.id.as_u64_pair();
        format!("{}-{:012x}", simplified(&self.name), low & 0xFFFF_FFFF_FFFF)
    }
}

/// The name reduced to lower-case letters, digits and single dashes.
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

/// The product that a resource runs.
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
    /// Display name.
    pub name: String,
    /// The product.
    pub kind: ResourceKind,
    /// The environment.
    pub env: Environment,
    /// The first of its family.
    pub root: Uuid,
    /// State of its latest deploy.
    pub status: StackStatus,
}

/// The payload of a request: the body of the original call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Payload {
    /// The stack or the resource that it is about.
    pub source: Uuid,
    /// Name of a new target; the source's name by default.
    pub name: Option<String>,
    /// Copies vault keys too.
    pub copy_vault: bool,
}

/// A caller's request: who asks, for what, with which approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromotionRequest {
    /// The caller's team, the binding, and the approval that the caller names.
    pub request: Request,
    /// The e-mail address of the caller.
    pub requested_by: Arc<str>,
    /// The payload to promote.
    pub payload: Payload,
    /// The caller's idempotency key: a retry gets the same outcome.
    pub key: Option<Arc<str>>,
}

impl PromotionRequest {
    /// The binding.
    pub fn binding(&self) -> &Binding {
        &self.request.binding
    }

    /// True for a resource's twin.
    pub fn is_twin(&self) -> bool {
        self.request.binding.kind == Kind::ResourceTwin
    }
}

/// An approval with all that is kept of it, but the hash of its link's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRecord {
    /// The fields that the rules read.
    pub approval: Arc<Approval>,
    /// The requested payload.
    pub payload: Payload,
    /// The source's services when it was asked for. They are what is approved: what was built since is not.
    pub services: Arc<[Service]>,
    /// The binding in addition to the digest; `None` for a request of an older schema.
    pub bound: Option<Arc<Bound>>,
    /// Time of the request.
    pub created_at: Timestamp,
    /// Time of the last change of status; `None` while pending.
    pub decided_at: Option<Timestamp>,
}

/// What an approval is bound to besides its digest: the target as it was when it was asked for, and the values that the
/// target is to have. Values are kept as keyed hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// The target that there was; none: it is to be created.
    pub target: Option<BoundTarget>,
    /// The variables that the target is to have, by name.
    pub variables: Vec<BoundValue>,
    /// The vault keys of the target's environment that these refer to or that are copied, by name.
    pub vault: Vec<BoundValue>,
}

/// A target as it was when an approval was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundTarget {
    /// Its id.
    pub id: Uuid,
    /// Its version.
    pub version: u64,
    /// Its services.
    pub services: Arc<[Service]>,
}

/// A variable or a vault key, and what a promotion makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundValue {
    /// Its name.
    pub name: String,
    /// The keyed hash of its value; none when it has no value yet.
    pub seal: Option<Digest>,
    /// Difference of the value from the target's.
    pub change: Difference,
}

/// Difference of a new value from the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Equal.
    Unchanged,
    /// There is none.
    Added,
    /// Missing before and after.
    Missing,
}

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
    /// Number of matches, independent of limit and position.
    pub total: usize,
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

/// A stack to be deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewStack {
    /// Display name.
    pub name: String,
    /// The environment.
    pub env: Environment,
    /// A stack of the family that it joins; `None` to start a family.
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
        Stack { id, name, env, status: StackStatus::Healthy, parent, root, services, env_vars, version: 0 }
    }
}

/// A direct change of a protected environment, which an administrator makes without an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakGlass {
    /// The environment that it changes.
    pub env: Environment,
    /// The change, such as a stack's image. Never a value.
    pub change: String,
    /// The administrator.
    pub by: String,
    /// Why there is no time for an approval.
    pub reason: String,
}

/// A direct change of a protected environment, as the audit has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlassBroken {
    /// When it was announced.
    pub at: Timestamp,
    /// The change.
    pub what: BreakGlass,
}

/// A resource to be provisioned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewResource {
    /// Display name.
    pub name: String,
    /// The product.
    pub kind: ResourceKind,
    /// The environment.
    pub env: Environment,
}
