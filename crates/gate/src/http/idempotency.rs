//! The header `Idempotency-Key`: what a valid one is, and what a request under one is compared by.

use axum::{extract::FromRequestParts, http::request::Parts};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{App, Backend, Problem, problem::Code};
use countersign::{
    protocol::Digest,
    service::{Deployer, IdempotencyKey, Terms, Use, under_key},
};

/// Says that an answer is that of an earlier request.
pub(super) const REPLAYED: &str = "idempotency-replayed";

/// The key that a request carries, if it carries one, and which request it is.
#[derive(Clone, Debug)]
pub(super) struct Keyed {
    pub(super) key: Option<IdempotencyKey>,
    /// Hash of the request so far: its method and its path.
    hash: Sha256,
}

impl<S: Sync> FromRequestParts<S> for Keyed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut sent = parts.headers.get_all("idempotency-key").iter();
        let key = match (sent.next(), sent.next()) {
            (None, _) => None,
            (Some(only), None) => {
                let key = IdempotencyKey::parse(only.as_bytes());
                Some(key.map_err(|_| Problem::new(Code::InvalidIdempotencyKey))?)
            }
            (Some(_), Some(_)) => return Err(Problem::new(Code::InvalidIdempotencyKey)),
        };
        let mut hash = Sha256::new();
        for part in [parts.method.as_str(), parts.uri.path()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Ok(Self { key, hash })
    }
}

impl Keyed {
    /// Runs the work, under the key if there is one. `work` returns true to bind the key to this request.
    pub(super) async fn once<B: Backend, D: Deployer + 'static, T>(
        self,
        app: &App<B, D>,
        team: Uuid,
        body: &[u8],
        work: impl Future<Output = (T, bool)>,
    ) -> Result<T, Problem> {
        let Some(key) = &self.key else { return Ok(work.await.0) };
        let request = Digest(self.hash.chain_update(body).finalize().into());
        let lease_ms = u64::try_from(app.settings().key_lease.as_millis()).unwrap_or(u64::MAX);
        let terms = Terms { clock: app.clock(), lease_ms };
        let done = under_key(app.store(), terms, Use { team, key, request }, work).await;
        done.map_err(Problem::from)
    }
}
