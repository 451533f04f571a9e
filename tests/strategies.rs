//! The contract of a strategy, kept by each of them on real threads.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use countersign::{
    protocol::{ApprovalState, Digest, Event, Guards, Refusal, Status, Timestamp},
    store::memory::strategy::{
        Actor, OneMutex, Packed, PointerSwap, Record, Sharded, SlotInId, Strategy, consume, decide,
        sync::{Frozen, Primitives, Std},
    },
};
use uuid::Uuid;

const DIGEST: Digest = Digest([7; 32]);
const EXPIRES_AT: Timestamp = Timestamp(1_000);

fn record(status: Status) -> Record {
    Record {
        standing: ApprovalState { status, expires_at: EXPIRES_AT, digest: DIGEST },
        changed_at: Timestamp(1),
    }
}

/// Ids as random as a test needs them.
fn id(number: u128) -> Uuid {
    Uuid::from_u128((number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C834))
}

fn what_is_inserted_is_found_whole<S: Strategy + Default>() {
    let strategy = S::default();
    let mut expected = BTreeMap::new();
    for number in 0..5_000 {
        let status = Status::ALL[number as usize % Status::ALL.len()];
        let mut record = record(status);
        record.standing.digest.0[..16].copy_from_slice(id(number).as_bytes());
        record.standing.expires_at.0 += number as u64;
        record.changed_at.0 += number as u64;
        let id = strategy.insert(id(number), record);
        assert_eq!(expected.insert(id, record), None, "ids are not given twice");
    }
    for (id, record) in &expected {
        assert_eq!(strategy.read(*id), Some(*record));
    }
    let mut visited = BTreeMap::new();
    strategy.for_each(&mut |id, record| assert_eq!(visited.insert(id, record), None, "each is visited once"));
    assert_eq!(visited, expected);
}

fn an_unknown_id_finds_nothing<S: Strategy + Default>() {
    let strategy = S::default();
    let known = strategy.insert(id(0), record(Status::Approved));
    // Also for an id that differs in one bit, at any position: ids cannot be found by counting.
    for bit in 0..128 {
        let unknown = Uuid::from_u128(known.as_u128() ^ 1 << bit);
        assert_eq!(strategy.read(unknown), None, "bit {bit}");
        let told = consume(&strategy, unknown, Guards::default(), DIGEST, Timestamp(2));
        assert_eq!(told, Err(Refusal::APPROVAL_NOT_FOUND), "bit {bit}");
    }
    assert_eq!(strategy.read(known), Some(record(Status::Approved)));
}

fn a_second_consume_is_refused<S: Strategy + Default>() {
    let strategy = S::default();
    let id = strategy.insert(id(0), record(Status::Approved));
    let consume_at = |at| consume(&strategy, id, Guards::ALL, DIGEST, Timestamp(at));
    assert_eq!(consume_at(2), Ok(()));
    assert_eq!(consume_at(3), Err(Refusal::APPROVAL_ALREADY_EXECUTED));
    let executed = Record { changed_at: Timestamp(2), ..record(Status::Executed) };
    assert_eq!(strategy.read(id), Some(executed), "the loser has not touched it");
}

fn what_is_refused_changes_nothing<S: Strategy + Default>() {
    let strategy = S::default();
    let id = strategy.insert(id(0), record(Status::Approved));
    let told = |digest, at| consume(&strategy, id, Guards::ALL, digest, at);
    assert_eq!(told(DIGEST, EXPIRES_AT), Err(Refusal::APPROVAL_EXPIRED));
    assert_eq!(told(Digest([8; 32]), Timestamp(2)), Err(Refusal::APPROVAL_PAYLOAD_MISMATCH));
    assert_eq!(decide(&strategy, id, Event::Reject, Timestamp(2)), Err(Refusal::NOT_PENDING));
    assert_eq!(strategy.read(id), Some(record(Status::Approved)));
}

fn decisions_follow_the_table<S: Strategy + Default>() {
    let strategy = S::default();
    let decided = |number, event, at| {
        let id = strategy.insert(id(number), record(Status::Pending));
        decide(&strategy, id, event, at)
    };
    assert_eq!(decided(0, Event::Approve, Timestamp(2)), Ok(Status::Approved));
    assert_eq!(decided(1, Event::Reject, EXPIRES_AT), Ok(Status::Rejected));
    assert_eq!(decided(2, Event::Expire, EXPIRES_AT), Ok(Status::Expired));
    assert_eq!(decided(3, Event::Expire, Timestamp(2)), Err(Refusal::NOT_PENDING));
    assert_eq!(decided(4, Event::Approve, EXPIRES_AT), Err(Refusal::NOT_PENDING));
}

