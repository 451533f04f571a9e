//! Reports: shards add up to the whole, threads make no difference, and detection is counted right.

use countersign_models::{
    flows::SHIPPED,
    simulation::{Finding, Seeds, Unmergeable},
};

use crate::{campaign, run, seeds};

#[test]
fn shards_add_up_to_the_whole() {
    let campaign = campaign("consume-last", None);
    let whole = run(&campaign, seeds(0, 3_000));
    let shard = |shard| run(&campaign, Seeds { from: 0, to: 3_000, shard, shards: 3 });
    let mut sum = shard(2);
    sum.merge(shard(0)).expect("other seeds");
    sum.merge(shard(1)).expect("other seeds");
    assert_eq!(sum.seeds.len(), 3);
    sum.seeds.clone_from(&whole.seeds);
    assert_eq!(sum, whole);
}

#[test]
fn what_is_no_shard_of_the_same_campaign_is_refused() {
    let mut first = run(&campaign("consume-last", None), seeds(0, 64));
    let again = run(&campaign("consume-last", None), seeds(63, 70));
    assert_eq!(first.merge(again), Err(Unmergeable::Seeds));
    let other = run(&campaign(SHIPPED, None), seeds(64, 70));
    assert_eq!(first.merge(other), Err(Unmergeable::Flow));
    let next = run(&campaign("consume-last", None), seeds(64, 70));
    assert_eq!(first.merge(next), Ok(()));
    assert_eq!(first.schedules, 70);
}

#[test]
fn the_number_of_threads_makes_no_difference() {
    let campaign = campaign("consume-last", None);
    let on = |threads| {
        let pool =
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
        pool.install(|| run(&campaign, seeds(0, 10_000)))
    };
    assert_eq!(on(1), on(2));
}

#[test]
fn seeds_to_detection_are_those_of_a_geometric_distribution() {
    let half = Finding { seeds: 50, ..Finding::default() };
    assert_eq!((half.seeds_to_detection(100, 0.5), half.seeds_to_detection(100, 0.99)), (1, 7));
    let rare = Finding { seeds: 1, ..Finding::default() };
    assert_eq!((rare.seeds_to_detection(1_000, 0.5), rare.seeds_to_detection(1_000, 0.99)), (693, 4_603));
    let always = Finding { seeds: 10, ..Finding::default() };
    assert_eq!(always.seeds_to_detection(10, 0.99), 1);
}
