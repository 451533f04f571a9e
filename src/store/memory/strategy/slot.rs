//! A record in one cache line of atomic words, of which only one changes once the slot is shared.
//!
//! ```text
//! ┌ word ───────────────────┬ id ─────┬ expires_at ┬ digest ──────────────┐  64 bytes
//! │ changed_at │ status  (8) │ 16      │ 8          │ 32                   │
//! └─────────────────────────┴─────────┴────────────┴──────────────────────┘
//! ```
//!
//! The word is written last and is zero before: a thread that sees it sees the rest.

use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::{
    Record, index,
    sync::{Primitives, Word},
    word,
};
use crate::protocol::{ApprovalState, Digest, Refusal, Status, Timestamp};

const DIGEST_WORDS: usize = size_of::<Digest>() / size_of::<u64>();

/// See the module.
#[repr(align(64))]
pub(super) struct Slot<P: Primitives> {
    word: P::Word,
    id: IdWords<P>,
    expires_at: P::Word,
    digest: [P::Word; DIGEST_WORDS],
}

impl<P: Primitives> Default for Slot<P> {
    fn default() -> Self {
        Self {
            word: Word::new(word::EMPTY),
            id: IdWords::default(),
            expires_at: Word::new(0),
            digest: std::array::from_fn(|_| Word::new(0)),
        }
    }
}

impl<P: Primitives> Slot<P> {
    /// Fills the slot. Called once, by its owner.
    pub(super) fn fill(&self, id: Uuid, record: Record) {
        let Record { standing: ApprovalState { status, expires_at, digest }, changed_at } = record;
        // Relaxed: other threads read these only after the word is set.
        self.id.write(id);
        self.expires_at.store(expires_at.0, Ordering::Relaxed);
        for (word, bytes) in self.digest.iter().zip(digest.0.chunks_exact(size_of::<u64>())) {
            let mut eight = [0; size_of::<u64>()];
            eight.copy_from_slice(bytes);
            word.store(u64::from_le_bytes(eight), Ordering::Relaxed);
        }
        // Release: publishes all of the above.
        self.word.store(word::pack(status, changed_at), Ordering::Release);
    }

    /// The current word.
    pub(super) fn look(&self) -> u64 {
        // Acquire: pairs with the release in `fill` and in the swap: a thread that sees `executed` also sees the
        // winner's earlier writes.
        self.word.load(Ordering::Acquire)
    }

    /// True if the slot is this id's. Call only after seeing a non-empty word.
    pub(super) fn is_of(&self, id: Uuid) -> bool {
        self.id.read() == id
    }

    /// The id and the current record.
    pub(super) fn read(&self) -> Option<(Uuid, Record)> {
        let record = self.record(self.look())?;
        Some((self.id.read(), record))
    }

    /// The record with this word.
    #[inline(always)]
    pub(super) fn record(&self, word: u64) -> Option<Record> {
        let (status, changed_at) = word::unpack(word)?;
        let mut digest = Digest([0; size_of::<Digest>()]);
        // Relaxed, here and below: written before the word, and never again.
        for (bytes, word) in digest.0.chunks_exact_mut(size_of::<u64>()).zip(&self.digest) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        let expires_at = Timestamp(self.expires_at.load(Ordering::Relaxed));
        Some(Record { standing: ApprovalState { status, expires_at, digest }, changed_at })
    }

    /// [`Strategy::update`](super::Strategy::update), starting from the word just seen.
    ///
    /// A losing caller returns after that read, without taking the cache line from other cores.
    ///
    /// Inlined, so that the digest stays in registers: written to the stack by words and read back by halves it would
    /// wait for the store buffer.
    #[inline(always)]
    pub(super) fn update(
        &self,
        mut seen: u64,
        now: Timestamp,
        judge: impl Fn(ApprovalState) -> Result<Status, Refusal>,
    ) -> Option<Result<Status, Refusal>> {
        loop {
            let status = match judge(self.record(seen)?.standing) {
                Ok(status) => status,
                Err(refusal) => return Some(Err(refusal)),
            };
            let new = word::pack(status, now);
            // Release: a thread that sees the new status sees the writes before the swap. Acquire on failure: the
            // current word is judged next.
            match self.word.compare_exchange(seen, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(Ok(status)),
                Err(meanwhile) => seen = meanwhile,
            }
        }
    }
}

impl<P: Primitives> index::Place for Slot<P> {
    fn id(&self) -> Uuid {
        self.id.read()
    }
}

/// An id in two words. Relaxed: the slot's word orders it.
pub(super) struct IdWords<P: Primitives>([P::Word; 2]);

impl<P: Primitives> Default for IdWords<P> {
    fn default() -> Self {
        Self([Word::new(0), Word::new(0)])
    }
}

impl<P: Primitives> IdWords<P> {
    pub(super) fn write(&self, id: Uuid) {
        let (high, low) = id.as_u64_pair();
        self.0[0].store(high, Ordering::Relaxed);
        self.0[1].store(low, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Uuid {
        let [high, low] = [&self.0[0], &self.0[1]].map(|word| word.load(Ordering::Relaxed));
        Uuid::from_u64_pair(high, low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::strategy::sync::Std;

    #[test]
    fn a_slot_is_one_cache_line() {
        assert_eq!((size_of::<Slot<Std>>(), align_of::<Slot<Std>>()), (64, 64));
    }
}
