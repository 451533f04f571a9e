//! The id says where the record is: no map, no lock, one cache line for each approval.
//!
//! ```text
//!        ┌ 96 random bits ────────────┬ 32 bits: slot ┐
//! id =   │ …                          │ 5             │
//!        └────────────────────────────┴───────┬───────┘
//!                                             ▼
//! segments, each twice the one before:   [0 1 2 3] [4 5 6 …] …
//!
//! slot:  ┌ word ┬ id ─────┬ expires_at ┬ digest ──────────────┐  64 bytes
//!        │ 8    │ 16      │ 8          │ 32                    │
//!        └──────┴─────────┴────────────┴──────────────────────-┘
//! ```
//!
//! The word is written last, and is zero before: whoever sees it sees the rest. The random bits are compared, so that
//! nobody finds an approval by counting.

use std::sync::{OnceLock, atomic::Ordering};

use uuid::Uuid;

use super::{
    Record, Strategy,
    sync::{Primitives, Std, Word},
    word,
};
use crate::protocol::{Digest, Refusal, Standing, Status, Timestamp};

/// See the module. `FIRST` is the number of slots in the first segment.
pub struct SlotInId<P: Primitives = Std, const FIRST: usize = 1024> {
    /// How many slots are taken.
    taken: P::Word,
    segments: [OnceLock<Box<[Slot<P>]>>; SEGMENTS],
}

/// More than enough for the slots that 32 bits can name.
const SEGMENTS: usize = 32;
const DIGEST_WORDS: usize = size_of::<Digest>() / size_of::<u64>();

/// Everything in it is an atomic word, though only the first ever changes once it is shared.
#[repr(align(64))]
struct Slot<P: Primitives> {
    word: P::Word,
    id: [P::Word; 2],
    expires_at: P::Word,
    digest: [P::Word; DIGEST_WORDS],
}

impl<P: Primitives> Default for Slot<P> {
    fn default() -> Self {
        let zero = || Word::new(0);
        Self {
            word: Word::new(word::EMPTY),
            id: [zero(), zero()],
            expires_at: zero(),
            digest: std::array::from_fn(|_| zero()),
        }
    }
}

fn halves(id: Uuid) -> [u64; 2] {
    let (high, low) = id.as_u64_pair();
    [high, low]
}

impl<P: Primitives> Slot<P> {
    fn write(&self, id: Uuid, record: Record) {
        let Record { standing: Standing { status, expires_at, digest }, changed_at } = record;
        // Relaxed: nobody looks at these before the word is there.
        for (word, half) in self.id.iter().zip(halves(id)) {
            word.store(half, Ordering::Relaxed);
        }
        self.expires_at.store(expires_at.0, Ordering::Relaxed);
        for (word, bytes) in self.digest.iter().zip(digest.0.chunks_exact(size_of::<u64>())) {
            let mut eight = [0; size_of::<u64>()];
            eight.copy_from_slice(bytes);
            word.store(u64::from_le_bytes(eight), Ordering::Relaxed);
        }
        // Release: publishes all of the above.
        self.word.store(word::pack(status, changed_at), Ordering::Release);
    }

    /// The word and the record, if the slot has one of this id.
    fn read(&self, id: Uuid) -> Option<(u64, Record)> {
        // Acquire: pairs with the release in `write`, and with that of the swap.
        let seen = self.word.load(Ordering::Acquire);
        let record = self.record(seen)?;
        // Relaxed, as in `record`: written before the word, and never again.
        let same = self.id.iter().zip(halves(id)).all(|(word, half)| word.load(Ordering::Relaxed) == half);
        same.then_some((seen, record))
    }

    /// The record with this word.
    fn record(&self, word: u64) -> Option<Record> {
        let (status, changed_at) = word::unpack(word)?;
        let mut digest = Digest([0; size_of::<Digest>()]);
        for (bytes, word) in digest.0.chunks_exact_mut(size_of::<u64>()).zip(&self.digest) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        let expires_at = Timestamp(self.expires_at.load(Ordering::Relaxed));
        Some(Record { standing: Standing { status, expires_at, digest }, changed_at })
    }
}

