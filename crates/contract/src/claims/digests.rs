//! The digest of the payload: it depends on every part, and is never outdated.

use countersign::{
    protocol::Digest,
    store::{Approvals, Payload, PromotionRequest, digest_of},
};
use uuid::Uuid;

use crate::world::{TEAM, UNKNOWN, World, environment, flow, service, succeeded};

/// The store's digest.
async fn digest(world: &World, ask: &PromotionRequest) -> Digest {
    world.store().read_approval(UNKNOWN, ask).await.expect("nothing fails").digest
}

pub(super) async fn every_part_of_a_request_is_in_its_digest(world: &World) {
    let ask = world.ask();
    let payload = |change: fn(&mut Payload)| {
        let mut ask = ask.clone();
        change(&mut ask.payload);
        ask
    };
    let mut elsewhere = ask.clone();
    elsewhere.binding.to = environment("qa");
    let asks = [
        ask.clone(),
        payload(|payload| payload.name = Some(String::new())),
        payload(|payload| payload.name = Some("other".to_owned())),
        payload(|payload| payload.copy_vault = true),
        payload(|payload| payload.source = Uuid::nil()),
        elsewhere,
    ];
    for (index, one) in asks.iter().enumerate() {
        for other in &asks[index + 1..] {
            assert_ne!(digest(world, one).await, digest(world, other).await);
        }
        // Asked a second time, it is what it was.
        assert_eq!(digest(world, one).await, digest(world, one).await);
    }
    assert_eq!(digest(world, &ask).await, digest_of(&ask, &world.source.services));
    // The requester, the approval and the key are not part of the payload.
    let same = PromotionRequest {
        requested_by: "another requester".into(),
        key: Some("mine".into()),
        ..ask.clone()
    };
    assert_eq!(digest(world, &same).await, digest(world, &ask).await);
}

pub(super) async fn no_digest_is_remembered_past_a_new_build(world: &World) {
    // More than are remembered.
    let asks: Vec<PromotionRequest> = (0..40)
        .map(|number| {
            let mut ask = world.ask();
            ask.payload.name = Some(format!("target-{number}"));
            ask
        })
        .collect();
    let all = async || {
        let mut digests = Vec::new();
        for ask in &asks {
            digests.push(digest(world, ask).await);
        }
        digests
    };
    let before = all().await;
    assert_eq!(before, all().await);
    world.put_services(TEAM, world.source.id, vec![service(Some("shop:2"))]).await;
    let after = all().await;
    assert!(before.iter().zip(&after).all(|(before, after)| before != after));
    world.put_services(TEAM, world.source.id, vec![service(Some("shop:1"))]).await;
    assert_eq!(all().await, before, "the same build again");
}

pub(super) async fn a_target_that_is_a_source_itself_is_seen_as_it_was_written(world: &World) {
    let flow = flow("atomic-commit");
    assert!(succeeded(&world.promote(&flow, &world.approved().await).await));
    let mut onwards = world.ask();
    onwards.payload.source = world.targets().await[0].id;
    let before = digest(world, &onwards).await;
    world.put_services(TEAM, world.source.id, vec![service(Some("shop:2"))]).await;
    assert!(succeeded(&world.promote(&flow, &world.approved().await).await));
    assert_ne!(digest(world, &onwards).await, before, "the second promotion has changed it");
}
