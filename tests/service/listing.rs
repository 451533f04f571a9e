//! Lists of approvals: newest first, filtered, in pages.

use countersign::{
    protocol::Status,
    store::{Query, Store, Verdict},
};
use countersign_models::fixtures::{at_once, token_of};
use uuid::Uuid;

use crate::platform::{Platform, TEAM};

/// A platform with so many approvals, a second apart; every third is approved.
fn platform(approvals: usize) -> Platform {
    let platform = Platform::new();
    for number in 0..approvals {
        platform.clock.advance_ms(1_000);
        let record = platform.requested(&platform.ask(Uuid::nil()));
        if number % 3 == 0 {
            platform.decide(&record, Verdict::Approve);
        }
    }
    platform
}

fn list(platform: &Platform, query: &Query) -> countersign::store::Page {
    at_once(platform.store.list_approvals(query)).expect("nothing fails")
}

#[test]
fn a_list_is_newest_first_and_has_50_unless_more_are_wanted_and_200_at_most() {
    let platform = platform(250);
    let page = list(&platform, &Query::default());
    assert_eq!((page.items.len(), page.total), (50, 250));
    assert!(page.items.windows(2).all(|pair| pair[0].created_at > pair[1].created_at));
    let limited = |limit| list(&platform, &Query { limit: Some(limit), ..Query::default() }).items.len();
    assert_eq!([0, 1, 120, 200, 1_000].map(limited), [0, 1, 120, 200, 200]);
}

#[test]
fn pages_have_every_approval_once() {
    let platform = platform(125);
    let mut query = Query { team: Some(TEAM), ..Query::default() };
    let mut seen = Vec::new();
    loop {
        let page = list(&platform, &query);
        seen.extend(page.items.iter().map(|listed| listed.created_at));
        query.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 125);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]));
}

#[test]
fn a_list_can_be_of_one_status_and_of_one_team() {
    let platform = platform(9);
    let of = |status| list(&platform, &Query { status: Some(status), ..Query::default() });
    assert_eq!(
        (of(Status::Approved).total, of(Status::Pending).total, of(Status::Executed).total),
        (3, 6, 0)
    );
    assert!(of(Status::Approved).items.iter().all(|listed| listed.decided_at.is_some()));
    assert!(of(Status::Pending).items.iter().all(|listed| listed.decided_at.is_none()));
    let of_nobody = list(&platform, &Query { team: Some(Uuid::nil()), ..Query::default() });
    assert_eq!((of_nobody.total, of_nobody.next), (0, None));
}

#[test]
fn a_token_is_in_no_debug_output() {
    let platform = Platform::new();
    let record = platform.requested(&platform.ask(Uuid::nil()));
    assert!(!format!("{record:?}").contains(&token_of(record.approval.id)));
}
