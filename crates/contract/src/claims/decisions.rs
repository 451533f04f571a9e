//! Decisions in a person's own name: links of their own, revocations, reasons, and what comes too late.

use std::sync::Arc;

use countersign::{
    protocol::{Refusal, Status, Timestamp},
    store::{
        APPROVAL_WINDOW_MS, ApprovalRecord, Approvals, AuditEvent, AuditKind, Decision, Named, Operations,
        PersonalDecision, TokenHash, Verdict, Way,
    },
};

use super::races::{ROUNDS, concurrently};
use countersign_models::fixtures::UseRequest;

use crate::world::{OPENS, STRANGERS, TEAM, World, flow, later, succeeded};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

async fn decide(
    world: &World,
    about: Named<'_>,
    verdict: Verdict,
    by: &str,
    reason: Option<&str>,
) -> Result<ApprovalRecord, Refusal> {
    let decision = Decision::Person(PersonalDecision { about, verdict, by, reason });
    world.store().decide(decision).await.expect("nothing fails")
}

fn of_team(ask: &UseRequest) -> Named<'static> {
    Named::OfTeam { team: TEAM, approval: ask.approval }
}

async fn pending(world: &World) -> UseRequest {
    world.pending(world.ask()).await
}

async fn audit(world: &World, ask: &UseRequest) -> Vec<AuditEvent> {
    world.store().audit(ask.approval).await.expect("nothing fails")
}

pub(super) async fn a_person_decides_by_a_link_or_with_a_session_and_is_named(world: &World) {
    let (one, other) = (pending(world).await, pending(world).await);
    let links = [(TokenHash::of("alice's"), ALICE.to_owned()), (TokenHash::of("bob's"), BOB.to_owned())];
    for _ in 0..2 {
        world.store().put_links(one.approval, &links).await.expect("nothing fails");
    }
    let found = world.store().approval_by_token("bob's").await.expect("nothing fails");
    assert_eq!(found, Some(world.record(&one).await));
    assert_eq!(world.store().approver_of_link("bob's").await, Ok(Some(BOB.to_owned())));
    assert_eq!(world.store().approver_of_link("guessed").await, Ok(None));
    decide(world, Named::Link("bob's"), Verdict::Approve, BOB, Some("tested")).await.expect("it is pending");
    decide(world, of_team(&other), Verdict::Reject, ALICE, None).await.expect("it is pending");
    let said = |event: &AuditEvent| {
        (event.kind, event.by.to_string(), event.way, event.reason.as_deref().map(str::to_owned))
    };
    assert_eq!(
        said(&audit(world, &one).await[1]),
        (AuditKind::Approved, BOB.to_owned(), Some(Way::Link), Some("tested".to_owned()))
    );
    assert_eq!(
        said(&audit(world, &other).await[1]),
        (AuditKind::Rejected, ALICE.to_owned(), Some(Way::Session), None)
    );
    assert_eq!(audit(world, &one).await[0].way, None);
    let late = decide(world, Named::Link("alice's"), Verdict::Reject, ALICE, None).await;
    assert_eq!(late, Err(Refusal::APPROVAL_GONE));
    assert_eq!(decide(world, of_team(&one), Verdict::Reject, ALICE, None).await, Err(Refusal::NOT_PENDING));
    let theirs = Named::OfTeam { team: STRANGERS, approval: one.approval };
    assert_eq!(decide(world, theirs, Verdict::Revoke, "eve", None).await, Err(Refusal::NOT_FOUND));
    assert_eq!(
        decide(world, Named::Link("guessed"), Verdict::Approve, "eve", None).await,
        Err(Refusal::NOT_FOUND)
    );
}

pub(super) async fn an_approval_is_revoked_until_it_is_used_and_never_after(world: &World) {
    let revoke =
        async |ask: &UseRequest| decide(world, of_team(ask), Verdict::Revoke, ALICE, Some("a mistake")).await;
    let ask = pending(world).await;
    assert_eq!(revoke(&ask).await, Err(Refusal::APPROVAL_NOT_APPROVED), "it is pending");
    let ask = world.approved().await;
    assert_eq!(revoke(&ask).await.map(|record| record.approval.status), Ok(Status::Revoked));
    assert_eq!(world.events(&ask).await, [AuditKind::Requested, AuditKind::Approved, AuditKind::Revoked]);
    assert_eq!(
        crate::world::refused(world.promote(&flow("atomic-commit"), &ask).await),
        Refusal::APPROVAL_NOT_APPROVED
    );
    assert_eq!(revoke(&ask).await, Err(Refusal::APPROVAL_NOT_APPROVED), "it is revoked");
    let used = world.approved().await;
    assert!(succeeded(&world.promote(&flow("atomic-commit"), &used).await));
    assert_eq!(revoke(&used).await, Err(Refusal::APPROVAL_NOT_APPROVED), "it is used");
    assert_eq!(world.status(&used).await, Status::Executed);
}

