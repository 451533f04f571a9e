//! The store in memory: one lock for each team; approval states live in a separate compare-and-swap strategy.
//!
//! ```text
//!               ┌ teams: id ─▶ Tenant ┬ Mutex: tenant state, entries, events
//! MemoryStore ──┼ standings: id ─▶ what the rules compare
//!               └ directory: Mutex: id ─▶ tenant; token ─▶ id; which job, which notice is next
//! ```
//!
//! A commit holds its team's lock, reads the clock once, and performs the approval's exchange last. A reader of more
//! than an approval's state takes the same lock and so never sees half a commit. The directory's lock is held briefly,
//! sometimes while a team's lock is held; never in the opposite order (`locks.rs`).

mod approvals;
mod commit;
mod leases;
mod locks;
mod operations;
mod outbox;
mod queue;
mod snapshot;
pub mod strategy;
mod tenants;

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard},
};

use leases::LeaseRow;
use locks::{Guard, Lock, Rank, SharedLock};
use operations::{KeyState, NoticeRow};
use outbox::JobRow;
use queue::Queue;
pub use tenants::{Event, Records};
use uuid::Uuid;

use super::{
    ApprovalRecord, Approvals, AttemptReads, AuditEvent, AuditKind, Clock, Committed, Decision, DeployLog,
    Execution, GlassBroken, Ids, Lease, Leased, Leases, MonotonicClock, Outbox, Page, Plan, PlatformChecks,
    PromotionRequest, Query, Reading, Requested, Seal, StackStatus, StoreChecks, StoreError, Team,
    TenantFacts, TenantState, Tenants, TokenHash, Way, digest_of, preflight,
};
use crate::{
    protocol::{Commit, Digest, Refusal, Step, Timestamp},
    store::memory::strategy::{DefaultStrategy, IdMap, RandomMap, Strategy},
};

/// Approvals and everything that they are about, in memory.
pub struct MemoryStore<S = DefaultStrategy> {
    standings: S,
    teams: SharedLock<IdMap<Arc<Tenant>>>,
    directory: Lock<Directory>,
    clock: Arc<dyn Clock>,
    /// The clock of leases, pauses and keys, which end with the process.
    lease_clock: MonotonicClock,
    ids: Arc<dyn Ids>,
    preflight: Arc<StoreChecks>,
    seal: Seal,
}

/// A team and all that it has.
#[derive(Debug)]
struct Tenant {
    id: Uuid,
    state: Lock<TeamState>,
}

impl Tenant {
    fn new(id: Uuid, state: TeamState) -> Self {
        Self { id, state: Lock::new(Rank::Team, state) }
    }

    fn state(&self) -> Guard<MutexGuard<'_, TeamState>> {
        self.state.lock()
    }
}

/// Lookup tables for approvals, and the queues of pending jobs and notices.
#[derive(Debug, Default)]
struct Directory {
    owners: IdMap<Arc<Tenant>>,
    by_token: RandomMap<TokenHash, Uuid>,
    /// Approvers by the hash of their link; a link that was sent to all has none.
    approvers: RandomMap<TokenHash, Arc<str>>,
    jobs: Queue,
    notices: Queue,
}

/// All that a team's lock guards.
#[derive(Clone, Debug, PartialEq)]
struct TeamState {
    tenant_state: TenantState,
    approvals: IdMap<Box<ApprovalEntry>>,
    /// Oldest first.
    events: Vec<Event>,
    /// The approvals that were asked for under a key.
    by_idempotency_key: BTreeMap<Arc<str>, Uuid>,
    keys: BTreeMap<String, KeyState>,
    deploy_logs: IdMap<Vec<DeployLog>>,
    /// Executions of approvals that belong to another team: some flows do not check ownership.
    foreign_executions: BTreeMap<Uuid, Execution>,
    /// The direct changes of protected environments, oldest first.
    glass_broken: Vec<GlassBroken>,
    /// The launches for each target.
    launches: BTreeMap<Uuid, outbox::TargetLaunches>,
}

/// An approval with its notice, its lease and its job.
#[derive(Clone, Debug, PartialEq)]
struct ApprovalEntry {
    /// The status in it is that of the request; the standing has the real one.
    record: ApprovalRecord,
    /// The place of its latest event.
    last_event: Option<u32>,
    execution: Option<Box<Execution>>,
    job: Option<Box<JobRow>>,
    /// `None` once sent.
    notice: Option<NoticeRow>,
    /// `None` until first acquired.
    lease: Option<Box<LeaseRow>>,
}

impl<S: Strategy + Default> MemoryStore<S> {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self::with_strategy(S::default(), clock, ids)
    }
}

