//! The id contains the record's slot: no map, no lock, one cache line for each approval.
//!
//! ```text
//!        ┌ 96 random bits ────────────┬ 32 bits: slot ┐
//! id =   │ …                          │ 5             │
//!        └────────────────────────────┴───────┬───────┘
//!                                             ▼
//! segments, each twice the one before:   [0 1 2 3] [4 5 6 …] …
//! ```
//!
//! The random bits are compared, so that an approval cannot be found by counting. The price: this strategy has to write
//! into the ids that it is given.

use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::{
    Record, Strategy,
    arena::Arena,
    slot::Slot,
    sync::{Primitives, Std, Word},
    word,
};
use crate::protocol::{ApprovalState, Refusal, Status, Timestamp};

/// See the module. `FIRST` is the number of slots in the first segment.
pub struct SlotInId<P: Primitives = Std, const FIRST: usize = 1024> {
    /// Number of slots in use.
    taken: P::Word,
    slots: Arena<Slot<P>, FIRST>,
}

impl<P: Primitives, const FIRST: usize> Default for SlotInId<P, FIRST> {
    fn default() -> Self {
        let slots = Arena::default();
        // There before any thread is: no word leads to it that a checker would see.
        slots.make(0);
        Self { taken: Word::new(0), slots }
    }
}

impl<P: Primitives, const FIRST: usize> SlotInId<P, FIRST> {
    /// The slot of this id, and its word.
    #[inline]
    fn find(&self, id: Uuid) -> Option<(&Slot<P>, u64)> {
        let slot = self.slots.get(id.as_u128() as u32)?;
        // First the word, which publishes the id.
        let seen = slot.look();
        (seen != word::EMPTY && slot.is_of(id)).then_some((slot, seen))
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
        // Relaxed: the number only has to be unique.
        let slot = self.taken.fetch_add(1, Ordering::Relaxed);
        let slot = u32::try_from(slot).expect("fewer approvals than 32 bits can number");
        let id = Self::id_of(id, slot);
        self.slots.make(slot).fill(id, record);
        id
    }

    fn read(&self, id: Uuid) -> Option<Record> {
        let (slot, seen) = self.find(id)?;
        slot.record(seen)
    }

    #[inline]
    fn update(
        &self,
        id: Uuid,
        now: Timestamp,
        judge: impl Fn(ApprovalState) -> Result<Status, Refusal>,
    ) -> Option<Result<Status, Refusal>> {
        let (slot, seen) = self.find(id)?;
        slot.update(seen, now, judge)
    }

    fn for_each(&self, visit: &mut dyn FnMut(Uuid, Record)) {
        // Relaxed: a slot that was taken just now may not be there yet, and is left out then.
        let taken = self.taken.load(Ordering::Relaxed).min(u32::MAX.into()) as u32;
        for slot in (0..taken).filter_map(|slot| self.slots.get(slot)) {
            if let Some((id, record)) = slot.read() {
                visit(id, record);
            }
        }
    }
}
