//! The atomics and locks that strategies are made of: one trait, the standard library's in production, a model checker's in tests.

use std::{
    ops::DerefMut,
    sync::{
        self, PoisonError,
        atomic::{self, Ordering},
    },
    thread,
};

/// The atomics, locks and threads of a strategy.
pub trait Primitives: Send + Sync + 'static {
    /// An atomic word.
    type Word: Word;
    /// An atomic pointer.
    type Pointer<T>: Pointer<T>;
    /// Memory that is written once before it is shared, and only read after. A checker sees who reads too early.
    type Frozen<T: Copy + Send + Sync>: Frozen<T>;
    /// A lock.
    type Mutex<T: Send>: Mutex<T>;
    /// A lock with a place to wait.
    type Monitor<T: Send>: Monitor<T>;
    /// A thread to be waited for.
    type Thread: Send + Sync;

    /// Starts a thread.
    fn spawn(work: impl FnOnce() + Send + 'static) -> Self::Thread;
    /// Waits for its end.
    fn join(thread: Self::Thread);
}

/// See [`atomic::AtomicU64`].
pub trait Word: Send + Sync {
    /// A word with this value.
    fn new(value: u64) -> Self;
    /// Reads it.
    fn load(&self, order: Ordering) -> u64;
    /// Writes unconditionally.
    fn store(&self, value: u64, order: Ordering);
    /// Adds to it, and returns what was there.
    fn fetch_add(&self, value: u64, order: Ordering) -> u64;
    /// Writes `new` if the value is `current`.
    ///
    /// # Errors
    /// The value that was found instead.
    fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64>;
}

/// See [`atomic::AtomicPtr`].
pub trait Pointer<T>: Send + Sync {
    /// A pointer to this.
    fn new(pointer: *mut T) -> Self;
    /// Reads it.
    fn load(&self, order: Ordering) -> *mut T;
    /// Writes `new` if the pointer is `current`.
    ///
    /// # Errors
    /// The pointer that was found instead.
    fn compare_exchange(
        &self,
        current: *mut T,
        new: *mut T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<*mut T, *mut T>;
}

/// Memory that is written once, before it is shared.
pub trait Frozen<T> {
    /// With this value, for good.
    fn new(value: T) -> Self;
    /// Reads it.
    fn get(&self) -> T;
}

/// See [`sync::Mutex`]. A panic while it was held does not poison it.
pub trait Mutex<T>: Send + Sync {
    /// Gives access until dropped.
    type Guard<'a>: DerefMut<Target = T>
    where
        Self: 'a,
        T: 'a;
    /// A lock around this.
    fn new(value: T) -> Self;
    /// Waits for exclusive access.
    fn lock(&self) -> Self::Guard<'_>;
}

/// A lock with a place to wait for changes of what it guards.
pub trait Monitor<T>: Send + Sync {
    /// Gives access until dropped.
    type Guard<'a>: DerefMut<Target = T>
    where
        Self: 'a,
        T: 'a;
    /// A monitor around this.
    fn new(value: T) -> Self;
    /// Waits for exclusive access.
    fn lock(&self) -> Self::Guard<'_>;
    /// Gives it back, waits to be woken, and takes it again. May wake for no reason.
    fn wait<'a>(&'a self, guard: Self::Guard<'a>) -> Self::Guard<'a>;
    /// Wakes all waiting threads.
    fn notify_all(&self);
}

/// The standard library's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Std;

impl Primitives for Std {
    type Word = atomic::AtomicU64;
    type Pointer<T> = atomic::AtomicPtr<T>;
    type Frozen<T: Copy + Send + Sync> = Plain<T>;
    type Mutex<T: Send> = sync::Mutex<T>;
    type Monitor<T: Send> = StdMonitor<T>;
    type Thread = thread::JoinHandle<()>;

    fn spawn(work: impl FnOnce() + Send + 'static) -> Self::Thread {
        thread::spawn(work)
    }

    fn join(thread: Self::Thread) {
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Word for atomic::AtomicU64 {
    fn new(value: u64) -> Self {
        Self::new(value)
    }

    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.fetch_add(value, order)
    }

    fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.compare_exchange(current, new, success, failure)
    }
}

impl<T> Pointer<T> for atomic::AtomicPtr<T> {
    fn new(pointer: *mut T) -> Self {
        Self::new(pointer)
    }

    fn load(&self, order: Ordering) -> *mut T {
        self.load(order)
    }

    fn compare_exchange(
        &self,
        current: *mut T,
        new: *mut T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<*mut T, *mut T> {
        self.compare_exchange(current, new, success, failure)
    }
}

/// A plain value.
#[derive(Clone, Copy, Debug)]
pub struct Plain<T>(T);

impl<T: Copy> Frozen<T> for Plain<T> {
    fn new(value: T) -> Self {
        Self(value)
    }

    fn get(&self) -> T {
        self.0
    }
}

impl<T: Send> Mutex<T> for sync::Mutex<T> {
    type Guard<'a>
        = sync::MutexGuard<'a, T>
    where
        T: 'a;

    fn new(value: T) -> Self {
        Self::new(value)
    }

    fn lock(&self) -> Self::Guard<'_> {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A mutex and its condition variable.
#[derive(Debug, Default)]
pub struct StdMonitor<T> {
    mutex: sync::Mutex<T>,
    changed: sync::Condvar,
}

impl<T: Send> Monitor<T> for StdMonitor<T> {
    type Guard<'a>
        = sync::MutexGuard<'a, T>
    where
        T: 'a;

    fn new(value: T) -> Self {
        Self { mutex: sync::Mutex::new(value), changed: sync::Condvar::new() }
    }

    fn lock(&self) -> Self::Guard<'_> {
        Mutex::lock(&self.mutex)
    }

    fn wait<'a>(&'a self, guard: Self::Guard<'a>) -> Self::Guard<'a> {
        self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    fn notify_all(&self) {
        self.changed.notify_all();
    }
}
