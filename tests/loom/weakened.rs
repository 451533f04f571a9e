//! Must-fail controls for the index: the real strategies on words that publish nothing, or on words that observe nothing.

use std::sync::atomic::Ordering;

use countersign::store::memory::strategy::{
    Packed,
    sync::{Primitives, Word},
};
use libtest_mimic::Trial;

use crate::{
    cases::FEW,
    controls::caught,
    primitives::{Loom, LoomFrozen, LoomMonitor, LoomMutex, LoomPointer, LoomThread, LoomWord},
    scenarios::an_insertion_and_a_reader,
};

/// loom's primitives, but for a word that stores relaxed (`PUBLISHES` is false) or loads relaxed.
struct Weakened<const PUBLISHES: bool>;

struct WeakWord<const PUBLISHES: bool>(LoomWord);

impl<const PUBLISHES: bool> WeakWord<PUBLISHES> {
    fn to_load(order: Ordering) -> Ordering {
        if PUBLISHES { Ordering::Relaxed } else { order }
    }

    fn to_store(order: Ordering) -> Ordering {
        if PUBLISHES { order } else { Ordering::Relaxed }
    }
}

impl<const PUBLISHES: bool> Word for WeakWord<PUBLISHES> {
    fn new(value: u64) -> Self {
        Self(Word::new(value))
    }

    fn load(&self, order: Ordering) -> u64 {
        self.0.load(Self::to_load(order))
    }

    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, Self::to_store(order));
    }

    fn fetch_add(&self, value: u64, _: Ordering) -> u64 {
        self.0.fetch_add(value, Ordering::Relaxed)
    }

    fn compare_exchange(&self, current: u64, new: u64, _: Ordering, _: Ordering) -> Result<u64, u64> {
        self.0.compare_exchange(current, new, Ordering::Relaxed, Ordering::Relaxed)
    }
}

impl<const PUBLISHES: bool> Primitives for Weakened<PUBLISHES> {
    type Word = WeakWord<PUBLISHES>;
    type Pointer<T> = LoomPointer<T>;
    type Frozen<T: Copy + Send + Sync> = LoomFrozen<T>;
    type Mutex<T: Send> = LoomMutex<T>;
    type Monitor<T: Send> = LoomMonitor<T>;
    type Thread = LoomThread;

    fn spawn(work: impl FnOnce() + Send + 'static) -> LoomThread {
        Loom::spawn(work)
    }

    fn join(thread: LoomThread) {
        Loom::join(thread);
    }
}

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        caught(
            "packed_on_words_that_publish_nothing_is_caught_by_an_insertion_and_a_reader",
            "Causality violation",
            an_insertion_and_a_reader::<Packed<Weakened<false>, FEW>>,
        ),
        caught(
            "packed_on_words_that_observe_nothing_is_caught_by_an_insertion_and_a_reader",
            "Causality violation",
            an_insertion_and_a_reader::<Packed<Weakened<true>, FEW>>,
        ),
    ]
}
