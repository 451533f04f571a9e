//! The contenders: every strategy, their baselines, and one that is wrong on purpose.
//!
//! All of them do the same work for the same answer: find the approval of a random id among all, judge status, expiry
//! and digest by [`protocol::consume`](countersign::protocol::consume), and move it with the time of its move. Maps
//! share one hash with a fixed key. `bare-cas` alone does less: its word has a known address and is not judged.

#![expect(dead_code, reason = "each target that includes it uses a part")]

pub(crate) mod allocator;
pub(crate) mod baselines;

use countersign::{
    protocol::{ApprovalState, Digest, Fences, Guards, Status, Timestamp},
    store::memory::strategy::{
        Actor, OneMutex, Packed, PointerSwap, Record, Sharded, SlotInId, Strategy, consume, sync::Std,
    },
};
use uuid::Uuid;

/// The digest of every caller.
pub(crate) const DIGEST: Digest = Digest([7; 32]);
/// When every approval was approved.
pub(crate) const BEGAN: Timestamp = Timestamp(1);
/// When every approval expires: not while anything is measured.
pub(crate) const EXPIRES_AT: Timestamp = Timestamp(1_000_000);

/// An approval that can be consumed.
pub(crate) const APPROVED: Record = Record {
    standing: ApprovalState { status: Status::Approved, expires_at: EXPIRES_AT, digest: DIGEST },
    changed_at: BEGAN,
};

/// One who keeps approvals and consumes them.
pub(crate) trait Contender: Send + Sync + Sized + 'static {
    /// Has an approval for each of these ids; and the ids under which they are found.
    fn build(ids: &[Uuid]) -> (Self, Vec<Uuid>);
    /// True if this call consumed it.
    fn consume(&self, id: Uuid, now: Timestamp) -> bool;
    /// True if it could be consumed.
    fn validate(&self, id: Uuid, now: Timestamp) -> bool;
    /// Makes it as it was in the beginning.
    fn reset(&self, id: Uuid);
}

/// Role of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One of the crate's.
    Strategy,
    /// A baseline.
    Baseline,
    /// Must be caught.
    Wrong,
}

/// A contender to be measured.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// Name in reports.
    pub(crate) name: &'static str,
    /// Role of the entry.
    pub(crate) kind: Kind,
    /// Only every n-th try is made: a request to an actor takes as long as fifty tries of the others.
    pub(crate) thinned: usize,
    /// Built anew instead of reset, because it keeps every version.
    pub(crate) rebuilt: bool,
    /// Builds it.
    pub(crate) build: fn(&[Uuid]) -> Built,
}

const fn entry<C: Contender>(name: &'static str, kind: Kind) -> Entry {
    Entry { name, kind, thinned: 1, rebuilt: false, build: boxed::<C> }
}

/// A contender, and the ids under which its approvals are found.
pub(crate) type Built = (Box<dyn Runner>, Vec<Uuid>);

fn boxed<C: Contender>(ids: &[Uuid]) -> Built {
    let (contender, ids) = C::build(ids);
    (Box::new(contender), ids)
}

/// A strategy as a contender.
pub(crate) struct Kept<S>(S);

impl<S: Strategy + Default + 'static> Contender for Kept<S> {
    fn build(ids: &[Uuid]) -> (Self, Vec<Uuid>) {
        let strategy = S::default();
        let ids = ids.iter().map(|id| strategy.insert(*id, APPROVED)).collect();
        (Self(strategy), ids)
    }

    fn consume(&self, id: Uuid, now: Timestamp) -> bool {
        consume(&self.0, id, Guards::ALL, DIGEST, now).is_ok()
    }

    fn validate(&self, id: Uuid, now: Timestamp) -> bool {
        self.0.read(id).is_some_and(|record| may_be_consumed(record.standing, now))
    }

    fn reset(&self, id: Uuid) {
        self.0.update(id, BEGAN, |_| Ok(Status::Approved));
    }
}

/// The judgement that all of them make.
fn may_be_consumed(standing: ApprovalState, now: Timestamp) -> bool {
    countersign::protocol::consume(standing, Fences::default(), Guards::ALL, DIGEST, now).is_ok()
}

