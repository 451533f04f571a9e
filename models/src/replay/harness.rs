//! The test rig of a store: control of its clock and outages, and snapshots.

use std::future::Future;

use countersign::{
    platform::Environment,
    protocol::{Refusal, Status, Timestamp},
    store::{AuditKind, Job, Stack, Store, Tenants},
};
use uuid::Uuid;

/// A store on a rig, without other users.
pub trait StoreHarness: Sync {
    /// The store under test.
    type Store: Store + Tenants;
    /// All that is in the store, and its clock's time.
    type Saved;

    /// The store.
    fn store(&self) -> &Self::Store;

    /// Blocks on a future of the store.
    fn wait<T>(&self, work: impl Future<Output = T>) -> T;

    /// The current content of the store. The store is idle until the next restore.
    fn save(&mut self) -> Self::Saved;

    /// Takes the store and its clock back to where they were. The ids that it has given may stay given.
    fn restore(&mut self, saved: &Self::Saved);

    /// Moves the store's clock.
    fn set_clock(&mut self, now: Timestamp);

    /// From now on this part of the platform fails for the team, wherever a step lists its refusal.
    fn begin_outage(&self, team: Uuid, refusal: &Refusal);

    /// Ends the outage.
    fn end_outage(&self, team: Uuid, refusal: &Refusal);

    /// The observable content. An independent read rather than the store's own, so that a store that writes something
    /// else than it reads is found.
    fn look(&mut self, about: &About) -> Records;
}

/// The records to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The team.
    pub team: Uuid,
    /// Its approval.
    pub approval: Uuid,
    /// The environment that is promoted to.
    pub env: Environment,
    /// The key in that environment's vault.
    pub key: &'static str,
}

/// The content of a store that has one team with one approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// The store's clock.
    pub now: Timestamp,
    /// The approval's status.
    pub status: Status,
    /// The approval's end.
    pub expires_at: Timestamp,
    /// The events about the approval, oldest first.
    pub events: Vec<AuditKind>,
    /// The team's stacks, oldest first.
    pub stacks: Vec<Stack>,
    /// The value of the vault's key.
    pub vault: Option<String>,
    /// The approval's job.
    pub job: Option<Job>,
    /// The fencing number of the approval's lease that was given last, 0 when none was, and when it runs out.
    pub lease: (u64, Timestamp),
}
