//! The system clock, and ids and link tokens that cannot be guessed.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Clock, Ids};
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

    /// 64 hexadecimal digits. The hash is nested, so that a token cannot be extended to that of a longer message.
    fn token(&self, approval: Uuid) -> String {
        let inner = Sha256::new().chain_update(self.secret).chain_update(approval.as_bytes()).finalize();
        let outer = Sha256::new().chain_update(self.secret).chain_update(inner).finalize();
        Digest(outer.into()).to_string()
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
    fn the_secret_is_not_printed() {
        assert_eq!(format!("{:?}", RandomIds::with_secret(b"one")), "RandomIds(…)");
    }

    #[test]
    fn the_system_clock_is_past_2020() {
        assert!(SystemClock.now() > Timestamp(1_577_836_800_000));
    }
}
