//! Fixtures for stores: a manual clock, sequential ids, and futures that are ready immediately.

use std::{
    future::Future,
    ops::{Deref, DerefMut},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{Thread, current, park},
};

use countersign::{
    protocol::{Request, Timestamp},
    store::{Clock, Ids, PromotionRequest, Seal},
};
use uuid::Uuid;

/// Within an `impl Approvals`: methods that no attempt calls go straight to the store in this field.
#[macro_export]
macro_rules! decisions_pass_through {
    ($store:tt) => {
        async fn put_owner(&self, owner: ::uuid::Uuid) -> Result<(), ::countersign::store::StoreError> {
            self.$store.put_owner(owner).await
        }

        async fn request_approval(
            &self,
            ask: &::countersign::store::PromotionRequest,
        ) -> Result<::countersign::store::Requested, ::countersign::store::StoreError> {
            self.$store.request_approval(ask).await
        }

        async fn decide(
            &self,
            decision: ::countersign::store::Decision<'_>,
        ) -> Result<
            Result<::countersign::store::ApprovalRecord, ::countersign::protocol::Refusal>,
            ::countersign::store::StoreError,
        > {
            self.$store.decide(decision).await
        }

        async fn approval(
            &self,
            team: ::uuid::Uuid,
            id: ::uuid::Uuid,
        ) -> Result<Option<::countersign::store::ApprovalRecord>, ::countersign::store::StoreError> {
            self.$store.approval(team, id).await
        }

        async fn list_approvals(
            &self,
            query: &::countersign::store::Query,
        ) -> Result<::countersign::store::Page, ::countersign::store::StoreError> {
            self.$store.list_approvals(query).await
        }
    };
}

/// Within an `impl Approvals`: a `recall` goes straight to the store in this field.
#[macro_export]
macro_rules! recalls_pass_through {
    ($store:tt) => {
        async fn execution(
            &self,
            team: ::uuid::Uuid,
            approval: ::uuid::Uuid,
        ) -> Result<Option<::countersign::store::Execution>, ::countersign::store::StoreError> {
            self.$store.execution(team, approval).await
        }
    };
}

/// Within an `impl Outbox`: the end of a deploy without a job goes straight to the store in this field.
#[macro_export]
macro_rules! settles_pass_through {
    ($store:tt) => {
        async fn settle(
            &self,
            approval: ::uuid::Uuid,
            target: Option<::uuid::Uuid>,
            status: ::countersign::store::StackStatus,
        ) -> Result<(), ::countersign::store::StoreError> {
            self.$store.settle(approval, target, status).await
        }
    };
}

/// Within an `impl Outbox`: what a worker asks for goes straight to the store in this field.
#[macro_export]
macro_rules! jobs_pass_through {
    ($store:tt) => {
        async fn lease_job(
            &self,
            lease_ms: u64,
        ) -> Result<Option<::countersign::store::Lease>, ::countersign::store::StoreError> {
            self.$store.lease_job(lease_ms).await
        }

        async fn renew_lease(
            &self,
            lease: &::countersign::store::Lease,
            lease_ms: u64,
        ) -> Result<bool, ::countersign::store::StoreError> {
            self.$store.renew_lease(lease, lease_ms).await
        }

        async fn finish_job(
            &self,
            lease: &::countersign::store::Lease,
            ended: ::countersign::store::StackStatus,
        ) -> Result<bool, ::countersign::store::StoreError> {
            self.$store.finish_job(lease, ended).await
        }

        $crate::settles_pass_through!($store);
    };
}

/// Within an `impl Approvals`: methods that an attempt calls go straight to the store in this field.
#[macro_export]
macro_rules! promotions_pass_through {
    ($store:tt) => {
        async fn read_approval(
            &self,
            approval: ::uuid::Uuid,
            ask: &::countersign::store::PromotionRequest,
        ) -> Result<::countersign::store::Reading, ::countersign::store::StoreError> {
            self.$store.read_approval(approval, ask).await
        }

        async fn commit(
            &self,
            ask: &::countersign::store::PromotionRequest,
            step: &::countersign::protocol::Step,
            commit: ::countersign::protocol::Commit<'_>,
        ) -> Result<::countersign::store::Committed, ::countersign::store::StoreError> {
            self.$store.commit(ask, step, commit).await
        }

        async fn execution(
            &self,
            team: ::uuid::Uuid,
            approval: ::uuid::Uuid,
        ) -> Result<Option<::countersign::store::Execution>, ::countersign::store::StoreError> {
            self.$store.execution(team, approval).await
        }
    };
}

