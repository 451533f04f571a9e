//! Approvals: requested, decided once, visible to their team, and their links stored as hashes.

use countersign::{
    protocol::{Refusal, Status},
    store::{
        APPROVAL_WINDOW_MS, Approvals, AuditEvent, AuditKind, Decision, Operations, PromotionRequest, Query,
        Requested, Verdict,
    },
};
use countersign_models::fixtures::token_of;

use countersign_models::fixtures::UseRequest;

use crate::world::{OPENS, STRANGERS, TEAM, UNKNOWN, World, flow, later, succeeded};

pub(super) async fn a_request_is_pending_and_bound_to_what_it_was_made_for(world: &World) {
    let mut ask = world.ask();
    (ask.payload.name, ask.payload.copy_vault) = (Some("shop live".to_owned()), true);
    let record = world.requested(&ask).await;
    let approval = &record.approval;
    assert_eq!(
        (approval.team, &record.binding, &approval.requested_by),
        (TEAM, &ask.binding, &ask.requested_by)
    );
    assert_eq!(approval.digest, world.source_digest(&ask).await);
    assert_eq!((approval.status, approval.expires_at), (Status::Pending, later(APPROVAL_WINDOW_MS)));
    assert_eq!((&record.payload, &*record.services), (&ask.payload, &*world.source.services));
    assert_eq!((record.created_at, record.decided_at), (OPENS, None));
    let ask = UseRequest::new(approval.id, ask);
    assert_eq!(world.record(&ask).await, record);
    assert_eq!(world.store().any_approval(approval.id).await, Ok(Some(record.clone())));
    assert_eq!(world.store().execution(TEAM, approval.id).await, Ok(None));
    assert_eq!(world.events(&ask).await, [AuditKind::Requested]);
}

pub(super) async fn a_request_under_a_key_that_was_used_is_the_same_request(world: &World) {
    let under = |key: Option<&str>| PromotionRequest { key: key.map(Into::into), ..world.ask() };
    // The clock stands still: only the store can tell the second request from the first.
    let requested = async |key| world.store().request_approval(&under(key)).await.expect("nothing fails");
    let Requested { record: first, created } = requested(Some("mine")).await;
    assert!(created, "the first request under a key");
    assert_eq!(requested(Some("mine")).await, Requested { record: first.clone(), created: false });
    world.operator(first.approval.id, Verdict::Approve).await.expect("it is pending");
    let again = world.requested(&under(Some("mine"))).await;
    assert_eq!((again.approval.id, again.approval.status), (first.approval.id, Status::Approved));
    let others = [under(Some("another")), under(None), under(None)];
    let mut ids = vec![first.approval.id];
    for other in &others {
        ids.push(world.requested(other).await.approval.id);
    }
    let mut theirs = under(Some("mine"));
    theirs.team = STRANGERS;
    ids.push(world.requested(&theirs).await.approval.id);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5, "each is another approval");
    let notices = {
        let mut notices = 0;
        while world.store().lease_notice(100).await.expect("nothing fails").is_some() {
            notices += 1;
        }
        notices
    };
    assert_eq!(notices, 4, "one for each that is pending, and no second one");
}

pub(super) async fn a_decision_moves_a_pending_approval_once(world: &World) {
    for (verdict, status, kind) in [
        (Verdict::Approve, Status::Approved, AuditKind::Approved),
        (Verdict::Reject, Status::Rejected, AuditKind::Rejected),
    ] {
        let ask = world.pending(world.ask()).await;
        let id = ask.approval;
        let decided = world.operator(id, verdict).await.expect("it is pending");
        assert_eq!((decided.approval.status, decided.decided_at), (status, Some(OPENS)));
        assert_eq!(world.record(&ask).await, decided);
        for verdict in [Verdict::Approve, Verdict::Reject] {
            assert_eq!(world.operator(id, verdict).await, Err(Refusal::APPROVAL_GONE));
        }
        assert_eq!(world.administrator(TEAM, id).await, Err(Refusal::NOT_PENDING));
        assert_eq!(world.record(&ask).await, decided);
        assert_eq!(world.events(&ask).await, [AuditKind::Requested, kind]);
    }
}

