//! The store in memory: one lock for each team, and the approvals' standings in a compare-and-swap strategy of their own.
//!
//! The directory's lock and a team's are never held together. A commit holds its team's lock, looks at the clock once, and makes the
//! approval's exchange last; whoever reads more than an approval's standing takes the same lock, so that nobody sees
//! half a commit.

mod approvals;
mod commit;
mod operations;
mod outbox;
mod tenants;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

pub use tenants::Records;
use uuid::Uuid;

use super::{
    ApprovalRecord, Ask, AuditEvent, AuditKind, Clock, Committed, Decision, DeployLog, Estate, Execution,
    Ids, Job, Lease, Page, Payload, Query, Reading, StackStatus, Store, StoreError, Team, TokenHash,
    digest_of,
};
use crate::{
    protocol::{Binding, Commit, Digest, Refusal, Step, Timestamp},
    strategy::{Sharded, Strategy},
};

/// Approvals and everything that they are about, in memory.
pub struct MemoryStore<S = Sharded> {
    standings: S,
    teams: RwLock<BTreeMap<Uuid, Arc<Mutex<TeamState>>>>,
    directory: Mutex<Directory>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
}

/// Where approvals are to be found.
#[derive(Clone, Debug, Default)]
struct Directory {
    team_of: BTreeMap<Uuid, Uuid>,
    by_token: BTreeMap<TokenHash, Uuid>,
    /// Approvals with a job, in the order in which the jobs were written.
    outbox: Vec<Uuid>,
    /// Approvals with a notice, in the order in which they were asked for.
    notices: Vec<Uuid>,
}

/// All that one lock guards. What is large is boxed: a map's node has room for eleven.
#[derive(Clone, Debug)]
struct TeamState {
    estate: Estate,
    /// The status in these is that of the request; the standing has the real one.
    approvals: BTreeMap<Uuid, Arc<ApprovalRecord>>,
    audit: Vec<AuditEvent>,
    jobs: BTreeMap<Uuid, Box<Job>>,
    executions: BTreeMap<Uuid, Arc<Execution>>,
    /// What was asked for lately, with its digest, until a source changes.
    digests: Vec<(Payload, Binding, Digest)>,
    /// The approvals that were asked for under a key.
    asked_under: BTreeMap<Arc<str>, Uuid>,
    keys: BTreeMap<String, operations::KeyState>,
    notices: BTreeMap<Uuid, operations::NoticeRow>,
    deploy_logs: Vec<DeployLog>,
}

