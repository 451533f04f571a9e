//! The contracts of a store, [`Approvals`] first, and its records.
//!
//! A store has no rules of its own: [`protocol::consume`](crate::protocol::consume) decides a use and
//! [`protocol::transition`](crate::protocol::transition) a change of status; a store applies them atomically.

mod decision;
mod error;
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
mod token_hash;

use std::{future::Future, sync::Arc};

pub use decision::{Decider, Decision, Named, PersonalDecision, Verdict};
pub use error::{Causes, Replaced, StoreError, StoreErrorKind};
pub use memory::MemoryStore;
pub use preflight::StoreChecks;
pub use records::{
    AuditEvent, AuditKind, Backlog, Claim, DeployLog, Execution, Job, JobState, Lease, Leased, Listed,
    Notice, NoticeState, Owed, Page, Place, Query, Requested, Swept, Way,
};
pub use system::{MonotonicClock, RandomIds, SystemClock};
pub use token_hash::TokenHash;
use uuid::Uuid;

pub use crate::platform::{
    Applied, ApprovalRecord, Bound, BoundTarget, BoundValue, BreakGlass, Difference, EnvVars, GlassBroken,
    NewResource, NewStack, Payload, Plan, PlatformChecks, PromotionRequest, Resource, ResourceKind, Seal,
    Service, Stack, StackStatus, Team, TenantFacts, TenantState, Vault, VaultEntry, digest_of,
};
use crate::{
    platform::{Binding, Environment},
    protocol::{Approval, Commit, Digest, Refusal, Step, Target, Timestamp},
};

/// The clock. A store reads it inside of its transactions: expiry is judged by the store's clock and no other.
pub trait Clock: Send + Sync {
    /// The time.
    fn now(&self) -> Timestamp;
}

/// A source of new ids.
pub trait Ids: Send + Sync {
    /// An id that nothing has yet.
    fn next(&self) -> Uuid;
    /// The secret in an approval's link: 32 bytes, URL-safe, unguessable without the server's secret.
    ///
    /// Deterministic, so that the sender of the link can derive it: a store keeps only a hash of it.
    fn token(&self, approval: Uuid) -> String;
    /// The seal of the store's values. It is derived from the secret behind the tokens and is none of them.
    ///
    /// Approvals keep values under the seal: with another one their values have changed, and they are refused.
    fn seal(&self) -> Seal;
}

/// Result of reading an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its row; `None` for an unknown approval.
    pub approval: Option<Arc<Approval>>,
    /// What it was approved for; `None` for an unknown approval.
    pub binding: Option<Binding>,
    /// The digest of what would run, as of this reading.
    pub digest: Digest,
    /// The latest fencing number of the approval's lease; 0 before the first lease.
    pub fence: u64,
    /// The store's clock, as of this reading.
    pub now: Timestamp,
}

/// Outcome of a commit, unless the infrastructure failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// All of it happened.
    Applied {
        /// The target that it wrote, if it wrote one.
        target: Option<Target>,
    },
    /// A write in it refuses; nothing changed.
    Refused(Refusal),
    /// The approval's rules refuse the consume; nothing changed.
    NotConsumed(Refusal),
}

/// Validity of an approval, in milliseconds: 24 hours from the request.
pub const APPROVAL_WINDOW_MS: u64 = 24 * 60 * 60 * 1000;

/// Duration of an approval's lease, in milliseconds: longer than any preflight should take. A holder that exceeds it
/// only loses its turn.
pub const APPROVAL_LEASE_MS: u64 = 30 * 1000;

/// Approvals: requested, decided, read and used once.
///
/// Every method of a store is one atomic action: no caller sees half of it. A method that returns
/// [`StoreErrorKind::NotApplied`] after a change tells the caller that a used approval is unused; when in doubt, return
/// [`StoreErrorKind::Unknown`].
pub trait Approvals: Send + Sync {
    /// Prepares the store for the requests of an owner of [items](crate::gate::Item), who is no team of a platform.
    /// Repeating it changes nothing.
    fn put_owner(&self, owner: Uuid) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = owner;
        async { Ok(()) }
    }

    /// Writes a pending approval for `ask`, with its event and the notice for the operator.
    ///
    /// If the team has requested an approval under the same key before, returns that one, with `created` false, and
    /// writes nothing: a retry after a lost reply must not send a second link. Of the requests under one key exactly
    /// one gets `created`.
    fn request_approval(
        &self,
        ask: &PromotionRequest,
    ) -> impl Future<Output = Result<Requested, StoreError>> + Send;

    /// Decides a pending approval by compare-and-swap, and writes the event in the same transaction. If its window has
    /// passed and the operator decides, the approval becomes expired, and the result is a 410.
    ///
    /// # Errors
    /// 404 for an unknown approval; 410 (the operator) or 409 (the administrator, or a rule) if it is not pending, or a
    /// concurrent decision won.
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

    /// Reads the approval of this id, what `ask` would run now, and the clock, all as of one moment.
    ///
    /// A digest that is older than the row lets through what was not approved.
    fn read_approval(
        &self,
        approval: Uuid,
        ask: &PromotionRequest,
    ) -> impl Future<Output = Result<Reading, StoreError>> + Send;

    /// The approvals that `query` asks for, newest first, each as it stands at that moment. Neither tokens nor payloads.
    fn list_approvals(&self, query: &Query) -> impl Future<Output = Result<Page, StoreError>> + Send;

    /// Applies all of the commit or nothing. Its consume is judged on the approval's current state, by one reading of
    /// the store's clock: of two commits that consume one approval at most one is applied.
    fn commit(
        &self,
        ask: &PromotionRequest,
        step: &Step,
        commit: Commit<'_>,
    ) -> impl Future<Output = Result<Committed, StoreError>> + Send;

    /// The promotion that consumed this team's approval; `None` while it is not executed.
    fn execution(
        &self,
        team: Uuid,
        approval: Uuid,
    ) -> impl Future<Output = Result<Option<Execution>, StoreError>> + Send;
}

