//! A store that does nothing: it gives a promote the answers that it needs to go through, and refuses all else.

use std::{collections::BTreeMap, sync::Arc};

use countersign::{
    platform::Environment,
    protocol::{Approval, Commit, Digest, Preflight as _, Refusal, Status, Step, Target, Timestamp},
    store::{
        ApprovalRecord, Approvals, AttemptReads, AuditEvent, Backlog, BreakGlass, Claim, Committed, Decision,
        DeployLog, Execution, GlassBroken, Lease, Leased, Leases, NewResource, NewStack, Notice, NoticeState,
        Operations, Outbox, Page, PlatformChecks, PromotionRequest, Query, Reading, Requested, Resource,
        Service, Stack, StackStatus, StoreError, Swept, Team, Tenants, TokenHash, digest_of,
    },
};
use uuid::Uuid;

/// Every approval is approved, for what is asked of it, and what there was to commit is said to be.
pub(crate) struct Idle {
    pub(crate) stack: Stack,
    pub(crate) now: Timestamp,
    pub(crate) target: Target,
}

/// Methods that a promotion does not call.
macro_rules! refused {
    ($(fn $name:ident($($kind:ty),*) -> $output:ty;)+) => {
        $(async fn $name(&self, $(_: $kind),*) -> Result<$output, StoreError> {
            Err(StoreError::not_applied("injected"))
        })+
    };
}

impl Approvals for Idle {
    async fn read_approval(&self, approval: Uuid, ask: &PromotionRequest) -> Result<Reading, StoreError> {
        let digest = digest_of(ask, &self.stack.services);
        let approval = Approval {
            id: approval,
            team: ask.team,
            requested_by: ask.requested_by.clone(),
            digest,
            status: Status::Approved,
            expires_at: Timestamp(self.now.0 + 1),
        };
        let (approval, binding) = (Some(Arc::new(approval)), Some(ask.binding.clone()));
        Ok(Reading { approval, binding, digest, fence: 0, now: self.now })
    }

    async fn commit(&self, _: &PromotionRequest, _: &Step, _: Commit<'_>) -> Result<Committed, StoreError> {
        Ok(Committed::Applied { target: Some(self.target) })
    }

    async fn execution(&self, _: Uuid, _: Uuid) -> Result<Option<Execution>, StoreError> {
        Ok(None)
    }

    refused! {
        fn request_approval(&PromotionRequest) -> Requested;
        fn decide(Decision<'_>) -> Result<ApprovalRecord, Refusal>;
        fn approval(Uuid, Uuid) -> Option<ApprovalRecord>;
        fn list_approvals(&Query) -> Page;
    }
}

impl AttemptReads for Idle {
    fn can_produce(&self, refusal: &Refusal) -> bool {
        PlatformChecks.can_produce(refusal)
    }

    async fn check(
        &self,
        _: Uuid,
        ask: &PromotionRequest,
        _: &Step,
    ) -> Result<Result<Digest, Refusal>, StoreError> {
        Ok(Ok(digest_of(ask, &self.stack.services)))
    }

    async fn find_target(
        &self,
        _: &PromotionRequest,
        _: &Step,
    ) -> Result<Result<Option<Uuid>, Refusal>, StoreError> {
        Ok(Ok(Some(self.target.id)))
    }
}

impl Leases for Idle {
    refused! {
        fn lease_approval(Uuid, Uuid) -> Leased;
        fn release_approval(Uuid, Uuid, u64) -> ();
    }
}

impl Outbox for Idle {
    refused! {
        fn lease_job(u64) -> Option<Lease>;
        fn renew_lease(&Lease, u64) -> bool;
        fn finish_job(&Lease, StackStatus) -> bool;
        fn settle(Uuid, Option<Uuid>, StackStatus) -> ();
    }
}

impl Tenants for Idle {
    async fn put_team(&self, _: Uuid, _: Team) -> Result<(), StoreError> {
        Ok(())
    }

    async fn stack(&self, _: Uuid, _: &str) -> Result<Option<Stack>, StoreError> {
        Ok(Some(self.stack.clone()))
    }

    refused! {
        fn create_stack(Uuid, NewStack) -> Result<Stack, Refusal>;
        fn stack_by_id(Uuid, Uuid) -> Option<Stack>;
        fn family(Uuid, Uuid) -> Vec<Stack>;
        fn put_image(Uuid, &str, &str, &str) -> Option<Stack>;
        fn put_services(Uuid, Uuid, Vec<Service>) -> bool;
        fn patch_env(Uuid, &str, &BTreeMap<String, Option<String>>) -> Option<Stack>;
        fn put_vault(Uuid, &Environment, &str, &str) -> ();
        fn break_glass(Uuid, BreakGlass) -> ();
        fn glass_broken(Uuid) -> Vec<GlassBroken>;
        fn create_resource(Uuid, NewResource) -> Resource;
        fn resource(Uuid, Uuid) -> Option<Resource>;
    }
}

impl Operations for Idle {
    refused! {
        fn request_decision(&PromotionRequest, usize) -> Result<Requested, Refusal>;
        fn audit(Uuid) -> Vec<AuditEvent>;
        fn approval_by_token(&str) -> Option<ApprovalRecord>;
        fn put_links(Uuid, &[(TokenHash, String)]) -> ();
        fn approver_of_link(&str) -> Option<String>;
        fn expire_overdue(Timestamp, usize) -> Swept;
        fn any_approval(Uuid) -> Option<ApprovalRecord>;
        fn lease_notice(u64) -> Option<Notice>;
        fn settle_notice(&Notice, NoticeState) -> bool;
        fn claim_key(Uuid, &str, Digest, u64) -> Claim;
        fn release_key(Uuid, &str, Timestamp, bool) -> ();
        fn log_deploy(DeployLog) -> ();
        fn deploy_logs(Uuid) -> Vec<DeployLog>;
        fn backlog() -> Backlog;
        fn is_ready() -> ();
    }
}
