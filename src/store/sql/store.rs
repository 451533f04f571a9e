//! A store in a SQL database: each method of the contracts handed to the engine as a transaction.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::Mutex;
use uuid::Uuid;

use super::{
    Consume, Engine,
    approvals::{
        ApproverOfLink, Audit, Decide, ExpireOverdue, Find, FindExecution, List, PutLinks, ReadApproval,
        Request, Which,
    },
    commit,
    leases::{LeaseApproval, ReleaseApproval},
    operations::{ClaimKey, DeployLogs, LeaseNotice, LogDeploy, ReadBacklog, ReleaseKey, SettleNotice},
    outbox::{CutLeases, FinishJob, LeaseJob, RenewLease, Settle},
    preflight::{Check, FindTarget},
    readiness::Recognised,
    tenants::{
        Change, ChangeStack, CreateResource, CreateStack, Family, FindGlassBroken, FindResource, FindStack,
        PutServices, PutTeam, PutVault, StackName, WriteGlassBroken,
    },
};
use crate::{
    platform::Environment,
    protocol::{Commit, Digest, Refusal, Step, Timestamp},
    store::{
        ApprovalRecord, Approvals, AttemptReads, AuditEvent, Backlog, BreakGlass, Claim, Committed, Decision,
        DeployLog, Execution, GlassBroken, Ids, Lease, Leased, Leases, NewResource, NewStack, Notice,
        NoticeState, Operations, Outbox, Page, Plan, PlatformChecks, PromotionRequest, Query, Reading,
        Replaced, Requested, Resource, Seal, Service, Stack, StackStatus, StoreChecks, StoreError, Swept,
        Team, Tenants, TokenHash,
    },
};

/// Approvals and everything that they are about, in a SQL database.
pub struct SqlStore<E> {
    engine: E,
    ids: Arc<dyn Ids>,
    consume: Arc<Consume>,
    preflight: Arc<StoreChecks>,
    recognised: Mutex<Recognised>,
    seal: Seal,
}

impl<E: Engine> SqlStore<E> {
    /// A store whose transactions are run by this engine, and whose approvals move by this strategy.
    pub fn new(engine: E, ids: Arc<dyn Ids>, consume: Consume) -> Self {
        let seal = ids.seal();
        let (consume, preflight) = (Arc::new(consume), Arc::new(PlatformChecks));
        Self { engine, ids, consume, preflight, seal, recognised: Mutex::default() }
    }

    /// The same store, with these checks in place of all of the [platform's](PlatformChecks), also of that for
    /// [`Refusal::TARGET_CHANGED`] at the use of an approval. What they do not judge they have to pass on.
    pub fn with_checks(self, preflight: Arc<StoreChecks>) -> Self {
        Self { preflight, ..self }
    }

    /// The engine that runs the transactions.
    pub fn engine(&self) -> &E {
        &self.engine
    }

    /// By which strategy its approvals move.
    pub fn consume(&self) -> &Consume {
        &self.consume
    }
}

impl<E: Engine> SqlStore<E> {
    async fn request(
        &self,
        ask: &PromotionRequest,
        most_pending: Option<usize>,
    ) -> Result<Result<Requested, Refusal>, StoreError> {
        let work = Request {
            ask: ask.clone(),
            ids: Arc::clone(&self.ids),
            seal: self.seal,
            preflight: Arc::clone(&self.preflight),
            most_pending,
        };
        self.engine.perform(work).await?.ok_or_else(no_such_team)
    }
}

fn no_such_team() -> StoreError {
    StoreError::not_applied("no such team")
}

impl<E: Engine> Approvals for SqlStore<E> {
    async fn put_owner(&self, owner: Uuid) -> Result<(), StoreError> {
        // An owner has no stacks, so the cap is 0.
        self.put_team(owner, Team { plan: Plan::Free, deployment_cap: 0 }).await
    }

    async fn read_approval(&self, approval: Uuid, ask: &PromotionRequest) -> Result<Reading, StoreError> {
        self.engine.perform(ReadApproval { approval, ask: ask.clone() }).await?.ok_or_else(no_such_team)
    }

    async fn commit(
        &self,
        ask: &PromotionRequest,
        step: &Step,
        commit: Commit<'_>,
    ) -> Result<Committed, StoreError> {
        let work = commit::Commit {
            ask: ask.clone(),
            step: step.clone(),
            approval: commit.approval,
            digest: commit.digest,
            target: commit.target,
            fence: commit.fence,
            ops: commit.ops.to_vec(),
            consume: Arc::clone(&self.consume),
            ids: Arc::clone(&self.ids),
            preflight: Arc::clone(&self.preflight),
            seal: self.seal,
        };
        self.engine.perform(work).await
    }

