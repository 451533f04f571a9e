//! Status and time of each approval in one atomic word, found through a map: a loser only reads.
//!
//! ```text
//!  Mutex per shard          Arc ─▶ ┌ slot ─────────────────────────────┐
//! ┌───────────┐                    │ expires_at · digest   (never change) │
//! │ id ─▶ Arc │ ─────────────────▶ │ word: changed_at │ status  (atomic)  │
//! └───────────┘                    └──────────────────────────────────────┘
//! ```
//!
//! The map's lock is held for the lookup alone, never while somebody judges or swaps. It also publishes the slot:
//! whoever finds it sees its digest.

use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::{
    Record, Strategy,
    index::ShardedIndex,
    sync::{Primitives, Std, Word},
    word,
};
use crate::protocol::{Digest, Refusal, Standing, Status, Timestamp};

/// See the module.
pub struct Packed<P: Primitives = Std, const SHARDS: usize = 64> {
    index: ShardedIndex<P, Slot<P>, SHARDS>,
}

struct Slot<P: Primitives> {
    expires_at: Timestamp,
    digest: Digest,
    word: P::Word,
}

impl<P: Primitives, const SHARDS: usize> Default for Packed<P, SHARDS> {
    fn default() -> Self {
        Self { index: ShardedIndex::default() }
    }
}

impl<P: Primitives> Slot<P> {
    fn record(&self, word: u64) -> Option<Record> {
        let (status, changed_at) = word::unpack(word)?;
        let standing = Standing { status, expires_at: self.expires_at, digest: self.digest };
        Some(Record { standing, changed_at })
    }

    fn read(&self) -> Option<Record> {
        // Acquire: whoever sees it executed sees what the winner did before.
        self.record(self.word.load(Ordering::Acquire))
    }
}

impl<P: Primitives, const SHARDS: usize> Strategy for Packed<P, SHARDS> {
    const NAME: &'static str = "packed";

    fn insert(&self, id: Uuid, record: Record) -> Uuid {
        let Record { standing: Standing { status, expires_at, digest }, changed_at } = record;
        let word = Word::new(word::pack(status, changed_at));
        self.index.insert(id, Slot { expires_at, digest, word });
        id
    }

    fn read(&self, id: Uuid) -> Option<Record> {
        self.index.get(id)?.read()
    }

    fn update(
        &self,
        id: Uuid,
        now: Timestamp,
        judge: impl Fn(Standing) -> Result<Status, Refusal>,
    ) -> Option<Result<Status, Refusal>> {
        let slot = self.index.get(id)?;
        // Acquire, as in `read`. A loser ends after this load, and has taken the cache line from nobody.
        let mut seen = slot.word.load(Ordering::Acquire);
        loop {
            let status = match judge(slot.record(seen)?.standing) {
                Ok(status) => status,
                Err(refusal) => return Some(Err(refusal)),
            };
            let new = word::pack(status, now);
            // Release: what was done before the swap is seen by whoever sees the new status. Acquire on failure: what
            // is there now is judged next.
            match slot.word.compare_exchange(seen, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(Ok(status)),
                Err(meanwhile) => seen = meanwhile,
            }
        }
    }

    fn for_each(&self, visit: &mut dyn FnMut(Uuid, Record)) {
        self.index.for_each(|id, slot| {
            if let Some(record) = slot.read() {
                visit(id, record);
            }
        });
    }
}
