//! The worker: leases a launch job, launches it under its approval's key, and sees it through.

use std::pin::pin;

use super::{Deployer, Launch, NoopTimer, Timer};
use crate::{
    protocol::Timestamp,
    store::{Clock, Lease, Outbox, StackStatus, StoreError},
};

/// Terms of a worker's lease.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// The worker's own clock. It says how long ago something was, and never when a lease ends: that is the store's to
    /// say.
    pub clock: &'a dyn Clock,
    /// Duration of a lease, in milliseconds.
    pub lease_ms: u64,
}

/// Result of one turn of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worked {
    /// No job was ready.
    Nothing,
    /// A deploy ended, and its job is done.
    Finished(StackStatus),
    /// The lease expired and another worker acquired the job, which was left unchanged.
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

/// Leases one job and runs it to completion, without a time limit.
///
/// Cancel-safe: when the lease expires the job is leased again, and its launch has the same key.
///
/// # Errors
/// The store's. The job becomes ready again when its lease expires.
pub async fn work<S: Outbox, D: Deployer>(
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
/// The store's. A job that was leased nevertheless becomes ready again when its lease expires.
pub async fn acquire<S: Outbox>(store: &S, terms: Terms<'_>) -> Result<Option<Held>, StoreError> {
    let asked_at = terms.clock.now();
    let leased = store.lease_job(terms.lease_ms).await?;
    Ok(leased.map(|lease| Held { lease, asked_at }))
}

/// Launches a leased job, and renews the lease until the deploy has ended. A store that fails is retried for as long as
/// the lease lasts.
///
/// Unless a deploy has [finished](Worked::Finished), it may run on: the caller has to end it, because the next worker
/// launches it again.
///
/// # Errors
/// The store's last one, if the lease was about to expire and could not be renewed. The job becomes ready again then.
pub async fn run_to_completion<S: Outbox, D: Deployer, T: Timer>(
    held: &Held,
    store: &S,
    deployer: &D,
    terms: Terms<'_>,
    timer: &T,
) -> Result<Worked, StoreError> {
    let mut asked_at = held.asked_at;
    loop {
        // The last tenth is for the caller, to end the deploy.
        let gone = terms.clock.now().0.saturating_sub(asked_at.0);
        let left_ms = (terms.lease_ms - terms.lease_ms / 10).saturating_sub(gone);
        // Without a reply the last renewal may have happened.
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

/// Progress of a worker within one lease.
enum Stage {
    /// The lease begins anew; when that was asked for.
    Renewed(Timestamp),
    /// Finished.
    Over(Worked),
}

async fn run_for_one_lease<S: Outbox, D: Deployer, T: Timer>(
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
    // The lease is always nearly whole: what is left of it is how long the store may be out.
    let mut patience_ms = terms.lease_ms / 10;
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

/// Releases a job before its deploy has ended, so that another worker can acquire it immediately. False if the lease is
/// not the latest.
///
/// # Errors
/// The store's. The job becomes ready again when its lease expires.
pub async fn release<S: Outbox>(lease: &Lease, store: &S) -> Result<bool, StoreError> {
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
