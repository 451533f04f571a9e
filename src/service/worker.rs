//! The worker: leases launch jobs, and launches each under its approval's key.

use super::{Deployer, Launch};
use crate::{
    protocol::Timestamp,
    store::{Lease, Store, StoreError},
};

/// Leases one job and launches it; what it holds then, until [`Store::finish_job`]. None when there is nothing to do.
///
/// # Errors
/// The store's.
pub async fn work<S: Store, D: Deployer>(
    store: &S,
    deployer: &D,
    until: Timestamp,
) -> Result<Option<Lease>, StoreError> {
    let Some(lease) = store.lease_job(until).await? else { return Ok(None) };
    launch(&lease, deployer).await;
    Ok(Some(lease))
}

/// Launches a leased job. Safe to repeat: the key makes it the same deploy.
pub async fn launch<D: Deployer>(lease: &Lease, deployer: &D) {
    let Lease { approval, digest, target, .. } = *lease;
    deployer.launch(Launch { approval, key: Some(approval), digest, target }).await;
}
