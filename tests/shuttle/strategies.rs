//! 12 consumers, an operator and 4 rejecters at one approval: at most one executes, and each of them does at some time.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use countersign::{
    protocol::{ApprovalState, Digest, Event, Guards, Refusal, Status, Timestamp},
    store::memory::strategy::{
        Actor, OneMutex, Packed, PointerSwap, Record, Sharded, SlotInId, Strategy, consume, decide,
        sync::Primitives,
    },
};
use shuttle::{sync::Barrier, thread};
use uuid::Uuid;

use crate::{Draw, primitives::Shuttle, schedules};

const CONSUMERS: u64 = 12;
const REJECTERS: u64 = 4;
const DIGEST: Digest = Digest([7; 32]);

/// One schedule; returns the number of the winning consumer, if any.
fn race<S: Strategy + Default + 'static>() -> Option<u64> {
    let strategy = Arc::new(S::default());
    let standing = ApprovalState { status: Status::Pending, expires_at: Timestamp(1_000), digest: DIGEST };
    let id = strategy.insert(Uuid::from_u128(0xABCD << 64), Record { standing, changed_at: Timestamp(1) });
    // Equal chances: the barrier cancels the advantage of starting first.
    let barrier = Arc::new(Barrier::new(1 + (REJECTERS + CONSUMERS) as usize));
    let start = |work: Box<dyn Fn(&S) -> bool + Send>| {
        let (strategy, barrier) = (Arc::clone(&strategy), Arc::clone(&barrier));
        thread::spawn(move || {
            barrier.wait();
            work(&strategy)
        })
    };
    let operator =
        start(Box::new(move |strategy| decide(strategy, id, Event::Approve, Timestamp(2)).is_ok()));
    let rejecters: Vec<_> = (0..REJECTERS)
        .map(|_| start(Box::new(move |strategy| decide(strategy, id, Event::Reject, Timestamp(3)).is_ok())))
        .collect();
    let consumers: Vec<_> = (0..CONSUMERS)
        .map(|index| {
            start(Box::new(move |strategy| {
                // Each retries until a decision: a polling client.
                for _ in 0..3 {
                    match consume(strategy, id, Guards::ALL, DIGEST, Timestamp(10 + index)) {
                        Ok(()) => return true,
                        Err(refusal) => assert_eq!(refusal, Refusal::APPROVAL_ALREADY_EXECUTED),
                    }
                }
                false
            }))
        })
        .collect();
    let won = |thread: thread::JoinHandle<bool>| thread.join().expect("it has not panicked");
    let approved = won(operator);
    let rejected = rejecters.into_iter().map(won).filter(|won| *won).count();
    let executed: Vec<u64> =
        (0..).zip(consumers.into_iter().map(won)).filter(|(_, won)| *won).map(|(index, _)| index).collect();
    assert_eq!(usize::from(approved) + rejected, 1, "one decision");
    assert!(executed.len() <= usize::from(approved), "executed by {executed:?}, approved: {approved}");
    let found = strategy.read(id).expect("it was inserted");
    let expected = match (executed.first(), approved) {
        (Some(winner), _) => (Status::Executed, Timestamp(10 + winner)),
        (None, true) => (Status::Approved, Timestamp(2)),
        (None, false) => (Status::Rejected, Timestamp(3)),
    };
    assert_eq!((found.standing.status, found.changed_at), expected);
    executed.first().copied()
}

/// Draws schedules, and expects each consumer to win in some, and none to win in some.
fn on<S: Strategy + Default + 'static>(draw: Draw) {
    let winners = Arc::new(Mutex::new(BTreeSet::new()));
    draw.check({
        let winners = Arc::clone(&winners);
        move || {
            let winner = race::<S>();
            winners.lock().expect("not poisoned").insert(winner);
        }
    });
    let winners = winners.lock().expect("not poisoned").clone();
    println!(
        "{}: {} schedules, {} of {CONSUMERS} consumers have won in some",
        S::NAME,
        schedules(),
        winners.len() - 1
    );
    let everybody: BTreeSet<_> = (0..CONSUMERS).map(Some).chain([None]).collect();
    assert_eq!(winners, everybody, "{}", S::NAME);
}

macro_rules! of_each {
    ($($name:ident $strategy:ty;)+) => {
        $(mod $name {
            use super::*;

            #[test]
            fn one_of_twelve_executes_at_random() {
                on::<$strategy>(Draw::AtRandom);
            }

            #[test]
            fn one_of_twelve_executes_by_pct() {
                on::<$strategy>(Draw::ByPct);
            }
        })+
    };
}

of_each! {
    one_mutex OneMutex<Shuttle>;
    sharded Sharded<Shuttle, 2>;
    packed Packed<Shuttle, 2>;
    pointer_swap PointerSwap<Shuttle, 2>;
    slot_in_id SlotInId<Shuttle, 2>;
    actor Actor<Shuttle>;
}

/// Judges, and then writes unconditionally.
struct CheckThenAct(<Shuttle as Primitives>::Mutex<Option<Record>>);

impl Default for CheckThenAct {
    fn default() -> Self {
        Self(countersign::store::memory::strategy::sync::Mutex::new(None))
    }
}

impl Strategy for CheckThenAct {
    const NAME: &'static str = "check-then-act";

    fn insert(&self, id: Uuid, record: Record) -> Uuid {
        *countersign::store::memory::strategy::sync::Mutex::lock(&self.0) = Some(record);
        id
    }

    fn read(&self, _: Uuid) -> Option<Record> {
        *countersign::store::memory::strategy::sync::Mutex::lock(&self.0)
    }

    fn update(
        &self,
        id: Uuid,
        now: Timestamp,
        judge: impl Fn(ApprovalState) -> Result<Status, Refusal>,
    ) -> Option<Result<Status, Refusal>> {
        let record = self.read(id)?;
        Some(judge(record.standing).inspect(|status| {
            let standing = ApprovalState { status: *status, ..record.standing };
            self.insert(id, Record { standing, changed_at: now });
        }))
    }

    fn for_each(&self, _: &mut dyn FnMut(Uuid, Record)) {}
}

#[test]
#[should_panic(expected = "one decision")]
fn check_then_act_is_caught_by_random_schedules() {
    // The operator and a rejecter both decide, in one of the first schedules.
    Draw::AtRandom.check(|| {
        let strategy = Arc::new(CheckThenAct::default());
        let standing = ApprovalState { status: Status::Pending, expires_at: Timestamp(9), digest: DIGEST };
        strategy.insert(Uuid::nil(), Record { standing, changed_at: Timestamp(1) });
        let decide_as = |event| {
            let strategy = Arc::clone(&strategy);
            thread::spawn(move || decide(&*strategy, Uuid::nil(), event, Timestamp(2)).is_ok())
        };
        let deciders = [decide_as(Event::Approve), decide_as(Event::Reject)];
        let decided = deciders.into_iter().map(|decider| decider.join().expect("it has not panicked"));
        assert_eq!(decided.filter(|decided| *decided).count(), 1, "one decision");
    });
}
