//! Compare-and-swap strategies: how an approval's status moves exactly once, however many try.
//!
//! Each keeps what a transition compares ([`Record`]), and moves the status of one approval atomically. None of them
//! judges: what may happen is for [`protocol::transition`] and
//! [`protocol::consume`], which [`decide`] and [`consume`] pass to [`Strategy::update`].
//!
//! Every strategy is generic over its atomics and locks ([`sync::Primitives`]), so that a model checker of
//! interleavings runs the same source as production.

mod actor;
mod arena;
mod hash;
mod index;
mod one_mutex;
mod packed;
mod pointer_swap;
mod sharded;
mod slot;
mod slot_in_id;
pub mod sync;
mod word;

pub use actor::Actor;
pub(super) use hash::{IdMap, RandomMap};
pub use one_mutex::OneMutex;
pub use packed::Packed;
pub use pointer_swap::PointerSwap;
pub use sharded::Sharded;
pub use slot_in_id::SlotInId;
use uuid::Uuid;

use crate::protocol::{self, ApprovalState, Digest, Event, Fences, Guards, Refusal, Status, Timestamp};

/// The default: ids are stored unchanged, a losing caller only reads, and readers never wait for a lock.
pub type DefaultStrategy = Packed;

/// The stored part of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The fields that a transition compares.
    pub standing: ApprovalState,
    /// When its status last changed. Seen together with the status, never without it.
    pub changed_at: Timestamp,
}

/// A way to keep the records of approvals, and to move each exactly once.
pub trait Strategy: Send + Sync {
    /// The name in reports and on the command line.
    const NAME: &'static str;

    /// Adds a record, and returns the id under which it is found: `id`, or `id` with a slot number written into it. An
    /// id is added once.
    ///
    /// A caller that learns the id must find the whole record. Half a record would approve the previous contents of
    /// that memory.
    /// memory before.
    fn insert(&self, id: Uuid, record: Record) -> Uuid;

    /// The record at one moment; `None` for an unknown approval.
    ///
    /// A status without its time, or with another one's, is half a commit.
    fn read(&self, id: Uuid) -> Option<Record>;

    /// Applies `judge` to the current status and stores the resulting transition, unless the status has changed in the
    /// meantime: then it calls `judge` again. Returns `None` for an unknown id.
    ///
    /// Updates of one approval are linearizable: each judges the status that its predecessor left. Swapping a status
    /// that was not judged would execute twice.
    fn update(
        &self,
        id: Uuid,
        now: Timestamp,
        judge: impl Fn(ApprovalState) -> Result<Status, Refusal>,
    ) -> Option<Result<Status, Refusal>>;

    /// Visits every record that was there when it began, in the order in which they were added where the strategy
    /// knows it. Each is whole; all together they are no snapshot.
    fn for_each(&self, visit: &mut dyn FnMut(Uuid, Record));
}

/// Consumes an approval; of all concurrent callers one succeeds. Strategies hold no leases: a lease guard never
/// matches.
///
/// # Errors
/// 404 for an unknown approval; otherwise the refusal of [`protocol::consume`]. A lost race is a 409.
#[inline]
pub fn consume(
    strategy: &impl Strategy,
    id: Uuid,
    guards: Guards,
    digest: Digest,
    now: Timestamp,
) -> Result<(), Refusal> {
    let judge = |standing| {
        protocol::consume(standing, Fences::default(), guards, digest, now).map(|()| Status::Executed)
    };
    match strategy.update(id, now, judge) {
        Some(judged) => judged.map(|_| ()),
        None => Err(Refusal::APPROVAL_NOT_FOUND),
    }
}

/// Approves, rejects or expires a pending approval: of all decisions about one approval, exactly one succeeds.
///
/// # Errors
/// 404 for an unknown approval; 409 if [`protocol::transition`] has no such transition.
pub fn decide(strategy: &impl Strategy, id: Uuid, event: Event, now: Timestamp) -> Result<Status, Refusal> {
    let judge = |standing: ApprovalState| {
        protocol::transition(standing.status, event, standing.validity(now)).map_err(|_| Refusal::NOT_PENDING)
    };
    strategy.update(id, now, judge).ok_or(Refusal::APPROVAL_NOT_FOUND)?
}
