//! Memory of an approval's record, counted by the allocator: pinned for every strategy.

#[path = "../benches/contenders/mod.rs"]
mod contenders;

use contenders::{
    APPROVED,
    allocator::{Counting, bytes_in_use},
    ids,
};
use countersign::store::memory::strategy::{
    Actor, DefaultStrategy, OneMutex, Packed, PointerSwap, Sharded, SlotInId, Strategy,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Maps are as full with these as with a million.
const RECORDS: usize = 250_000;

/// Memory of `records` records, divided by their number.
fn bytes_per_record<S: Strategy + Default>(records: usize) -> f64 {
    let ids = ids(records);
    let before = bytes_in_use();
    let strategy = S::default();
    for id in ids {
        strategy.insert(id, APPROVED);
    }
    // The list is gone, and was there before.
    let given_back = records * size_of::<uuid::Uuid>();
    (bytes_in_use() + given_back - before) as f64 / records as f64
}

fn takes<S: Strategy + Default>(records: usize, pinned: f64) {
    let bytes = bytes_per_record::<S>(records);
    assert!((pinned - 1.0..=pinned).contains(&bytes), "{}: {bytes:.1} bytes, pinned at {pinned}", S::NAME);
    println!("{}: {bytes:.1} bytes a record", S::NAME);
}

/// One test: the counter is that of the whole process.
#[test]
fn a_record_takes_no_more_than_it_is_said_to() {
    takes::<SlotInId>(RECORDS, 67.0);
    takes::<Packed>(RECORDS, 80.0);
    takes::<PointerSwap>(RECORDS, 102.0);
    takes::<Sharded>(RECORDS, 154.0);
    takes::<OneMutex>(RECORDS, 154.0);
    // One question for each record: a sixteenth of them, for which its map is as full.
    takes::<Actor>(RECORDS / 16, 154.0);

    let default = bytes_per_record::<DefaultStrategy>(RECORDS);
    assert!(default <= 136.0, "the default takes {default:.1} bytes a record");
}
