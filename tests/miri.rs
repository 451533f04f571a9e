//! The strategy with `unsafe` in it, small enough for Miri: `scripts/miri.sh` runs this with many seeds.

use std::{sync::Arc, thread};

use countersign::{
    protocol::{ApprovalState, Digest, Guards, Status, Timestamp},
    store::memory::strategy::{PointerSwap, Record, Strategy, consume},
};
use uuid::Uuid;

#[test]
fn three_consumers_and_a_reader_leave_one_winner_and_no_leak() {
    let standing =
        ApprovalState { status: Status::Approved, expires_at: Timestamp(100), digest: Digest([7; 32]) };
    let strategy = Arc::new(PointerSwap::<countersign::store::memory::strategy::sync::Std, 1>::default());
    let id = strategy.insert(Uuid::from_u128(7), Record { standing, changed_at: Timestamp(1) });
    let consumers: Vec<_> = (0..3)
        .map(|index| {
            let strategy = Arc::clone(&strategy);
            thread::spawn(move || {
                consume(&*strategy, id, Guards::ALL, standing.digest, Timestamp(10 + index)).is_ok()
            })
        })
        .collect();
    let seen = strategy.read(id).expect("it was inserted");
    assert!(matches!(
        (seen.standing.status, seen.changed_at.0),
        (Status::Approved, 1) | (Status::Executed, 10..13)
    ));
    let won = consumers.into_iter().map(|consumer| consumer.join().expect("it has not panicked"));
    assert_eq!(won.filter(|won| *won).count(), 1);
}

#[test]
fn an_unconditional_update_keeps_every_version_until_the_end() {
    let standing =
        ApprovalState { status: Status::Approved, expires_at: Timestamp(100), digest: Digest([7; 32]) };
    let strategy = PointerSwap::<countersign::store::memory::strategy::sync::Std, 1>::default();
    let id = strategy.insert(Uuid::from_u128(7), Record { standing, changed_at: Timestamp(1) });
    for at in 2..6 {
        assert_eq!(consume(&strategy, id, Guards::default(), standing.digest, Timestamp(at)), Ok(()));
    }
    assert_eq!(strategy.read(id).map(|record| record.changed_at), Some(Timestamp(5)));
}