pub(super) async fn of_a_use_and_a_revocation_one_happens(world: &Arc<World>) {
    for _ in 0..ROUNDS {
        let ask = Arc::new(world.approved().await);
        let again = Arc::clone(&ask);
        let happened = concurrently(world, 4, move |world, number| {
            let ask = Arc::clone(&again);
            async move {
                if number % 2 == 0 {
                    succeeded(&world.promote(&flow("atomic-commit"), &ask).await)
                } else {
                    decide(&world, of_team(&ask), Verdict::Revoke, ALICE, None).await.is_ok()
                }
            }
        })
        .await;
        assert_eq!(happened.iter().filter(|happened| **happened).count(), 1, "{happened:?}");
        let (status, events) = (world.status(&ask).await, world.events(&ask).await);
        let used = happened[0] || happened[2];
        assert_eq!(status, if used { Status::Executed } else { Status::Revoked });
        assert_eq!(events.len(), 3, "{events:?}");
    }
}

pub(super) async fn what_is_overdue_is_expired_once_with_its_event(world: &World) {
    let sweep = async |after: Timestamp, most| {
        world.store().expire_overdue(after, most).await.expect("nothing fails")
    };
    let (first, approved) = (pending(world).await, world.approved().await);
    world.backend.set_clock(later(5)).await;
    let second = pending(world).await;
    assert_eq!(sweep(Timestamp(0), 10).await.expired, 0, "nothing is overdue");
    world.backend.set_clock(later(APPROVAL_WINDOW_MS + 2)).await;
    let swept = sweep(Timestamp(0), 10).await;
    assert_eq!((swept.expired, swept.until), (1, later(2)));
    assert_eq!(world.status(&first).await, Status::Expired);
    assert_eq!(world.status(&approved).await, Status::Approved, "only what is pending expires");
    let events = audit(world, &first).await;
    assert_eq!((events.len(), events[1].kind, &*events[1].by), (2, AuditKind::Expired, "policy:expiry"));
    // The next one looks at what was asked for since.
    world.backend.set_clock(later(APPROVAL_WINDOW_MS + 5)).await;
    assert_eq!(sweep(swept.until, 10).await.expired, 1);
    assert_eq!((world.status(&second).await, sweep(OPENS, 10).await.expired), (Status::Expired, 0));
    // However few are taken at a time, all are.
    for _ in 0..3 {
        pending(world).await;
    }
    world.backend.set_clock(later(3 * APPROVAL_WINDOW_MS)).await;
    let (mut after, mut expired) = (Timestamp(0), 0);
    for _ in 0..4 {
        let swept = sweep(after, 2).await;
        (after, expired) = (swept.until, expired + swept.expired);
    }
    assert_eq!(expired, 3);
}

pub(super) async fn a_rejection_after_expiry_is_written_once_and_changes_nothing(world: &World) {
    let (untouched, swept) = (pending(world).await, pending(world).await);
    world.backend.set_clock(later(APPROVAL_WINDOW_MS)).await;
    let rejected = decide(world, of_team(&untouched), Verdict::Reject, ALICE, Some("no")).await;
    assert_eq!(rejected.map(|record| record.approval.status), Ok(Status::Rejected));
    assert_eq!(world.store().expire_overdue(Timestamp(0), 10).await.expect("nothing fails").expired, 1);
    for (by, verdict) in
        [(ALICE, Verdict::Reject), (ALICE, Verdict::Reject), (BOB, Verdict::Reject), (BOB, Verdict::Approve)]
    {
        assert_eq!(decide(world, of_team(&swept), verdict, by, Some("no")).await, Err(Refusal::NOT_PENDING));
    }
    let late = AuditKind::RejectedLate;
    assert_eq!(world.events(&swept).await, [AuditKind::Requested, AuditKind::Expired, late, late]);
    let by: Vec<_> = audit(world, &swept).await.iter().map(|event| event.by.to_string()).collect();
    assert_eq!(by[2..], [ALICE, BOB]);
    assert_eq!(world.status(&swept).await, Status::Expired);
}
