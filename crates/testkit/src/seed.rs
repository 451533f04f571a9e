//! Writes what a test begins with, through the contract, and waits for it.

use countersign::{
    platform::Environment,
    store::{EnvVars, NewResource, NewStack, ResourceKind, Service, Team, Tenants},
};
use countersign_models::fixtures::block_on;
use uuid::Uuid;

/// A platform's beginnings. Everything is expected to succeed.
///
/// # Panics
/// Every method panics when the store fails or refuses.
pub trait Seed {
    /// Adds a team, or changes what it pays for.
    fn seed_team(&self, id: Uuid, team: Team);
    /// Deploys a stack that is the first of its family. Its id.
    fn seed_stack(
        &self,
        team: Uuid,
        name: &str,
        env: Environment,
        services: Vec<Service>,
        env_vars: EnvVars,
    ) -> Uuid;
    /// Sets the services of a stack: a new build of it.
    fn seed_services(&self, team: Uuid, stack: Uuid, services: Vec<Service>);
    /// Sets a vault key.
    fn seed_vault(&self, team: Uuid, env: Environment, key: &str, value: &str);
    /// Provisions a resource. Its id.
    fn seed_resource(&self, team: Uuid, name: &str, kind: ResourceKind, env: Environment) -> Uuid;
}

impl<S: Tenants> Seed for S {
    fn seed_team(&self, id: Uuid, team: Team) {
        block_on(self.put_team(id, team)).expect("the store takes it");
    }

    fn seed_stack(
        &self,
        team: Uuid,
        name: &str,
        env: Environment,
        services: Vec<Service>,
        env_vars: EnvVars,
    ) -> Uuid {
        let stack = NewStack { name: name.to_owned(), env, parent: None, services, env_vars };
        block_on(self.create_stack(team, stack)).expect("the store takes it").expect("there is room").id
    }

    fn seed_services(&self, team: Uuid, stack: Uuid, services: Vec<Service>) {
        let is_there = block_on(self.put_services(team, stack, services)).expect("the store takes it");
        assert!(is_there, "there is such a stack");
    }

    fn seed_vault(&self, team: Uuid, env: Environment, key: &str, value: &str) {
        block_on(self.put_vault(team, &env, key, value)).expect("the store takes it");
    }

    fn seed_resource(&self, team: Uuid, name: &str, kind: ResourceKind, env: Environment) -> Uuid {
        let resource = NewResource { name: name.to_owned(), kind, env };
        block_on(self.create_resource(team, resource)).expect("the store takes it").id
    }
}
