//! shuttle's atomics and locks, as the strategies ask for them. They work inside of a shuttle run only.

use std::sync::atomic::Ordering;

use countersign::store::memory::strategy::sync::{Frozen, Monitor, Mutex, Plain, Pointer, Primitives, Word};
use shuttle::{
    sync::{self, atomic},
    thread,
};

pub(crate) struct Shuttle;

impl Primitives for Shuttle {
    type Word = ShuttleWord;
    type Pointer<T> = ShuttlePointer<T>;
    // shuttle knows no relaxed memory: there is nothing for it to see in a plain value.
    type Frozen<T: Copy + Send + Sync> = ShuttleFrozen<T>;
    type Mutex<T: Send> = ShuttleMutex<T>;
    type Monitor<T: Send> = ShuttleMonitor<T>;
    type Thread = thread::JoinHandle<()>;

    fn spawn(work: impl FnOnce() + Send + 'static) -> Self::Thread {
        thread::spawn(work)
    }

    fn join(thread: Self::Thread) {
        thread.join().expect("the thread has not panicked");
    }
}

pub(crate) struct ShuttleFrozen<T>(Plain<T>);

impl<T: Copy> Frozen<T> for ShuttleFrozen<T> {
    fn new(value: T) -> Self {
        Self(Frozen::new(value))
    }

    fn get(&self) -> T {
        self.0.get()
    }
}

pub(crate) struct ShuttleWord(atomic::AtomicU64);

impl Word for ShuttleWord {
    fn new(value: u64) -> Self {
        Self(atomic::AtomicU64::new(value))
    }

    fn load(&self, _: Ordering) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn store(&self, value: u64, _: Ordering) {
        self.0.store(value, Ordering::SeqCst);
    }

    fn fetch_add(&self, value: u64, _: Ordering) -> u64 {
        self.0.fetch_add(value, Ordering::SeqCst)
    }

    fn compare_exchange(&self, current: u64, new: u64, _: Ordering, _: Ordering) -> Result<u64, u64> {
        self.0.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst)
    }
}

pub(crate) struct ShuttlePointer<T>(atomic::AtomicPtr<T>);

impl<T> Pointer<T> for ShuttlePointer<T> {
    fn new(pointer: *mut T) -> Self {
        Self(atomic::AtomicPtr::new(pointer))
    }

    fn load(&self, _: Ordering) -> *mut T {
        self.0.load(Ordering::SeqCst)
    }

    fn compare_exchange(
        &self,
        current: *mut T,
        new: *mut T,
        _: Ordering,
        _: Ordering,
    ) -> Result<*mut T, *mut T> {
        self.0.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst)
    }
}

pub(crate) struct ShuttleMutex<T>(sync::Mutex<T>);

impl<T: Send> Mutex<T> for ShuttleMutex<T> {
    type Guard<'a>
        = sync::MutexGuard<'a, T>
    where
        T: 'a;

    fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    fn lock(&self) -> Self::Guard<'_> {
        self.0.lock().expect("not poisoned")
    }
}

pub(crate) struct ShuttleMonitor<T> {
    mutex: sync::Mutex<T>,
    changed: sync::Condvar,
}

impl<T: Send> Monitor<T> for ShuttleMonitor<T> {
    type Guard<'a>
        = sync::MutexGuard<'a, T>
    where
        T: 'a;

    fn new(value: T) -> Self {
        Self { mutex: sync::Mutex::new(value), changed: sync::Condvar::new() }
    }

    fn lock(&self) -> Self::Guard<'_> {
        self.mutex.lock().expect("not poisoned")
    }

    fn wait<'a>(&'a self, guard: Self::Guard<'a>) -> Self::Guard<'a> {
        self.changed.wait(guard).expect("not poisoned")
    }

    fn notify_all(&self) {
        self.changed.notify_all();
    }
}
