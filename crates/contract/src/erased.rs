//! A store behind a pointer, so that the claims are compiled once and not once for each store.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use countersign::{
    platform::Environment,
    protocol::{Commit, Digest, Refusal, Step, Timestamp},
    store::{
        ApprovalRecord, Approvals, AttemptReads, AttemptStore, AuditEvent, Backlog, BreakGlass, Claim,
        Committed, Decision, DeployLog, Execution, GlassBroken, Lease, Leased, Leases, NewResource, NewStack,
        Notice, NoticeState, Operations, Outbox, Page, PromotionRequest, Query, Reading, Requested, Resource,
        Service, Stack, StackStatus, Store, StoreError, Swept, Team, Tenants, TokenHash,
    },
};
use uuid::Uuid;

/// A future behind a pointer.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A store of items, of any kind.
#[derive(Clone)]
pub struct AnyAttemptStore {
    store: Arc<dyn attempts::Boxed>,
}

impl AnyAttemptStore {
    /// This store, behind a pointer.
    pub fn new(store: Arc<impl AttemptStore + 'static>) -> Self {
        Self { store }
    }
}

/// A store of the platform, of any kind.
#[derive(Clone)]
pub struct AnyStore {
    attempts: AnyAttemptStore,
    platform: Arc<dyn platform::Boxed>,
}

impl AnyStore {
    /// This store, behind a pointer.
    pub fn new(store: Arc<impl Store + Tenants + Operations + 'static>) -> Self {
        Self { attempts: AnyAttemptStore::new(Arc::clone(&store)), platform: store }
    }

    /// The part of the store that keeps items.
    pub fn attempts(&self) -> &AnyAttemptStore {
        &self.attempts
    }
}

impl Approvals for AnyStore {
    countersign_models::promotions_pass_through!(attempts);
    countersign_models::decisions_pass_through!(attempts);
}

impl AttemptReads for AnyStore {
    countersign_models::reads_pass_through!(attempts);
}

impl Leases for AnyStore {
    countersign_models::leases_pass_through!(attempts);
}

/// A type with this lifetime, where it has one.
macro_rules! with {
    ($life:lifetime & $kind:ty) => { &$life $kind };
    ($life:lifetime < $kind:ident >) => { $kind<$life> };
    ($life:lifetime $kind:ty) => { $kind };
}

