//! The binding of an approval in addition to images: variables, vault values and the target's version.

use std::collections::BTreeMap;

use countersign::{
    protocol::{Outcome, Refusal, Status},
    store::{Difference, Tenants},
};

use countersign_models::fixtures::UseRequest;

use crate::world::{TEAM, World, environment, flow, refused, service, succeeded};

async fn patch(world: &World, slug: &str, name: &str, value: Option<&str>) {
    let changes = BTreeMap::from([(name.to_owned(), value.map(str::to_owned))]);
    let patched = world.store().patch_env(TEAM, slug, &changes).await.expect("nothing fails");
    assert!(patched.is_some(), "it is there");
}

async fn put_vault(world: &World, env: &str, key: &str, value: &str) {
    world.store().put_vault(TEAM, &environment(env), key, value).await.expect("nothing fails");
}

async fn promote(world: &World, ask: &UseRequest) -> Outcome {
    world.promote(&flow("atomic-commit"), ask).await
}

/// Asserts this refusal, and that the approval can still be used.
async fn is_refused(world: &World, ask: &UseRequest, refusal: Refusal) {
    assert_eq!(refused(promote(world, ask).await), refusal);
    assert_eq!(world.status(ask).await, Status::Approved);
    assert!(world.targets().await.iter().all(|target| target.env_vars.get("A").is_none_or(|a| a != "evil")));
}

pub(super) async fn a_variable_that_changed_since_is_409_and_leaves_it_approved(world: &World) {
    let slug = world.source.slug();
    patch(world, &slug, "A", Some("1")).await;
    let ask = world.approved().await;
    for (name, value) in [("A", Some("evil")), ("A", None), ("B", Some("1"))] {
        patch(world, &slug, name, value).await;
        is_refused(world, &ask, Refusal::APPROVAL_PAYLOAD_MISMATCH).await;
        patch(world, &slug, "A", Some("1")).await;
        patch(world, &slug, "B", None).await;
    }
    assert!(succeeded(&promote(world, &ask).await), "it is again what was approved");
}

pub(super) async fn a_value_that_changed_in_the_vault_since_is_409(world: &World) {
    patch(world, &world.source.slug(), "A", Some("vault:DB")).await;
    put_vault(world, "production", "DB", "one").await;
    let ask = world.approved().await;
    put_vault(world, "production", "DB", "two").await;
    is_refused(world, &ask, Refusal::APPROVAL_PAYLOAD_MISMATCH).await;
    put_vault(world, "production", "DB", "one").await;
    put_vault(world, "production", "OTHER", "nothing refers to it").await;
    assert!(succeeded(&promote(world, &ask).await));
}

pub(super) async fn a_vault_key_that_had_no_value_may_get_one(world: &World) {
    patch(world, &world.source.slug(), "A", Some("vault:DB")).await;
    let ask = world.approved().await;
    let bound = world.record(&ask).await.bound.expect("it is bound");
    assert_eq!(bound.vault.iter().map(|value| value.change).collect::<Vec<_>>(), [Difference::Missing]);
    is_refused(world, &ask, Refusal::VAULT_REF_FAILED).await;
    put_vault(world, "production", "DB", "one").await;
    assert!(succeeded(&promote(world, &ask).await));
}

pub(super) async fn secrets_that_were_not_there_are_not_copied(world: &World) {
    put_vault(world, "staging", "DB", "one").await;
    let mut ask = world.ask();
    ask.payload.copy_vault = true;
    let ask = world.approve(ask).await;
    put_vault(world, "staging", "DB", "two").await;
    is_refused(world, &ask, Refusal::APPROVAL_PAYLOAD_MISMATCH).await;
    put_vault(world, "staging", "DB", "one").await;
    put_vault(world, "staging", "LATER", "secret").await;
    is_refused(world, &ask, Refusal::APPROVAL_PAYLOAD_MISMATCH).await;
    assert_eq!(world.backend.vault(TEAM, &environment("production"), "DB").await, None);
}

pub(super) async fn a_variable_that_changes_between_plan_and_commit_is_not_written(world: &World) {
    let (flow, ask) = (flow("atomic-commit"), world.approved().await);
    let commit = flow.steps().len() - 1;
    let promotion = world.drive_to(&flow, &ask, commit).await;
    patch(world, &world.source.slug(), "A", Some("evil")).await;
    assert_eq!(refused(world.finish(promotion, &ask).await), Refusal::APPROVAL_PAYLOAD_MISMATCH);
    assert_eq!((world.status(&ask).await, world.targets().await.len()), (Status::Approved, 0));
}

pub(super) async fn a_target_that_was_written_since_is_409_also_when_it_is_again_what_it_was(world: &World) {
    world.backend.bind_targets();
    let (first, stale) = (world.approved().await, world.approved().await);
    assert!(succeeded(&promote(world, &first).await));
    is_refused(world, &stale, Refusal::TARGET_CHANGED).await;
    // A new request is for the target as it is now.
    let again = world.approved().await;
    let target = world.targets().await.remove(0);
    for image in ["hotfix:1", "shop:1"] {
        world.put_services(TEAM, target.id, vec![service(Some(image))]).await;
    }
    assert_eq!(world.targets().await[0].services, target.services);
    is_refused(world, &again, Refusal::TARGET_CHANGED).await;
    assert!(succeeded(&promote(world, &world.approved().await).await));
}

pub(super) async fn no_value_is_in_what_is_bound(world: &World) {
    patch(world, &world.source.slug(), "A", Some("hunter2")).await;
    patch(world, &world.source.slug(), "B", Some("hunter2")).await;
    put_vault(world, "production", "DB", "hunter2").await;
    patch(world, &world.source.slug(), "C", Some("vault:DB")).await;
    let record = world.record(&world.approved().await).await;
    assert!(!format!("{record:?}").contains("hunter2"));
    let bound = record.bound.expect("it is bound");
    let seals: Vec<_> = bound.variables.iter().chain(&bound.vault).map(|value| value.seal).collect();
    assert_eq!(seals.len(), 4);
    assert!(seals.iter().all(Option::is_some));
    assert_ne!(seals[0], seals[1], "equal values do not show");
}