/// The reads between an approval's validation and its use: a flow's `check` steps, and the search for a target.
///
/// The defaults are those of a store without checks of its own, whose acts have no target.
pub trait AttemptReads: Approvals {
    /// True if a check of this store is behind the refusal: [`check`](Self::check) ends with it where it applies. A flow
    /// whose steps list a refusal without a check is refused when it is loaded.
    fn can_produce(&self, refusal: &Refusal) -> bool {
        let _ = refusal;
        false
    }

    /// Judges each of the step's refusals, in their order, for an attempt to use `approval`, on what there is now; with
    /// none, the digest of what would run. Changes nothing.
    fn check(
        &self,
        approval: Uuid,
        ask: &PromotionRequest,
        step: &Step,
    ) -> impl Future<Output = Result<Result<Digest, Refusal>, StoreError>> + Send {
        let _ = step;
        async move { Ok(Ok(self.read_approval(approval, ask).await?.digest)) }
    }

    /// The target that there is, if any. Changes nothing.
    fn find_target(
        &self,
        ask: &PromotionRequest,
        step: &Step,
    ) -> impl Future<Output = Result<Result<Option<Uuid>, Refusal>, StoreError>> + Send {
        let _ = (ask, step);
        async { Ok(Ok(None)) }
    }
}

/// Leases of approvals: they save the preflight of an attempt that could not win, and protect nothing.
///
/// A lease is requested as a time span, counted by the store's clock: a caller with a wrong clock neither frees nor blocks
/// anything.
pub trait Leases: Send + Sync {
    /// Acquires the lease of the team's approval, if [`protocol::lease`](crate::protocol::lease) allows it by the store's
    /// clock, for [`APPROVAL_LEASE_MS`]. It never waits: a caller that gets [`Leased::Held`] retries.
    ///
    /// Two concurrent holders of one lease cost a preflight; two with the same number, or a decreasing one, cannot be
    /// told apart by a consume under the `lease` guard.
    fn lease_approval(
        &self,
        team: Uuid,
        approval: Uuid,
    ) -> impl Future<Output = Result<Leased, StoreError>> + Send;

