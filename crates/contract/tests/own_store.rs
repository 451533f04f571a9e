//! A store of one's own for coupons, against the public claims: the right one keeps all of them, and each broken one is
//! caught by name.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use countersign::{
    protocol::{Approval, Change, Commit, Fences, Refusal, Status, Step, Swap, Timestamp, consume, lease},
    store::{
        APPROVAL_LEASE_MS, APPROVAL_WINDOW_MS, ApprovalRecord, Approvals, AttemptReads, Committed, Decider,
        Decision, Execution, Leased, Leases, Listed, Named, Page, PromotionRequest, Query, Reading,
        Requested, StoreError, digest_of,
    },
};
use countersign_contract::{AnyAttemptStore, ItemBackend, ItemClaim, Later, world::OPENS};
use tokio::{runtime::Builder, task::yield_now};
use uuid::Uuid;

/// Name of the threads that run claims which must fail.
const CONTROL: &str = "control";

/// The defect of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    /// The use is judged, and written later.
    ChecksThenActs,
    /// The clock is read when an approval is requested and never again.
    ForgetsTheTime,
    /// An approval is found by its id alone.
    ForgetsTheOwner,
    /// A request under a key is not looked up.
    ForgetsTheKey,
    /// A decision replaces an earlier one.
    DecidesAgain,
    /// An approval is usable as soon as it is requested.
    NeedsNoDecision,
    /// The content of an attempt is taken to be the approved one.
    ForgetsTheContent,
    /// The key of a use is not stored.
    ForgetsTheOutcome,
}

impl Mistake {
    const ALL: [Self; 8] = [
        Self::ChecksThenActs,
        Self::ForgetsTheTime,
        Self::ForgetsTheOwner,
        Self::ForgetsTheKey,
        Self::DecidesAgain,
        Self::NeedsNoDecision,
        Self::ForgetsTheContent,
        Self::ForgetsTheOutcome,
    ];

    /// A claim that is violated because of it.
    fn violates(self) -> &'static str {
        match self {
            Self::ChecksThenActs => "of_eight_attempts_one_succeeds",
            Self::ForgetsTheTime => "an_item_expires_by_the_clock_of_the_store",
            Self::ForgetsTheOwner => "another_owner_finds_nothing",
            Self::ForgetsTheKey => "a_key_issues_one_item",
            Self::DecidesAgain => "a_pending_item_is_decided_once",
            Self::NeedsNoDecision => "an_item_that_waits_for_a_decision_is_usable_after_an_approval_only",
            Self::ForgetsTheContent => "an_item_is_used_once_by_its_owner_with_its_content",
            Self::ForgetsTheOutcome => "a_key_gets_one_outcome",
        }
    }
}

struct Row {
    record: ApprovalRecord,
    key: Option<Arc<str>>,
    execution: Option<Execution>,
    fence: u64,
    leased_until: Timestamp,
}

/// Approvals in a list.
struct Coupons {
    rows: Mutex<Vec<Row>>,
    now: AtomicU64,
    mistake: Option<Mistake>,
}

impl Coupons {
    fn new(mistake: Option<Mistake>) -> Self {
        Self { rows: Mutex::default(), now: AtomicU64::new(OPENS.0), mistake }
    }

    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn now(&self) -> Timestamp {
        if self.is(Mistake::ForgetsTheTime) { OPENS } else { Timestamp(self.now.load(Ordering::SeqCst)) }
    }

    fn rows(&self) -> MutexGuard<'_, Vec<Row>> {
        self.rows.lock().expect("not poisoned")
    }

    fn token(approval: Uuid) -> String {
        format!("secret of {approval}")
    }

    /// True if the row is the team's approval of this id.
    fn is_of(&self, row: &Row, team: Uuid, id: Uuid) -> bool {
        let approval = &row.record.approval;
        approval.id == id && (approval.team == team || self.is(Mistake::ForgetsTheOwner))
    }

    /// The outcome of the commit by the rules of the protocol.
    fn judge(row: Option<&Row>, commit: &Commit<'_>, now: Timestamp) -> Result<(), Refusal> {
        for change in commit.ops {
            if let Change::Consume(Swap { guards, .. }) = change {
                let row = row.ok_or(Refusal::APPROVAL_NOT_FOUND)?;
                let fences = Fences { held: commit.fence, latest: row.fence };
                consume(row.record.approval.state(), fences, *guards, commit.digest, now)?;
            }
        }
        Ok(())
    }
}

fn move_to(row: &mut Row, status: Status, now: Timestamp) {
    Arc::make_mut(&mut row.record.approval).status = status;
    row.record.decided_at = Some(now);
}