impl<P: Primitives, const FIRST: usize> Default for SlotInId<P, FIRST> {
    fn default() -> Self {
        let segments: [OnceLock<Box<[Slot<P>]>>; SEGMENTS] = std::array::from_fn(|_| OnceLock::new());
        segments[0].get_or_init(|| segment(FIRST));
        Self { taken: Word::new(0), segments }
    }
}

fn segment<P: Primitives>(slots: usize) -> Box<[Slot<P>]> {
    (0..slots).map(|_| Slot::default()).collect()
}

impl<P: Primitives, const FIRST: usize> SlotInId<P, FIRST> {
    /// Which segment a slot is in, and where.
    fn place(slot: u32) -> (usize, usize) {
        let chunk = slot as usize / FIRST + 1;
        let segment = chunk.ilog2() as usize;
        (segment, slot as usize - FIRST * ((1 << segment) - 1))
    }

    fn slot(&self, id: Uuid) -> Option<&Slot<P>> {
        let (segment, place) = Self::place(id.as_u128() as u32);
        self.segments.get(segment)?.get()?.get(place)
    }

    /// The id with the number of its slot in it.
    fn id_of(id: Uuid, slot: u32) -> Uuid {
        Uuid::from_u128(id.as_u128() & !u128::from(u32::MAX) | u128::from(slot))
    }
}

impl<P: Primitives, const FIRST: usize> Strategy for SlotInId<P, FIRST> {
    const NAME: &'static str = "slot-in-id";

    /// # Panics
    /// When there are more approvals than 32 bits can number.
    fn insert(&self, id: Uuid, record: Record) -> Uuid {
        // Relaxed: the number has to be nobody else's, and that is all.
        let slot = self.taken.fetch_add(1, Ordering::Relaxed);
        let slot = u32::try_from(slot).expect("fewer approvals than 32 bits can number");
        let id = Self::id_of(id, slot);
        let (segment_index, place) = Self::place(slot);
        let segment = self.segments[segment_index].get_or_init(|| segment(FIRST << segment_index));
        segment[place].write(id, record);
        id
    }

    fn read(&self, id: Uuid) -> Option<Record> {
        self.slot(id)?.read(id).map(|(_, record)| record)
    }

    fn update(
        &self,
        id: Uuid,
        now: Timestamp,
        judge: impl Fn(Standing) -> Result<Status, Refusal>,
    ) -> Option<Result<Status, Refusal>> {
        let slot = self.slot(id)?;
        let (mut seen, mut record) = slot.read(id)?;
        loop {
            let status = match judge(record.standing) {
                Ok(status) => status,
                Err(refusal) => return Some(Err(refusal)),
            };
            let new = word::pack(status, now);
            // Release: what was done before the swap is seen by whoever sees the new status. Acquire on failure: what
            // is there now is judged next.
            match slot.word.compare_exchange(seen, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(Ok(status)),
                Err(meanwhile) => (seen, record) = (meanwhile, slot.record(meanwhile)?),
            }
        }
    }

    fn for_each(&self, visit: &mut dyn FnMut(Uuid, Record)) {
        // Relaxed: a slot that was taken just now may not be there yet, and is left out then.
        let taken = self.taken.load(Ordering::Relaxed).min(u32::MAX.into()) as u32;
        for slot in 0..taken {
            let (segment, place) = Self::place(slot);
            let Some(slot) = self.segments[segment].get().and_then(|segment| segment.get(place)) else {
                continue;
            };
            // Acquire: as in `read`.
            if let Some(record) = slot.record(slot.word.load(Ordering::Acquire)) {
                let [high, low] = [&slot.id[0], &slot.id[1]].map(|word| word.load(Ordering::Relaxed));
                visit(Uuid::from_u64_pair(high, low), record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_one_cache_line() {
        assert_eq!((size_of::<Slot<Std>>(), align_of::<Slot<Std>>()), (64, 64));
    }

    #[test]
    fn slots_follow_one_another_through_the_segments() {
        let places: Vec<_> = (0..15).map(SlotInId::<Std, 2>::place).collect();
        let slots_of = |(segment, slots)| (0..slots).map(move |place| (segment, place));
        let expected: Vec<_> = [2, 4, 8, 1].into_iter().enumerate().flat_map(slots_of).collect();
        assert_eq!(places, expected);
    }
}