/// The time `ms` after `now`, saturating.
fn after(now: Timestamp, ms: u64) -> Timestamp {
    Timestamp(now.0.saturating_add(ms))
}

fn no_such_team() -> StoreError {
    StoreError::not_applied("no such team")
}

impl<S: Strategy> MemoryStore<S> {
    /// An empty store whose approvals move by this strategy.
    pub fn with_strategy(standings: S, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        let (preflight, seal) = (Arc::new(PlatformChecks), ids.seal());
        let lease_clock = MonotonicClock::of(Arc::clone(&clock));
        Self {
            standings,
            teams: SharedLock::new(Rank::Teams, IdMap::default()),
            directory: Lock::new(Rank::Directory, Directory::default()),
            clock,
            lease_clock,
            ids,
            preflight,
            seal,
        }
    }

    /// The same store, with these checks in place of all of the [platform's](PlatformChecks), also of that for
    /// [`Refusal::TARGET_CHANGED`] at the use of an approval. What they do not judge they have to pass on.
    pub fn with_checks(self, preflight: Arc<StoreChecks>) -> Self {
        Self { preflight, ..self }
    }

    /// The strategy that moves the approvals' states. For harnesses: a transition made through it writes no event.
    pub fn strategy(&self) -> &S {
        &self.standings
    }

    fn teams(&self) -> impl std::ops::Deref<Target = IdMap<Arc<Tenant>>> + '_ {
        self.teams.read()
    }

    /// Reads or changes a team under its lock; `None` for an unknown team.
    fn with_team<T>(&self, team: Uuid, work: impl FnOnce(&mut TeamState) -> T) -> Option<T> {
        let teams = self.teams();
        let mut team = teams.get(&team)?.state();
        Some(work(&mut team))
    }

    /// As [`with_team`](Self::with_team), for the team that has this approval.
    fn with_owner<T>(&self, approval: Uuid, work: impl FnOnce(&mut TeamState) -> T) -> Option<T> {
        let owner = self.owner(approval)?;
        Some(work(&mut owner.state()))
    }

    fn owner(&self, approval: Uuid) -> Option<Arc<Tenant>> {
        self.directory.lock().owners.get(&approval).cloned()
    }
}

impl<S: Strategy> Approvals for MemoryStore<S> {
    async fn put_owner(&self, owner: Uuid) -> Result<(), StoreError> {
        // An owner has no stacks, so the cap is 0.
        Tenants::put_team(self, owner, Team { plan: Plan::Free, deployment_cap: 0 }).await
    }

    async fn read_approval(&self, approval: Uuid, ask: &PromotionRequest) -> Result<Reading, StoreError> {
        self.reading(approval, ask)
    }

    async fn commit(
        &self,
        ask: &PromotionRequest,
        step: &Step,
        commit: Commit<'_>,
    ) -> Result<Committed, StoreError> {
        self.commit_now(ask, step, commit)
    }

    async fn request_approval(&self, ask: &PromotionRequest) -> Result<Requested, StoreError> {
        // Without a limit nothing is refused.
        self.request_now(ask, None)?.map_err(|refusal| StoreError::not_applied(refusal.to_string()))
    }

    async fn decide(&self, decision: Decision<'_>) -> Result<Result<ApprovalRecord, Refusal>, StoreError> {
        Ok(self.decide_now(decision))
    }

    async fn approval(&self, team: Uuid, id: Uuid) -> Result<Option<ApprovalRecord>, StoreError> {
        let find = |team: &mut TeamState| self.record(team, id);
        Ok(self.with_team(team, find).flatten())
    }

    async fn execution(&self, team: Uuid, approval: Uuid) -> Result<Option<Execution>, StoreError> {
        let find = |team: &mut TeamState| team.execution(approval).cloned();
        Ok(self.with_team(team, find).flatten())
    }

    async fn list_approvals(&self, query: &Query) -> Result<Page, StoreError> {
        Ok(self.page(query))
    }
}

impl<S: Strategy> AttemptReads for MemoryStore<S> {
    fn can_produce(&self, refusal: &Refusal) -> bool {
        self.preflight.can_produce(refusal)
    }

    async fn check(
        &self,
        _: Uuid,
        ask: &PromotionRequest,
        step: &Step,
    ) -> Result<Result<Digest, Refusal>, StoreError> {
        let check = |team: &mut TeamState| match preflight::first_refusal(
            &*self.preflight,
            &TenantFacts::new(&team.tenant_state, ask),
            step,
        ) {
            Some(refusal) => Err(refusal),
            None => Ok(team.digest(ask)),
        };
        Ok(self.with_team(ask.team, check).unwrap_or(Err(Refusal::NOT_FOUND)))
    }

