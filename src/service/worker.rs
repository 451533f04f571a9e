//! The worker: leases a launch job, launches it under its approval's key, and sees it through.

use super::{Deployer, Launch};
use crate::store::{Clock, Lease, StackStatus, Store, StoreError};

/// How a worker holds a job.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// The worker's own clock. It decides nothing: how long a lease runs is for the store's to say.
    pub clock: &'a dyn Clock,
    /// How long a lease is asked for, in milliseconds.
    pub lease_ms: u64,
}

/// What became of a worker's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worked {
    /// There was nothing to do.
    Nothing,
    /// A deploy ended, and its job is done.
    Finished(StackStatus),
    /// The lease ran out and somebody else has the job: it was left alone.
    LeaseLost,
}

/// Leases one job and sees it through.
///
/// Safe to drop anywhere: when the lease runs out the job is leased again, and its launch is the same launch.
///
/// # Errors
/// The store's. The job comes back when its lease runs out.
pub async fn work<S: Store, D: Deployer>(
    store: &S,
    deployer: &D,
    terms: Terms<'_>,
) -> Result<Worked, StoreError> {
    match take(store, terms).await? {
        Some(lease) => see_through(&lease, store, deployer, terms).await,
        None => Ok(Worked::Nothing),
    }
}

/// Leases one job.
///
/// # Errors
/// The store's. A job that was leased all the same comes back when its lease runs out.
pub async fn take<S: Store>(store: &S, terms: Terms<'_>) -> Result<Option<Lease>, StoreError> {
    store.lease_job(terms.lease_ms).await
}

/// Launches a leased job, and renews the lease until the deploy has ended.
///
/// # Errors
/// The store's. The job comes back when its lease runs out.
pub async fn see_through<S: Store, D: Deployer>(
    lease: &Lease,
    store: &S,
    deployer: &D,
    terms: Terms<'_>,
) -> Result<Worked, StoreError> {
    launch(lease, deployer).await;
    loop {
        // Twice within a lease, so that one renewal may fail to come through.
        if let Some(ended) = deployer.outcome(keyed(lease), terms.lease_ms / 2).await {
            let holds = store.finish_job(lease, ended).await?;
            return Ok(if holds { Worked::Finished(ended) } else { Worked::LeaseLost });
        }
        if !store.renew_lease(lease, terms.lease_ms).await? {
            return Ok(Worked::LeaseLost);
        }
        // The deploy may have been another worker's before, and have died with it. If it runs, it is the same.
        launch(lease, deployer).await;
    }
}

/// Lets go of a job before its deploy has ended, for another worker to take at once. False when the lease is not the
/// latest.
///
/// # Errors
/// The store's. The job comes back when its lease runs out.
pub async fn give_back<S: Store>(lease: &Lease, store: &S) -> Result<bool, StoreError> {
    store.renew_lease(lease, 0).await
}

/// Launches a leased job. Safe to repeat: the key makes it the same deploy.
pub async fn launch<D: Deployer>(lease: &Lease, deployer: &D) {
    deployer.launch(keyed(lease)).await;
}

fn keyed(lease: &Lease) -> Launch {
    let Lease { approval, digest, target, .. } = *lease;
    Launch { approval, key: Some(approval), digest, target }
}
