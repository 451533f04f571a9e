//! The worker: leases a launch job, launches it under its approval's key, and sees it through.

use std::pin::pin;

use super::{Deployer, Launch, NoopTimer, Timer};
use crate::{
    protocol::Timestamp,
    store::{Clock, Lease, StackStatus, Store, StoreError},
};

/// How a worker holds a job.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// The worker's own clock. It says how long ago something was, and never when a lease ends: that is the store's to
    /// say.
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
    /// The job is no longer the worker's, because its lease ran out and somebody else took it: it was left alone.
    LeaseLost,
}

/// A job that a worker has leased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The lease.
    pub lease: Lease,
    /// When it was asked for, by the worker's own clock: it began no earlier.
    pub asked_at: Timestamp,
}

/// Leases one job and sees it through, however long that takes.
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
    match acquire(store, terms).await? {
        Some(held) => pin!(run_to_completion(&held, store, deployer, terms, &NoopTimer)).await,
        None => Ok(Worked::Nothing),
    }
}

/// Leases one job.
///
/// # Errors
/// The store's. A job that was leased all the same comes back when its lease runs out.
pub async fn acquire<S: Store>(store: &S, terms: Terms<'_>) -> Result<Option<Held>, StoreError> {
    let asked_at = terms.clock.now();
    let leased = store.lease_job(terms.lease_ms).await?;
    Ok(leased.map(|lease| Held { lease, asked_at }))
}

/// Launches a leased job, and renews the lease until the deploy has ended. A store that fails is asked again for as long
/// as the lease lasts.
///
/// Unless a deploy has [finished](Worked::Finished), it may run on: whoever called has to end it, because the next worker
/// launches it again.
///
/// # Errors
/// The store's last one, when the lease was about to run out and could not be renewed. The job comes back then.
pub async fn run_to_completion<S: Store, D: Deployer, T: Timer>(
    held: &Held,
    store: &S,
    deployer: &D,
    terms: Terms<'_>,
    timer: &T,
) -> Result<Worked, StoreError> {
    let mut asked_at = held.asked_at;
    loop {
        // The last tenth is for whoever has to end the deploy.
        let gone = terms.clock.now().0.saturating_sub(asked_at.0);
        let left_ms = (terms.lease_ms - terms.lease_ms / 10).saturating_sub(gone);
        // What was asked last may have happened, if there is no answer.
        let mut failed = StoreError::unknown("the lease ran out before the store answered");
        let seen = {
            let one_lease = run_for_one_lease(&held.lease, store, deployer, terms, timer, &mut failed);
            // Pinned on the stack, so that the future is not moved.
            timer.within(left_ms, pin!(one_lease)).await
        };
        match seen {
            Some(Stage::Renewed(at)) => asked_at = at,
            Some(Stage::Over(worked)) => return Ok(worked),
            None => return Err(failed),
        }
    }
}

/// How far a worker has come within one lease.
enum Stage {
    /// The lease begins anew; when that was asked for.
    Renewed(Timestamp),
    /// There is nothing left to do.
    Over(Worked),
}

async fn run_for_one_lease<S: Store, D: Deployer, T: Timer>(
    lease: &Lease,
    store: &S,
    deployer: &D,
    terms: Terms<'_>,
    timer: &T,
    failed: &mut StoreError,
) -> Stage {
    // The deploy may have been another worker's before, and have died with it. If it runs, it is the same.
    let launched = keyed(lease);
    deployer.launch(&launched).await;
    // There is as much time again for a store that does not answer at once.
    let mut patience_ms = terms.lease_ms / 2;
    loop {
        let ended = deployer.outcome(&launched, patience_ms).await;
        let asked_at = terms.clock.now();
        let holds = match ended {
            Some(ended) => store.finish_job(lease, ended).await,
            None => store.renew_lease(lease, terms.lease_ms).await,
        };
        match (holds, ended) {
            (Ok(true), Some(ended)) => return Stage::Over(Worked::Finished(ended)),
            (Ok(true), None) => return Stage::Renewed(asked_at),
            (Ok(false), _) => return Stage::Over(Worked::LeaseLost),
            (Err(error), _) => *failed = error,
        }
        timer.pause(terms.lease_ms / 20).await;
        patience_ms = 0;
    }
}

/// Lets go of a job before its deploy has ended, for another worker to take at once. False when the lease is not the
/// latest.
///
/// # Errors
/// The store's. The job comes back when its lease runs out.
pub async fn release<S: Store>(lease: &Lease, store: &S) -> Result<bool, StoreError> {
    store.renew_lease(lease, 0).await
}

/// Launches a leased job. Safe to repeat: the key makes it the same deploy.
pub async fn launch<D: Deployer>(lease: &Lease, deployer: &D) {
    deployer.launch(&keyed(lease)).await;
}

fn keyed(lease: &Lease) -> Launch {
    let Lease { approval, digest, target, fence } = *lease;
    Launch { approval, key: Some(approval), digest, target, fence }
}
