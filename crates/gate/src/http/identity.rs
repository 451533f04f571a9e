//! An identity provider: its public keys (a JWKS), and the bearer tokens that it signs with RS256 or ES256.
//!
//! A token needs the provider's issuer and this gate's audience, and names its key. A key that the set does not have signs
//! nothing: keys come from the configured file or address alone, never from a token.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, Header, Validation, decode,
    jwk::{Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use tracing::warn;

use super::Claims;
use crate::authorities;

/// The largest key set, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The provider answers within this time, or its keys stay as they are.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whose tokens are accepted, and for whom they have to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySettings {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// The `aud` of tokens for this gate.
    pub audience: String,
    /// Its key set: a file, or an address with `https://`.
    pub jwks: String,
}

/// Why there is no key set.
#[derive(Debug)]
pub enum NoKeys {
    /// The file cannot be read.
    File(PathBuf, io::Error),
    /// The address is not answered.
    Address(String, Box<ureq::Error>),
    /// The address has another scheme than `https`.
    Unsafe(String),
    /// The answer is no key set.
    Invalid(serde_json::Error),
    /// It has no key for RS256 or ES256 with an id.
    NoneUsable,
}

impl fmt::Display for NoKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Address(address, error) => write!(f, "{address}: {error}"),
            Self::Unsafe(address) => write!(f, "{address}: expected https:// or a file"),
            Self::Invalid(error) => write!(f, "the key set is not valid: {error}"),
            Self::NoneUsable => f.write_str("the key set has no key with a `kid` for RS256 or ES256"),
        }
    }
}

impl std::error::Error for NoKeys {}

/// An identity provider whose tokens are accepted.
pub struct IdentityProvider {
    settings: IdentitySettings,
    keys: RwLock<Vec<Key>>,
}

struct Key {
    id: String,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl IdentityProvider {
    /// Reads its keys. Blocks while it does.
    ///
    /// # Errors
    /// [`NoKeys`].
    pub fn open(settings: IdentitySettings) -> Result<Self, NoKeys> {
        let keys = RwLock::new(read(&settings.jwks)?);
        Ok(Self { settings, keys })
    }

    /// Reads its keys again. Blocks while it does; the keys stay as they are when it fails.
    ///
    /// # Errors
    /// [`NoKeys`].
    pub fn refresh(&self) -> Result<(), NoKeys> {
        let keys = read(&self.settings.jwks)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Reads its keys again every five minutes, because it replaces them without notice. Does not end.
    pub async fn keep_fresh(self: Arc<Self>) {
        const PAUSE: Duration = Duration::from_secs(300);
        loop {
            tokio::time::sleep(PAUSE).await;
            let provider = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || provider.refresh()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "the keys of the identity provider stay as they are"),
                Err(error) => warn!(%error, "reading the keys of the identity provider was interrupted"),
            }
        }
    }

    /// The claims of a token with this header that the provider has signed. Their times are the caller's to judge.
    pub(super) fn claims(&self, token: &str, header: &Header) -> Option<Claims> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let id = header.kid.as_ref()?;
        let key = keys.iter().find(|key| key.id == *id && key.algorithm == header.alg)?;
        let mut validation = Validation::new(key.algorithm);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        // By the instance's own clock.
        validation.validate_exp = false;
        decode::<Claims>(token, &key.key, &validation).ok().map(|token| token.claims)
    }
}

impl fmt::Debug for IdentityProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityProvider").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn read(jwks: &str) -> Result<Vec<Key>, NoKeys> {
    let text = if jwks.starts_with("https://") {
        fetched(jwks).map_err(|error| NoKeys::Address(jwks.to_owned(), Box::new(error)))?
    } else if jwks.contains("://") {
        return Err(NoKeys::Unsafe(jwks.to_owned()));
    } else {
        from_file(Path::new(jwks)).map_err(|error| NoKeys::File(jwks.into(), error))?
    };
    let set: KeySet = serde_json::from_str(&text).map_err(NoKeys::Invalid)?;
    let keys: Vec<Key> = set.keys.into_iter().filter_map(usable).collect();
    if keys.is_empty() { Err(NoKeys::NoneUsable) } else { Ok(keys) }
}

/// A key set may have keys of kinds that this program does not know.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

fn from_file(path: &Path) -> io::Result<String> {
    let length = path.metadata()?.len();
    if length > MAX_BYTES {
        return Err(io::Error::other(format!("it has {length} bytes, expected at most {MAX_BYTES}")));
    }
    fs::read_to_string(path)
}

fn fetched(address: &str) -> Result<String, ureq::Error> {
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .https_only(true)
        .tls_config(authorities::trusted())
        .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent();
    agent.get(address).call()?.body_mut().with_config().limit(MAX_BYTES).read_to_string()
}

/// A key that signs by one of the two algorithms.
fn usable(key: serde_json::Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(key).ok()?;
    if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_))) {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    let algorithm = match (key.family(), jwk.common.key_algorithm) {
        (AlgorithmFamily::Rsa, None | Some(KeyAlgorithm::RS256)) => Algorithm::RS256,
        (AlgorithmFamily::Ec, None | Some(KeyAlgorithm::ES256)) => Algorithm::ES256,
        _ => return None,
    };
    Some(Key { id: jwk.common.key_id.clone()?, algorithm, key })
}
