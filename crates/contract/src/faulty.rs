//! A store whose parts fail on demand: refusals of a step's own, and parts of the infrastructure that are down.

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use countersign::{
    platform::Environment,
    protocol::{Change, Commit, Digest, Refusal, Step, Timestamp},
    store::{
        ApprovalRecord, Approvals, AttemptReads, AuditEvent, Backlog, BreakGlass, Claim, Committed,
        DeployLog, GlassBroken, Leased, Leases, NewResource, NewStack, Notice, NoticeState, Operations,
        Outbox, PromotionRequest, Reading, Requested, Resource, Service, Stack, StoreError, Swept, Team,
        Tenants, TokenHash,
    },
};
use countersign_models::outages::Outages;
use uuid::Uuid;

/// A store, and the outages of its parts. The store has been given the same [`Outages`] as its preflight checks.
pub struct Faulty<S> {
    store: S,
    outages: Arc<Outages>,
}

impl<S> Faulty<S> {
    /// The store that `make` makes with these preflight checks.
    pub fn new(make: impl FnOnce(Arc<Outages>) -> S) -> Self {
        let outages = Arc::new(Outages::default());
        Self { store: make(Arc::clone(&outages)), outages }
    }

    /// From now on this part of the platform fails for the team: a step that lists the refusal refuses with it; the
    /// codes of the infrastructure fail reading, leasing, consuming and enqueueing.
    pub fn begin_outage(&self, team: Uuid, refusal: Refusal) {
        self.outages.begin(team, refusal);
    }

    /// From now on approvals are bound to the version of their target.
    pub fn bind_targets(&self) {
        self.outages.bind_targets();
    }

    /// Ends the outage.
    pub fn end_outage(&self, team: Uuid, refusal: &Refusal) {
        self.outages.end(team, refusal);
    }

    fn reach(&self, team: Uuid, part: &Refusal) -> Result<(), StoreError> {
        if self.outages.is_out(team, part) {
            Err(StoreError::not_applied(format!("injected outage: {part}")))
        } else {
            Ok(())
        }
    }
}

impl<S> Deref for Faulty<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.store
    }
}

impl<S: Approvals> Approvals for Faulty<S> {
    async fn read_approval(&self, approval: Uuid, ask: &PromotionRequest) -> Result<Reading, StoreError> {
        self.reach(ask.team, &Refusal::LOOKUP_FAILED)?;
        self.store.read_approval(approval, ask).await
    }

    async fn commit(
        &self,
        ask: &PromotionRequest,
        step: &Step,
        commit: Commit<'_>,
    ) -> Result<Committed, StoreError> {
        for op in commit.ops {
            match op {
                Change::Consume(_) => self.reach(ask.team, &Refusal::EXECUTE_FAILED)?,
                Change::Enqueue { .. } => self.reach(ask.team, &Refusal::ENQUEUE_FAILED)?,
                Change::WriteTarget { .. }
                | Change::WriteVault
                | Change::Audit
                | Change::Row { .. }
                | Change::Remember => {}
            }
        }
        self.store.commit(ask, step, commit).await
    }

    countersign_models::decisions_pass_through!(store);
    countersign_models::recalls_pass_through!(store);
}

impl<S: AttemptReads> AttemptReads for Faulty<S> {
    fn can_produce(&self, refusal: &Refusal) -> bool {
        self.store.can_produce(refusal)
    }

    async fn check(
        &self,
        approval: Uuid,
        ask: &PromotionRequest,
        step: &Step,
    ) -> Result<Result<Digest, Refusal>, StoreError> {
        self.store.check(approval, ask, step).await
    }

    async fn find_target(
        &self,
        ask: &PromotionRequest,
        step: &Step,
    ) -> Result<Result<Option<Uuid>, Refusal>, StoreError> {
        match step.refusals().find(|refusal| self.outages.is_out(ask.team, refusal)) {
            Some(refusal) => Ok(Err(refusal.clone())),
            None => self.store.find_target(ask, step).await,
        }
    }
}

impl<S: Leases> Leases for Faulty<S> {
    async fn lease_approval(&self, team: Uuid, approval: Uuid) -> Result<Leased, StoreError> {
        self.reach(team, &Refusal::LEASE_FAILED)?;
        self.store.lease_approval(team, approval).await
    }

    async fn release_approval(&self, team: Uuid, approval: Uuid, fence: u64) -> Result<(), StoreError> {
        self.store.release_approval(team, approval, fence).await
    }
}

impl<S: Outbox> Outbox for Faulty<S> {
    countersign_models::jobs_pass_through!(store);
}

/// Calls that always go to the store.
macro_rules! pass_through {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $output:ty;)+) => {
        $(async fn $name(&self, $($argument: $kind),*) -> Result<$output, StoreError> {
            self.store.$name($($argument),*).await
        })+
    };
}

impl<S: Tenants> Tenants for Faulty<S> {
    pass_through! {
        fn put_team(id: Uuid, team: Team) -> ();
        fn create_stack(team: Uuid, stack: NewStack) -> Result<Stack, Refusal>;
        fn stack(team: Uuid, slug: &str) -> Option<Stack>;
        fn stack_by_id(team: Uuid, id: Uuid) -> Option<Stack>;
        fn family(team: Uuid, root: Uuid) -> Vec<Stack>;
        fn put_image(team: Uuid, slug: &str, service: &str, image_ref: &str) -> Option<Stack>;
        fn put_services(team: Uuid, stack: Uuid, services: Vec<Service>) -> bool;
        fn patch_env(team: Uuid, slug: &str, changes: &BTreeMap<String, Option<String>>) -> Option<Stack>;
        fn put_vault(team: Uuid, env: &Environment, key: &str, value: &str) -> ();
        fn break_glass(team: Uuid, event: BreakGlass) -> ();
        fn glass_broken(team: Uuid) -> Vec<GlassBroken>;
        fn create_resource(team: Uuid, resource: NewResource) -> Resource;
        fn resource(team: Uuid, id: Uuid) -> Option<Resource>;
    }
}

impl<S: Operations> Operations for Faulty<S> {
    pass_through! {
        fn request_decision(ask: &PromotionRequest, most_pending: usize) -> Result<Requested, Refusal>;
        fn audit(approval: Uuid) -> Vec<AuditEvent>;
        fn approval_by_token(token: &str) -> Option<ApprovalRecord>;
        fn put_links(approval: Uuid, links: &[(TokenHash, String)]) -> ();
        fn approver_of_link(token: &str) -> Option<String>;
        fn expire_overdue(after: Timestamp, most: usize) -> Swept;
        fn any_approval(id: Uuid) -> Option<ApprovalRecord>;
        fn lease_notice(lease_ms: u64) -> Option<Notice>;
        fn settle_notice(notice: &Notice, state: NoticeState) -> bool;
        fn claim_key(team: Uuid, key: &str, request: Digest, lease_ms: u64) -> Claim;
        fn release_key(team: Uuid, key: &str, until: Timestamp, keep: bool) -> ();
        fn log_deploy(log: DeployLog) -> ();
        fn deploy_logs(approval: Uuid) -> Vec<DeployLog>;
        fn backlog() -> Backlog;
        fn is_ready() -> ();
    }
}