impl Approvals for Coupons {
    async fn request_approval(&self, ask: &PromotionRequest) -> Result<Requested, StoreError> {
        let (now, mut rows) = (self.now(), self.rows());
        let same = |row: &&Row| row.record.approval.team == ask.team && row.key == ask.key;
        let before = rows.iter().find(same).filter(|_| ask.key.is_some());
        if let Some(row) = before.filter(|_| !self.is(Mistake::ForgetsTheKey)) {
            return Ok(Requested { record: row.record.clone(), created: false });
        }
        let approval = Approval {
            id: Uuid::from_u128(0x100 + rows.len() as u128),
            team: ask.team,
            requested_by: ask.requested_by.clone(),
            digest: digest_of(ask, &[]),
            status: if self.is(Mistake::NeedsNoDecision) { Status::Approved } else { Status::Pending },
            expires_at: Timestamp(now.0 + APPROVAL_WINDOW_MS),
        };
        let record = ApprovalRecord {
            approval: Arc::new(approval),
            binding: ask.binding.clone(),
            payload: ask.payload.clone(),
            services: Arc::from([]),
            bound: None,
            created_at: now,
            decided_at: None,
        };
        let (key, leased_until) = (ask.key.clone(), Timestamp(0));
        rows.push(Row { record: record.clone(), key, execution: None, fence: 0, leased_until });
        Ok(Requested { record, created: true })
    }

    async fn decide(&self, decision: Decision<'_>) -> Result<Result<ApprovalRecord, Refusal>, StoreError> {
        let (now, mut rows) = (self.now(), self.rows());
        let by_link = |token: &str, row: &Row| Self::token(row.record.approval.id) == token;
        let named = |row: &&mut Row| match decision {
            Decision::Operator { token, .. } => by_link(token, row),
            Decision::Person(person) => match person.about {
                Named::Link(token) => by_link(token, row),
                Named::OfTeam { team, approval } => self.is_of(row, team, approval),
            },
            Decision::Administrator { team, approval, .. } | Decision::Policy { team, approval, .. } => {
                self.is_of(row, team, approval)
            }
        };
        let Some(row) = rows.iter_mut().find(named) else { return Ok(Err(Refusal::NOT_FOUND)) };
        let decider: Decider = decision.decider();
        let mut state = row.record.approval.state();
        if self.is(Mistake::DecidesAgain) {
            state.status = Status::Pending;
        }
        Ok(match decider.judge(state, now) {
            Ok(status) => {
                move_to(row, status, now);
                if status == Status::Expired { Err(decider.too_late()) } else { Ok(row.record.clone()) }
            }
            Err(refusal) => Err(refusal),
        })
    }

    async fn approval(&self, team: Uuid, id: Uuid) -> Result<Option<ApprovalRecord>, StoreError> {
        Ok(self.rows().iter().find(|row| self.is_of(row, team, id)).map(|row| row.record.clone()))
    }

    async fn read_approval(&self, approval: Uuid, ask: &PromotionRequest) -> Result<Reading, StoreError> {
        let (now, rows) = (self.now(), self.rows());
        let row = rows.iter().find(|row| row.record.approval.id == approval);
        let digest = digest_of(ask, &[]);
        let approved = row.map(|row| row.record.approval.digest);
        Ok(Reading {
            approval: row.map(|row| Arc::clone(&row.record.approval)),
            binding: row.map(|row| row.record.binding.clone()),
            digest: approved.filter(|_| self.is(Mistake::ForgetsTheContent)).unwrap_or(digest),
            fence: row.map_or(0, |row| row.fence),
            now,
        })
    }

    async fn list_approvals(&self, query: &Query) -> Result<Page, StoreError> {
        let rows = self.rows();
        let listed = |row: &&Row| {
            let approval = &row.record.approval;
            query.team.is_none_or(|team| approval.team == team)
                && query.status.is_none_or(|status| approval.status == status)
        };
        let items: Vec<Listed> = rows
            .iter()
            .rev()
            .filter(listed)
            .map(|Row { record, .. }| Listed {
                approval: Arc::clone(&record.approval),
                binding: record.binding.clone(),
                created_at: record.created_at,
                decided_at: record.decided_at,
            })
            .collect();
        Ok(Page { items, next: None })
    }

