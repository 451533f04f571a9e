//! Idempotency keys: two requests under one key are never worked on at once, and a key is never another request's.
//!
//! What is kept of a key is whose request it is. The outcome is not: that is read from what the request has written
//! ([`promote_once`](super::promote_once)), so that there is no second record that could disagree.
//!
//! A key is never wedged. Whoever works on it holds it for a lease and no longer, so that a process that dies gives it
//! back by dying; and a request that was refused gives it back at once.

use std::fmt;

use uuid::Uuid;

use super::Terms;
use crate::{
    protocol::{Digest, Refusal},
    store::{Claim, Operations},
};

/// What a caller calls its request: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// Not 1 to 255 visible ASCII characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKey;

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected 1 to 255 visible ASCII characters")
    }
}

impl std::error::Error for InvalidKey {}

impl IdempotencyKey {
    /// The longest key.
    pub const LONGEST: usize = 255;

    /// Reads a key as it came in.
    ///
    /// # Errors
    /// [`InvalidKey`] for an empty one, a long one, and one with a blank or anything that is not ASCII in it.
    pub fn parse(key: &[u8]) -> Result<Self, InvalidKey> {
        if !(1..=Self::LONGEST).contains(&key.len()) || !key.iter().all(u8::is_ascii_graphic) {
            return Err(InvalidKey);
        }
        String::from_utf8(key.to_vec()).map(Self).map_err(|_| InvalidKey)
    }

    /// It.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which key is used for what.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    /// Keys of two teams have nothing to do with each other.
    pub team: Uuid,
    /// The key.
    pub key: &'a IdempotencyKey,
    /// A digest of the request.
    pub request: Digest,
}

/// Does `work` while it holds the key, and says whether the key stays this request's: `work` returns true for that,
/// because it has happened or may have happened, or false because nothing has.
///
/// The work must be safe to repeat: when its lease runs out, or the process dies, the next one does it again.
///
/// # Errors
/// 422 when the key is another request's, 409 while somebody works on it, 503 when the store failed; the work was not
/// begun then.
pub async fn under_key<O: Operations, T>(
    operations: &O,
    terms: Terms<'_>,
    used: Use<'_>,
    work: impl Future<Output = (T, bool)>,
) -> Result<T, Refusal> {
    let Use { team, key, request } = used;
    let until = match operations.claim_key(team, key.as_str(), request, terms.lease_ms).await {
        Ok(Claim::Granted { until }) => until,
        Ok(Claim::InFlight) => return Err(Refusal::IDEMPOTENCY_KEY_IN_FLIGHT),
        Ok(Claim::OtherRequest) => return Err(Refusal::IDEMPOTENCY_KEY_REUSED),
        Err(_) => return Err(Refusal::LOOKUP_FAILED),
    };
    let (done, keep) = work.await;
    // A release that fails costs the caller the rest of the lease, and nothing else.
    let _ = operations.release_key(team, key.as_str(), until, keep).await;
    Ok(done)
}