macro_rules! erased {
    ($module:ident: $($bound:ident),+ => $any:ident.$field:ident; $($contract:ident {
        $(sync fn $now:ident($($given:ident: [$($sort:tt)+]),*) -> $result:ty;)*
        $(fn $name:ident($($argument:ident: [$($kind:tt)+]),*) -> $output:ty;)+
    })+) => {
        mod $module {
            use super::*;

            pub(super) trait Boxed: Send + Sync {
                $($(fn $now<'a>(&'a self, $($given: with!('a $($sort)+)),*) -> $result;)*)+
                $($(fn $name<'a>(&'a self, $($argument: with!('a $($kind)+)),*) -> Later<'a, $output>;)+)+
            }

            impl<S: $($bound +)+> Boxed for S {
                $($(fn $now<'a>(&'a self, $($given: with!('a $($sort)+)),*) -> $result {
                    $contract::$now(self, $($given),*)
                })*)+
                $($(fn $name<'a>(&'a self, $($argument: with!('a $($kind)+)),*) -> Later<'a, $output> {
                    Box::pin($contract::$name(self, $($argument),*))
                })+)+
            }
        }

        $(impl $contract for $any {
            $(fn $now(&self, $($given: with!('_ $($sort)+)),*) -> $result {
                self.$field.$now($($given),*)
            })*
            $(async fn $name(&self, $($argument: with!('_ $($kind)+)),*) -> $output {
                self.$field.$name($($argument),*).await
            })+
        })+
    };
}

erased! {
    attempts: AttemptStore => AnyAttemptStore.store;
    Approvals {
        fn put_owner(owner: [Uuid]) -> Result<(), StoreError>;
        fn request_approval(ask: [&PromotionRequest]) -> Result<Requested, StoreError>;
        fn decide(decision: [<Decision>]) -> Result<Result<ApprovalRecord, Refusal>, StoreError>;
        fn approval(team: [Uuid], id: [Uuid]) -> Result<Option<ApprovalRecord>, StoreError>;
        fn read_approval(approval: [Uuid], ask: [&PromotionRequest]) -> Result<Reading, StoreError>;
        fn list_approvals(query: [&Query]) -> Result<Page, StoreError>;
        fn commit(ask: [&PromotionRequest], step: [&Step], commit: [<Commit>]) -> Result<Committed, StoreError>;
        fn execution(team: [Uuid], approval: [Uuid]) -> Result<Option<Execution>, StoreError>;
    }
    AttemptReads {
        sync fn can_produce(refusal: [&Refusal]) -> bool;
        fn check(approval: [Uuid], ask: [&PromotionRequest], step: [&Step]) -> Result<Result<Digest, Refusal>, StoreError>;
        fn find_target(ask: [&PromotionRequest], step: [&Step]) -> Result<Result<Option<Uuid>, Refusal>, StoreError>;
    }
    Leases {
        fn lease_approval(team: [Uuid], approval: [Uuid]) -> Result<Leased, StoreError>;
        fn release_approval(team: [Uuid], approval: [Uuid], fence: [u64]) -> Result<(), StoreError>;
    }
}

erased! {
    platform: Outbox, Tenants, Operations => AnyStore.platform;
    Outbox {
        fn lease_job(lease_ms: [u64]) -> Result<Option<Lease>, StoreError>;
        fn renew_lease(lease: [&Lease], lease_ms: [u64]) -> Result<bool, StoreError>;
        fn finish_job(lease: [&Lease], ended: [StackStatus]) -> Result<bool, StoreError>;
        fn settle(approval: [Uuid], target: [Option<Uuid>], status: [StackStatus]) -> Result<(), StoreError>;
    }
    Tenants {
        fn put_team(id: [Uuid], team: [Team]) -> Result<(), StoreError>;
        fn create_stack(team: [Uuid], stack: [NewStack]) -> Result<Result<Stack, Refusal>, StoreError>;
        fn stack(team: [Uuid], slug: [&str]) -> Result<Option<Stack>, StoreError>;
        fn stack_by_id(team: [Uuid], id: [Uuid]) -> Result<Option<Stack>, StoreError>;
        fn family(team: [Uuid], root: [Uuid]) -> Result<Vec<Stack>, StoreError>;
        fn put_image(
            team: [Uuid], slug: [&str], service: [&str], image_ref: [&str]
        ) -> Result<Option<Stack>, StoreError>;
        fn put_services(team: [Uuid], stack: [Uuid], services: [Vec<Service>]) -> Result<bool, StoreError>;
        fn patch_env(
            team: [Uuid], slug: [&str], changes: [&BTreeMap<String, Option<String>>]
        ) -> Result<Option<Stack>, StoreError>;
        fn put_vault(
            team: [Uuid], env: [&Environment], key: [&str], value: [&str]
        ) -> Result<(), StoreError>;
        fn break_glass(team: [Uuid], event: [BreakGlass]) -> Result<(), StoreError>;
        fn glass_broken(team: [Uuid]) -> Result<Vec<GlassBroken>, StoreError>;
        fn create_resource(team: [Uuid], resource: [NewResource]) -> Result<Resource, StoreError>;
        fn resource(team: [Uuid], id: [Uuid]) -> Result<Option<Resource>, StoreError>;
    }
    Operations {
        fn request_decision(
            ask: [&PromotionRequest], most_pending: [usize]
        ) -> Result<Result<Requested, Refusal>, StoreError>;
        fn audit(approval: [Uuid]) -> Result<Vec<AuditEvent>, StoreError>;
        fn approval_by_token(token: [&str]) -> Result<Option<ApprovalRecord>, StoreError>;
        fn put_links(approval: [Uuid], links: [&[(TokenHash, String)]]) -> Result<(), StoreError>;
        fn approver_of_link(token: [&str]) -> Result<Option<String>, StoreError>;
        fn expire_overdue(after: [Timestamp], most: [usize]) -> Result<Swept, StoreError>;
        fn any_approval(id: [Uuid]) -> Result<Option<ApprovalRecord>, StoreError>;
        fn lease_notice(lease_ms: [u64]) -> Result<Option<Notice>, StoreError>;
        fn settle_notice(notice: [&Notice], state: [NoticeState]) -> Result<bool, StoreError>;
        fn claim_key(
            team: [Uuid], key: [&str], request: [Digest], lease_ms: [u64]
        ) -> Result<Claim, StoreError>;
        fn release_key(team: [Uuid], key: [&str], until: [Timestamp], keep: [bool]) -> Result<(), StoreError>;
        fn log_deploy(log: [DeployLog]) -> Result<(), StoreError>;
        fn deploy_logs(approval: [Uuid]) -> Result<Vec<DeployLog>, StoreError>;
        fn backlog() -> Result<Backlog, StoreError>;
        fn is_ready() -> Result<(), StoreError>;
    }
}
