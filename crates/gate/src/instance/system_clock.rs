//! The real clock, real ids, and the secret that links are made from.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::time::Instant;
use uuid::Uuid;

pub use countersign::store::SystemClock;
use countersign::{
    protocol::Timestamp,
    store::{Clock, Ids, Seal},
};

/// The server's secret. Neither its `Debug` output nor an error contains it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// The recommended length: unguessable, and the block size of the session's signature.
    pub const RECOMMENDED_BYTES: usize = 32;

    /// Takes it as it was given.
    pub fn new(secret: impl Into<Vec<u8>>) -> Self {
        Self(secret.into().into_boxed_slice())
    }

    /// The bytes, for signing.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A key for one purpose. Who learns one of these learns neither the secret nor any other.
    fn key_for(&self, purpose: &str) -> Secret {
        Self::new(mac(&self.0, purpose.as_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The time since its beginning: no change of the system clock lengthens or shortens what is measured by it.
#[derive(Clone, Copy, Debug)]
pub struct Uptime(Instant);

impl Uptime {
    /// Begins now.
    pub fn begin() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Uptime {
    fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Random ids, and tokens derived from the secret.
#[derive(Clone, Debug)]
pub struct SecretIds {
    key: Secret,
}

impl SecretIds {
    /// Derived from this secret. Instances that share a store have to share it too.
    pub fn new(secret: &Secret) -> Self {
        Self { key: secret.key_for("countersign: the token in an approval's link") }
    }

    fn derive(&self, message: &[u8; 16]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(mac(self.key.as_bytes(), message))
    }
}

impl Ids for SecretIds {
    #[expect(clippy::disallowed_methods, reason = "this is where real ids come from")]
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

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!("a key may have any length"));
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_same_whenever_it_is_asked_for_and_32_bytes_long() {
        let (ids, again) = (SecretIds::new(&Secret::new("one")), SecretIds::new(&Secret::new("one")));
        let approval = ids.next();
        assert_eq!(ids.token(approval), again.token(approval));
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(ids.token(approval)).map(|bytes| bytes.len()), Ok(32));
    }

    #[test]
    fn another_secret_or_another_approval_is_another_token() {
        let ids = SecretIds::new(&Secret::new("one"));
        let (approval, other) = (ids.next(), ids.next());
        assert_ne!(ids.token(approval), ids.token(other));
        assert_ne!(ids.token(approval), SecretIds::new(&Secret::new("two")).token(approval));
    }

    #[test]
    fn the_seal_is_that_of_existing_databases() {
        let ids = SecretIds::new(&Secret::new("one"));
        // They derive it from an id of zeros.
        let before = Seal::from_secret(&ids.token(Uuid::from_bytes(Seal::MESSAGE)));
        assert_eq!(ids.seal().seal("DB", "hunter2"), before.seal("DB", "hunter2"));
    }

    #[test]
    fn no_secret_is_ever_printed() {
        let secret = Secret::new("the secret itself");
        let printed = format!("{secret:?} {:?}", SecretIds::new(&secret));
        assert_eq!(printed, "Secret(…) SecretIds { key: Secret(…) }");
    }
}