    /// Gives the lease of the team's approval back before it runs out, if this is still the number that was given last.
    /// The number stays given.
    fn release_approval(
        &self,
        team: Uuid,
        approval: Uuid,
        fence: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The outbox: launch jobs, each leased by one worker at a time under a fencing number.
///
/// Leases are counted by the store's clock, as those of [`Leases`].
pub trait Outbox: Send + Sync {
    /// The job whose turn it is, now held by the caller for `lease_ms`, under a fencing number that is larger than any before
    /// for this job or its target. A job is passed over while it is leased, and while an older one of its target is not
    /// finished. Two callers never get the same one unless the first one's lease expired.
    ///
    /// Teams with jobs are served in turns, each team's in the order of use: a team with many delays another one's by one.
    ///
    /// Two jobs of one target that are held together deploy two versions at the same time, and the older one may win.
    fn lease_job(&self, lease_ms: u64) -> impl Future<Output = Result<Option<Lease>, StoreError>> + Send;

    /// Extends the lease to `lease_ms` from now if it is still the latest; with 0 it ends now. False if it has expired
    /// and another worker holds the job: the caller must stop its deploy.
    fn renew_lease(
        &self,
        lease: &Lease,
        lease_ms: u64,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Ends the job: its target (or else the first of its environment) leaves `building`, unless a later job for that
    /// target is unfinished. False if the lease is not the latest: then nothing changes.
    ///
    /// Both changes are one: otherwise a crash in between leaves the target `building` for ever, and a worker that
    /// slept through its lease could settle a target of its successor.
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
}

/// The contracts that an attempt runs against. Implemented by every type that has all of them.
pub trait AttemptStore: AttemptReads + Leases {}

impl<S: AttemptReads + Leases> AttemptStore for S {}

/// The contracts of a gate whose acts are launched by a worker. Implemented by every type that has all of them.
pub trait Store: AttemptStore + Outbox {}

impl<S: AttemptStore + Outbox> Store for S {}

/// Stacks, resources and vaults of a team. They are invisible to every other team.
pub trait Tenants: Send + Sync {
    /// Adds a team, or changes what it pays for.
    fn put_team(&self, id: Uuid, team: Team) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Deploys a stack: the first of a family, or a member of its parent's.
    ///
    /// # Errors
    /// 402 if it would exceed the tier's cap: counting and creating are one action. 404 for an unknown parent.
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

    /// Records a new build of one service; returns the updated stack. `None` for an unknown stack or service.
    fn put_image(
        &self,
        team: Uuid,
        slug: &str,
        service: &str,
        image_ref: &str,
    ) -> impl Future<Output = Result<Option<Stack>, StoreError>> + Send;

    /// Records a new build of the whole stack. False for an unknown stack.
    fn put_services(
        &self,
        team: Uuid,
        stack: Uuid,
        services: Vec<Service>,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Sets the variables that have a value and removes the others; returns the updated stack.
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

    /// Writes an administrator's direct change of a protected environment into the team's audit. It is written before the
    /// change: a change without its event must not be possible, an event whose change failed is.
    fn break_glass(
        &self,
        team: Uuid,
        event: BreakGlass,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The team's direct changes of protected environments, newest first, at most [`Query::MAX_LIMIT`].
    fn glass_broken(&self, team: Uuid) -> impl Future<Output = Result<Vec<GlassBroken>, StoreError>> + Send;

    /// Provisions a resource that is not a twin.
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

/// Operations of the platform itself: the approval's page, notifications, deploys and idempotency keys.
pub trait Operations: Send + Sync {
    /// As [`request_approval`](Approvals::request_approval), for a person's decision: a request for what an approval of the team is
    /// pending or usable for returns that one, also under another key, and nothing is written but the key. All in one action.
    ///
    /// # Errors
    /// Within, the refusal of a request that could never be used (412, or 409 for a twin that exists), and 429 when the team
    /// has `most_pending` undecided approvals.
    fn request_decision(
        &self,
        ask: &PromotionRequest,
        most_pending: usize,
    ) -> impl Future<Output = Result<Result<Requested, Refusal>, StoreError>> + Send;

    /// The events about an approval, oldest first.
    fn audit(&self, approval: Uuid) -> impl Future<Output = Result<Vec<AuditEvent>, StoreError>> + Send;

    /// Writes that links with these tokens are these approvers' own for this approval. Writing one again changes nothing.
    fn put_links(
        &self,
        approval: Uuid,
        links: &[(TokenHash, String)],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The approver whose own link has this token; none for any other token.
    fn approver_of_link(
        &self,
        token: &str,
    ) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;

    /// Expires pending approvals whose window has passed, each with its event: at most `most` of those that were asked for
    /// after `after`.
    fn expire_overdue(
        &self,
        after: Timestamp,
        most: usize,
    ) -> impl Future<Output = Result<Swept, StoreError>> + Send;

    /// The approval whose link has this token, as it stands now. Changes nothing.
    fn approval_by_token(
        &self,
        token: &str,
    ) -> impl Future<Output = Result<Option<ApprovalRecord>, StoreError>> + Send;

    /// Any team's approval with its current status: for a deployer, which needs the approved payload.
    fn any_approval(
        &self,
        id: Uuid,
    ) -> impl Future<Output = Result<Option<ApprovalRecord>, StoreError>> + Send;

    /// The notice whose turn it is, of those that are due, held for `lease_ms` under a larger fencing number than before.
    /// Notices of approvals that are no longer pending are done. Teams take turns, as for jobs.
    fn lease_notice(&self, lease_ms: u64) -> impl Future<Output = Result<Option<Notice>, StoreError>> + Send;

    /// The notice was sent, or has to be tried again after a pause. False when the lease is not the latest.
    fn settle_notice(
        &self,
        notice: &Notice,
        state: NoticeState,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Claims an idempotency key for `lease_ms`. `request` is the digest of the request.
    ///
    /// The claim must expire: a key that is never released could never be retried.
    fn claim_key(
        &self,
        team: Uuid,
        key: &str,
        request: Digest,
        lease_ms: u64,
    ) -> impl Future<Output = Result<Claim, StoreError>> + Send;

    /// Ends the claim. With `keep` the key stays bound to this request, and a retry gets the same outcome; otherwise
    /// the key is free again.
    ///
    /// `until` is the end of the caller's own [claim](Claim::Granted) and identifies it: a release that removed the
    /// next claim would let two requests run under one key.
    fn release_key(
        &self,
        team: Uuid,
        key: &str,
        until: Timestamp,
        keep: bool,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Writes down how a deploy ended.
    fn log_deploy(&self, log: DeployLog) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Results of the deploys for an approval, oldest first.
    fn deploy_logs(&self, approval: Uuid) -> impl Future<Output = Result<Vec<DeployLog>, StoreError>> + Send;

    /// The work of all teams that is owed, by the store's clock.
    fn backlog(&self) -> impl Future<Output = Result<Backlog, StoreError>> + Send;

    /// Writes, and checks that the store has what this instance wrote the last time.
    ///
    /// A store that was replaced by an older copy has forgotten uses: their approvals could be used again.
    fn is_ready(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}
