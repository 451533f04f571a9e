//! The scenarios at one approval, and their permitted outcomes: each is one execution that names its outcome.
//!
//! - two consumers, three consumers: exactly one executes, each is the one in some execution, the rest get 409;
//! - two consumers, an approver before one of them, and a rejecter: approve and reject exclude each other;
//! - a consumer and the clock: executed before the end of the window, 410 after;
//! - a consumer and a reader who lists: never half a commit;
//! - an insertion and a reader: never half a record;
//! - an insertion that outgrows what there was, and a reader: what was there before is found all the while;
//! - two insertions: both are found whole;
//! - two real promotions, of which one fails in its preflight: the failing one never consumes.

use std::sync::{Arc, atomic::Ordering};

use countersign::{
    protocol::{
        Approval, ApprovalState, Change, Digest, Effect, Event, Flow, Guards, Outcome, Promotion, Refusal,
        RefusalKind, Reply, Request, Status, Swap, Timestamp,
    },
    store::memory::strategy::{Record, Strategy, consume, decide, sync::Word},
};
use loom::thread;
use uuid::Uuid;

use crate::primitives::LoomWord;

const DIGEST: Digest = Digest([7; 32]);
const EXPIRES_AT: Timestamp = Timestamp(100);
const BEGAN: Timestamp = Timestamp(1);
/// The places for a slot's number are zero: the first slot does not change it.
const ID: Uuid = Uuid::from_u128(0xABCD << 64);
/// The second slot's number is in it already.
const SECOND: Uuid = Uuid::from_u128(0xBCDE << 64 | 1);
/// Like the ids before it, in the second of two shards.
const THIRD: Uuid = Uuid::from_u128(0xEFAB << 64 | 2);

/// When consumer `index` consumes: the time in the record tells who it was.
fn time_of(index: u64) -> Timestamp {
    Timestamp(10 + index)
}

fn record(status: Status) -> Record {
    Record { standing: ApprovalState { status, expires_at: EXPIRES_AT, digest: DIGEST }, changed_at: BEGAN }
}

fn with_approval<S: Strategy + Default>(status: Status) -> Arc<S> {
    let strategy = S::default();
    assert_eq!(strategy.insert(ID, record(status)), ID);
    Arc::new(strategy)
}

fn consume_as<S: Strategy>(strategy: &S, index: u64) -> Result<(), Refusal> {
    consume(strategy, ID, Guards::ALL, DIGEST, time_of(index))
}

/// The consumer that executed it, according to all replies and to the record.
fn winner<S: Strategy>(strategy: &S, told: &[Result<(), Refusal>]) -> Option<usize> {
    let executed = told.iter().filter(|told| told.is_ok()).count();
    assert!(executed <= 1, "executed {executed} times");
    for refusal in told.iter().filter_map(|told| told.as_ref().err()) {
        assert_eq!(*refusal, Refusal::APPROVAL_ALREADY_EXECUTED);
    }
    let winner = told.iter().position(Result::is_ok);
    let found = strategy.read(ID).expect("it was inserted");
    if let Some(index) = winner {
        assert_eq!(found.standing, record(Status::Executed).standing, "what was inserted, executed");
        assert_eq!(found.changed_at, time_of(index as u64), "the winner's time");
    } else {
        assert_ne!(found.standing.status, Status::Executed, "nobody was told that it is executed");
    }
    winner
}

fn consumers<S: Strategy + Default + 'static>(count: u64) -> String {
    let strategy = with_approval::<S>(Status::Approved);
    let others: Vec<_> = (1..count)
        .map(|index| {
            let strategy = Arc::clone(&strategy);
            thread::spawn(move || consume_as(&*strategy, index))
        })
        .collect();
    let mut told = vec![consume_as(&*strategy, 0)];
    told.extend(others.into_iter().map(|other| other.join().expect("it has not panicked")));
    let winner = winner(&*strategy, &told).expect("exactly one has executed it");
    format!("consumer {} executes", winner + 1)
}

pub(crate) fn two_consumers<S: Strategy + Default + 'static>() -> String {
    consumers::<S>(2)
}

pub(crate) fn three_consumers<S: Strategy + Default + 'static>() -> String {
    consumers::<S>(3)
}