    async fn request_approval(&self, ask: &PromotionRequest) -> Result<Requested, StoreError> {
        // Without a limit nothing is refused.
        self.request(ask, None).await?.map_err(|refusal| StoreError::not_applied(refusal.to_string()))
    }

    async fn decide(&self, decision: Decision<'_>) -> Result<Result<ApprovalRecord, Refusal>, StoreError> {
        self.engine.perform(Decide::from(decision)).await
    }

    async fn approval(&self, team: Uuid, id: Uuid) -> Result<Option<ApprovalRecord>, StoreError> {
        self.engine.perform(Find(Which::OfTeam { team, id })).await
    }

    async fn execution(&self, team: Uuid, approval: Uuid) -> Result<Option<Execution>, StoreError> {
        self.engine.perform(FindExecution { team, approval }).await
    }

    async fn list_approvals(&self, query: &Query) -> Result<Page, StoreError> {
        self.engine.perform(List(*query)).await
    }
}

impl<E: Engine> AttemptReads for SqlStore<E> {
    fn can_produce(&self, refusal: &Refusal) -> bool {
        self.preflight.can_produce(refusal)
    }

    async fn check(
        &self,
        _: Uuid,
        ask: &PromotionRequest,
        step: &Step,
    ) -> Result<Result<Digest, Refusal>, StoreError> {
        let preflight = Arc::clone(&self.preflight);
        self.engine.perform(Check { ask: ask.clone(), step: step.clone(), preflight }).await
    }

    async fn find_target(
        &self,
        ask: &PromotionRequest,
        _: &Step,
    ) -> Result<Result<Option<Uuid>, Refusal>, StoreError> {
        self.engine.perform(FindTarget { ask: ask.clone() }).await
    }
}

impl<E: Engine> Leases for SqlStore<E> {
    async fn lease_approval(&self, team: Uuid, approval: Uuid) -> Result<Leased, StoreError> {
        self.engine.perform(LeaseApproval { team, approval }).await
    }

    async fn release_approval(&self, team: Uuid, approval: Uuid, fence: u64) -> Result<(), StoreError> {
        self.engine.perform(ReleaseApproval { team, approval, fence }).await
    }
}

impl<E: Engine> Outbox for SqlStore<E> {
    async fn lease_job(&self, lease_ms: u64) -> Result<Option<Lease>, StoreError> {
        // First: after the clock was set back, a dead worker's job must not wait until the queue is empty.
        self.engine.perform(CutLeases).await?;
        self.engine.perform(LeaseJob { lease_ms }).await
    }

    async fn renew_lease(&self, lease: &Lease, lease_ms: u64) -> Result<bool, StoreError> {
        self.engine.perform(RenewLease { lease: lease.clone(), lease_ms }).await
    }

    async fn finish_job(&self, lease: &Lease, ended: StackStatus) -> Result<bool, StoreError> {
        self.engine.perform(FinishJob { lease: lease.clone(), ended }).await
    }

    async fn settle(
        &self,
        approval: Uuid,
        target: Option<Uuid>,
        status: StackStatus,
    ) -> Result<(), StoreError> {
        self.engine.perform(Settle { approval, target, ended: status }).await
    }
}

impl<E: Engine> Tenants for SqlStore<E> {
    async fn put_team(&self, id: Uuid, team: Team) -> Result<(), StoreError> {
        self.engine.perform(PutTeam { id, team }).await
    }

    async fn create_stack(&self, team: Uuid, stack: NewStack) -> Result<Result<Stack, Refusal>, StoreError> {
        let (ids, mode) = (Arc::clone(&self.ids), self.consume.cas().mode());
        self.engine.perform(CreateStack { team, stack, ids, mode }).await?.ok_or_else(no_such_team)
    }

    async fn stack(&self, team: Uuid, slug: &str) -> Result<Option<Stack>, StoreError> {
        self.engine.perform(FindStack { team, by: StackName::Slug(slug.to_owned()) }).await
    }

    async fn stack_by_id(&self, team: Uuid, id: Uuid) -> Result<Option<Stack>, StoreError> {
        self.engine.perform(FindStack { team, by: StackName::Id(id) }).await
    }

    async fn family(&self, team: Uuid, root: Uuid) -> Result<Vec<Stack>, StoreError> {
        self.engine.perform(Family { team, root }).await
    }

    async fn put_image(
        &self,
        team: Uuid,
        slug: &str,
        service: &str,
        image_ref: &str,
    ) -> Result<Option<Stack>, StoreError> {
        let change = Change::Image { service: service.to_owned(), image_ref: image_ref.to_owned() };
        self.engine.perform(ChangeStack { team, slug: slug.to_owned(), change }).await
    }

