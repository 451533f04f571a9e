//! The secrets of a store: the hash of a link's token, and the seal that is derived from its [`Ids`].

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Ids;
use crate::platform::Seal;

/// The id whose token is the secret behind the seal. No approval has it, so its token is never sent.
const SEAL: Uuid = Uuid::nil();

/// The seal of a store with these ids.
pub(super) fn seal_of(ids: &dyn Ids) -> Seal {
    Seal::from_secret(&ids.token(SEAL))
}

/// Hash of the secret in an approval's link. Read access to a store reveals no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Hashes this token. It is long and random, so a slow hash would gain nothing.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}
