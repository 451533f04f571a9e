//! What a store keeps and promises: the contract of [`Store`], and the records that it is about.
//!
//! A store judges nothing by itself. What may use an approval is [`protocol::consume`](crate::protocol::consume),
//! what may happen to one is [`protocol::transition`](crate::protocol::transition); a store applies them atomically.

mod decision;
mod digest;
mod error;
mod estate;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
mod preflight;
mod records;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub mod sql;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod system;
mod vault;

use std::{future::Future, sync::Arc};

pub use decision::{Decider, Decision, Verdict};
pub use digest::{TokenHash, digest_of};
pub use error::{Causes, StoreError, StoreErrorKind};
pub use estate::{Applied, Estate};
pub use memory::MemoryStore;
pub use preflight::{PlatformChecks, StoreChecks};
pub use records::{
    ApprovalRecord, Ask, AuditEvent, AuditKind, Claim, DeployLog, EnvVars, Execution, Job, JobState, Lease,
    Leased, Listed, NewResource, NewStack, Notice, NoticeState, Page, Payload, Place, Plan, Query, Requested,
    Resource, ResourceKind, Service, Stack, StackStatus, Team,
};
pub use system::{RandomIds, SystemClock};
use uuid::Uuid;
pub use vault::{Vault, VaultEntry};

use crate::protocol::{Approval, Commit, Digest, Environment, Refusal, Step, Target, Timestamp};

/// The clock. A store reads it inside of its transactions: expiry is judged by the store's clock and no other.
pub trait Clock: Send + Sync {
    /// The time.
    fn now(&self) -> Timestamp;
}

/// Where new ids come from.
pub trait Ids: Send + Sync {
    /// An id that nothing has yet.
    fn next(&self) -> Uuid;
    /// The secret in an approval's link: 32 bytes, URL-safe, that nobody without the server's own secret can guess.
    ///
    /// It is the same whenever it is asked for, so that whoever sends the link need not be told it: a store keeps
    /// a hash of it and nothing else.
    fn token(&self, approval: Uuid) -> String;
}

/// What reading an approval gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its row; none when there is no such approval.
    pub approval: Option<Arc<Approval>>,
    /// The digest of what would run, as of this reading.
    pub digest: Digest,
    /// The fencing number of the approval's lease that was given last; 0 when nobody has leased it.
    pub fence: u64,
    /// The store's clock, as of this reading.
    pub now: Timestamp,
}

/// What became of a commit that the infrastructure did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// All of it happened.
    Applied {
        /// The target that it wrote, if it wrote one.
        target: Option<Target>,
    },
    /// A write in it refuses; nothing happened.
    Refused(Refusal),
    /// The approval's rules refuse the consume; nothing happened.
    NotConsumed(Refusal),
}

/// How long an approval can be used, in milliseconds: 24 hours from the request.
pub const APPROVAL_WINDOW_MS: u64 = 24 * 60 * 60 * 1000;

/// How long an approval's lease lasts, in milliseconds: longer than any preflight should take. Whoever takes longer
/// loses nothing but its turn.
pub const APPROVAL_LEASE_MS: u64 = 30 * 1000;

/// What keeps approvals and everything that they are about.
///
/// Every method is one atomic action: nobody sees half of it. A method that returns
/// [`StoreErrorKind::NotApplied`] after a change tells the caller that a used approval is unused; when in doubt, return
/// [`StoreErrorKind::Unknown`].
///
/// How long something is held is asked for as a time span, and the store counts it from its own now: a caller whose clock
/// is wrong neither frees nor blocks anything.
pub trait Store: Send + Sync {
    /// Reads the approval that `ask` names, what would run now, and the clock, all as of one moment.
    ///
    /// A digest that is older than the row lets through what was not approved.
    fn read_approval(&self, ask: &Ask) -> impl Future<Output = Result<Reading, StoreError>> + Send;

    /// Judges each of the step's refusals, in their order, on what there is now; with none, the digest of what would
    /// run. Changes nothing.
    fn check(
        &self,
        ask: &Ask,
        step: &Step,
    ) -> impl Future<Output = Result<Result<Digest, Refusal>, StoreError>> + Send;

    /// The target that there is, if any. Changes nothing.
    fn find_target(
        &self,
        ask: &Ask,
        step: &Step,
    ) -> impl Future<Output = Result<Result<Option<Uuid>, Refusal>, StoreError>> + Send;

