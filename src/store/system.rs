//! The system clock, and ids and link tokens that cannot be guessed.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Clock, Ids, Seal};
use crate::protocol::{Digest, Timestamp};

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// Milliseconds since the Unix epoch; 0 before it.
    #[expect(clippy::disallowed_methods, reason = "the one place of the library that reads the system clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that never goes back: it advances as another one does, and stands still while that one is set back. By a clock
/// that goes back every wait takes until the old time is reached again.
pub struct MonotonicClock {
    clock: Arc<dyn Clock>,
    read: Mutex<Readings>,
}

#[derive(Clone, Copy, Debug)]
struct Readings {
    /// The last one of the other clock.
    last: Timestamp,
    /// The last one of this clock.
    shown: Timestamp,
}

impl MonotonicClock {
    /// Begins at the other clock's time.
    pub fn of(clock: Arc<dyn Clock>) -> Self {
        let now = clock.now();
        Self { clock, read: Mutex::new(Readings { last: now, shown: now }) }
    }

    /// A copy that goes on by another clock, which shows the same time.
    pub(super) fn going_by(&self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, read: Mutex::new(*self.readings()) }
    }

    fn readings(&self) -> MutexGuard<'_, Readings> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Timestamp {
        let mut read = self.readings();
        let now = self.clock.now();
        read.shown.0 = read.shown.0.saturating_add(now.0.saturating_sub(read.last.0));
        read.last = now;
        read.shown
    }
}

impl fmt::Debug for MonotonicClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonotonicClock").field("read", &self.read).finish_non_exhaustive()
    }
}

/// Random ids, and link tokens that are derived from a secret.
#[derive(Clone)]
pub struct RandomIds {
    secret: [u8; 32],
}

impl RandomIds {
    /// With a random secret, lost with the process: a later process cannot derive the tokens of today's approvals.
    /// Approvals whose link is sent later, or by another process, need [`with_secret`](Self::with_secret).
    #[expect(clippy::disallowed_methods, reason = "random ids are this type's purpose")]
    pub fn new() -> Self {
        let mut secret = Sha256::new();
        // 122 random bits each.
        for id in [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()] {
            secret.update(id.as_bytes());
        }
        Self { secret: secret.finalize().into() }
    }

    /// 64 hexadecimal digits. The hash is nested, so that a secret cannot be extended to that of a longer message.
    fn derive(&self, message: &[u8; 16]) -> String {
        let inner = Sha256::new().chain_update(self.secret).chain_update(message).finalize();
        let outer = Sha256::new().chain_update(self.secret).chain_update(inner).finalize();
        Digest(outer.into()).to_string()
    }

    /// With this secret, at least 32 random bytes, the same in every process that shares a store.
    pub fn with_secret(secret: &[u8]) -> Self {
        Self { secret: Sha256::digest(secret).into() }
    }
}

impl Default for RandomIds {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RandomIds {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RandomIds(…)")
    }
}

impl Ids for RandomIds {
    #[expect(clippy::disallowed_methods, reason = "random ids are this type's purpose")]
    fn next(&self) -> Uuid {
        Uuid::new_v4()
    }

    fn token(&self, approval: Uuid) -> String {
        self.derive(approval.as_bytes())
    }

    fn seal(&self) -> Seal {
        Seal::from_secret(&self.derive(&Seal::MESSAGE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_follows_from_secret_and_approval() {
        let (ids, again) = (RandomIds::with_secret(b"one"), RandomIds::with_secret(b"one"));
        let (first, second) = (ids.next(), ids.next());
        assert_ne!(first, second);
        assert_eq!(ids.token(first), again.token(first));
        assert_eq!(ids.token(first).len(), 64);
        assert_ne!(ids.token(first), ids.token(second));
        assert_ne!(ids.token(first), RandomIds::with_secret(b"two").token(first));
        assert_ne!(RandomIds::new().token(first), RandomIds::new().token(first));
    }

    #[test]
    fn the_seal_is_that_of_existing_databases() {
        let seal = RandomIds::with_secret(b"one").seal();
        let expected = "bcba8f8c61e14fe7d6d02113090bd0cf475e563ccc6cbf8502ddec9d8af8f3c4";
        assert_eq!(seal.seal("DB", "hunter2").to_string(), expected);
    }

    #[test]
    fn the_secret_is_not_printed() {
        assert_eq!(format!("{:?}", RandomIds::with_secret(b"one")), "RandomIds(…)");
    }

    #[test]
    fn a_monotonic_clock_stands_still_while_the_other_one_is_set_back() {
        struct Hand(Mutex<u64>);
        impl Clock for Hand {
            fn now(&self) -> Timestamp {
                Timestamp(*self.0.lock().expect("not poisoned"))
            }
        }
        let hand = Arc::new(Hand(Mutex::new(1_000)));
        let clock = MonotonicClock::of(Arc::clone(&hand) as Arc<dyn Clock>);
        let mut shown = Vec::new();
        for time in [1_000, 1_500, 200, 200, 300, 2_300] {
            *hand.0.lock().expect("not poisoned") = time;
            shown.push(clock.now().0);
        }
        assert_eq!(shown, [1_000, 1_500, 1_500, 1_500, 1_600, 3_600]);
    }

    #[test]
    fn the_system_clock_is_past_2020() {
        assert!(SystemClock.now() > Timestamp(1_577_836_800_000));
    }
}
