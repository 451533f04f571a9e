//! The locks of the store in memory, and the one order in which a thread takes them. A debug build panics where another
//! order is taken, which would be a deadlock now and then.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The order: a thread takes a lock only while all that it holds are of lower ranks. Two teams' locks are never held together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// The map of all teams.
    Teams,
    /// The state of one team.
    Team,
    /// Lookup tables and queues.
    Directory,
}

/// A lock with a rank.
#[derive(Debug)]
pub(super) struct Lock<T> {
    rank: Rank,
    mutex: Mutex<T>,
}

/// A lock with a rank, for many readers or one writer.
#[derive(Debug)]
pub(super) struct SharedLock<T> {
    rank: Rank,
    lock: RwLock<T>,
}

/// What a lock guards, until this is dropped.
pub(super) struct Guard<G> {
    guard: G,
    _held: Held,
}

impl<T> Lock<T> {
    pub(super) fn new(rank: Rank, value: T) -> Self {
        Self { rank, mutex: Mutex::new(value) }
    }

    pub(super) fn lock(&self) -> Guard<MutexGuard<'_, T>> {
        let held = Held::begin(self.rank);
        // A panic elsewhere leaves nothing half done: changes begin only after the last fallible operation.
        Guard { guard: self.mutex.lock().unwrap_or_else(PoisonError::into_inner), _held: held }
    }
}

impl<T> SharedLock<T> {
    pub(super) fn new(rank: Rank, value: T) -> Self {
        Self { rank, lock: RwLock::new(value) }
    }

    pub(super) fn read(&self) -> Guard<RwLockReadGuard<'_, T>> {
        let held = Held::begin(self.rank);
        Guard { guard: self.lock.read().unwrap_or_else(PoisonError::into_inner), _held: held }
    }

    pub(super) fn write(&self) -> Guard<RwLockWriteGuard<'_, T>> {
        let held = Held::begin(self.rank);
        Guard { guard: self.lock.write().unwrap_or_else(PoisonError::into_inner), _held: held }
    }
}

impl<G: std::ops::Deref> std::ops::Deref for Guard<G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: std::ops::DerefMut> std::ops::DerefMut for Guard<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

#[cfg(debug_assertions)]
thread_local! {
    /// The ranks of the locks that this thread holds.
    static HELD: std::cell::RefCell<Vec<Rank>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// A rank that this thread holds.
struct Held {
    #[cfg(debug_assertions)]
    rank: Rank,
}

impl Held {
    /// Before the lock is waited for: the wait may be for ever.
    #[cfg(debug_assertions)]
    fn begin(rank: Rank) -> Self {
        HELD.with_borrow_mut(|held| {
            if let Some(highest) = held.iter().max().filter(|highest| **highest >= rank) {
                panic!("lock order: {rank:?} is taken while {highest:?} is held");
            }
            held.push(rank);
        });
        Self { rank }
    }

    #[cfg(not(debug_assertions))]
    fn begin(_: Rank) -> Self {
        Self {}
    }
}

#[cfg(debug_assertions)]
impl Drop for Held {
    fn drop(&mut self) {
        // Guards may be dropped in any order; a thread that ends has no list any more.
        let _ = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            if let Some(place) = held.iter().rposition(|rank| *rank == self.rank) {
                held.remove(place);
            }
        });
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    fn locks() -> [Lock<()>; 3] {
        [Lock::new(Rank::Team, ()), Lock::new(Rank::Team, ()), Lock::new(Rank::Directory, ())]
    }

    #[test]
    fn the_order_may_be_taken_again_and_guards_dropped_in_any_order() {
        let teams = SharedLock::new(Rank::Teams, ());
        let [team, other, directory] = locks();
        for _ in 0..2 {
            let (read, held, last) = (teams.read(), team.lock(), directory.lock());
            drop(read);
            drop(held);
            drop(last);
            drop(teams.write());
            drop(other.lock());
        }
    }

    #[test]
    #[should_panic = "lock order: Team is taken while Directory is held"]
    fn a_teams_lock_is_not_taken_while_the_directorys_is_held() {
        let [team, _, directory] = locks();
        let _held = directory.lock();
        let _wrong = team.lock();
    }

    #[test]
    #[should_panic = "lock order: Team is taken while Team is held"]
    fn two_teams_locks_are_not_held_together() {
        let [team, other, _] = locks();
        let _held = team.lock();
        let _wrong = other.lock();
    }
}
