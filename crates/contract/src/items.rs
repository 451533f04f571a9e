//! The claims about a store that a gate keeps items in: coupons, links, payments.

use std::sync::Arc;

use countersign::{
    Gate, Item, Outcome, Refusal,
    gate::RequestError,
    protocol::{Status, Timestamp},
    store::{
        APPROVAL_LEASE_MS, APPROVAL_WINDOW_MS, Approvals as _, Decision, Leased, Leases as _, Named,
        PersonalDecision, Query, Verdict,
    },
};
use tokio::sync::Barrier;
use uuid::Uuid;

use crate::{AnyAttemptStore, Later, world::OPENS};

/// An empty store of items, and its clock, which stands at [`OPENS`].
pub trait ItemBackend: Send + Sync {
    /// The store.
    fn store(&self) -> &AnyAttemptStore;

    /// Moves the store's clock.
    fn set_clock(&self, now: Timestamp) -> Later<'_, ()>;

    /// The secret in the link of this approval.
    fn token(&self, approval: Uuid) -> String;
}

/// A claim about every store that keeps items.
#[derive(Clone, Copy, Debug)]
pub struct ItemClaim {
    name: &'static str,
    run: fn(Shop) -> Later<'static, ()>,
}

impl ItemClaim {
    /// The claim as a name: `of_eight_attempts_one_succeeds`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Checks the claim on an empty store, inside a tokio runtime. Several threads let its competitors run in parallel.
    ///
    /// # Panics
    /// When the claim is violated, or the store fails.
    pub async fn check(&self, backend: Arc<dyn ItemBackend>) {
        (self.run)(Shop { backend }).await;
    }
}

macro_rules! claims {
    ($($name:ident),+ $(,)?) => {
        impl ItemClaim {
            /// All of them.
            pub fn all() -> Vec<Self> {
                vec![$(Self { name: stringify!($name), run: |shop| Box::pin($name(shop)) }),+]
            }
        }
    };
}

claims! {
    an_item_is_used_once_by_its_owner_with_its_content,
    an_item_that_waits_for_a_decision_is_usable_after_an_approval_only,
    a_pending_item_is_decided_once,
    an_item_expires_by_the_clock_of_the_store,
    a_revoked_item_is_not_used_and_a_used_one_is_not_revoked,
    a_key_issues_one_item,
    a_key_gets_one_outcome,
    another_owner_finds_nothing,
    a_lease_is_exclusive_until_it_expires_or_is_released,
    of_eight_attempts_one_succeeds,
    of_eight_requests_under_a_key_one_creates_the_item,
    of_a_use_and_a_revocation_one_happens,
}

const EIGHT: usize = 8;
/// Number of times that each race is run.
const ROUNDS: usize = 20;
const ALICE: &str = "alice";

/// A gate on the store under test.
#[derive(Clone)]
struct Shop {
    backend: Arc<dyn ItemBackend>,
}

fn coupon() -> Item {
    Item::new(ALICE, "10 €")
}

fn refused(end: &Outcome) -> &Refusal {
    match end {
        Outcome::Refused { refusal, .. } => refusal,
        Outcome::Succeeded { .. } | Outcome::Unknown { .. } => panic!("expected a refusal, found {end:?}"),
    }
}

fn succeeded(end: &Outcome) -> bool {
    matches!(end, Outcome::Succeeded { .. })
}

fn repeats(end: &Outcome) -> bool {
    match end {
        Outcome::Succeeded { repeats, .. } => *repeats,
        Outcome::Refused { .. } | Outcome::Unknown { .. } => panic!("expected a success, found {end:?}"),
    }
}

impl Shop {
    fn store(&self) -> &AnyAttemptStore {
        self.backend.store()
    }

    fn gate(&self) -> Gate<&AnyAttemptStore> {
        Gate::builder(self.store()).build().expect("the default flow is supported")
    }

    async fn issue(&self, item: &Item) -> Uuid {
        self.gate().issue(item).await.expect("nothing fails")
    }

    async fn request(&self, item: &Item) -> Uuid {
        self.gate().request(item).await.expect("nothing fails").record.approval.id
    }

    async fn redeem(&self, code: Uuid, item: &Item) -> Outcome {
        self.gate().redeem(code, item).await
    }

    async fn decide(&self, code: Uuid, verdict: Verdict) -> Result<(), RequestError> {
        let token = self.backend.token(code);
        self.gate().decide(Decision::Operator { token: &token, verdict }).await.map(drop)
    }

    async fn revoke(&self, code: Uuid) -> Result<(), RequestError> {
        let about = Named::OfTeam { team: coupon().team(), approval: code };
        let decision = PersonalDecision { about, verdict: Verdict::Revoke, by: "admin", reason: None };
        self.gate().decide(Decision::Person(decision)).await.map(drop)
    }

