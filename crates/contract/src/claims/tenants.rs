//! Stacks, resources and vaults: a team's own, and for every other team they do not exist.

use std::collections::BTreeMap;

use countersign::{
    protocol::{Digest, Refusal},
    store::{
        BreakGlass, Claim, EnvVars, GlassBroken, NewResource, NewStack, Operations, Plan, ResourceKind,
        Service, Stack, StackStatus, StoreError, Team, Tenants,
    },
};
use uuid::Uuid;

use crate::world::{OPENS, STRANGERS, TEAM, UNKNOWN, World, environment, flow, later, new_stack, succeeded};

async fn create(world: &World, stack: NewStack) -> Stack {
    world.store().create_stack(TEAM, stack).await.expect("nothing fails").expect("there is room")
}

fn changes(pairs: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
}

pub(super) async fn a_stack_is_found_by_its_slug_by_its_own_team_only(world: &World) {
    let same_name = create(world, new_stack("shop", "other")).await;
    assert_ne!(same_name.slug(), world.source.slug());
    for stack in [&world.source, &same_name] {
        let slug = stack.slug();
        assert_eq!(world.store().stack(TEAM, &slug).await, Ok(Some(stack.clone())));
        assert_eq!(world.store().stack(STRANGERS, &slug).await, Ok(None));
        assert_eq!(world.store().stack_by_id(TEAM, stack.id).await, Ok(Some(stack.clone())));
        assert_eq!(world.store().stack_by_id(STRANGERS, stack.id).await, Ok(None));
        assert_eq!(world.store().put_image(STRANGERS, &slug, "web", "evil").await, Ok(None));
        let patched = world.store().patch_env(STRANGERS, &slug, &changes(&[("A", Some("evil"))])).await;
        assert_eq!(patched, Ok(None));
        assert_eq!(world.store().stack(TEAM, &slug).await, Ok(Some(stack.clone())), "untouched");
    }
    assert_eq!(world.store().stack(TEAM, "nothing").await, Ok(None));
    assert_eq!(
        (same_name.status, same_name.parent, same_name.root),
        (StackStatus::Healthy, None, same_name.id)
    );
}

pub(super) async fn a_family_is_its_members_oldest_first(world: &World) {
    let parent = Some(world.source.id);
    let second = create(world, NewStack { parent, ..new_stack("second", "image") }).await;
    assert_eq!((second.parent, second.root), (parent, world.source.id));
    create(world, new_stack("nobody's", "image")).await;
    let orphan = NewStack { parent: Some(UNKNOWN), ..new_stack("orphan", "image") };
    assert_eq!(world.store().create_stack(TEAM, orphan).await, Ok(Err(Refusal::NOT_FOUND)));
    assert!(succeeded(&world.promote(&flow("atomic-commit"), &world.approved().await).await));
    let target = world.targets().await[0].id;
    let family = world.store().family(TEAM, world.source.id).await.expect("nothing fails");
    let ids: Vec<_> = family.iter().map(|stack| stack.id).collect();
    assert_eq!(ids, [world.source.id, second.id, target]);
    assert!(family.iter().all(|stack| stack.root == world.source.id));
    assert_eq!(world.store().family(STRANGERS, world.source.id).await, Ok(Vec::new()));
    assert_eq!(world.store().family(TEAM, second.id).await, Ok(Vec::new()), "it is nobody's root");
}

pub(super) async fn creating_counts_and_creates_atomically(world: &World) {
    world.set_cap(2).await;
    create(world, new_stack("second", "image")).await;
    let third = world.store().create_stack(TEAM, new_stack("third", "image")).await;
    assert_eq!(third, Ok(Err(Refusal::DEPLOYMENT_LIMIT_REACHED)));
    assert_eq!(world.backend.stacks(TEAM).await.len(), 2);
}

pub(super) async fn a_new_build_is_seen_by_the_next_reader(world: &World) {
    let slug = world.source.slug();
    let built = world.store().put_image(TEAM, &slug, "web", "shop:2").await.expect("nothing fails");
    let built = built.expect("it is there");
    let service = Service { image_ref: Some("shop:2".to_owned()), ..world.source.services[0].clone() };
    assert_eq!(*built.services, [service]);
    assert_eq!(world.store().stack(TEAM, &slug).await, Ok(Some(built)));
    assert_eq!(world.store().put_image(TEAM, &slug, "worker", "shop:2").await, Ok(None), "no such service");
    assert_eq!(world.store().put_image(TEAM, "nothing", "web", "shop:2").await, Ok(None));
}

