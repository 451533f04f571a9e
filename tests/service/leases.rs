//! Leases of an approval: a waiting attempt saves its preflight, and a holder releases its lease.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use countersign::{
    protocol::{Commit, Digest, Flow, Outcome, Refusal, RefusalKind, Step, Timestamp},
    service::{Driver, InMemoryDeployer, RetryImmediately, Waiter},
    store::{
        Approvals, AttemptReads, Committed, Leased, Leases, MemoryStore, PromotionRequest, Reading,
        StoreError,
    },
};
use countersign_testkit::{Faulty, Peek};
use uuid::Uuid;

use crate::platform::{Platform, TEAM};

const CONTENDERS: usize = 4;

/// Gives way before each action, and counts what it is asked.
struct Watched {
    store: Faulty<MemoryStore>,
    preflights: AtomicUsize,
    lease_asks: AtomicUsize,
}

impl Watched {
    fn new(store: Faulty<MemoryStore>) -> Self {
        Self { store, preflights: AtomicUsize::new(0), lease_asks: AtomicUsize::new(0) }
    }
}

async fn give_way() {
    let mut given = false;
    poll_fn(|_| if std::mem::replace(&mut given, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

impl Approvals for Watched {
    async fn read_approval(&self, approval: Uuid, ask: &PromotionRequest) -> Result<Reading, StoreError> {
        give_way().await;
        self.store.read_approval(approval, ask).await
    }

    async fn commit(
        &self,
        ask: &PromotionRequest,
        step: &Step,
        commit: Commit<'_>,
    ) -> Result<Committed, StoreError> {
        give_way().await;
        self.store.commit(ask, step, commit).await
    }

    countersign_models::decisions_pass_through!(store);
    countersign_models::recalls_pass_through!(store);
}

impl AttemptReads for Watched {
    fn can_produce(&self, refusal: &Refusal) -> bool {
        self.store.can_produce(refusal)
    }

    async fn check(
        &self,
        approval: Uuid,
        ask: &PromotionRequest,
        step: &Step,
    ) -> Result<Result<Digest, Refusal>, StoreError> {
        self.preflights.fetch_add(1, Ordering::Relaxed);
        give_way().await;
        self.store.check(approval, ask, step).await
    }

    async fn find_target(
        &self,
        ask: &PromotionRequest,
        step: &Step,
    ) -> Result<Result<Option<Uuid>, Refusal>, StoreError> {
        give_way().await;
        self.store.find_target(ask, step).await
    }
}

impl Leases for Watched {
    async fn lease_approval(&self, team: Uuid, approval: Uuid) -> Result<Leased, StoreError> {
        self.lease_asks.fetch_add(1, Ordering::Relaxed);
        give_way().await;
        self.store.lease_approval(team, approval).await
    }

    async fn release_approval(&self, team: Uuid, approval: Uuid, fence: u64) -> Result<(), StoreError> {
        self.store.release_approval(team, approval, fence).await
    }
}

type Promoting<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// Polls them in turn until all have ended.
fn in_turn(mut promotions: Vec<Promoting<'_>>) -> Vec<Outcome> {
    let mut ends: Vec<Option<Outcome>> = promotions.iter().map(|_| None).collect();
    let mut context = Context::from_waker(Waker::noop());
    while ends.iter().any(Option::is_none) {
        for (promotion, end) in promotions.iter_mut().zip(&mut ends) {
            if end.is_none()
                && let Poll::Ready(ended) = promotion.as_mut().poll(&mut context)
            {
                *end = Some(ended);
            }
        }
    }
    ends.into_iter().flatten().collect()
}

/// All contenders concurrently; the number of preflights, and of requests for the lease.
fn contend(flow: &Flow) -> (usize, usize) {
    let platform = Platform::new();
    let ask = platform.approved();
    let source = platform.store.digest(&ask).expect("the team is there");
    let deployer = InMemoryDeployer::default();
    let watched = Watched::new(platform.store);
    let promotions = (0..CONTENDERS)
        .map(|_| -> Promoting<'_> {
            Box::pin(Driver::new(flow, &watched, &deployer).expect("it is supported").promote(
                ask.approval,
                &ask,
                source,
            ))
        })
        .collect();
    let ends = in_turn(promotions);
    let won = ends.iter().filter(|end| matches!(end, Outcome::Succeeded { .. })).count();
    let lost = |end: &&Outcome| matches!(end, Outcome::Refused { refusal, .. } if refusal.status() == 409);
    assert_eq!((won, ends.iter().filter(lost).count()), (1, CONTENDERS - 1), "{ends:?}");
    if flow.takes_lease() {
        let lease = watched.store.lease(TEAM, ask.approval);
        assert_eq!(lease, Some((CONTENDERS as u64, Timestamp(0))), "each had it once, and gave it back");
    }
    (watched.preflights.into_inner(), watched.lease_asks.into_inner())
}

#[test]
fn with_the_lease_one_of_many_runs_its_preflight_and_without_it_all_do() {
    let (preflights, asks) = contend(&Flow::atomic_commit_lease());
    assert_eq!(preflights, 1);
    assert!(asks > CONTENDERS, "somebody had to wait: {asks}");
    assert_eq!(contend(&Flow::atomic_commit()), (CONTENDERS, 0));
}

#[test]
fn a_refused_preflight_gives_the_lease_back() {
    let platform = Platform::new();
    let ask = platform.approved();
    platform.store.begin_outage(TEAM, Refusal::FETCH_FAILED);
    let flow = Flow::atomic_commit_lease();
    let refused = platform.promote(&flow, &ask);
    assert_eq!(refused, Outcome::Refused { refusal: Refusal::FETCH_FAILED, kind: RefusalKind::Own });
    assert_eq!(platform.store.lease(TEAM, ask.approval), Some((1, Timestamp(0))));
    platform.store.end_outage(TEAM, &Refusal::FETCH_FAILED);
    assert!(matches!(platform.promote(&flow, &ask), Outcome::Succeeded { .. }), "nobody has to wait for it");
}

/// Counts the places that are taken, and the questions that the store was asked before each of them.
struct Places<'a> {
    watched: &'a Watched,
    asked_before: Mutex<Vec<usize>>,
}

impl Waiter for Places<'_> {
    fn wait(&self, approval: Uuid) -> impl Future<Output = ()> + Send {
        let asked = self.watched.lease_asks.load(Ordering::Relaxed);
        self.asked_before.lock().expect("no task panics").push(asked);
        RetryImmediately.wait(approval)
    }

    fn next(&self, _: Uuid) {}
}

#[test]
fn a_place_is_taken_before_the_lease_is_asked_for() {
    let platform = Platform::new();
    let ask = platform.approved();
    let source = platform.store.digest(&ask).expect("the team is there");
    let watched = Watched::new(platform.store);
    let deployer = InMemoryDeployer::default();
    let places = Places { watched: &watched, asked_before: Mutex::default() };
    for flow in [Flow::atomic_commit_lease(), Flow::atomic_commit()] {
        let driver = Driver::new(&flow, &watched, &deployer).expect("it is supported").waiting(&places);
        in_turn(vec![Box::pin(driver.promote(ask.approval, &ask, source))]);
    }
    assert_eq!(*places.asked_before.lock().expect("no task panics"), [0], "and only by who asks for one");
}