fn of_eight_threads_one_executes_each_approval<S: Strategy + Default + 'static>() {
    const THREADS: u64 = 8;
    const APPROVALS: u128 = 300;
    let strategy = Arc::new(S::default());
    let ids: Arc<[Uuid]> =
        (0..APPROVALS).map(|number| strategy.insert(id(number), record(Status::Approved))).collect();
    let (executed, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let barrier = Arc::new(Barrier::new(THREADS as usize));
    let threads: Vec<_> = (0..THREADS)
        .map(|index| {
            let (strategy, ids, barrier) = (Arc::clone(&strategy), Arc::clone(&ids), Arc::clone(&barrier));
            let (executed, refused) = (Arc::clone(&executed), Arc::clone(&refused));
            thread::spawn(move || {
                barrier.wait();
                for id in ids.iter() {
                    match consume(&*strategy, *id, Guards::ALL, DIGEST, Timestamp(10 + index)) {
                        Ok(()) => executed.fetch_add(1, Ordering::Relaxed),
                        Err(refusal) => {
                            assert_eq!(refusal, Refusal::APPROVAL_ALREADY_EXECUTED);
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("it has not panicked"));
    assert_eq!(executed.load(Ordering::Relaxed), ids.len());
    assert_eq!(refused.load(Ordering::Relaxed), ids.len() * (THREADS as usize - 1));
    let status = |id: &Uuid| strategy.read(*id).map(|record| record.standing.status);
    assert!(ids.iter().all(|id| status(id) == Some(Status::Executed)));
}

/// The standard primitives, but for frozen values that are counted while they live.
struct Counting;

static ALIVE: AtomicUsize = AtomicUsize::new(0);

struct Counted<T>(T);

impl<T: Copy> Frozen<T> for Counted<T> {
    fn new(value: T) -> Self {
        ALIVE.fetch_add(1, Ordering::SeqCst);
        Self(value)
    }

    fn get(&self) -> T {
        self.0
    }
}

impl<T> Drop for Counted<T> {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Primitives for Counting {
    type Word = <Std as Primitives>::Word;
    type Pointer<T> = <Std as Primitives>::Pointer<T>;
    type Frozen<T: Copy + Send + Sync> = Counted<T>;
    type Mutex<T: Send> = <Std as Primitives>::Mutex<T>;
    type Monitor<T: Send> = <Std as Primitives>::Monitor<T>;
    type Thread = <Std as Primitives>::Thread;

    fn spawn(work: impl FnOnce() + Send + 'static) -> Self::Thread {
        Std::spawn(work)
    }

    fn join(thread: Self::Thread) {
        Std::join(thread);
    }
}

#[test]
fn swapped_pointers_free_every_version_at_the_end() {
    let strategy = PointerSwap::<Counting>::default();
    let ids = [0, 1, 2].map(|number| strategy.insert(id(number), record(Status::Approved)));
    for id in ids {
        assert_eq!(consume(&strategy, id, Guards::ALL, DIGEST, Timestamp(2)), Ok(()));
        assert!(consume(&strategy, id, Guards::ALL, DIGEST, Timestamp(3)).is_err());
    }
    assert_eq!(ALIVE.load(Ordering::SeqCst), 6, "each version lives as long as its approval");
    drop(strategy);
    assert_eq!(ALIVE.load(Ordering::SeqCst), 0);
}

macro_rules! keeps_the_contract {
    ($($name:ident $strategy:ty;)+) => {
        $(mod $name {
            use super::*;

            keeps_the_contract!(@each $strategy:
                what_is_inserted_is_found_whole
                an_unknown_id_finds_nothing
                a_second_consume_is_refused
                what_is_refused_changes_nothing
                decisions_follow_the_table
                of_eight_threads_one_executes_each_approval
            );
        })+
    };
    (@each $strategy:ty: $($claim:ident)+) => {
        $(
            #[test]
            fn $claim() {
                super::$claim::<$strategy>();
            }
        )+
    };
}

keeps_the_contract! {
    one_mutex OneMutex;
    sharded Sharded;
    packed Packed;
    pointer_swap PointerSwap;
    slot_in_id SlotInId;
    slot_in_id_with_small_segments SlotInId<Std, 2>;
    actor Actor;
}
