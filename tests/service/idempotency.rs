//! Idempotency keys: exclusive, bound to one request, and never stuck.

use countersign::{
    protocol::{Digest, Refusal, Timestamp},
    service::{IdempotencyKey, InvalidKey, Terms, Use, under_key},
    store::{
        ApprovalRecord, AuditEvent, Backlog, Claim, DeployLog, Notice, NoticeState, Operations,
        PromotionRequest, Requested, StoreError, Swept, TokenHash,
    },
};
use countersign_models::fixtures::{HandClock, run_ready};
use uuid::Uuid;

use crate::platform::{OPENS, Platform, TEAM};

const LEASE_MS: u64 = 60_000;
const HOUR_MS: i64 = 3_600_000;

fn key() -> IdempotencyKey {
    IdempotencyKey::parse(b"mine").expect("a legal key")
}

/// Works on the request of this number; the work says whether the key stays its own.
fn work<O: Operations>(store: &O, platform: &Platform, request: u8, keep: bool) -> Result<(), Refusal> {
    let terms = Terms { clock: &*platform.clock, lease_ms: LEASE_MS };
    let used = Use { team: TEAM, key: &key(), request: Digest([request; 32]) };
    run_ready(under_key(store, terms, used, async { ((), keep) }))
}

/// Begins to work on a request, and dies.
fn die<O: Operations>(store: &O) {
    let claim = run_ready(store.claim_key(TEAM, "mine", Digest([1; 32]), LEASE_MS));
    assert!(matches!(claim, Ok(Claim::Granted { .. })), "{claim:?}");
}

/// The refusal while a concurrent request holds the key.
pub(crate) fn in_flight() -> Refusal {
    let platform = Platform::new();
    die(&platform.store);
    work(&platform.store, &platform, 1, true).expect_err("somebody works on it")
}

#[test]
fn a_key_that_is_worked_under_is_409_for_the_same_request_and_422_for_another() {
    let platform = Platform::new();
    die(&platform.store);
    assert_eq!(work(&platform.store, &platform, 1, true), Err(Refusal::IDEMPOTENCY_KEY_IN_FLIGHT));
    assert_eq!(work(&platform.store, &platform, 2, true), Err(Refusal::IDEMPOTENCY_KEY_REUSED));
}

#[test]
fn what_has_happened_keeps_its_key_and_what_was_refused_gives_it_back() {
    let platform = Platform::new();
    assert_eq!(work(&platform.store, &platform, 1, false), Ok(()));
    assert_eq!(
        work(&platform.store, &platform, 2, true),
        Ok(()),
        "the first one was as if it had never been"
    );
    assert_eq!(work(&platform.store, &platform, 2, true), Ok(()), "to be told the same");
    assert_eq!(work(&platform.store, &platform, 1, true), Err(Refusal::IDEMPOTENCY_KEY_REUSED));
}

/// True if a request can be retried, one lease after its first process has crashed.
fn comes_back<O: Operations>(store: &O, platform: &Platform) -> bool {
    die(store);
    platform.clock.advance_ms(LEASE_MS);
    work(store, platform, 1, true) == Ok(())
}

/// A store whose claims never run out: a process that dies takes its key with it.
struct Wedged<'a>(&'a Platform);

