//! The digest of a request: kind, source, environments, settings, and every service with its image. The hash of a
//! token.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::records::{Ask, Service};
use crate::protocol::{Digest, Kind};

/// The digest of what `ask` would launch from a source with these services.
///
/// Each part goes in with its length, so that no two requests run into one another.
pub fn digest_of(ask: &Ask, services: &[Service]) -> Digest {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    let binding = ask.binding();
    part(match binding.kind {
        Kind::Stack => b"stack",
        Kind::ResourceTwin => b"resource_twin",
    });
    part(Uuid::as_bytes(&ask.payload.source));
    part(binding.from.as_str().as_bytes());
    part(binding.to.as_str().as_bytes());
    part(ask.payload.name.as_deref().unwrap_or_default().as_bytes());
    part(&[u8::from(ask.payload.name.is_some()), u8::from(ask.payload.copy_vault)]);
    for service in services {
        part(service.name.as_bytes());
        part(service.image_ref.as_deref().unwrap_or_default().as_bytes());
        part(&service.port.unwrap_or_default().to_le_bytes());
        part(&[
            u8::from(service.image_ref.is_some()),
            u8::from(service.port.is_some()),
            u8::from(service.expose),
        ]);
    }
    Digest(hash.finalize().into())
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
