//! Reads the content of a store in memory, bypassing the contract.

use countersign::{
    platform::Environment,
    protocol::{Digest, Timestamp},
    store::{Job, MemoryStore, PromotionRequest, Resource, Stack, digest_of, memory::strategy::Strategy},
};
use uuid::Uuid;

/// Readings of a store in memory. All of them are copies.
pub trait Peek {
    /// A team's stacks, oldest first.
    fn stacks(&self, team: Uuid) -> Vec<Stack>;
    /// A team's resources, oldest first.
    fn resources(&self, team: Uuid) -> Vec<Resource>;
    /// The value of a vault key.
    fn vault(&self, team: Uuid, env: &Environment, key: &str) -> Option<String>;
    /// The launch job of an approval.
    fn job(&self, team: Uuid, approval: Uuid) -> Option<Job>;
    /// The fencing number of an approval's lease that was given last, and when it runs out.
    fn lease(&self, team: Uuid, approval: Uuid) -> Option<(u64, Timestamp)>;
    /// The most stacks that a team may have; `None` for an unknown team.
    fn deployment_cap(&self, team: Uuid) -> Option<usize>;
    /// Digest of the payload that `ask` would launch now; `None` for an unknown team.
    fn digest(&self, ask: &PromotionRequest) -> Option<Digest>;
}

impl<S: Strategy> Peek for MemoryStore<S> {
    fn stacks(&self, team: Uuid) -> Vec<Stack> {
        self.look(team, |records| records.stacks.to_vec()).unwrap_or_default()
    }

    fn resources(&self, team: Uuid) -> Vec<Resource> {
        self.look(team, |records| records.resources.to_vec()).unwrap_or_default()
    }

    fn vault(&self, team: Uuid, env: &Environment, key: &str) -> Option<String> {
        self.look(team, |records| records.vault.value(env, key).map(|value| (**value).to_owned())).flatten()
    }

    fn job(&self, team: Uuid, approval: Uuid) -> Option<Job> {
        self.look(team, |records| records.job(approval).cloned()).flatten()
    }

    fn lease(&self, team: Uuid, approval: Uuid) -> Option<(u64, Timestamp)> {
        self.look(team, |records| records.lease(approval)).flatten()
    }

    fn deployment_cap(&self, team: Uuid) -> Option<usize> {
        self.look(team, |records| records.team.deployment_cap)
    }

    fn digest(&self, ask: &PromotionRequest) -> Option<Digest> {
        self.look(ask.team, |records| {
            let source = records.stacks.iter().find(|stack| stack.id == ask.payload.source);
            digest_of(ask, source.map(|source| &*source.services).unwrap_or_default())
        })
    }
}