impl<S: Strategy + Default> MemoryStore<S> {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self::with_strategy(S::default(), clock, ids)
    }

    /// A copy that goes its own way, by another clock. For harnesses that look at more than one continuation.
    pub fn fork(&self, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        let copy =
            |(id, team): (&Uuid, &Arc<Mutex<TeamState>>)| (*id, Arc::new(Mutex::new(locked(team).clone())));
        let fork = Self::new(clock, ids);
        *fork.teams.write().unwrap_or_else(PoisonError::into_inner) =
            self.teams.read().unwrap_or_else(PoisonError::into_inner).iter().map(copy).collect();
        *locked(&fork.directory) = locked(&self.directory).clone();
        self.standings.for_each(&mut |id, record| {
            let same = fork.standings.insert(id, record);
            debug_assert_eq!(id, same, "a copy is filled in the order of the original");
        });
        fork
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves nothing half done: changes begin when nothing can go wrong any more.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Strategy> MemoryStore<S> {
    /// An empty store whose approvals move by this strategy.
    pub fn with_strategy(standings: S, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self { standings, teams: RwLock::default(), directory: Mutex::default(), clock, ids }
    }

    /// The team of this id, to be locked.
    fn team(&self, id: Uuid) -> Option<Arc<Mutex<TeamState>>> {
        self.teams.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn team_of_approval(&self, approval: Uuid) -> Option<Arc<Mutex<TeamState>>> {
        let team = locked(&self.directory).team_of.get(&approval).copied()?;
        self.team(team)
    }
}

impl<S: Strategy> Store for MemoryStore<S> {
    async fn read_approval(&self, ask: &Ask) -> Result<Reading, StoreError> {
        self.reading(ask)
    }

    async fn check(&self, ask: &Ask, step: &Step) -> Result<Result<Digest, Refusal>, StoreError> {
        let Some(team) = self.team(ask.request.team) else { return Ok(Err(Refusal::NOT_FOUND)) };
        let mut team = locked(&team);
        Ok(match step.refusals().find(|refusal| team.estate.refuses(ask, refusal)) {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(team.digest(ask)),
        })
    }

    async fn find_target(&self, ask: &Ask, step: &Step) -> Result<Result<Option<Uuid>, Refusal>, StoreError> {
        let Some(team) = self.team(ask.request.team) else { return Ok(Err(Refusal::NOT_FOUND)) };
        let team = locked(&team);
        Ok(match step.refusals().find(|refusal| team.estate.is_out(refusal)) {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(team.estate.target(ask)),
        })
    }

    async fn commit(&self, ask: &Ask, step: &Step, commit: Commit<'_>) -> Result<Committed, StoreError> {
        self.commit_now(ask, step, commit)
    }

    async fn request_approval(&self, ask: &Ask) -> Result<ApprovalRecord, StoreError> {
        self.request_now(ask)
    }

    async fn decide(&self, decision: Decision<'_>) -> Result<Result<ApprovalRecord, Refusal>, StoreError> {
        Ok(self.decide_now(decision))
    }

    async fn approval(&self, team: Uuid, id: Uuid) -> Result<Option<ApprovalRecord>, StoreError> {
        let Some(team) = self.team(team) else { return Ok(None) };
        let team = locked(&team);
        Ok(team.approvals.get(&id).map(|record| self.as_it_stands(record)))
    }

    async fn execution(&self, team: Uuid, approval: Uuid) -> Result<Option<Execution>, StoreError> {
        let Some(team) = self.team(team) else { return Ok(None) };
        let team = locked(&team);
        Ok(team.executions.get(&approval).map(|execution| Execution::clone(execution)))
    }

    async fn list_approvals(&self, query: &Query) -> Result<Page, StoreError> {
        Ok(self.page(query))
    }

    async fn lease_job(&self, until: Timestamp) -> Result<Option<Lease>, StoreError> {
        Ok(self.lease_now(until))
    }

    async fn renew_lease(&self, lease: &Lease, until: Timestamp) -> Result<bool, StoreError> {
        Ok(self.renew_now(lease, until))
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

    async fn audit(&self, approval: Uuid) -> Result<Vec<AuditEvent>, StoreError> {
        let Some(team) = self.team_of_approval(approval) else { return Ok(Vec::new()) };
        let team = locked(&team);
        Ok(team.audit.iter().filter(|event| event.approval == approval).cloned().collect())
    }
}

impl TeamState {
    fn new(team: Team) -> Self {
        Self {
            estate: Estate::new(team),
            approvals: BTreeMap::new(),
            audit: Vec::new(),
            jobs: BTreeMap::new(),
            executions: BTreeMap::new(),
            digests: Vec::new(),
            asked_under: BTreeMap::new(),
            keys: BTreeMap::new(),
            notices: BTreeMap::new(),
            deploy_logs: Vec::new(),
        }
    }

    /// What would run now.
    fn digest(&mut self, ask: &Ask) -> Digest {
        /// More than there are consumers of one approval.
        const KEPT: usize = 16;
        let known = self
            .digests
            .iter()
            .find(|(payload, binding, _)| *payload == ask.payload && *binding == *ask.binding());
        if let Some((_, _, digest)) = known {
            return *digest;
        }
        let digest = digest_of(ask, self.estate.source_services(ask));
        if self.digests.len() >= KEPT {
            self.digests.remove(0);
        }
        self.digests.push((ask.payload.clone(), ask.binding().clone(), digest));
        digest
    }

    /// The services of a stack have changed: what was known of digests may be of another one.
    fn sources_changed(&mut self) {
        self.digests.clear();
    }

    /// Writes an event about an approval.
    fn record(&mut self, kind: AuditKind, approval: Uuid, at: Timestamp, by: &Arc<str>) {
        let Some(record) = self.approvals.get(&approval) else { return };
        let binding = record.approval.binding.clone();
        let requested_by = record.approval.requested_by.clone();
        self.audit.push(AuditEvent { kind, approval, at, by: Arc::clone(by), binding, requested_by });
    }
}