    async fn status(&self, code: Uuid) -> Status {
        let found = self.store().approval(coupon().team(), code).await.expect("nothing fails");
        found.expect("it was requested").approval.status
    }

    async fn set_clock(&self, after_ms: u64) {
        self.backend.set_clock(Timestamp(OPENS.0 + after_ms)).await;
    }

    /// Runs eight tasks concurrently; each receives its number.
    async fn race<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        work: impl Fn(Self, usize) -> F,
    ) -> Vec<T> {
        let start = Arc::new(Barrier::new(EIGHT));
        let tasks: Vec<_> = (0..EIGHT)
            .map(|number| {
                let (start, work) = (Arc::clone(&start), work(self.clone(), number));
                tokio::spawn(async move {
                    start.wait().await;
                    work.await
                })
            })
            .collect();
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.expect("no task panics"));
        }
        results
    }
}

async fn an_item_is_used_once_by_its_owner_with_its_content(shop: Shop) {
    let code = shop.issue(&coupon()).await;
    let mallory = Item::new("mallory", "10 €");
    shop.issue(&mallory).await;
    assert_eq!(refused(&shop.redeem(code, &mallory).await), &Refusal::APPROVAL_NOT_FOUND);
    assert_eq!(refused(&shop.redeem(Uuid::from_u128(7), &coupon()).await), &Refusal::APPROVAL_NOT_FOUND);
    let more = Item::new(ALICE, "1000 €");
    assert_eq!(refused(&shop.redeem(code, &more).await), &Refusal::APPROVAL_PAYLOAD_MISMATCH);
    assert_eq!(shop.status(code).await, Status::Approved, "a refused attempt leaves it usable");
    assert!(!repeats(&shop.redeem(code, &coupon()).await));
    assert_eq!(shop.status(code).await, Status::Executed);
    assert_eq!(refused(&shop.redeem(code, &coupon()).await), &Refusal::APPROVAL_NOT_APPROVED);
}

async fn an_item_that_waits_for_a_decision_is_usable_after_an_approval_only(shop: Shop) {
    for (verdict, usable) in [(Verdict::Approve, true), (Verdict::Reject, false)] {
        let code = shop.request(&coupon()).await;
        assert_eq!(refused(&shop.redeem(code, &coupon()).await), &Refusal::APPROVAL_NOT_APPROVED);
        assert_eq!(shop.decide(code, verdict).await, Ok(()));
        assert_eq!(succeeded(&shop.redeem(code, &coupon()).await), usable);
    }
}

async fn a_pending_item_is_decided_once(shop: Shop) {
    let code = shop.request(&coupon()).await;
    assert_eq!(shop.decide(code, Verdict::Reject).await, Ok(()));
    let gone = Err(RequestError::Refused(Refusal::APPROVAL_GONE));
    assert_eq!(shop.decide(code, Verdict::Approve).await, gone);
    assert_eq!(shop.status(code).await, Status::Rejected);
    let unknown = Decision::Operator { token: "guessed", verdict: Verdict::Approve };
    assert_eq!(shop.store().decide(unknown).await, Ok(Err(Refusal::NOT_FOUND)));
}

async fn an_item_expires_by_the_clock_of_the_store(shop: Shop) {
    let (last, late) = (shop.issue(&coupon()).await, shop.issue(&coupon()).await);
    let undecided = shop.request(&coupon()).await;
    shop.set_clock(APPROVAL_WINDOW_MS - 1).await;
    assert!(succeeded(&shop.redeem(last, &coupon()).await));
    shop.set_clock(APPROVAL_WINDOW_MS).await;
    assert_eq!(refused(&shop.redeem(late, &coupon()).await), &Refusal::APPROVAL_EXPIRED);
    let gone = Err(RequestError::Refused(Refusal::APPROVAL_GONE));
    assert_eq!(shop.decide(undecided, Verdict::Approve).await, gone);
    assert_eq!(shop.status(undecided).await, Status::Expired);
}

async fn a_revoked_item_is_not_used_and_a_used_one_is_not_revoked(shop: Shop) {
    let (revoked, used) = (shop.issue(&coupon()).await, shop.issue(&coupon()).await);
    assert_eq!(shop.revoke(revoked).await, Ok(()));
    assert_eq!(refused(&shop.redeem(revoked, &coupon()).await), &Refusal::APPROVAL_NOT_APPROVED);
    assert!(succeeded(&shop.redeem(used, &coupon()).await));
    assert_eq!(shop.revoke(used).await, Err(RequestError::Refused(Refusal::APPROVAL_NOT_APPROVED)));
    assert_eq!((shop.status(revoked).await, shop.status(used).await), (Status::Revoked, Status::Executed));
}