pub(super) async fn an_administrator_rejects_for_the_own_team_only(world: &World) {
    let ask = world.pending(world.ask()).await;
    let id = ask.approval;
    assert_eq!(world.administrator(STRANGERS, id).await, Err(Refusal::NOT_FOUND));
    assert_eq!(world.administrator(TEAM, UNKNOWN).await, Err(Refusal::NOT_FOUND));
    assert_eq!(world.status(&ask).await, Status::Pending);
    let rejected = world.administrator(TEAM, id).await.expect("it is pending");
    assert_eq!((rejected.approval.status, rejected.decided_at), (Status::Rejected, Some(OPENS)));
    assert_eq!(world.events(&ask).await, [AuditKind::Requested, AuditKind::Rejected]);
}

pub(super) async fn an_operator_who_comes_too_late_makes_it_expired(world: &World) {
    for verdict in [Verdict::Approve, Verdict::Reject] {
        let ask = world.pending(world.ask()).await;
        let id = ask.approval;
        let ends = world.record(&ask).await.approval.expires_at;
        world.backend.set_clock(ends).await;
        assert_eq!(world.operator(id, verdict).await, Err(Refusal::APPROVAL_GONE));
        let record = world.record(&ask).await;
        assert_eq!((record.approval.status, record.decided_at), (Status::Expired, Some(ends)));
        assert_eq!(world.operator(id, verdict).await, Err(Refusal::APPROVAL_GONE));
        assert_eq!(world.events(&ask).await, [AuditKind::Requested, AuditKind::Expired]);
    }
}

pub(super) async fn an_administrator_may_reject_an_approval_past_its_window(world: &World) {
    let ask = world.pending(world.ask()).await;
    world.backend.set_clock(later(2 * APPROVAL_WINDOW_MS)).await;
    let rejected = world.administrator(TEAM, ask.approval).await.expect("it is pending");
    assert_eq!(rejected.approval.status, Status::Rejected);
}

pub(super) async fn an_unknown_link_is_404(world: &World) {
    world.pending(world.ask()).await;
    for token in ["guessed", "", &token_of(UNKNOWN)] {
        let decision = Decision::Operator { token, verdict: Verdict::Approve };
        assert_eq!(world.store().decide(decision).await, Ok(Err(Refusal::NOT_FOUND)));
        assert_eq!(world.store().approval_by_token(token).await, Ok(None));
    }
}

pub(super) async fn every_event_says_who_did_what_to_what(world: &World) {
    let mut ask = world.approved().await;
    ask.requested_by = "release@example.com".into();
    world.backend.set_clock(later(5)).await;
    assert!(succeeded(&world.promote(&flow("atomic-commit"), &ask).await));
    let event = |kind, at, by: &str| AuditEvent {
        kind,
        approval: ask.approval,
        at,
        by: by.into(),
        binding: ask.binding.clone(),
        requested_by: "dev@example.com".into(),
        way: None,
        reason: None,
    };
    let events = [
        event(AuditKind::Requested, OPENS, "dev@example.com"),
        event(AuditKind::Approved, OPENS, "operator"),
        event(AuditKind::Executed, later(5), "release@example.com"),
    ];
    assert_eq!(world.store().audit(ask.approval).await, Ok(events.to_vec()));
    assert_eq!(world.store().audit(UNKNOWN).await, Ok(Vec::new()));
}

pub(super) async fn another_teams_approval_is_absent(world: &World) {
    let ask = world.approved().await;
    assert!(succeeded(&world.promote(&flow("atomic-commit"), &ask).await));
    let id = ask.approval;
    assert_eq!(world.store().approval(STRANGERS, id).await, Ok(None));
    assert_eq!(world.store().execution(STRANGERS, id).await, Ok(None));
    let theirs = Query { team: Some(STRANGERS), ..Query::default() };
    assert_eq!(world.store().list_approvals(&theirs).await.map(|page| page.items.len()), Ok(0));
}

pub(super) async fn a_token_finds_its_approval_and_is_nowhere_in_clear(world: &World) {
    let ask = world.pending(world.ask()).await;
    let token = token_of(ask.approval);
    let found = world.store().approval_by_token(&token).await.expect("nothing fails");
    assert_eq!(found, Some(world.record(&ask).await));
    world.operator(ask.approval, Verdict::Approve).await.expect("it is pending");
    let found = world.store().approval_by_token(&token).await.expect("nothing fails").expect("it is there");
    assert_eq!(found.approval.status, Status::Approved);
    assert!(succeeded(&world.promote(&flow("atomic-commit"), &ask).await));
    for (place, content) in world.backend.everything().await {
        assert!(!content.contains(&token), "{place} has the token");
    }
}