/// Within an `impl AttemptReads`: every read is one of the store in this field.
#[macro_export]
macro_rules! reads_pass_through {
    ($store:tt) => {
        fn can_produce(&self, refusal: &::countersign::protocol::Refusal) -> bool {
            self.$store.can_produce(refusal)
        }

        async fn check(
            &self,
            approval: ::uuid::Uuid,
            ask: &::countersign::store::PromotionRequest,
            step: &::countersign::protocol::Step,
        ) -> Result<
            Result<::countersign::protocol::Digest, ::countersign::protocol::Refusal>,
            ::countersign::store::StoreError,
        > {
            self.$store.check(approval, ask, step).await
        }

        async fn find_target(
            &self,
            ask: &::countersign::store::PromotionRequest,
            step: &::countersign::protocol::Step,
        ) -> Result<
            Result<Option<::uuid::Uuid>, ::countersign::protocol::Refusal>,
            ::countersign::store::StoreError,
        > {
            self.$store.find_target(ask, step).await
        }
    };
}

/// Within an `impl Leases`: an approval's lease is taken from the store in this field, and given back to it.
#[macro_export]
macro_rules! leases_pass_through {
    ($store:tt) => {
        async fn lease_approval(
            &self,
            team: ::uuid::Uuid,
            approval: ::uuid::Uuid,
        ) -> Result<::countersign::store::Leased, ::countersign::store::StoreError> {
            self.$store.lease_approval(team, approval).await
        }

        async fn release_approval(
            &self,
            team: ::uuid::Uuid,
            approval: ::uuid::Uuid,
            fence: u64,
        ) -> Result<(), ::countersign::store::StoreError> {
            self.$store.release_approval(team, approval, fence).await
        }
    };
}

/// A request to use an approval: the approval that it names, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseRequest {
    /// The approval.
    pub approval: Uuid,
    /// What it asks for.
    pub ask: PromotionRequest,
}

impl UseRequest {
    /// The request to use this approval for `ask`.
    pub fn new(approval: Uuid, ask: PromotionRequest) -> Self {
        Self { approval, ask }
    }

    /// Its team and its approval.
    pub fn request(&self) -> Request {
        Request { approval: self.approval, team: self.team }
    }

    /// The same under this idempotency key.
    pub fn under(&self, key: &str) -> Self {
        let ask = PromotionRequest { key: Some(key.into()), ..self.ask.clone() };
        Self { ask, ..*self }
    }
}

impl Deref for UseRequest {
    type Target = PromotionRequest;

    fn deref(&self) -> &PromotionRequest {
        &self.ask
    }
}

impl DerefMut for UseRequest {
    fn deref_mut(&mut self) -> &mut PromotionRequest {
        &mut self.ask
    }
}

/// The token that [`CountingIds`] gives an approval.
pub fn token_of(approval: Uuid) -> String {
    const PREFIX: &str = "token-";
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let mut token = String::with_capacity(PREFIX.len() + text.len());
    token.push_str(PREFIX);
    token.push_str(approval.hyphenated().encode_lower(&mut text));
    token
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct HandClock(AtomicU64);

impl HandClock {
    /// A clock that stands at this time.
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicU64::new(now.0))
    }

    /// Moves it to this time.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    /// Moves it on.
    pub fn advance_ms(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Sequential ids, with guessable tokens.
#[derive(Debug)]
pub struct CountingIds(AtomicU64);

impl CountingIds {
    const FIRST: u64 = 0x1000;
}

impl Default for CountingIds {
    fn default() -> Self {
        Self(AtomicU64::new(Self::FIRST))
    }
}

impl Clone for CountingIds {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::SeqCst)))
    }
}

impl Ids for CountingIds {
    fn next(&self) -> Uuid {
        Uuid::from_u128(self.0.fetch_add(1, Ordering::SeqCst).into())
    }

    fn token(&self, approval: Uuid) -> String {
        token_of(approval)
    }

    fn seal(&self) -> Seal {
        Seal::from_secret("seal")
    }
}

/// The value of a future that has no reason to wait: of a store in memory, say.
///
/// # Panics
/// When it does wait.
pub fn run_ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits, and nobody would wake it"),
    }
}

/// The value of a future that another thread makes ready: of a store with threads of its own, say.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => park(),
        }
    }
}
