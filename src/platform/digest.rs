//! The digest of a request: kind, source, environments, settings, and every service with its image. The keyed hash of a
//! value.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{records::Service, request::PromotionRequest};
use crate::{platform::Kind, protocol::Digest};

/// The digest of what `ask` would launch from a source with these services.
///
/// Each part goes in with its length, so that no two requests run into one another.
pub fn digest_of(ask: &PromotionRequest, services: &[Service]) -> Digest {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    let binding = &ask.binding;
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

/// Hashes values under a key that is derived from the store's own secret: a hash that is passed on tells nothing about a
/// value that could be guessed.
#[derive(Clone, Copy)]
pub struct Seal([u8; 32]);

impl Seal {
    /// The message from which the secret of a seal is derived, where that of a link's token is derived from the approval's
    /// id. A generated id is never all zeros.
    pub const MESSAGE: [u8; 16] = [0; 16];

    /// Under a key that is derived from this secret.
    pub fn from_secret(secret: &str) -> Self {
        let hash = Sha256::new().chain_update("countersign: the seal of a value\n").chain_update(secret);
        Self(hash.finalize().into())
    }

    /// The hash of a value. The name goes in, so that equal values do not show. It is nested, so that it cannot be extended.
    pub fn seal(&self, name: &str, value: &str) -> Digest {
        let mut inner = Sha256::new().chain_update(self.0);
        inner.update((name.len() as u64).to_le_bytes());
        inner.update(name);
        inner.update(value);
        Digest(Sha256::new().chain_update(self.0).chain_update(inner.finalize()).finalize().into())
    }
}
