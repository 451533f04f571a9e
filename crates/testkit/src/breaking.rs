//! A store whose calls panic or fail a number of times: what a loop meets that asks it at a bad moment.

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use countersign::{
    protocol::{Digest, Refusal, Timestamp},
    store::{
        ApprovalRecord, Approvals, AttemptReads, AuditEvent, Backlog, Claim, DeployLog, Lease, Leases,
        Notice, NoticeState, Operations, Outbox, PromotionRequest, Requested, StackStatus, StoreError, Swept,
        TokenHash,
    },
};
use uuid::Uuid;

/// Defect of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// Panics before reaching the store.
    Panic,
    /// Fails before reaching the store.
    Fail,
    /// Fails after the store has done it.
    FailAfterwards,
}

/// A store, and how often each of its calls breaks.
pub struct Breaking<S> {
    store: Arc<S>,
    breaks: Mutex<BTreeMap<&'static str, (Break, u32)>>,
    is_out: AtomicBool,
}

impl<S> Breaking<S> {
    /// The calls of the loops that look for work, work on it and write down how it ended.
    pub const CALLS: [&'static str; 10] = [
        "lease_job",
        "renew_lease",
        "finish_job",
        "any_approval",
        "deploy_logs",
        "log_deploy",
        "lease_notice",
        "settle_notice",
        "put_links",
        "expire_overdue",
    ];

    /// The store, of which nothing breaks yet.
    pub fn new(store: Arc<S>) -> Self {
        Self { store, breaks: Mutex::default(), is_out: AtomicBool::new(false) }
    }

    /// The next `times` calls of this name break like this.
    pub fn break_next(&self, call: &'static str, how: Break, times: u32) {
        self.breaks().insert(call, (how, times));
    }

    /// From now on every call fails before it reaches the store; or none does any more.
    pub fn set_outage(&self, is_out: bool) {
        self.is_out.store(is_out, Ordering::SeqCst);
    }

    /// Number of calls of this name that are still to break.
    pub fn left(&self, call: &str) -> u32 {
        self.breaks().get(call).map_or(0, |(_, times)| *times)
    }

    fn breaks(&self) -> MutexGuard<'_, BTreeMap<&'static str, (Break, u32)>> {
        self.breaks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, call: &str) -> Option<Break> {
        if self.is_out.load(Ordering::SeqCst) {
            return Some(Break::Fail);
        }
        let mut breaks = self.breaks();
        let (how, times) = breaks.get_mut(call)?;
        *times = times.checked_sub(1)?;
        Some(*how)
    }

    async fn through<T>(
        &self,
        call: &str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match self.next(call) {
            None => answer.await,
            Some(Break::Panic) => panic!("injected: {call}"),
            Some(Break::Fail) => Err(StoreError::not_applied(format!("injected: {call}"))),
            Some(Break::FailAfterwards) => {
                answer.await?;
                Err(StoreError::unknown(format!("injected: {call}")))
            }
        }
    }
}

impl<S> Deref for Breaking<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.store
    }
}

/// Calls that may break.
macro_rules! through {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $output:ty;)+) => {
        $(async fn $name(&self, $($argument: $kind),*) -> Result<$output, StoreError> {
            self.through(stringify!($name), self.store.$name($($argument),*)).await
        })+
    };
}

impl<S: Approvals> Approvals for Breaking<S> {
    countersign_models::promotions_pass_through!(store);
    countersign_models::decisions_pass_through!(store);
}

impl<S: AttemptReads> AttemptReads for Breaking<S> {
    countersign_models::reads_pass_through!(store);
}

impl<S: Leases> Leases for Breaking<S> {
    countersign_models::leases_pass_through!(store);
}

impl<S: Outbox> Outbox for Breaking<S> {
    through! {
        fn lease_job(lease_ms: u64) -> Option<Lease>;
        fn renew_lease(lease: &Lease, lease_ms: u64) -> bool;
        fn finish_job(lease: &Lease, ended: StackStatus) -> bool;
    }

    countersign_models::settles_pass_through!(store);
}

impl<S: Operations> Operations for Breaking<S> {
    through! {
        fn request_decision(ask: &PromotionRequest, most_pending: usize) -> Result<Requested, Refusal>;
        fn audit(approval: Uuid) -> Vec<AuditEvent>;
        fn put_links(approval: Uuid, links: &[(TokenHash, String)]) -> ();
        fn approver_of_link(token: &str) -> Option<String>;
        fn expire_overdue(after: Timestamp, most: usize) -> Swept;
        fn approval_by_token(token: &str) -> Option<ApprovalRecord>;
        fn any_approval(id: Uuid) -> Option<ApprovalRecord>;
        fn lease_notice(lease_ms: u64) -> Option<Notice>;
        fn settle_notice(notice: &Notice, state: NoticeState) -> bool;
        fn claim_key(team: Uuid, key: &str, request: Digest, lease_ms: u64) -> Claim;
        fn release_key(team: Uuid, key: &str, until: Timestamp, keep: bool) -> ();
        fn log_deploy(log: DeployLog) -> ();
        fn backlog() -> Backlog;
        fn deploy_logs(approval: Uuid) -> Vec<DeployLog>;
        fn is_ready() -> ();
    }
}
