//! What a task notes while it has its turn, and the [`Deed`] that this makes.
//!
//! That its cells are atomic has the same reason as with [the turnstile](super::turnstile).

use std::sync::{Mutex, PoisonError};

use countersign::protocol::Target;
use crossbeam_utils::atomic::AtomicCell;
use uuid::Uuid;

use super::Outcome;
use crate::model::Actor;

/// What one turn of a task did.
#[derive(Clone, Debug, Default)]
pub(in crate::simulation) struct Deed {
    /// What really became of the effect: a fault that had nothing to hit is none.
    pub(in crate::simulation) outcome: Outcome,
    pub(in crate::simulation) changed: Changed,
    /// A transaction was sent to the store: it may have changed.
    pub(in crate::simulation) sent: bool,
    /// The deploy that began last is its doing.
    pub(in crate::simulation) launched: bool,
    /// The target that the promotion knows of from now on, if that has changed.
    pub(in crate::simulation) target: Option<Option<Target>>,
    /// Somebody else has the lease that it asked for: nothing happened.
    pub(in crate::simulation) waits: bool,
    /// Something that the model's worker does.
    pub(in crate::simulation) worker: Option<WorkerDeed>,
    /// The approval whose job it is about.
    pub(in crate::simulation) approval: Option<Uuid>,
    /// A worker acted on the lease with this fencing number; whether it succeeded.
    pub(in crate::simulation) acted: Option<(u64, bool)>,
    /// How it is told.
    pub(in crate::simulation) words: Option<Words>,
}

/// On whom it acted, how that is called, and what came of it: for a diagram.
pub(in crate::simulation) type Words = Box<(Actor, String, String)>;

/// What a transaction really changed. Counts, since a message may be delivered twice.
#[derive(Clone, Copy, Debug, Default)]
// So that all of it is one atomic.
#[repr(align(4))]
pub(in crate::simulation) struct Changed {
    pub(in crate::simulation) consumed: u8,
    pub(in crate::simulation) wrote: bool,
    pub(in crate::simulation) vault: bool,
    /// A target was written that does not have the services which were approved.
    pub(in crate::simulation) other_services: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) enum WorkerDeed {
    Leased,
    Launched,
    LaunchedAgain,
    Renewed,
    Finished,
}

#[derive(Clone, Copy, Default)]
enum About {
    #[default]
    Unsaid,
    Nothing,
    Found,
    Created,
}

/// What has been noted since it was [taken](Self::take) last.
#[derive(Default)]
pub(super) struct Notes {
    /// Anything at all.
    any: AtomicCell<bool>,
    outcome: AtomicCell<Outcome>,
    changed: AtomicCell<Changed>,
    sent: AtomicCell<bool>,
    launched: AtomicCell<bool>,
    waits: AtomicCell<bool>,
    worker: AtomicCell<Option<WorkerDeed>>,
    target: AtomicCell<About>,
    target_id: Id,
    has_approval: AtomicCell<bool>,
    approval: Id,
    acted: AtomicCell<Option<bool>>,
    fence: AtomicCell<u64>,
    has_words: AtomicCell<bool>,
    words: Mutex<Option<Words>>,
}

/// An id in two halves: there is no cell for a whole one.
#[derive(Default)]
struct Id(AtomicCell<u64>, AtomicCell<u64>);

// One that is not would take a lock. None has padding, which no atomic can hold.
const _: () = assert!(
    AtomicCell::<bool>::is_lock_free()
        && AtomicCell::<Outcome>::is_lock_free()
        && AtomicCell::<Changed>::is_lock_free()
        && AtomicCell::<Option<WorkerDeed>>::is_lock_free()
        && AtomicCell::<About>::is_lock_free()
        && AtomicCell::<Option<bool>>::is_lock_free()
        && AtomicCell::<u64>::is_lock_free()
);

impl Id {
    fn set(&self, id: Uuid) {
        let (high, low) = id.as_u64_pair();
        self.0.store(high);
        self.1.store(low);
    }

    fn get(&self) -> Uuid {
        Uuid::from_u64_pair(self.0.load(), self.1.load())
    }
}

/// What is in it; the default is in it from now on.
fn take<T: Copy + Default>(cell: &AtomicCell<T>) -> T {
    let value = cell.load();
    cell.store(T::default());
    value
}

impl Notes {
    fn note<T>(&self, cell: &AtomicCell<T>, value: T) {
        self.any.store(true);
        cell.store(value);
    }

    pub(super) fn outcome(&self, outcome: Outcome) {
        self.note(&self.outcome, outcome);
    }

    /// A transaction was sent, and this is what it has changed.
    pub(super) fn sent(&self, changed: Changed) {
        let before = self.changed.load();
        self.changed.store(Changed {
            consumed: before.consumed + changed.consumed,
            wrote: before.wrote | changed.wrote,
            vault: before.vault | changed.vault,
            other_services: before.other_services | changed.other_services,
        });
        self.note(&self.sent, true);
    }

