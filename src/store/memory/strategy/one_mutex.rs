//! One lock around everything: the simplest strategy, and the one to measure the others against.
//!
//! ```text
//! ┌ Mutex ────────────────────────────────────┐
//! │ id ─▶ status · changed_at · expires · digest │
//! │ id ─▶ …                                      │
//! └──────────────────────────────────────────────┘
//! ```
//!
//! The lock orders all accesses: there is no atomic with an ordering to get wrong.

use uuid::Uuid;

use super::{
    Record, Strategy,
    hash::IdMap,
    sync::{Mutex, Primitives, Std},
};
use crate::protocol::{ApprovalState, Refusal, Status, Timestamp};

/// See the module.
pub struct OneMutex<P: Primitives = Std> {
    records: P::Mutex<IdMap<Record>>,
}

impl<P: Primitives> Default for OneMutex<P> {
    fn default() -> Self {
        Self { records: Mutex::new(IdMap::default()) }
    }
}

impl<P: Primitives> Strategy for OneMutex<P> {
    const NAME: &'static str = "one-mutex";

    fn insert(&self, id: Uuid, record: Record) -> Uuid {
        self.records.lock().insert(id, record);
        id
    }

    fn read(&self, id: Uuid) -> Option<Record> {
        self.records.lock().get(&id).copied()
    }

    fn update(
        &self,
        id: Uuid,
        now: Timestamp,
        judge: impl Fn(ApprovalState) -> Result<Status, Refusal>,
    ) -> Option<Result<Status, Refusal>> {
        update_locked(&mut self.records.lock(), id, now, judge)
    }

    fn for_each(&self, visit: &mut dyn FnMut(Uuid, Record)) {
        // Copied, so that a slow visitor does not hold the lock.
        let records: Vec<(Uuid, Record)> =
            self.records.lock().iter().map(|(id, record)| (*id, *record)).collect();
        records.into_iter().for_each(|(id, record)| visit(id, record));
    }
}

/// Judges and swaps while the caller holds the lock.
pub(super) fn update_locked(
    records: &mut IdMap<Record>,
    id: Uuid,
    now: Timestamp,
    judge: impl Fn(ApprovalState) -> Result<Status, Refusal>,
) -> Option<Result<Status, Refusal>> {
    let record = records.get_mut(&id)?;
    Some(judge(record.standing).inspect(|status| {
        record.standing.status = *status;
        record.changed_at = now;
    }))
}
