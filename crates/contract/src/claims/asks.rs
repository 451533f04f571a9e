//! Requests for a person's decision: the same is one approval, and a team has a limit.

use std::{collections::BTreeMap, sync::Arc};

use countersign::{
    protocol::{Refusal, Status},
    store::{AuditKind, Operations, PromotionRequest, Requested, Tenants, Verdict},
};
use uuid::Uuid;

use super::races::{EIGHT, concurrently};
use crate::world::{STRANGERS, TEAM, World, flow, later, service, succeeded};

const MOST: usize = 3;

async fn ask(world: &World, ask: &PromotionRequest) -> Result<Requested, Refusal> {
    world.store().request_decision(ask, MOST).await.expect("nothing fails")
}

/// The approval, and whether this request created it.
async fn asked(world: &World, key: Option<&str>) -> (Uuid, bool) {
    let wish = PromotionRequest { key: key.map(Into::into), ..world.ask() };
    let Requested { record, created } = ask(world, &wish).await.expect("there is room");
    (record.approval.id, created)
}

fn named(world: &World, name: &str) -> PromotionRequest {
    let mut ask = world.ask();
    ask.payload.name = Some(name.to_owned());
    ask
}

pub(super) async fn the_same_again_is_the_same_approval_until_it_is_closed(world: &World) {
    let (first, created) = asked(world, None).await;
    assert!(created);
    for key in [None, Some("one"), Some("two"), Some("one")] {
        assert_eq!(asked(world, key).await, (first, false), "{key:?}");
    }
    assert_eq!(world.events(&world.ask_with(first)).await, [AuditKind::Requested]);
    world.operator(first, Verdict::Approve).await.expect("it is pending");
    assert_eq!(asked(world, None).await, (first, false), "it is usable");
    assert!(succeeded(&world.promote(&flow("atomic-commit"), &world.ask_with(first)).await));
    let (second, created) = asked(world, None).await;
    assert!(created && second != first, "the first one is used");
    world.operator(second, Verdict::Reject).await.expect("it is pending");
    let (third, created) = asked(world, None).await;
    assert!(created && third != second, "the second one is rejected");
    assert_eq!(asked(world, Some("one")).await, (first, false), "a key stays its approval's");
    world.backend.set_clock(later(24 * 60 * 60 * 1000)).await;
    assert!(asked(world, None).await.1, "the third one has expired");
}

pub(super) async fn a_request_is_another_one_when_what_it_is_bound_to_has_changed(world: &World) {
    let (first, _) = asked(world, None).await;
    let set = |value: &str| BTreeMap::from([("A".to_owned(), Some(value.to_owned()))]);
    for value in ["1", "2"] {
        world.store().patch_env(TEAM, &world.source.slug(), &set(value)).await.expect("nothing fails");
        assert!(asked(world, None).await.1, "{value}");
    }
    let none = BTreeMap::from([("A".to_owned(), None)]);
    world.store().patch_env(TEAM, &world.source.slug(), &none).await.expect("nothing fails");
    assert_eq!(asked(world, None).await, (first, false), "it is again what the first one is for");
}

pub(super) async fn a_team_has_as_many_undecided_approvals_as_it_may_have(world: &World) {
    let mut ids = Vec::new();
    for name in ["one", "two", "three"] {
        ids.push(ask(world, &named(world, name)).await.expect("there is room").record.approval.id);
    }
    assert_eq!(ask(world, &named(world, "four")).await, Err(Refusal::TOO_MANY_PENDING));
    assert!(ask(world, &named(world, "two")).await.is_ok(), "it is there already");
    let mut theirs = named(world, "four");
    theirs.team = STRANGERS;
    assert!(ask(world, &theirs).await.is_ok(), "another team has its own");
    world.operator(ids[0], Verdict::Approve).await.expect("it is pending");
    assert!(ask(world, &named(world, "four")).await.is_ok());
    assert_eq!(ask(world, &named(world, "five")).await, Err(Refusal::TOO_MANY_PENDING));
    world.backend.set_clock(later(24 * 60 * 60 * 1000)).await;
    assert!(ask(world, &named(world, "five")).await.is_ok());
}

pub(super) async fn what_can_never_be_used_is_refused_and_nothing_is_written(world: &World) {
    let before = world.backend.everything().await;
    for (services, refusal) in
        [(Vec::new(), Refusal::NO_SERVICES), (vec![service(None)], Refusal::MISSING_IMAGE_REF)]
    {
        world.put_services(TEAM, world.source.id, services).await;
        let wish = PromotionRequest { key: Some("mine".into()), ..world.ask() };
        assert_eq!(ask(world, &wish).await, Err(refusal));
    }
    let (before, after) = (before.get("approvals"), world.backend.everything().await);
    assert_eq!(before, after.get("approvals"));
    world.put_services(TEAM, world.source.id, vec![service(Some("shop:1"))]).await;
    let (approval, created) = asked(world, Some("mine")).await;
    assert!(created);
    // Under its key it is what it was, also when the source has changed.
    world.put_services(TEAM, world.source.id, Vec::new()).await;
    assert_eq!(asked(world, Some("mine")).await, (approval, false));
    assert_eq!(world.status(&world.ask_with(approval)).await, Status::Pending);
}

pub(super) async fn of_eight_that_ask_for_the_same_one_creates_it(world: &Arc<World>) {
    let answers = concurrently(world, EIGHT, |world, _| async move { asked(&world, None).await }).await;
    assert_eq!(answers.iter().filter(|(_, created)| *created).count(), 1);
    assert!(answers.iter().all(|(id, _)| *id == answers[0].0));
}
