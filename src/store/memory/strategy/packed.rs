//! Status and time of each approval in one atomic word, found through a lock-free index: a losing caller only reads.
//!
//! ```text
//!          index                 ┌ slot ─────────────────────────────────┐
//! id ──▶ tag │ number ─────────▶ │ word: changed_at │ status    (atomic) │
//!                                │ id · expires_at · digest (never change) │
//!                                └─────────────────────────────────────────┘
//! ```
//!
//! Two cache lines an approval: one of the [index](super::index), one [slot](super::slot). Insertions are serialised,
//! and occasionally one of them builds a table of twice the size. Reads and updates never wait for them.

use uuid::Uuid;

use super::{
    Record, Strategy,
    index::Index,
    slot::Slot,
    sync::{Primitives, Std},
};
use crate::protocol::{ApprovalState, Refusal, Status, Timestamp};

/// See the module. `FIRST` is the number of approvals that it has room for before it grows.
pub struct Packed<P: Primitives = Std, const FIRST: usize = 16> {
    index: Index<P, Slot<P>, FIRST>,
}

impl<P: Primitives, const FIRST: usize> Default for Packed<P, FIRST> {
    fn default() -> Self {
        Self { index: Index::default() }
    }
}

impl<P: Primitives, const FIRST: usize> Strategy for Packed<P, FIRST> {
    const NAME: &'static str = "packed";

    /// # Panics
    /// When there are more approvals than 32 bits can number.
    fn insert(&self, id: Uuid, record: Record) -> Uuid {
        self.index.insert(id, |slot| slot.fill(id, record));
        id
    }

    fn read(&self, id: Uuid) -> Option<Record> {
        let slot = self.index.get(id)?;
        slot.record(slot.look())
    }

    #[inline]
    fn update(
        &self,
        id: Uuid,
        now: Timestamp,
        judge: impl Fn(ApprovalState) -> Result<Status, Refusal>,
    ) -> Option<Result<Status, Refusal>> {
        let slot = self.index.get(id)?;
        slot.update(slot.look(), now, judge)
    }

    fn for_each(&self, visit: &mut dyn FnMut(Uuid, Record)) {
        self.index.for_each(|slot| {
            if let Some((id, record)) = slot.read() {
                visit(id, record);
            }
        });
    }
}