/// All contenders, the strategies first.
pub(crate) const ENTRIES: &[Entry] = &[
    entry::<Kept<SlotInId>>("slot-in-id", Kind::Strategy),
    entry::<Kept<Packed>>("packed", Kind::Strategy),
    Entry { rebuilt: true, ..entry::<Kept<PointerSwap>>("pointer-swap", Kind::Strategy) },
    entry::<Kept<Sharded>>("sharded", Kind::Strategy),
    entry::<Kept<OneMutex>>("one-mutex", Kind::Strategy),
    Entry { thinned: 50, ..entry::<Kept<Actor<Std>>>("actor", Kind::Strategy) },
    entry::<baselines::BareCas>("bare-cas", Kind::Baseline),
    entry::<baselines::FrozenCas>("frozen-cas", Kind::Baseline),
    entry::<baselines::FrozenLoadCas>("frozen-load-cas", Kind::Baseline),
    entry::<baselines::Dash>("dashmap", Kind::Baseline),
    entry::<baselines::Papaya>("papaya", Kind::Baseline),
    entry::<baselines::Scc>("scc", Kind::Baseline),
    entry::<baselines::CheckThenAct>("check-then-act", Kind::Wrong),
];

/// A contender behind a pointer. The loops are on this side of it, so that a try costs no call through the pointer.
pub(crate) trait Runner: Send + Sync {
    /// Consumes each; how many it was that it consumed.
    fn consume_all(&self, ids: &[Uuid], now: Timestamp) -> usize;
    /// Consumes one, again and again; how often it was that it consumed it.
    fn consume_one(&self, id: Uuid, times: usize, now: Timestamp) -> usize;
    /// Consumes each, and notes which it was that it consumed.
    fn race(&self, ids: &[Uuid], now: Timestamp, won: &mut Vec<u32>);
    /// Consumes or validates each, and notes which it was that it consumed.
    fn mix(&self, ids: &[Uuid], tries: &[Try], now: Timestamp, won: &mut Vec<u32>);
    /// Consumes each, and reports the time that each took, in the unit of `clock`.
    fn time(&self, ids: &[Uuid], now: Timestamp, clock: &dyn Fn() -> u64, told: &mut dyn FnMut(bool, u64));
    /// Number of these that could be consumed.
    fn validate_all(&self, ids: &[Uuid], now: Timestamp) -> usize;
    /// Makes all of them as they were in the beginning.
    fn reset_all(&self, ids: &[Uuid]);
}

/// One try of a mix, at the id of this number.
#[derive(Clone, Copy)]
pub(crate) enum Try {
    /// Looks.
    Validate(u32),
    /// Consumes.
    Consume(u32),
}

impl<C: Contender> Runner for C {
    fn consume_all(&self, ids: &[Uuid], now: Timestamp) -> usize {
        ids.iter().filter(|id| self.consume(**id, now)).count()
    }

    fn consume_one(&self, id: Uuid, times: usize, now: Timestamp) -> usize {
        // Each try asks for it anew, as each would come from another caller.
        (0..times).filter(|_| self.consume(std::hint::black_box(id), now)).count()
    }

    fn race(&self, ids: &[Uuid], now: Timestamp, won: &mut Vec<u32>) {
        for (number, id) in (0..).zip(ids) {
            if self.consume(*id, now) {
                won.push(number);
            }
        }
    }

    fn mix(&self, ids: &[Uuid], tries: &[Try], now: Timestamp, won: &mut Vec<u32>) {
        for try_at in tries {
            match *try_at {
                Try::Validate(number) => {
                    std::hint::black_box(self.validate(ids[number as usize], now));
                }
                Try::Consume(number) => {
                    if self.consume(ids[number as usize], now) {
                        won.push(number);
                    }
                }
            }
        }
    }

    fn time(&self, ids: &[Uuid], now: Timestamp, clock: &dyn Fn() -> u64, told: &mut dyn FnMut(bool, u64)) {
        for id in ids {
            let begun = clock();
            let won = self.consume(*id, now);
            let ended = clock();
            told(won, ended - begun);
        }
    }

    fn validate_all(&self, ids: &[Uuid], now: Timestamp) -> usize {
        ids.iter().filter(|id| self.validate(**id, now)).count()
    }

    fn reset_all(&self, ids: &[Uuid]) {
        ids.iter().for_each(|id| self.reset(*id));
    }
}

/// Numbers that look random, the same in every run.
pub(crate) struct Draw(u64);

impl Draw {
    /// A sequence of its own for each seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one. This is SplitMix64.
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ word >> 31
    }

    /// A number below this one.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.word()) * end as u128) >> 64) as usize
    }

    /// A number from 0 to 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        self.word() as f64 / u64::MAX as f64
    }

    /// In another order.
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}

/// This many random ids, in the format of version 4.
pub(crate) fn ids(count: usize) -> Vec<Uuid> {
    let mut draw = Draw::new(4);
    let mut id = || {
        let random = Uuid::from_u64_pair(draw.word(), draw.word()).as_u128();
        let version = 0xF << 76;
        let variant = 0b11 << 62;
        Uuid::from_u128(random & !version & !variant | 4 << 76 | 0b10 << 62)
    };
    (0..count).map(|_| id()).collect()
}