    /// Takes the lease of the team's approval that `ask` names, if [`protocol::lease`](crate::protocol::lease) allows it
    /// by the store's clock, for [`APPROVAL_LEASE_MS`]. It never waits: whoever is told that somebody has it asks again.
    ///
    /// Two holders of one lease at the same time cost a preflight; two that are given the same number, or a smaller one,
    /// cannot be told apart by a consume under the `lease` guard.
    fn lease_approval(&self, ask: &Ask) -> impl Future<Output = Result<Leased, StoreError>> + Send;

    /// Gives the lease of the team's approval back before it runs out, if this is still the number that was given last.
    /// The number stays given.
    fn release_approval(&self, ask: &Ask, fence: u64) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Does all of the commit or nothing. The consume in it is judged on the approval as it is at that moment, by one
    /// reading of the store's clock: of two commits that consume one approval at most one is applied.
    fn commit(
        &self,
        ask: &Ask,
        step: &Step,
        commit: Commit<'_>,
    ) -> impl Future<Output = Result<Committed, StoreError>> + Send;

    /// Writes a pending approval for `ask`, with its event and the notice for the operator.
    ///
    /// When the ask has a key under which the team has asked for an approval before, that one is returned, not as
    /// `created`, and nothing is written: a request that is repeated because its answer was lost must not send a second
    /// link. Of requests under one key exactly one is told that it created the approval.
    fn request_approval(&self, ask: &Ask) -> impl Future<Output = Result<Requested, StoreError>> + Send;

    /// The operator or the administrator decides, by compare-and-swap, and the event is written with it. A pending
    /// approval whose window has passed becomes expired instead when the operator touches it, and the answer is 410.
    ///
    /// # Errors
    /// 404 for an unknown one; 410 (the operator) or 409 (the administrator, or a rule) when it is not pending, or
    /// somebody else was quicker.
    fn decide(
        &self,
        decision: Decision<'_>,
    ) -> impl Future<Output = Result<Result<ApprovalRecord, Refusal>, StoreError>> + Send;

    /// This team's approval of this id, as it stands now.
    fn approval(
        &self,
        team: Uuid,
        id: Uuid,
    ) -> impl Future<Output = Result<Option<ApprovalRecord>, StoreError>> + Send;

    /// The promotion that consumed this team's approval; none while it is not executed.
    fn execution(
        &self,
        team: Uuid,
        approval: Uuid,
    ) -> impl Future<Output = Result<Option<Execution>, StoreError>> + Send;

    /// The approvals that `query` asks for, newest first, each as it stands at that moment. Neither tokens nor payloads.
    fn list_approvals(&self, query: &Query) -> impl Future<Output = Result<Page, StoreError>> + Send;

    /// The oldest job that is not leased and whose target no older unfinished job is for, now held by the caller for
    /// `lease_ms`, under a fencing number that is larger than any before for this job or its target. Two callers never get
    /// the same one unless the first one's lease ran out.
    ///
    /// Two jobs of one target that are held together deploy two versions at the same time, and the older one may win.
    fn lease_job(&self, lease_ms: u64) -> impl Future<Output = Result<Option<Lease>, StoreError>> + Send;

