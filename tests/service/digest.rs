//! What would run, as a digest: every part of it counts, and none is remembered past a change.

use countersign::{
    protocol::{Digest, End, Flow},
    store::{Ask, Payload},
};
use uuid::Uuid;

use crate::platform::{Platform, TEAM, environment, service};

fn digest(platform: &Platform, ask: &Ask) -> Digest {
    platform.store.digest(ask).expect("the team is there")
}

#[test]
fn every_part_of_a_request_is_in_its_digest() {
    let platform = Platform::new();
    let ask = platform.ask(Uuid::nil());
    let payload = |change: fn(&mut Payload)| {
        let mut ask = ask.clone();
        change(&mut ask.payload);
        ask
    };
    let mut elsewhere = ask.clone();
    elsewhere.request.binding.to = environment("qa");
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
            assert_ne!(digest(&platform, one), digest(&platform, other));
        }
        // Asked a second time, it is what it was.
        assert_eq!(digest(&platform, one), digest(&platform, one));
    }
    // Who asks, and under which approval and key, is not what runs.
    let same = Ask { by: "somebody else".into(), key: Some("mine".into()), ..ask.clone() };
    assert_eq!(digest(&platform, &same), digest(&platform, &ask));
}

#[test]
fn no_digest_is_remembered_past_a_new_build() {
    let platform = Platform::new();
    // More than are remembered.
    let asks: Vec<Ask> = (0..40)
        .map(|number| {
            let mut ask = platform.ask(Uuid::nil());
            ask.payload.name = Some(format!("target-{number}"));
            ask
        })
        .collect();
    let all = || asks.iter().map(|ask| digest(&platform, ask)).collect::<Vec<_>>();
    let before = all();
    assert_eq!(before, all());
    platform.store.put_services(TEAM, platform.source, vec![service(Some("shop:2"))]);
    let after = all();
    assert!(before.iter().zip(&after).all(|(before, after)| before != after));
    platform.store.put_services(TEAM, platform.source, vec![service(Some("shop:1"))]);
    assert_eq!(all(), before, "the same build again");
}

#[test]
fn a_target_that_is_a_source_itself_is_seen_as_it_was_written() {
    let platform = Platform::new();
    let flow = Flow::atomic_commit();
    assert!(matches!(platform.promote(&flow, &platform.approved()), End::Succeeded { .. }));
    let target = platform.store.stacks(TEAM).last().expect("the target").id;
    let mut onwards = platform.ask(Uuid::nil());
    onwards.payload.source = target;
    let before = digest(&platform, &onwards);
    platform.store.put_services(TEAM, platform.source, vec![service(Some("shop:2"))]);
    assert!(matches!(platform.promote(&flow, &platform.approved()), End::Succeeded { .. }));
    assert_ne!(digest(&platform, &onwards), before, "the second promotion has changed it");
}