impl Operations for Wedged<'_> {
    async fn claim_key(
        &self,
        team: Uuid,
        key: &str,
        request: Digest,
        _lease_ms: u64,
    ) -> Result<Claim, StoreError> {
        self.0.store.claim_key(team, key, request, u64::MAX).await
    }

    async fn release_key(
        &self,
        team: Uuid,
        key: &str,
        until: Timestamp,
        keep: bool,
    ) -> Result<(), StoreError> {
        self.0.store.release_key(team, key, until, keep).await
    }

    async fn request_decision(
        &self,
        ask: &PromotionRequest,
        most_pending: usize,
    ) -> Result<Result<Requested, Refusal>, StoreError> {
        self.0.store.request_decision(ask, most_pending).await
    }

    async fn audit(&self, approval: Uuid) -> Result<Vec<AuditEvent>, StoreError> {
        self.0.store.audit(approval).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.0.store.backlog().await
    }

    async fn put_links(&self, approval: Uuid, links: &[(TokenHash, String)]) -> Result<(), StoreError> {
        self.0.store.put_links(approval, links).await
    }

    async fn approver_of_link(&self, token: &str) -> Result<Option<String>, StoreError> {
        self.0.store.approver_of_link(token).await
    }

    async fn expire_overdue(&self, after: Timestamp, most: usize) -> Result<Swept, StoreError> {
        self.0.store.expire_overdue(after, most).await
    }

    async fn approval_by_token(&self, token: &str) -> Result<Option<ApprovalRecord>, StoreError> {
        self.0.store.approval_by_token(token).await
    }

    async fn any_approval(&self, id: Uuid) -> Result<Option<ApprovalRecord>, StoreError> {
        self.0.store.any_approval(id).await
    }

    async fn lease_notice(&self, lease_ms: u64) -> Result<Option<Notice>, StoreError> {
        self.0.store.lease_notice(lease_ms).await
    }

    async fn settle_notice(&self, notice: &Notice, state: NoticeState) -> Result<bool, StoreError> {
        self.0.store.settle_notice(notice, state).await
    }

    async fn log_deploy(&self, log: DeployLog) -> Result<(), StoreError> {
        self.0.store.log_deploy(log).await
    }

    async fn deploy_logs(&self, approval: Uuid) -> Result<Vec<DeployLog>, StoreError> {
        self.0.store.deploy_logs(approval).await
    }

    async fn is_ready(&self) -> Result<(), StoreError> {
        self.0.store.is_ready().await
    }
}

#[test]
fn a_key_is_never_wedged_and_one_that_is_would_be_noticed() {
    let platform = Platform::new();
    assert!(comes_back(&platform.store, &platform));
    let platform = Platform::new();
    assert!(!comes_back(&Wedged(&platform), &platform));
}

#[test]
fn an_expired_claim_releases_nothing() {
    let platform = Platform::new();
    let terms = Terms { clock: &*platform.clock, lease_ms: LEASE_MS };
    let used = Use { team: TEAM, key: &key(), request: Digest([1; 32]) };
    let slow = async {
        platform.clock.advance_ms(LEASE_MS);
        // The next one has it now.
        die(&platform.store);
        ((), false)
    };
    assert_eq!(run_ready(under_key(&platform.store, terms, used, slow)), Ok(()));
    assert_eq!(work(&platform.store, &platform, 1, true), Err(Refusal::IDEMPOTENCY_KEY_IN_FLIGHT));
}

#[test]
fn a_clock_that_is_wrong_neither_wedges_a_key_nor_frees_it() {
    for wrong in [-HOUR_MS, HOUR_MS] {
        let platform = Platform::new();
        let clock = HandClock::at(Timestamp(OPENS.0.saturating_add_signed(wrong)));
        let terms = Terms { clock: &clock, lease_ms: LEASE_MS };
        let used = Use { team: TEAM, key: &key(), request: Digest([1; 32]) };
        let next = || work(&platform.store, &platform, 1, true);
        let meanwhile = async {
            platform.clock.advance_ms(LEASE_MS - 1);
            assert_eq!(next(), Err(Refusal::IDEMPOTENCY_KEY_IN_FLIGHT), "{wrong}");
            platform.clock.advance_ms(1);
            assert_eq!(next(), Ok(()), "{wrong}");
            ((), false)
        };
        assert_eq!(run_ready(under_key(&platform.store, terms, used, meanwhile)), Ok(()));
    }
}

#[test]
fn keys_are_short_and_visible() {
    assert!(IdempotencyKey::parse(&[b'~'; IdempotencyKey::LONGEST]).is_ok());
    for bad in [&b""[..], b"a b", b"a\n", "é".as_bytes(), &[b'x'; IdempotencyKey::LONGEST + 1]] {
        assert_eq!(IdempotencyKey::parse(bad), Err(InvalidKey), "{bad:?}");
    }
}
