//! When a step refuses by its own judgement: each refusal of `system.md`'s preflight as a condition on the records.

use uuid::Uuid;

use super::TeamState;
use crate::{
    protocol::Refusal,
    store::{Ask, EnvVars, Stack},
};

/// What begins the value of a variable that stands for a vault key.
const VAULT: &str = "vault:";

impl TeamState {
    /// Whether this refusal applies now. One that the platform does not know applies during an outage only.
    pub(super) fn refuses(&self, ask: &Ask, refusal: &Refusal) -> bool {
        self.is_out(refusal)
            || match refusal {
                refusal if *refusal == Refusal::NO_SERVICES => {
                    self.stack(ask.payload.source).is_some_and(|stack| stack.services.is_empty())
                }
                refusal if *refusal == Refusal::MISSING_IMAGE_REF => {
                    let missing = |stack: &Stack| stack.services.iter().any(|one| one.image_ref.is_none());
                    self.stack(ask.payload.source).is_some_and(missing)
                }
                refusal if *refusal == Refusal::VAULT_REF_FAILED => !self.vault_refs_resolve(ask),
                refusal if *refusal == Refusal::TWIN_EXISTS => ask.is_twin() && self.target(ask).is_some(),
                refusal if *refusal == Refusal::NOT_FOUND => !self.source_exists(ask),
                refusal if *refusal == Refusal::DEPLOYMENT_LIMIT_REACHED => {
                    self.target(ask).is_none() && self.is_full(ask)
                }
                _ => false,
            }
    }

    /// Whether the part of the platform that this refusal speaks of is down.
    pub(super) fn is_out(&self, refusal: &Refusal) -> bool {
        !self.outages.is_empty() && self.outages.contains(refusal)
    }

    /// Whether one more target would pass the plan's cap. Twins are not counted.
    pub(super) fn is_full(&self, ask: &Ask) -> bool {
        !ask.is_twin() && self.stacks.len() >= self.team.deployment_cap
    }

    fn source_exists(&self, ask: &Ask) -> bool {
        let source = ask.payload.source;
        if ask.is_twin() { self.resource(source).is_some() } else { self.stack(source).is_some() }
    }

    /// The target that there is: the first of the source's family in the environment.
    pub(super) fn target(&self, ask: &Ask) -> Option<Uuid> {
        let to = &ask.binding().to;
        if ask.is_twin() {
            let root = self.resource(ask.payload.source)?.root;
            let twin = |other: &&super::Resource| other.root == root && other.env == *to;
            return self.resources.iter().find(twin).map(|twin| twin.id);
        }
        let root = self.root(ask.payload.source);
        self.stacks.iter().find(|other| other.env == *to && self.root(other.id) == root).map(|other| other.id)
    }

    /// The first of a stack's family.
    fn root(&self, stack: Uuid) -> Uuid {
        let mut root = stack;
        // A family is no longer than there are stacks: a circle of parents ends here, too.
        for _ in 0..self.stacks.len() {
            match self.stack(root).and_then(|stack| stack.parent) {
                Some(parent) => root = parent,
                None => break,
            }
        }
        root
    }

    /// The variables that the target would have: its own win over the source's.
    pub(super) fn merged_variables(&self, ask: &Ask) -> EnvVars {
        let mut merged =
            self.stack(ask.payload.source).map(|source| source.env_vars.clone()).unwrap_or_default();
        if let Some(target) = self.target(ask).and_then(|target| self.stack(target)) {
            merged.extend(target.env_vars.clone());
        }
        merged
    }

    /// The vault keys that a copy would bring into the target's environment. None that is there is overwritten.
    pub(super) fn vault_keys_to_copy(&self, ask: &Ask) -> Vec<(String, String)> {
        if !ask.payload.copy_vault {
            return Vec::new();
        }
        let binding = ask.binding();
        let missing = |key: &String| !self.vault.contains_key(&(binding.to.clone(), key.clone()));
        self.vault
            .iter()
            .filter(|((env, key), _)| *env == binding.from && missing(key))
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect()
    }

    fn vault_refs_resolve(&self, ask: &Ask) -> bool {
        // Most variables speak of no vault.
        let speaks_of_it = |stack: &Stack| stack.env_vars.values().any(|value| value.starts_with(VAULT));
        let target = self.target(ask);
        let stacks = [Some(ask.payload.source), target].into_iter().flatten();
        if !stacks.filter_map(|id| self.stack(id)).any(speaks_of_it) {
            return true;
        }
        let to = &ask.binding().to;
        let copied = self.vault_keys_to_copy(ask);
        self.merged_variables(ask).values().filter_map(|value| value.strip_prefix(VAULT)).all(|key| {
            self.vault.contains_key(&(to.clone(), key.to_owned()))
                || copied.iter().any(|(copy, _)| copy == key)
        })
    }
}
