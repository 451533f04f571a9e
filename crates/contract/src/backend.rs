//! A store under test: its clock and its outages are moved by hand, and its content is read without its contracts.

use std::collections::BTreeMap;

use countersign::{
    platform::Environment,
    protocol::{Refusal, Timestamp},
    store::{Job, Resource, Stack},
};
use uuid::Uuid;

use crate::{AnyStore, Later};

/// An empty store of the platform, and access to it that its contracts do not offer.
///
/// The store takes its ids from [`CountingIds`](countersign_models::fixtures::CountingIds), so that a claim knows the token of
/// each link, and its clock stands at [`OPENS`](crate::world::OPENS). [`Faulty`](crate::Faulty) injects the outages.
pub trait Backend: Send + Sync {
    /// The store.
    fn store(&self) -> &AnyStore;

    /// Number of random sequences of acts.
    fn sequences(&self) -> usize;

    /// Moves the store's clock.
    fn set_clock(&self, now: Timestamp) -> Later<'_, ()>;

    /// From now on this part of the platform fails for the team, wherever a step lists its refusal.
    fn begin_outage(&self, team: Uuid, refusal: &Refusal);

    /// Ends the outage.
    fn end_outage(&self, team: Uuid, refusal: &Refusal);

    /// From now on approvals are bound to the version of their target.
    fn bind_targets(&self);

    /// The team's stacks, oldest first.
    fn stacks(&self, team: Uuid) -> Later<'_, Vec<Stack>>;

    /// The team's resources, oldest first.
    fn resources(&self, team: Uuid) -> Later<'_, Vec<Resource>>;

    /// The launch job of the team's approval.
    fn job(&self, team: Uuid, approval: Uuid) -> Later<'_, Option<Job>>;

    /// The value of a vault key.
    fn vault<'a>(&'a self, team: Uuid, env: &'a Environment, key: &'a str) -> Later<'a, Option<String>>;

    /// All that is kept, as text, by the name of where: to be searched, and to be compared.
    fn everything(&self) -> Later<'_, BTreeMap<String, String>>;
}