    async fn put_services(
        &self,
        team: Uuid,
        stack: Uuid,
        services: Vec<Service>,
    ) -> Result<bool, StoreError> {
        self.engine.perform(PutServices { team, stack, services }).await
    }

    async fn patch_env(
        &self,
        team: Uuid,
        slug: &str,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<Option<Stack>, StoreError> {
        let change = Change::Variables(changes.clone());
        self.engine.perform(ChangeStack { team, slug: slug.to_owned(), change }).await
    }

    async fn put_vault(
        &self,
        team: Uuid,
        env: &Environment,
        key: &str,
        value: &str,
    ) -> Result<(), StoreError> {
        let (env, key, value) = (env.clone(), key.to_owned(), value.to_owned());
        self.engine.perform(PutVault { team, env, key, value }).await
    }

    async fn break_glass(&self, team: Uuid, what: BreakGlass) -> Result<(), StoreError> {
        self.engine.perform(WriteGlassBroken { team, what }).await
    }

    async fn glass_broken(&self, team: Uuid) -> Result<Vec<GlassBroken>, StoreError> {
        self.engine.perform(FindGlassBroken(team)).await
    }

    async fn create_resource(&self, team: Uuid, resource: NewResource) -> Result<Resource, StoreError> {
        self.engine.perform(CreateResource { team, resource, ids: Arc::clone(&self.ids) }).await
    }

    async fn resource(&self, team: Uuid, id: Uuid) -> Result<Option<Resource>, StoreError> {
        self.engine.perform(FindResource { team, id }).await
    }
}

impl<E: Engine> Operations for SqlStore<E> {
    async fn request_decision(
        &self,
        ask: &PromotionRequest,
        most_pending: usize,
    ) -> Result<Result<Requested, Refusal>, StoreError> {
        self.request(ask, Some(most_pending)).await
    }

    async fn audit(&self, approval: Uuid) -> Result<Vec<AuditEvent>, StoreError> {
        self.engine.perform(Audit(approval)).await
    }

    async fn approval_by_token(&self, token: &str) -> Result<Option<ApprovalRecord>, StoreError> {
        self.engine.perform(Find(Which::WithToken(TokenHash::of(token)))).await
    }

    async fn put_links(&self, approval: Uuid, links: &[(TokenHash, String)]) -> Result<(), StoreError> {
        self.engine.perform(PutLinks { approval, links: links.to_vec() }).await
    }

    async fn approver_of_link(&self, token: &str) -> Result<Option<String>, StoreError> {
        self.engine.perform(ApproverOfLink(TokenHash::of(token))).await
    }

    async fn expire_overdue(&self, after: Timestamp, most: usize) -> Result<Swept, StoreError> {
        self.engine.perform(ExpireOverdue { after, most }).await
    }

    async fn any_approval(&self, id: Uuid) -> Result<Option<ApprovalRecord>, StoreError> {
        self.engine.perform(Find(Which::OfAnybody(id))).await
    }

    async fn lease_notice(&self, lease_ms: u64) -> Result<Option<Notice>, StoreError> {
        self.engine.perform(LeaseNotice { lease_ms }).await
    }

    async fn settle_notice(&self, notice: &Notice, state: NoticeState) -> Result<bool, StoreError> {
        let Notice { record, fence, .. } = notice;
        self.engine.perform(SettleNotice { approval: record.approval.id, fence: *fence, state }).await
    }

    async fn claim_key(
        &self,
        team: Uuid,
        key: &str,
        request: Digest,
        lease_ms: u64,
    ) -> Result<Claim, StoreError> {
        self.engine.perform(ClaimKey { team, key: key.to_owned(), request, lease_ms }).await
    }

    async fn release_key(
        &self,
        team: Uuid,
        key: &str,
        until: Timestamp,
        keep: bool,
    ) -> Result<(), StoreError> {
        self.engine.perform(ReleaseKey { team, key: key.to_owned(), until, keep }).await
    }

    async fn log_deploy(&self, log: DeployLog) -> Result<(), StoreError> {
        self.engine.perform(LogDeploy(log)).await
    }

    async fn deploy_logs(&self, approval: Uuid) -> Result<Vec<DeployLog>, StoreError> {
        self.engine.perform(DeployLogs(approval)).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.engine.perform(ReadBacklog).await
    }

    async fn is_ready(&self) -> Result<(), StoreError> {
        const ANOTHER: &str = "the database lacks what this instance wrote to it last: it is another one, or an \
                               older copy (restart the instance to go on with it)";
        self.engine.is_in_place()?;
        let mut recognised = self.recognised.lock().await;
        let written = self.engine.perform(recognised.next()).await?;
        recognised.written(written.ok_or_else(|| StoreError::not_applied(Replaced(ANOTHER.to_owned())))?);
        Ok(())
    }
}