pub(super) async fn variables_are_set_and_removed(world: &World) {
    let slug = world.source.slug();
    let patch = async |pairs: &[(&str, Option<&str>)]| {
        let patched = world.store().patch_env(TEAM, &slug, &changes(pairs)).await.expect("nothing fails");
        let patched = patched.expect("it is there");
        assert_eq!(world.store().stack(TEAM, &slug).await, Ok(Some(patched.clone())));
        patched.env_vars
    };
    let variables = |pairs: &[(&str, &str)]| -> EnvVars {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(patch(&[("A", Some("1")), ("B", Some(""))]).await, variables(&[("A", "1"), ("B", "")]));
    assert_eq!(patch(&[("A", None), ("C", Some("3"))]).await, variables(&[("B", ""), ("C", "3")]));
    assert_eq!(patch(&[("nothing", None)]).await, variables(&[("B", ""), ("C", "3")]));
    assert_eq!(world.store().patch_env(TEAM, "nothing", &changes(&[("A", Some("1"))])).await, Ok(None));
}

pub(super) async fn a_resource_is_found_by_its_own_team_only(world: &World) {
    for kind in [ResourceKind::Postgres, ResourceKind::Redis, ResourceKind::Mongodb] {
        let new = NewResource { name: "data".to_owned(), kind, env: environment("staging") };
        let created = world.store().create_resource(TEAM, new).await.expect("nothing fails");
        assert_eq!((created.kind, created.root, created.status), (kind, created.id, StackStatus::Healthy));
        assert_eq!(world.store().resource(TEAM, created.id).await, Ok(Some(created.clone())));
        assert_eq!(world.store().resource(STRANGERS, created.id).await, Ok(None));
    }
    assert_eq!(world.store().resource(TEAM, world.source.id).await, Ok(None), "a stack is none");
}

pub(super) async fn what_a_team_pays_for_can_change(world: &World) {
    for plan in [Plan::Free, Plan::Pro, Plan::Enterprise] {
        let cap = world.backend.stacks(TEAM).await.len() + 1;
        world.store().put_team(TEAM, Team { plan, deployment_cap: cap }).await.expect("nothing fails");
        create(world, new_stack("one more", "image")).await;
        let beyond = world.store().create_stack(TEAM, new_stack("two more", "image")).await;
        assert_eq!(beyond, Ok(Err(Refusal::DEPLOYMENT_LIMIT_REACHED)));
    }
    let unlimited = Team { plan: Plan::Enterprise, deployment_cap: usize::MAX };
    assert_eq!(world.store().put_team(TEAM, unlimited).await, Ok(()), "as large as a number can be");
    create(world, new_stack("unlimited", "image")).await;
}

pub(super) async fn a_caller_without_a_team_writes_nothing(world: &World) {
    let nobody = Uuid::from_u128(0xC);
    let before = world.backend.everything().await;
    let resource =
        NewResource { name: "db".to_owned(), kind: ResourceKind::Redis, env: environment("staging") };
    let store = world.store();
    assert_eq!(
        store.create_stack(nobody, new_stack("shop", "1")).await,
        Err(StoreError::not_applied("any cause"))
    );
    assert_eq!(store.create_resource(nobody, resource).await, Err(StoreError::not_applied("any cause")));
    let put = store.put_vault(nobody, &environment("staging"), "KEY", "value").await;
    assert_eq!(put, Err(StoreError::not_applied("any cause")));
    let claimed: Result<Claim, _> = store.claim_key(nobody, "key", Digest([1; 32]), 100).await;
    assert_eq!(claimed, Err(StoreError::not_applied("any cause")));
    assert_eq!(store.stack(nobody, &world.source.slug()).await, Ok(None));
    assert_eq!(world.backend.everything().await, before);
}

pub(super) async fn text_of_any_kind_comes_back_as_it_was(world: &World) {
    let texts = [
        "",
        "'; DROP TABLE approvals; --",
        "line\nbreak\ttab\r\n",
        "\"quoted\" \\ $1 ?1 %s",
        "ünï ☃ 🦀 \u{202e}",
    ];
    for text in texts {
        let stack = NewStack {
            name: text.to_owned(),
            env: environment("staging"),
            parent: None,
            services: vec![Service {
                name: text.to_owned(),
                image_ref: Some(text.to_owned()),
                port: None,
                expose: false,
            }],
            env_vars: EnvVars::from([(text.to_owned(), text.to_owned())]),
        };
        let created = create(world, stack.clone()).await;
        let read =
            world.store().stack(TEAM, &created.slug()).await.expect("nothing fails").expect("it is there");
        assert_eq!(
            (&read.name, &*read.services, &read.env_vars),
            (&stack.name, &*stack.services, &stack.env_vars)
        );
        let env = environment("staging");
        world.store().put_vault(TEAM, &env, text, text).await.expect("nothing fails");
        assert_eq!(world.backend.vault(TEAM, &env, text).await.as_deref(), Some(text));
    }
}

pub(super) async fn direct_changes_of_protected_environments_are_kept_newest_first(world: &World) {
    let event = |change: &str| BreakGlass {
        env: environment("production"),
        change: change.to_owned(),
        by: "admin@example.com".to_owned(),
        reason: "an outage: 100 % of \"checkout\"".to_owned(),
    };
    for (ms, change) in [(0, "vault key A"), (5, "vault key B")] {
        world.backend.set_clock(later(ms)).await;
        world.store().break_glass(TEAM, event(change)).await.expect("nothing fails");
    }
    let expected = [(later(5), "vault key B"), (OPENS, "vault key A")];
    let expected = expected.map(|(at, change)| GlassBroken { at, what: event(change) });
    assert_eq!(world.store().glass_broken(TEAM).await.as_deref(), Ok(&expected[..]));
    assert_eq!(world.store().glass_broken(STRANGERS).await, Ok(Vec::new()), "another team has its own");
}