    /// The deploy that began last is its doing.
    pub(super) fn launched(&self) {
        self.note(&self.launched, true);
    }

    pub(super) fn waits(&self) {
        self.note(&self.waits, true);
    }

    /// The promotion knows of this target from now on, or of none.
    pub(super) fn target(&self, target: Option<Target>) {
        let about = match target {
            None => About::Nothing,
            Some(Target { created: false, .. }) => About::Found,
            Some(Target { created: true, .. }) => About::Created,
        };
        self.note(&self.target, about);
        self.target_id.set(target.map_or_else(Uuid::nil, |target| target.id));
    }

    pub(super) fn worker(&self, does: Option<WorkerDeed>) {
        self.note(&self.worker, does);
    }

    /// It is about this approval's job, or about none that is known.
    pub(super) fn approval(&self, approval: Option<Uuid>) {
        self.note(&self.has_approval, approval.is_some());
        if let Some(approval) = approval {
            self.approval.set(approval);
        }
    }

    /// A worker acted on the lease with this fencing number. To have succeeded once is to have succeeded.
    pub(super) fn acted(&self, fence: u64, succeeded: bool) {
        let before = self.acted.load().unwrap_or(false);
        self.note(&self.acted, Some(succeeded || before));
        self.fence.store(fence);
    }

    /// What is said first names the deed, what is said last how it ended.
    pub(super) fn say(&self, (to, does, result): (Actor, String, String)) {
        self.note(&self.has_words, true);
        match &mut *self.words.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(words) => words.2 = result,
            none => *none = Some(Box::new((to, does, result))),
        }
    }

    /// What was noted since this was asked last.
    pub(super) fn take(&self) -> Deed {
        if !take(&self.any) {
            return Deed::default();
        }
        let target = |created| Some(Target { id: self.target_id.get(), created });
        let words = || self.words.lock().unwrap_or_else(PoisonError::into_inner).take();
        Deed {
            outcome: take(&self.outcome),
            changed: take(&self.changed),
            sent: take(&self.sent),
            launched: take(&self.launched),
            target: match take(&self.target) {
                About::Unsaid => None,
                About::Nothing => Some(None),
                About::Found => Some(target(false)),
                About::Created => Some(target(true)),
            },
            waits: take(&self.waits),
            worker: take(&self.worker),
            approval: take(&self.has_approval).then(|| self.approval.get()),
            acted: take(&self.acted).map(|succeeded| (self.fence.load(), succeeded)),
            words: if take(&self.has_words) { words() } else { None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_taken_once() {
        let notes = Notes::default();
        let (approval, target) = (Uuid::from_u128(1 << 100 | 5), Uuid::max());
        notes.outcome(Outcome::AnswerLost);
        let changed = |wrote, vault| Changed { consumed: 1, wrote, vault, other_services: false };
        notes.sent(changed(true, false));
        notes.sent(changed(false, true));
        notes.launched();
        notes.waits();
        notes.worker(Some(WorkerDeed::Renewed));
        notes.target(Some(Target { id: target, created: true }));
        notes.approval(Some(approval));
        notes.acted(3, true);
        notes.acted(4, false);
        for (does, result) in [("does", "ok"), ("", "fault")] {
            notes.say((Actor::Store, does.to_owned(), result.to_owned()));
        }
        let deed = notes.take();
        assert_eq!((deed.outcome, deed.worker), (Outcome::AnswerLost, Some(WorkerDeed::Renewed)));
        assert_eq!((deed.sent, deed.launched, deed.waits), (true, true, true));
        let Changed { consumed, wrote, vault, other_services } = deed.changed;
        assert_eq!((consumed, wrote, vault, other_services), (2, true, true, false));
        assert_eq!(deed.target, Some(Some(Target { id: target, created: true })));
        assert_eq!((deed.approval, deed.acted), (Some(approval), Some((4, true))));
        assert_eq!(deed.words.as_deref(), Some(&(Actor::Store, "does".to_owned(), "fault".to_owned())));
        // Nor is any of it in what is noted next.
        notes.outcome(Outcome::Happens);
        for deed in [notes.take(), notes.take()] {
            assert_eq!(format!("{deed:?}"), format!("{:?}", Deed::default()));
        }
    }

    #[test]
    fn a_target_that_is_none_is_no_news_of_none() {
        let notes = Notes::default();
        notes.waits();
        assert_eq!(notes.take().target, None);
        notes.target(None);
        assert_eq!(notes.take().target, Some(None));
        let found = Target { id: Uuid::nil(), created: false };
        notes.target(Some(found));
        assert_eq!(notes.take().target, Some(Some(found)));
    }
}
