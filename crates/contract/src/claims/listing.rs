//! Lists of approvals: newest first, filtered, in pages.

use std::collections::{BTreeMap, BTreeSet};

use countersign::{
    protocol::Status,
    store::{Approvals, Page, Query, Verdict},
};
use countersign_models::fixtures::token_of;
use uuid::Uuid;

use crate::world::{STRANGERS, TEAM, World, later};

/// This many approvals, a second apart, but two of them simultaneous; every third is approved.
async fn fill(world: &World, approvals: u64) {
    for number in 0..approvals {
        let second = if number == 1 { 0 } else { number };
        world.backend.set_clock(later(second * 1_000)).await;
        let record = world.requested(&world.ask()).await;
        if number % 3 == 0 {
            world.operator(record.approval.id, Verdict::Approve).await.expect("it is pending");
        }
    }
}

async fn list(world: &World, query: &Query) -> Page {
    world.store().list_approvals(query).await.expect("nothing fails")
}

pub(super) async fn a_list_is_newest_first_and_has_50_unless_more_are_wanted_and_200_at_most(world: &World) {
    fill(world, 210).await;
    let page = list(world, &Query::default()).await;
    assert_eq!((page.items.len(), page.next.is_some()), (50, true));
    assert!(page.items.windows(2).all(|pair| pair[0].created_at > pair[1].created_at));
    for (limit, items) in [(0, 0), (1, 1), (120, 120), (200, 200), (1_000, 200)] {
        let page = list(world, &Query { limit: Some(limit), ..Query::default() }).await;
        assert_eq!(page.items.len(), items);
    }
}

pub(super) async fn pages_have_every_approval_once(world: &World) {
    fill(world, 25).await;
    let mut query = Query { team: Some(TEAM), limit: Some(7), ..Query::default() };
    let mut seen = Vec::new();
    loop {
        let page = list(world, &query).await;
        seen.extend(page.items.iter().map(|listed| (listed.created_at, listed.approval.id)));
        query.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 25);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "of those of one moment, too");
    // The last page has no successor, even if it is exactly full.
    let page = list(world, &Query { limit: Some(25), ..Query::default() }).await;
    assert_eq!((page.items.len(), page.next), (25, None));
}

pub(super) async fn a_list_can_be_of_one_status_and_of_one_team(world: &World) {
    fill(world, 9).await;
    let of = async |status| list(world, &Query { status: Some(status), ..Query::default() }).await;
    let (approved, pending) = (of(Status::Approved).await, of(Status::Pending).await);
    let executed = of(Status::Executed).await;
    assert_eq!((approved.items.len(), pending.items.len(), executed.items.len()), (3, 6, 0));
    assert!(approved.items.iter().all(|listed| listed.decided_at.is_some()));
    assert!(pending.items.iter().all(|listed| listed.decided_at.is_none()));
    for team in [STRANGERS, Uuid::nil()] {
        let page = list(world, &Query { team: Some(team), ..Query::default() }).await;
        assert_eq!((page.items.len(), page.next), (0, None));
    }
}

pub(super) async fn a_list_has_no_row_of_another_team(world: &World) {
    let mut own = BTreeMap::from([(TEAM, BTreeSet::new()), (STRANGERS, BTreeSet::new())]);
    for number in 0..12 {
        let team = if number % 2 == 0 { TEAM } else { STRANGERS };
        let mut ask = world.ask();
        ask.team = team;
        let record = world.requested(&ask).await;
        own.get_mut(&team).expect("one of the two").insert(record.approval.id);
    }
    for (team, own) in own {
        for status in [None, Some(Status::Pending)] {
            let mut query = Query { team: Some(team), status, limit: Some(2), ..Query::default() };
            let mut seen = BTreeSet::new();
            loop {
                let page = list(world, &query).await;
                for listed in &page.items {
                    assert_eq!(listed.approval.team, team, "a row of another team is listed");
                    seen.insert(listed.approval.id);
                }
                query.after = page.next;
                if page.next.is_none() {
                    break;
                }
            }
            assert_eq!(seen, own);
        }
    }
}

pub(super) async fn a_token_is_in_no_debug_output(world: &World) {
    let record = world.requested(&world.ask()).await;
    let token = token_of(record.approval.id);
    assert!(!format!("{record:?}").contains(&token));
    assert!(!format!("{:?}", list(world, &Query::default()).await).contains(&token));
}