/// One thread approves and then consumes, one consumes, one rejects.
pub(crate) fn two_consumers_and_a_rejecter<S: Strategy + Default + 'static>() -> String {
    let strategy = with_approval::<S>(Status::Pending);
    let rejecter = thread::spawn({
        let strategy = Arc::clone(&strategy);
        move || decide(&*strategy, ID, Event::Reject, Timestamp(5)).is_ok()
    });
    let second = thread::spawn({
        let strategy = Arc::clone(&strategy);
        move || consume_as(&*strategy, 1)
    });
    let approved = decide(&*strategy, ID, Event::Approve, Timestamp(4)).is_ok();
    let first = consume_as(&*strategy, 0);
    let rejected = rejecter.join().expect("it has not panicked");
    let second = second.join().expect("it has not panicked");
    assert!(approved != rejected, "approved: {approved}, rejected: {rejected}");
    match winner(&*strategy, &[first, second]) {
        Some(index) => {
            assert!(approved, "executed without an approval");
            format!("approved, consumer {} executes", index + 1)
        }
        None => {
            assert!(rejected, "approved, and nobody has executed it");
            "rejected".to_owned()
        }
    }
}

pub(crate) fn a_consumer_and_the_clock<S: Strategy + Default + 'static>() -> String {
    let strategy = with_approval::<S>(Status::Approved);
    let clock = Arc::new(<LoomWord as Word>::new(EXPIRES_AT.0 - 1));
    let ticking = thread::spawn({
        let clock = Arc::clone(&clock);
        move || clock.store(EXPIRES_AT.0, Ordering::Release)
    });
    let now = Timestamp(clock.load(Ordering::Acquire));
    let told = consume(&*strategy, ID, Guards::ALL, DIGEST, now);
    ticking.join().expect("it has not panicked");
    let found = strategy.read(ID).expect("it was inserted");
    match told {
        Ok(()) => {
            assert!(found.standing.status == Status::Executed && found.changed_at < EXPIRES_AT);
            "in time".to_owned()
        }
        Err(refusal) => {
            assert_eq!(refusal, Refusal::APPROVAL_EXPIRED);
            assert_eq!(found, record(Status::Approved), "nothing has changed");
            "too late".to_owned()
        }
    }
}

pub(crate) fn a_consumer_and_a_reader<S: Strategy + Default + 'static>() -> String {
    let strategy = with_approval::<S>(Status::Approved);
    // The reader is the thread that is started: of two loads before an exchange loom remembers the last one only, and
    // would not put the exchange before the first.
    let reader = thread::spawn({
        let strategy = Arc::clone(&strategy);
        move || {
            let mut seen = Vec::new();
            strategy.for_each(&mut |id, record| seen.push((id, record)));
            seen
        }
    });
    assert_eq!(consume_as(&*strategy, 0), Ok(()));
    let seen = reader.join().expect("it has not panicked");
    let after = Record { changed_at: time_of(0), ..record(Status::Executed) };
    match seen.as_slice() {
        [(ID, seen)] if *seen == record(Status::Approved) => "before".to_owned(),
        [(ID, seen)] if *seen == after => "after".to_owned(),
        other => panic!("half a commit: {other:?}"),
    }
}

pub(crate) fn an_insertion_and_a_reader<S: Strategy + Default + 'static>() -> String {
    let strategy = Arc::new(S::default());
    let inserting = thread::spawn({
        let strategy = Arc::clone(&strategy);
        move || strategy.insert(ID, record(Status::Approved))
    });
    let seen = strategy.read(ID);
    assert_eq!(inserting.join().expect("it has not panicked"), ID);
    match seen {
        None => "not there".to_owned(),
        Some(seen) => {
            assert_eq!(seen, record(Status::Approved), "half a record");
            "whole".to_owned()
        }
    }
}

/// With room for two, the index makes a larger table for the third one. loom remembers the last load of a word alone:
/// so each reader reads once.
fn growth<S: Strategy + Default + 'static>(read: impl Fn(&S) -> Option<Record>) -> Option<Record> {
    let strategy = with_approval::<S>(Status::Approved);
    assert_eq!(strategy.insert(SECOND, record(Status::Pending)), SECOND);
    let inserting = thread::spawn({
        let strategy = Arc::clone(&strategy);
        move || strategy.insert(THIRD, record(Status::Pending))
    });
    let seen = read(&*strategy);
    assert_eq!(inserting.join().expect("it has not panicked"), THIRD);
    assert_eq!(strategy.read(ID), Some(record(Status::Approved)), "it is still there");
    assert_eq!(strategy.read(THIRD), Some(record(Status::Pending)), "whoever learns of it finds it");
    seen
}

pub(crate) fn a_growth_and_a_reader_of_what_was_there<S: Strategy + Default + 'static>() -> String {
    assert_eq!(
        growth::<S>(|strategy| strategy.read(ID)),
        Some(record(Status::Approved)),
        "it was there before"
    );
    "found".to_owned()
}

pub(crate) fn a_growth_and_a_reader_of_what_comes<S: Strategy + Default + 'static>() -> String {
    match growth::<S>(|strategy| strategy.read(THIRD)) {
        None => "not there".to_owned(),
        Some(seen) => {
            assert_eq!(seen, record(Status::Pending), "half a record");
            "whole".to_owned()
        }
    }
}