async fn a_key_issues_one_item(shop: Shop) {
    let code = shop.issue(&coupon().key("order 7")).await;
    assert_eq!(shop.issue(&coupon().key("order 7")).await, code);
    assert_ne!(shop.issue(&coupon().key("order 8")).await, code);
    assert_ne!(shop.issue(&Item::new("bob", "10 €").key("order 7")).await, code, "a key is its owner's");
    let other = Item::new(ALICE, "20 €").key("order 7");
    let reused = Err(RequestError::Refused(Refusal::IDEMPOTENCY_KEY_REUSED));
    assert_eq!(shop.gate().issue(&other).await, reused);
}

async fn a_key_gets_one_outcome(shop: Shop) {
    let code = shop.issue(&coupon()).await;
    let keyed = coupon().key("checkout");
    assert!(!repeats(&shop.redeem(code, &keyed).await));
    assert!(repeats(&shop.redeem(code, &keyed).await));
    for other in [coupon(), coupon().key("another")] {
        assert_eq!(refused(&shop.redeem(code, &other).await), &Refusal::APPROVAL_NOT_APPROVED);
    }
    // A refusal is not an outcome that the key keeps.
    let waits = shop.request(&coupon()).await;
    assert_eq!(refused(&shop.redeem(waits, &keyed).await), &Refusal::APPROVAL_NOT_APPROVED);
    assert_eq!(shop.decide(waits, Verdict::Approve).await, Ok(()));
    assert!(!repeats(&shop.redeem(waits, &keyed).await));
}

async fn another_owner_finds_nothing(shop: Shop) {
    let mallory = Item::new("mallory", "1 €");
    let (code, own) = (shop.issue(&coupon()).await, shop.issue(&mallory).await);
    assert!(succeeded(&shop.redeem(code, &coupon()).await));
    let store = shop.store();
    assert_eq!(store.approval(mallory.team(), code).await, Ok(None));
    assert_eq!(store.execution(mallory.team(), code).await, Ok(None));
    for (item, expected) in [(mallory, own), (coupon(), code)] {
        let query = Query { team: Some(item.team()), ..Query::default() };
        let page = store.list_approvals(&query).await.expect("nothing fails");
        let listed: Vec<_> = page.items.iter().map(|listed| listed.approval.id).collect();
        assert_eq!((listed, page.next), (vec![expected], None));
    }
}

async fn a_lease_is_exclusive_until_it_expires_or_is_released(shop: Shop) {
    let code = shop.issue(&coupon()).await;
    let alice = coupon().team();
    let lease = async || shop.store().lease_approval(alice, code).await.expect("nothing fails");
    let until = Timestamp(OPENS.0 + APPROVAL_LEASE_MS);
    assert_eq!(lease().await, Leased::Taken { fence: 1 });
    assert_eq!(lease().await, Leased::Held { until });
    let mallory = Item::new("mallory", "").team();
    assert_eq!(shop.store().lease_approval(mallory, code).await, Ok(Leased::Absent));
    shop.set_clock(APPROVAL_LEASE_MS).await;
    assert_eq!(lease().await, Leased::Taken { fence: 2 });
    shop.store().release_approval(alice, code, 1).await.expect("nothing fails");
    assert!(matches!(lease().await, Leased::Held { .. }), "an overtaken lease releases nothing");
    shop.store().release_approval(alice, code, 2).await.expect("nothing fails");
    assert_eq!(lease().await, Leased::Taken { fence: 3 });
}

async fn of_eight_attempts_one_succeeds(shop: Shop) {
    for _ in 0..ROUNDS {
        let code = shop.issue(&coupon()).await;
        let ends = shop.race(|shop, _| async move { shop.redeem(code, &coupon()).await }).await;
        assert_eq!(ends.iter().filter(|end| succeeded(end)).count(), 1, "{ends:?}");
        let is_409 =
            |end: &&Outcome| matches!(end, Outcome::Refused { refusal, .. } if refusal.status() == 409);
        assert_eq!(ends.iter().filter(is_409).count(), EIGHT - 1, "{ends:?}");
    }
}

async fn of_eight_requests_under_a_key_one_creates_the_item(shop: Shop) {
    for round in 0..ROUNDS {
        let requested = shop
            .race(|shop, _| async move {
                let requested = shop.gate().request(&coupon().key(format!("round {round}"))).await;
                let requested = requested.expect("nothing fails");
                (requested.record.approval.id, requested.created)
            })
            .await;
        assert!(requested.iter().all(|(id, _)| *id == requested[0].0), "{requested:?}");
        assert_eq!(requested.iter().filter(|(_, created)| *created).count(), 1, "{requested:?}");
    }
}

async fn of_a_use_and_a_revocation_one_happens(shop: Shop) {
    for _ in 0..ROUNDS {
        let code = shop.issue(&coupon()).await;
        let happened = shop
            .race(|shop, number| async move {
                if number % 2 == 1 {
                    succeeded(&shop.redeem(code, &coupon()).await)
                } else {
                    shop.revoke(code).await.is_ok()
                }
            })
            .await;
        assert_eq!(happened.iter().filter(|happened| **happened).count(), 1, "{happened:?}");
    }
}