    async fn find_target(
        &self,
        ask: &PromotionRequest,
        _: &Step,
    ) -> Result<Result<Option<Uuid>, Refusal>, StoreError> {
        let found = self.with_team(ask.team, |team| team.tenant_state.target(ask));
        Ok(found.ok_or(Refusal::NOT_FOUND))
    }
}

impl<S: Strategy> Leases for MemoryStore<S> {
    async fn lease_approval(&self, team: Uuid, approval: Uuid) -> Result<Leased, StoreError> {
        Ok(self.take_lease(team, approval))
    }

    async fn release_approval(&self, team: Uuid, approval: Uuid, fence: u64) -> Result<(), StoreError> {
        self.give_lease_back(team, approval, fence);
        Ok(())
    }
}

impl<S: Strategy> Outbox for MemoryStore<S> {
    async fn lease_job(&self, lease_ms: u64) -> Result<Option<Lease>, StoreError> {
        Ok(self.lease_now(lease_ms))
    }

    async fn renew_lease(&self, lease: &Lease, lease_ms: u64) -> Result<bool, StoreError> {
        Ok(self.renew_now(lease, lease_ms))
    }

    async fn finish_job(&self, lease: &Lease, ended: StackStatus) -> Result<bool, StoreError> {
        Ok(self.finish_now(lease, ended))
    }

    async fn settle(
        &self,
        approval: Uuid,
        target: Option<Uuid>,
        status: StackStatus,
    ) -> Result<(), StoreError> {
        self.settle_now(approval, target, status);
        Ok(())
    }
}

impl TeamState {
    fn new(team: Team) -> Self {
        Self {
            tenant_state: TenantState::new(team),
            approvals: IdMap::default(),
            events: Vec::new(),
            by_idempotency_key: BTreeMap::new(),
            keys: BTreeMap::new(),
            deploy_logs: IdMap::default(),
            foreign_executions: BTreeMap::new(),
            glass_broken: Vec::new(),
            launches: BTreeMap::new(),
        }
    }

    /// Digest of the stack that the request would deploy now.
    fn digest(&self, ask: &PromotionRequest) -> Digest {
        digest_of(ask, self.tenant_state.source_services(ask))
    }

    fn execution(&self, approval: Uuid) -> Option<&Execution> {
        match self.approvals.get(&approval) {
            Some(entry) => entry.execution.as_deref(),
            None => self.foreign_executions.get(&approval),
        }
    }

    /// The events about an approval, oldest first.
    fn audit(&self, approval: Uuid) -> Vec<AuditEvent> {
        let Some(entry) = self.approvals.get(&approval) else { return Vec::new() };
        let place_of = |place: u32| self.events.get(place as usize);
        let latest = entry.last_event.and_then(place_of);
        let events = std::iter::successors(latest, |event| event.before.and_then(place_of));
        let (binding, requested_by) = (&entry.record.binding, &entry.record.approval.requested_by);
        let mut audit: Vec<AuditEvent> = events
            .map(|event| AuditEvent {
                kind: event.kind,
                approval,
                at: event.at,
                by: event.by.clone().unwrap_or_else(|| crate::store::decision::OPERATOR.into()),
                binding: binding.clone(),
                requested_by: Arc::clone(requested_by),
                way: event.way,
                reason: event.reason.clone(),
            })
            .collect();
        audit.reverse();
        audit
    }
}

impl ApprovalEntry {
    fn new(record: ApprovalRecord, notice: NoticeRow) -> Self {
        Self { record, last_event: None, execution: None, job: None, notice: Some(notice), lease: None }
    }

    /// Writes an event of its team. `by` is `None` for the operator.
    fn write_event(&mut self, events: &mut Vec<Event>, kind: AuditKind, at: Timestamp, by: Option<Arc<str>>) {
        self.write_decision(events, kind, at, by, (None, None));
    }

    /// As [`write_event`](Self::write_event), with how a person decided, and why.
    fn write_decision(
        &mut self,
        events: &mut Vec<Event>,
        kind: AuditKind,
        at: Timestamp,
        by: Option<Arc<str>>,
        (way, reason): (Option<Way>, Option<&str>),
    ) {
        let before = self.last_event;
        // Of more events than that, the first are out of reach.
        self.last_event = u32::try_from(events.len()).ok();
        let (approval, reason) = (self.record.approval.id, reason.map(Arc::from));
        events.push(Event { kind, approval, at, by, way, reason, before });
    }
}