pub(crate) fn two_insertions<S: Strategy + Default + 'static>() -> String {
    let strategy = Arc::new(S::default());
    let inserting = thread::spawn({
        let strategy = Arc::clone(&strategy);
        move || strategy.insert(SECOND, record(Status::Pending))
    });
    let first = strategy.insert(ID, record(Status::Approved));
    let second = inserting.join().expect("it has not panicked");
    assert_eq!(strategy.read(first), Some(record(Status::Approved)), "the first is whole");
    assert_eq!(strategy.read(second), Some(record(Status::Pending)), "the second is whole");
    let mut visited = 0;
    strategy.for_each(&mut |_, _| visited += 1);
    format!("{visited} are there")
}

fn request() -> Request {
    Request { approval: ID, team: Uuid::from_u128(2) }
}

/// Drives the real promotion to its end on the strategy. With `fails`, its preflight fails.
fn promote<S: Strategy>(strategy: &S, flow: &Flow, index: u64, fails: bool) -> Outcome {
    let request = request();
    let now = time_of(index);
    let mut promotion = Promotion::begin(flow, &request, DIGEST);
    while let Some(effect) = promotion.effect() {
        let row = |found: Record| Approval {
            id: ID,
            team: request.team,
            requested_by: "dev@example.com".into(),
            digest: found.standing.digest,
            status: found.standing.status,
            expires_at: found.standing.expires_at,
        };
        match effect {
            Effect::Validate { approval } | Effect::ReadApproval { approval } => {
                let approval = strategy.read(approval).map(row);
                promotion.resume(Reply::Approval {
                    approval: approval.as_ref(),
                    digest: DIGEST,
                    fence: 0,
                    now,
                    observed: countersign::protocol::Observed::default(),
                });
            }
            Effect::Check if fails => promotion.resume(Reply::Refused(Refusal::NO_SERVICES)),
            Effect::Check => promotion.resume(Reply::Read { digest: DIGEST }),
            // Its request has no key.
            Effect::Recall { .. } => promotion.resume(Reply::NotRecalled),
            Effect::Lease { .. } | Effect::Call { .. } | Effect::Prepare { .. } | Effect::Undo { .. } => {
                unreachable!("its flow has none of these")
            }
            Effect::FindTarget => promotion.resume(Reply::Target(None)),
            Effect::Commit(commit) => {
                let consumes = commit.ops.iter().find_map(|op| match op {
                    Change::Consume(Swap { guards, .. }) => Some(*guards),
                    _ => None,
                });
                let consumed = consumes
                    .map_or(Ok(()), |guards| consume(strategy, commit.approval, guards, commit.digest, now));
                promotion.resume(match consumed {
                    Ok(()) => Reply::Committed { target: None, own_use: false },
                    Err(refusal) => Reply::NotConsumed(refusal),
                });
            }
            Effect::Launch { .. } | Effect::Answer => promotion.resume(Reply::Done),
        }
    }
    promotion.outcome().expect("nothing is left to do").clone()
}

/// One promotion fails in its preflight, the other one succeeds, in either order.
pub(crate) fn a_failing_preflight_and_a_success<S: Strategy + Default + 'static>() -> String {
    let strategy = with_approval::<S>(Status::Approved);
    let failing = thread::spawn({
        let strategy = Arc::clone(&strategy);
        move || promote(&*strategy, &Flow::atomic_commit(), 1, true)
    });
    let succeeding = promote(&*strategy, &Flow::atomic_commit(), 0, false);
    let failing = failing.join().expect("it has not panicked");
    assert!(matches!(succeeding, Outcome::Succeeded { .. }), "{succeeding:?}");
    let found = strategy.read(ID).expect("it was inserted");
    assert_eq!((found.standing.status, found.changed_at), (Status::Executed, time_of(0)), "by the other one");
    match failing {
        Outcome::Refused { refusal, kind: RefusalKind::Own } => format!("fails with {refusal}"),
        Outcome::Refused { refusal, kind: RefusalKind::Validation } => format!("comes late: {refusal}"),
        other => panic!("{other:?}"),
    }
}

/// Without concurrent promotions, a failing preflight leaves the approval as it was.
pub(crate) fn a_failing_preflight_alone<S: Strategy + Default + 'static>() -> String {
    let strategy = with_approval::<S>(Status::Approved);
    let end = promote(&*strategy, &Flow::atomic_commit(), 0, true);
    assert_eq!(end, Outcome::Refused { refusal: Refusal::NO_SERVICES, kind: RefusalKind::Own });
    assert_eq!(strategy.read(ID), Some(record(Status::Approved)), "still approved, and untouched");
    "still approved".to_owned()
}
