//! The hash of a link's token.

use sha2::{Digest as _, Sha256};

/// Hash of the secret in an approval's link. Read access to a store reveals no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Hashes this token. It is long and random, so a slow hash would gain nothing.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}
