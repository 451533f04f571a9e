//! loom's atomics and locks, as the strategies ask for them. They work inside of a loom model only.

#![expect(unsafe_code, reason = "loom's cell hands out raw pointers; it checks each access itself")]

use std::sync::atomic::Ordering;

use countersign::store::memory::strategy::sync::{Frozen, Monitor, Mutex, Pointer, Primitives, Word};
use loom::{
    cell::UnsafeCell,
    sync::{self, atomic},
    thread,
};

pub(crate) struct Loom;

impl Primitives for Loom {
    type Word = LoomWord;
    type Pointer<T> = LoomPointer<T>;
    type Frozen<T: Copy + Send + Sync> = LoomFrozen<T>;
    type Mutex<T: Send> = LoomMutex<T>;
    type Monitor<T: Send> = LoomMonitor<T>;
    type Thread = LoomThread;

    fn spawn(work: impl FnOnce() + Send + 'static) -> LoomThread {
        LoomThread(thread::spawn(work))
    }

    fn join(thread: LoomThread) {
        thread.0.join().expect("the thread has not panicked");
    }
}

pub(crate) struct LoomThread(thread::JoinHandle<()>);

// SAFETY: loom runs one thread at a time, and a handle is joined by its owner.
unsafe impl Send for LoomThread {}
// SAFETY: as above; nothing can be done with a shared handle.
unsafe impl Sync for LoomThread {}

pub(crate) struct LoomWord(atomic::AtomicU64);

impl Word for LoomWord {
    fn new(value: u64) -> Self {
        Self(atomic::AtomicU64::new(value))
    }

    fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
    }

    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_add(value, order)
    }

    fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.0.compare_exchange(current, new, success, failure)
    }
}

pub(crate) struct LoomPointer<T>(atomic::AtomicPtr<T>);

impl<T> LoomPointer<T> {
    /// Writes unconditionally, as a broken strategy does.
    pub(crate) fn store(&self, pointer: *mut T, order: Ordering) {
        self.0.store(pointer, order);
    }
}

// SAFETY: an atomic pointer is no more than an address; what is done with it is its user's to justify.
unsafe impl<T> Send for LoomPointer<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for LoomPointer<T> {}

impl<T> Pointer<T> for LoomPointer<T> {
    fn new(pointer: *mut T) -> Self {
        Self(atomic::AtomicPtr::new(pointer))
    }

    fn load(&self, order: Ordering) -> *mut T {
        self.0.load(order)
    }

    fn compare_exchange(
        &self,
        current: *mut T,
        new: *mut T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<*mut T, *mut T> {
        self.0.compare_exchange(current, new, success, failure)
    }
}

/// Written when it is created. loom panics on a read that is not synchronised with that.
pub(crate) struct LoomFrozen<T>(UnsafeCell<T>);

impl<T: Copy> Frozen<T> for LoomFrozen<T> {
    fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    fn get(&self) -> T {
        // SAFETY: it is no longer written, and loom checks that it was written before.
        self.0.with(|value| unsafe { *value })
    }
}

pub(crate) struct LoomMutex<T>(sync::Mutex<T>);

impl<T: Send> Mutex<T> for LoomMutex<T> {
    type Guard<'a>
        = sync::MutexGuard<'a, T>
    where
        T: 'a;

    fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    fn lock(&self) -> Self::Guard<'_> {
        self.0.lock().expect("loom poisons nothing")
    }
}

pub(crate) struct LoomMonitor<T> {
    mutex: sync::Mutex<T>,
    changed: sync::Condvar,
}

impl<T: Send> Monitor<T> for LoomMonitor<T> {
    type Guard<'a>
        = sync::MutexGuard<'a, T>
    where
        T: 'a;

    fn new(value: T) -> Self {
        Self { mutex: sync::Mutex::new(value), changed: sync::Condvar::new() }
    }

    fn lock(&self) -> Self::Guard<'_> {
        self.mutex.lock().expect("loom poisons nothing")
    }

    fn wait<'a>(&'a self, guard: Self::Guard<'a>) -> Self::Guard<'a> {
        self.changed.wait(guard).expect("loom poisons nothing")
    }

    fn notify_all(&self) {
        self.changed.notify_all();
    }
}