    /// A lease that is still the latest runs for `lease_ms` from now on; with 0 it is over. False when it has run out and
    /// somebody else holds the job: the caller must stop, and so must what it has launched.
    fn renew_lease(
        &self,
        lease: &Lease,
        lease_ms: u64,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// The job's deploy has ended: the job is done, and its target, or else its environment's first one, is no longer
    /// building, unless a later job for that target is unfinished. False when the lease is not the latest: then nothing
    /// changes.
    ///
    /// A job that is done before its target has settled leaves that target building for ever when the process dies
    /// in between; a target that anybody may settle is settled by a worker that slept through its lease.
    fn finish_job(
        &self,
        lease: &Lease,
        ended: StackStatus,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// A deploy that no job was written for has ended: its target, or else its environment's first one, is no longer
    /// building.
    fn settle(
        &self,
        approval: Uuid,
        target: Option<Uuid>,
        status: StackStatus,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The events about an approval, oldest first.
    fn audit(&self, approval: Uuid) -> impl Future<Output = Result<Vec<AuditEvent>, StoreError>> + Send;
}

/// What teams have beside approvals: stacks, resources and vaults. For every other team they do not exist.
pub trait Tenants: Send + Sync {
    /// Adds a team, or changes what it pays for.
    fn put_team(&self, id: Uuid, team: Team) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Deploys a stack: the first of a family, or a member of its parent's.
    ///
    /// # Errors
    /// 402 when it would pass the plan's cap: counting and creating are one action. 404 when there is no such parent.
    fn create_stack(
        &self,
        team: Uuid,
        stack: NewStack,
    ) -> impl Future<Output = Result<Result<Stack, Refusal>, StoreError>> + Send;

    /// The stack of this slug.
    fn stack(&self, team: Uuid, slug: &str)
    -> impl Future<Output = Result<Option<Stack>, StoreError>> + Send;

    /// The stack of this id.
    fn stack_by_id(
        &self,
        team: Uuid,
        id: Uuid,
    ) -> impl Future<Output = Result<Option<Stack>, StoreError>> + Send;

    /// The stacks of the family that this root is the first of, oldest first.
    fn family(&self, team: Uuid, root: Uuid) -> impl Future<Output = Result<Vec<Stack>, StoreError>> + Send;

    /// A new build of one service; the stack as it is then. None when there is no such stack or service.
    fn put_image(
        &self,
        team: Uuid,
        slug: &str,
        service: &str,
        image_ref: &str,
    ) -> impl Future<Output = Result<Option<Stack>, StoreError>> + Send;

    /// A new build of the whole stack. False when there is no such stack.
    fn put_services(
        &self,
        team: Uuid,
        stack: Uuid,
        services: Vec<Service>,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Sets those variables that have a value and removes the others; the stack as it is then.
    fn patch_env(
        &self,
        team: Uuid,
        slug: &str,
        changes: &std::collections::BTreeMap<String, Option<String>>,
    ) -> impl Future<Output = Result<Option<Stack>, StoreError>> + Send;

    /// Sets a vault key.
    fn put_vault(
        &self,
        team: Uuid,
        env: &Environment,
        key: &str,
        value: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Provisions a resource that is nobody's twin.
    fn create_resource(
        &self,
        team: Uuid,
        resource: NewResource,
    ) -> impl Future<Output = Result<Resource, StoreError>> + Send;

    /// The resource of this id.
    fn resource(
        &self,
        team: Uuid,
        id: Uuid,
    ) -> impl Future<Output = Result<Option<Resource>, StoreError>> + Send;
}

/// What the platform itself asks for: whoever shows the approval's page, sends links, deploys, or answers a retry.
pub trait Operations: Send + Sync {
    /// The approval whose link has this token, as it stands now. Changes nothing.
    fn approval_by_token(
        &self,
        token: &str,
    ) -> impl Future<Output = Result<Option<ApprovalRecord>, StoreError>> + Send;

    /// Any team's approval, as it stands now: for a deployer, which has to know what was approved.
    fn any_approval(
        &self,
        id: Uuid,
    ) -> impl Future<Output = Result<Option<ApprovalRecord>, StoreError>> + Send;

    /// The oldest notice that is due, held for `lease_ms` under a larger fencing number than before. Notices of
    /// approvals that are no longer pending are done.
    fn lease_notice(&self, lease_ms: u64) -> impl Future<Output = Result<Option<Notice>, StoreError>> + Send;

    /// The notice was sent, or has to be tried again after a pause. False when the lease is not the latest.
    fn settle_notice(
        &self,
        notice: &Notice,
        state: NoticeState,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// The caller wants to work on a request under an idempotency key for `lease_ms`. `request` is a digest of it.
    ///
    /// A key that is never released and never runs out would be wedged: nobody could ask again.
    fn claim_key(
        &self,
        team: Uuid,
        key: &str,
        request: Digest,
        lease_ms: u64,
    ) -> impl Future<Output = Result<Claim, StoreError>> + Send;

    /// The work is over. `keep`: from now on the key is this request's, and whoever asks again is to be told the same;
    /// otherwise it is as if it had never been used.
    ///
    /// `until` is the end of the caller's own [claim](Claim::Granted), and tells it from any other: a release that took
    /// the next one's claim away would let two work under one key.
    fn release_key(
        &self,
        team: Uuid,
        key: &str,
        until: Timestamp,
        keep: bool,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Writes down how a deploy ended.
    fn log_deploy(&self, log: DeployLog) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// How the deploys for an approval ended, oldest first.
    fn deploy_logs(&self, approval: Uuid) -> impl Future<Output = Result<Vec<DeployLog>, StoreError>> + Send;

    /// Whether the store answers, and takes writes.
    fn is_ready(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}
