//! Idempotency keys: requests under one key never run concurrently, and a key belongs to one request.
//!
//! Only the request's digest and the end of its claim are stored here. The outcome is stored and found by the flow's own
//! steps, and no promise about it depends on this module.
//!
//! A key is never stuck: its claim is a lease, which expires after a crash, and a refused request releases it
//! immediately.

use std::fmt;

use uuid::Uuid;

use super::Terms;
use crate::{
    protocol::{Digest, Refusal},
    store::{Claim, Operations},
};

/// A caller's name for its request: 1 to 255 visible ASCII characters.
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

    /// Parses a key.
    ///
    /// # Errors
    /// [`InvalidKey`] for an empty one, a long one, and one with a blank or a non-ASCII character.
    pub fn parse(key: &[u8]) -> Result<Self, InvalidKey> {
        if !(1..=Self::LONGEST).contains(&key.len()) || !key.iter().all(u8::is_ascii_graphic) {
            return Err(InvalidKey);
        }
        String::from_utf8(key.to_vec()).map(Self).map_err(|_| InvalidKey)
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which key is used for what.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    /// Keys are separate for each team.
    pub team: Uuid,
    /// The key.
    pub key: &'a IdempotencyKey,
    /// A digest of the request.
    pub request: Digest,
}

/// Runs `work` while it holds the key. `work` returns true to bind the key to this request, because a change has
/// happened or may have happened, or false because none has.
///
/// The work must be safe to repeat: after its lease expires, or the process crashes, the next caller repeats it.
///
/// # Errors
/// 422 if the key belongs to another request, 409 while a concurrent request holds it, 503 if the store failed; the
/// work was not begun then.
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
    // A release that fails only costs the caller the rest of the lease.
    let _ = operations.release_key(team, key.as_str(), until, keep).await;
    Ok(done)
}
