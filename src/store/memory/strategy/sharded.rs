//! One lock for each shard, selected by the approval's id: two approvals rarely share a lock.
//!
//! ```text
//! ┌ Mutex 0 ──┐ ┌ Mutex 1 ──┐     ┌ Mutex 63 ─┐
//! │ id ─▶ …   │ │ id ─▶ …   │  …  │ id ─▶ …   │
//! └───────────┘ └───────────┘     └───────────┘
//! ```
//!
//! The shard's lock orders all accesses to its approvals: there is no atomic with an ordering to get wrong.

use uuid::Uuid;

use super::{
    Record, Strategy,
    hash::{IdMap, shard_of},
    one_mutex::update_locked,
    sync::{Mutex, Primitives, Std},
};
use crate::protocol::{ApprovalState, Refusal, Status, Timestamp};

/// See the module.
pub struct Sharded<P: Primitives = Std, const SHARDS: usize = 64> {
    shards: [P::Mutex<IdMap<Record>>; SHARDS],
}

impl<P: Primitives, const SHARDS: usize> Default for Sharded<P, SHARDS> {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(IdMap::default())) }
    }
}

impl<P: Primitives, const SHARDS: usize> Sharded<P, SHARDS> {
    fn shard(&self, id: Uuid) -> &P::Mutex<IdMap<Record>> {
        &self.shards[shard_of(id, SHARDS)]
    }
}

impl<P: Primitives, const SHARDS: usize> Strategy for Sharded<P, SHARDS> {
    const NAME: &'static str = "sharded";

    fn insert(&self, id: Uuid, record: Record) -> Uuid {
        self.shard(id).lock().insert(id, record);
        id
    }

    fn read(&self, id: Uuid) -> Option<Record> {
        self.shard(id).lock().get(&id).copied()
    }

    fn update(
        &self,
        id: Uuid,
        now: Timestamp,
        judge: impl Fn(ApprovalState) -> Result<Status, Refusal>,
    ) -> Option<Result<Status, Refusal>> {
        update_locked(&mut self.shard(id).lock(), id, now, judge)
    }

    fn for_each(&self, visit: &mut dyn FnMut(Uuid, Record)) {
        for shard in &self.shards {
            let records: Vec<(Uuid, Record)> =
                shard.lock().iter().map(|(id, record)| (*id, *record)).collect();
            records.into_iter().for_each(|(id, record)| visit(id, record));
        }
    }
}
