//! Wakes tasks that have waited too long for a reply.
//!
//! The server itself ends slow statements; this covers a server that does not answer at all. A runtime timer for each
//! statement would do it too, but arming one costs a fifth of the statement: here a thread checks periodically, and a
//! statement costs an entry in a map.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    io,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

/// Interval of the checks. A task waits at most the time limit and twice this.
const LOOKS_EVERY: Duration = Duration::from_millis(500);

/// The waiting tasks.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// Number of checks so far.
    looks: AtomicU64,
    /// Time limit, in checks.
    patience: u64,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// The deadline, as a number of checks, and the task to wake.
    by_number: BTreeMap<u64, (u64, Waker)>,
}

impl Watchdog {
    /// Starts one that is gone with its last owner.
    pub(super) fn start(patience: Duration) -> io::Result<Arc<Self>> {
        let looks = patience.as_millis().div_ceil(LOOKS_EVERY.as_millis());
        let watchdog = Arc::new(Self {
            looks: AtomicU64::new(0),
            patience: u64::try_from(looks).unwrap_or(u64::MAX).saturating_add(1),
            waiting: Mutex::default(),
        });
        let watched = Arc::downgrade(&watchdog);
        let look = move || {
            loop {
                thread::sleep(LOOKS_EVERY);
                let Some(watchdog) = watched.upgrade() else { return };
                watchdog.look();
            }
        };
        thread::Builder::new().name("countersign-pg".to_owned()).spawn(look)?;
        Ok(watchdog)
    }

    /// Awaits the work; `None` after the time limit.
    pub(super) async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut entry =
            Entry { watchdog: self, number: None, ends: self.now().saturating_add(self.patience) };
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Some(done));
            }
            if entry.ends <= self.now() {
                return Poll::Ready(None);
            }
            entry.wait(context);
            Poll::Pending
        })
        .await
    }

    fn now(&self) -> u64 {
        // Relaxed: a look that is noticed later is a look later.
        self.looks.load(Ordering::Relaxed)
    }

    fn look(&self) {
        let now = self.looks.fetch_add(1, Ordering::Relaxed) + 1;
        for (ends, waker) in self.waiting().by_number.values() {
            if *ends <= now {
                waker.wake_by_ref();
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits, until it is dropped.
struct Entry<'a> {
    watchdog: &'a Watchdog,
    number: Option<u64>,
    ends: u64,
}

impl Entry<'_> {
    fn wait(&mut self, context: &Context<'_>) {
        let mut waiting = self.watchdog.waiting();
        let number = *self.number.get_or_insert_with(|| {
            waiting.next += 1;
            waiting.next
        });
        match waiting.by_number.get_mut(&number) {
            Some((_, waker)) => waker.clone_from(context.waker()),
            None => {
                waiting.by_number.insert(number, (self.ends, context.waker().clone()));
            }
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.watchdog.waiting().by_number.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without its thread, so that the looks are the test's.
    fn watchdog(patience: u64) -> Watchdog {
        Watchdog { looks: AtomicU64::new(0), patience, waiting: Mutex::default() }
    }

    #[test]
    fn only_a_task_beyond_its_limit_is_woken() {
        let watchdog = watchdog(3);
        let mut context = Context::from_waker(Waker::noop());
        let mut early = pin!(watchdog.in_time(std::future::pending::<()>()));
        assert!(early.as_mut().poll(&mut context).is_pending());
        watchdog.look();
        let mut late = pin!(watchdog.in_time(std::future::pending::<()>()));
        assert!(late.as_mut().poll(&mut context).is_pending());
        watchdog.look();
        assert!(early.as_mut().poll(&mut context).is_pending());
        watchdog.look();
        assert_eq!(early.as_mut().poll(&mut context), Poll::Ready(None));
        assert!(late.as_mut().poll(&mut context).is_pending());
    }

    #[test]
    fn answered_and_dropped_tasks_are_forgotten() {
        let watchdog = watchdog(3);
        let mut context = Context::from_waker(Waker::noop());
        {
            let mut dropped = pin!(watchdog.in_time(std::future::pending::<()>()));
            assert!(dropped.as_mut().poll(&mut context).is_pending());
            assert_eq!(watchdog.waiting().by_number.len(), 1);
        }
        let mut run_ready = pin!(watchdog.in_time(std::future::ready(7)));
        assert_eq!(run_ready.as_mut().poll(&mut context), Poll::Ready(Some(7)));
        assert!(watchdog.waiting().by_number.is_empty());
    }
}