    async fn commit(
        &self,
        ask: &PromotionRequest,
        _: &Step,
        commit: Commit<'_>,
    ) -> Result<Committed, StoreError> {
        let now = self.now();
        let find = |row: &&mut Row| row.record.approval.id == commit.approval;
        if self.is(Mistake::ChecksThenActs) {
            let judged = Self::judge(self.rows().iter_mut().find(find).as_deref(), &commit, now);
            if let Err(refusal) = judged {
                return Ok(Committed::NotConsumed(refusal));
            }
            yield_now().await;
        }
        let mut rows = self.rows();
        let mut row = rows.iter_mut().find(find);
        if !self.is(Mistake::ChecksThenActs)
            && let Err(refusal) = Self::judge(row.as_deref(), &commit, now)
        {
            return Ok(Committed::NotConsumed(refusal));
        }
        let consumes = commit.ops.iter().any(|change| matches!(change, Change::Consume(_)));
        if let Some(row) = row.as_mut().filter(|_| consumes) {
            move_to(row, Status::Executed, now);
            row.execution = Some(Execution::of(ask, commit.ops, None, Vec::new()));
            if self.is(Mistake::ForgetsTheOutcome) {
                row.execution = None;
            }
        }
        Ok(Committed::Applied { target: None })
    }

    async fn execution(&self, team: Uuid, approval: Uuid) -> Result<Option<Execution>, StoreError> {
        let rows = self.rows();
        Ok(rows.iter().find(|row| self.is_of(row, team, approval)).and_then(|row| row.execution.clone()))
    }
}

impl AttemptReads for Coupons {}

impl Leases for Coupons {
    async fn lease_approval(&self, team: Uuid, approval: Uuid) -> Result<Leased, StoreError> {
        let (now, mut rows) = (self.now(), self.rows());
        let own = |row: &&mut Row| self.is_of(row, team, approval);
        let Some(row) = rows.iter_mut().find(own) else { return Ok(Leased::Absent) };
        Ok(match lease(row.fence, row.leased_until, now) {
            Ok(fence) => {
                (row.fence, row.leased_until) = (fence, Timestamp(now.0 + APPROVAL_LEASE_MS));
                Leased::Taken { fence }
            }
            Err(until) => Leased::Held { until },
        })
    }

    async fn release_approval(&self, team: Uuid, approval: Uuid, fence: u64) -> Result<(), StoreError> {
        let (now, mut rows) = (self.now(), self.rows());
        let own = |row: &&mut Row| self.is_of(row, team, approval);
        if let Some(row) = rows.iter_mut().find(own).filter(|row| row.fence == fence) {
            row.leased_until = now;
        }
        Ok(())
    }
}

struct UnderTest {
    store: AnyAttemptStore,
    coupons: Arc<Coupons>,
}

impl UnderTest {
    fn new(mistake: Option<Mistake>) -> Self {
        let coupons = Arc::new(Coupons::new(mistake));
        Self { store: AnyAttemptStore::new(Arc::clone(&coupons)), coupons }
    }
}

impl ItemBackend for UnderTest {
    fn store(&self) -> &AnyAttemptStore {
        &self.store
    }

    fn set_clock(&self, now: Timestamp) -> Later<'_, ()> {
        self.coupons.now.store(now.0, Ordering::SeqCst);
        Box::pin(std::future::ready(()))
    }

    fn token(&self, approval: Uuid) -> String {
        Coupons::token(approval)
    }
}

#[test]
fn a_store_of_ones_own_keeps_every_claim() {
    let runtime = Builder::new_multi_thread().build().expect("a runtime can be had");
    for claim in ItemClaim::all() {
        println!("{}", claim.name());
        runtime.block_on(claim.check(Arc::new(UnderTest::new(None))));
    }
}

#[test]
fn each_mistake_is_caught_by_the_claim_about_it() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() != Some(CONTROL) {
            loud(panic);
        }
    }));
    // On one thread the competitors take turns, so that each run has the same interleaving.
    let control = std::thread::Builder::new().name(CONTROL.to_owned()).spawn(|| {
        Mistake::ALL.map(|mistake| {
            let violated = |claim: &ItemClaim| {
                let runtime = Builder::new_current_thread().build().expect("a runtime can be had");
                let claim = *claim;
                let checked = runtime.block_on(runtime.spawn(async move {
                    claim.check(Arc::new(UnderTest::new(Some(mistake)))).await;
                }));
                checked.is_err()
            };
            let violated = ItemClaim::all().into_iter().filter(violated).map(|claim| claim.name());
            (mistake, violated.collect::<BTreeSet<_>>())
        })
    });
    let mut never: BTreeSet<_> = ItemClaim::all().iter().map(ItemClaim::name).collect();
    for (mistake, violated) in control.expect("a thread can be had").join().expect("it does not panic") {
        assert!(violated.contains(mistake.violates()), "{mistake:?} violates {violated:?}");
        println!("{mistake:?} violates {violated:?}");
        never.retain(|claim| !violated.contains(claim));
    }
    assert_eq!(never, BTreeSet::new(), "no mistake violates these claims");
}
