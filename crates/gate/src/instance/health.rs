//! The health of an instance's loops: which of them run, and when each last looked for work.
//!
//! A loop that is gone launches nothing, and says nothing about it: readiness is judged by what is recorded here, never by
//! what was started once.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The loops of one instance. Without any registered, the instance is well.
#[derive(Debug, Default)]
pub struct Health(Mutex<Loops>);

#[derive(Debug, Default)]
struct Loops {
    kinds: BTreeMap<&'static str, Kind>,
    pulses: BTreeMap<u64, Beat>,
    next: u64,
    restarts: u64,
}

/// Loops of one kind.
#[derive(Debug)]
struct Kind {
    /// The number of loops that have to run.
    expected: usize,
    /// The longest time between two looks for work.
    patience: Duration,
}

#[derive(Debug)]
struct Beat {
    kind: &'static str,
    /// The last time that the store answered whether there is work.
    looked_at: Instant,
    /// The loop is working, without a time limit.
    is_busy: bool,
}

/// Why an instance is not well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwell {
    /// Fewer loops run than should.
    Missing {
        /// The kind of loop.
        kind: &'static str,
        /// The number that runs.
        running: usize,
        /// The number that should.
        expected: usize,
    },
    /// A loop has not looked for work for too long: its store does not answer.
    Stalled {
        /// The kind of loop.
        kind: &'static str,
    },
}

impl fmt::Display for Unwell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { kind, running, expected } => {
                write!(f, "{running} of {expected} loops of kind {kind} run")
            }
            Self::Stalled { kind } => write!(f, "a loop of kind {kind} has not looked for work for too long"),
        }
    }
}

/// The pulse of one loop. The loop counts as ended when it is dropped.
#[derive(Debug)]
pub struct Pulse {
    health: Arc<Health>,
    number: u64,
}

impl Health {
    /// From now on `expected` loops of this kind have to run, and look for work at least this often.
    pub fn expect(&self, kind: &'static str, expected: usize, patience: Duration) {
        self.loops().kinds.insert(kind, Kind { expected, patience });
    }

    /// A loop of this kind begins.
    pub fn begin(self: &Arc<Self>, kind: &'static str) -> Pulse {
        let mut loops = self.loops();
        let number = loops.next;
        loops.next += 1;
        loops.pulses.insert(number, Beat { kind, looked_at: Instant::now(), is_busy: false });
        Pulse { health: Arc::clone(self), number }
    }

    /// A loop ended early, and another one takes its place.
    pub(super) fn restarted(&self) {
        self.loops().restarts += 1;
    }

    /// The number of loops that ended early, since the start.
    pub fn restarts(&self) -> u64 {
        self.loops().restarts
    }

    /// The first reason for which the instance is not well.
    pub fn unwell(&self) -> Option<Unwell> {
        let loops = self.loops();
        loops.kinds.iter().find_map(|(&kind, Kind { expected, patience })| {
            let mut running = 0;
            for beat in loops.pulses.values().filter(|beat| beat.kind == kind) {
                running += 1;
                if !beat.is_busy && beat.looked_at.elapsed() > *patience {
                    return Some(Unwell::Stalled { kind });
                }
            }
            (running < *expected).then_some(Unwell::Missing { kind, running, expected: *expected })
        })
    }

    fn loops(&self) -> MutexGuard<'_, Loops> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    /// The store has answered whether there is work; `is_busy` when there was.
    pub fn looked(&self, is_busy: bool) {
        if let Some(beat) = self.health.loops().pulses.get_mut(&self.number) {
            beat.looked_at = Instant::now();
            beat.is_busy = is_busy;
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.health.loops().pulses.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_is_gone_or_does_not_look_is_noticed_and_one_that_works_is_not() {
        let health = Arc::new(Health::default());
        assert_eq!(health.unwell(), None);
        health.expect("worker", 2, PATIENCE);
        let (one, two) = (health.begin("worker"), health.begin("worker"));
        assert_eq!(health.unwell(), None);
        tokio::time::advance(PATIENCE * 2).await;
        assert_eq!(health.unwell(), Some(Unwell::Stalled { kind: "worker" }));
        one.looked(true);
        two.looked(false);
        assert_eq!(health.unwell(), None);
        tokio::time::advance(PATIENCE / 2).await;
        two.looked(false);
        tokio::time::advance(PATIENCE * 2 / 3).await;
        assert_eq!(health.unwell(), None, "the first one works");
        drop(one);
        assert_eq!(health.unwell(), Some(Unwell::Missing { kind: "worker", running: 1, expected: 2 }));
    }
}
