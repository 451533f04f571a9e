//! The one place that reads the clock of this machine and makes values that have not been used before.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Nanoseconds since a run began.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

#[expect(clippy::disallowed_methods, reason = "the one place of this crate that reads the clock")]
fn instant() -> Instant {
    Instant::now()
}

impl Clock {
    /// A clock that shows zero now.
    pub fn start() -> Self {
        Self(instant())
    }

    /// Nanoseconds since it was started.
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The time since it was started.
    pub fn elapsed(&self) -> Duration {
        instant().saturating_duration_since(self.0)
    }

    /// Occupies the processor until the clock shows `at_ns`: a timer of the system is late by more than a millisecond.
    pub(crate) fn spin_until(&self, at_ns: u64) {
        while self.now_ns() < at_ns {
            std::hint::spin_loop();
        }
    }
}

/// A word that no earlier run on this machine has used.
pub(crate) fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    #[expect(clippy::disallowed_methods, reason = "the one place of this crate that reads the clock")]
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("cs{:x}{:x}x{count:x}", since_epoch.as_micros(), std::process::id())
}
