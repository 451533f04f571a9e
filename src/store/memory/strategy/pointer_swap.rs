//! Copy on write: each version of a record is a separate node, and the pointer to the latest is swapped.
//!
//! ```text
//!                ┌ head ─────┐     ┌ node: executed ┐     ┌ node: approved ┐
//! id ─▶ index ─▶ │ id        │     │ record         │     │ record         │
//!                │ latest ●──┼───▶ │ previous ●─────┼───▶ │ previous ●─────┼──▶ null
//!                └───────────┘     └────────────────┘     └────────────────┘
//! ```
//!
//! A node never changes once its pointer is shared, and lives as long as its head: an approval moves three times at
//! most, unless a flow updates it unconditionally. So a reader needs no protection, and an address is never reused
//! while it may still be compared (no ABA).

#![expect(unsafe_code, reason = "nodes are reached through atomic pointers; each use says why it is sound")]

use std::{marker::PhantomData, ptr, sync::atomic::Ordering};

use uuid::Uuid;

use super::{
    Record, Strategy,
    index::{Index, Place},
    slot::IdWords,
    sync::{Frozen, Pointer, Primitives, Std},
};
use crate::protocol::{ApprovalState, Refusal, Status, Timestamp};

/// See the module. `FIRST` is the number of approvals that it has room for before it grows.
pub struct PointerSwap<P: Primitives = Std, const FIRST: usize = 16> {
    index: Index<P, Head<P>, FIRST>,
}

struct Node<P: Primitives> {
    record: P::Frozen<Record>,
    previous: *mut Node<P>,
}

/// Owns the chain of nodes. It has one from when it is filled.
struct Head<P: Primitives> {
    id: IdWords<P>,
    latest: P::Pointer<Node<P>>,
    owns: PhantomData<Box<Node<P>>>,
}

// SAFETY: a head hands out copies of records only, and its nodes are freed by `drop`, which has exclusive access.
// `Frozen` allows concurrent reads by contract.
unsafe impl<P: Primitives> Send for Head<P> {}
// SAFETY: as above.
unsafe impl<P: Primitives> Sync for Head<P> {}

fn node<P: Primitives>(record: Record, previous: *mut Node<P>) -> *mut Node<P> {
    Box::into_raw(Box::new(Node { record: Frozen::new(record), previous }))
}

impl<P: Primitives> Default for Head<P> {
    fn default() -> Self {
        Self { id: IdWords::default(), latest: Pointer::new(ptr::null_mut()), owns: PhantomData }
    }
}

impl<P: Primitives> Place for Head<P> {
    fn id(&self) -> Uuid {
        self.id.read()
    }
}

impl<P: Primitives> Head<P> {
    fn fill(&self, id: Uuid, record: Record) {
        self.id.write(id);
        let first = node(record, ptr::null_mut());
        // Relaxed: the index publishes the head. Until then the filling thread has it alone.
        let filled =
            self.latest.compare_exchange(ptr::null_mut(), first, Ordering::Relaxed, Ordering::Relaxed);
        assert!(filled.is_ok(), "a place is filled once");
    }

    fn latest(&self) -> (*mut Node<P>, Record) {
        // Acquire: pairs with the swap's release, so that the node is seen as it was before it was shared.
        let latest = self.latest.load(Ordering::Acquire);
        (latest, self.record(latest))
    }

    fn record(&self, node: *mut Node<P>) -> Record {
        // SAFETY: the index shares a head once it is filled, never before. Every pointer in `latest` since then came
        // from `node` and is freed only by `drop`, which cannot run while `&self` exists.
        unsafe { (*node).record.get() }
    }

    fn update(
        &self,
        now: Timestamp,
        judge: impl Fn(ApprovalState) -> Result<Status, Refusal>,
    ) -> Result<Status, Refusal> {
        let (mut seen, mut record) = self.latest();
        loop {
            let status = judge(record.standing)?;
            let standing = ApprovalState { status, ..record.standing };
            let new = node(Record { standing, changed_at: now }, seen);
            // Release: publishes the node. Acquire on failure: the current node is read next.
            match self.latest.compare_exchange(seen, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(status),
                Err(meanwhile) => {
                    // SAFETY: the swap failed, so no other thread has seen this node.
                    drop(unsafe { Box::from_raw(new) });
                    (seen, record) = (meanwhile, self.record(meanwhile));
                }
            }
        }
    }
}

impl<P: Primitives> Drop for Head<P> {
    fn drop(&mut self) {
        // Acquire: the last swap may have been another thread's.
        let mut at = self.latest.load(Ordering::Acquire);
        while !at.is_null() {
            // SAFETY: the chain belongs to this head alone, and each of its nodes is in it once.
            at = unsafe { Box::from_raw(at) }.previous;
        }
    }
}

impl<P: Primitives, const FIRST: usize> Default for PointerSwap<P, FIRST> {
    fn default() -> Self {
        Self { index: Index::default() }
    }
}

impl<P: Primitives, const FIRST: usize> Strategy for PointerSwap<P, FIRST> {
    const NAME: &'static str = "pointer-swap";

    fn insert(&self, id: Uuid, record: Record) -> Uuid {
        self.index.insert(id, |head| head.fill(id, record));
        id
    }

    fn read(&self, id: Uuid) -> Option<Record> {
        self.index.get(id).map(|head| head.latest().1)
    }

    fn update(
        &self,
        id: Uuid,
        now: Timestamp,
        judge: impl Fn(ApprovalState) -> Result<Status, Refusal>,
    ) -> Option<Result<Status, Refusal>> {
        self.index.get(id).map(|head| head.update(now, judge))
    }

    fn for_each(&self, visit: &mut dyn FnMut(Uuid, Record)) {
        self.index.for_each(|head| visit(head.id.read(), head.latest().1));
    }
}
