//! A team's state, as far as one request needs it: what the checks ask of it, and the changes of a commit.
//!
//! The platform's rules stand here once for every store: an SQL store loads the records of the request, lets this
//! module judge and change them, and writes the difference.

use std::{collections::BTreeSet, sync::Arc};

use uuid::Uuid;

use super::{
    digest::Seal,
    records::{EnvVars, Resource, Service, Stack, StackStatus, Team},
    request::{ApprovalRecord, Bound, BoundTarget, BoundValue, Difference, PromotionRequest},
    vault::Vault,
};
use crate::{
    platform::Binding,
    protocol::{Change, Commit, Target},
};

/// Prefix of a variable's value that refers to a vault key.
const VAULT: &str = "vault:";

/// A team's state: all of it, or the part that one request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantState {
    /// The team's tier and limits.
    pub team: Team,
    /// In the order in which they were created.
    pub stacks: Vec<Stack>,
    /// Number of the team's stacks that are not in `stacks`.
    pub other_stacks: usize,
    /// In the order in which they were created.
    pub resources: Vec<Resource>,
    /// The vault of each environment.
    pub vault: Vault,
}

/// The changes of a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The stack or the twin that it wrote.
    pub target: Option<Target>,
    /// The keys that it copied into the vault of the target's environment.
    pub vault_keys: Vec<String>,
    /// The approval is consumed.
    pub consumed: bool,
    /// Number of executed events to write.
    pub events: u8,
    /// True if a launch job is to be written, unless there is one.
    pub enqueued: bool,
}

impl TenantState {
    /// An empty state.
    pub fn new(team: Team) -> Self {
        Self { team, stacks: Vec::new(), other_stacks: 0, resources: Vec::new(), vault: Vault::default() }
    }

    /// The stack of this id.
    pub fn stack(&self, id: Uuid) -> Option<&Stack> {
        self.stacks.iter().find(|stack| stack.id == id)
    }

    /// The resource of this id.
    pub fn resource(&self, id: Uuid) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.id == id)
    }

    /// The services of what `ask` would launch.
    pub fn source_services(&self, ask: &PromotionRequest) -> &[Service] {
        self.stack(ask.payload.source).map_or(&[], |stack| &stack.services)
    }

    /// True if another target would exceed the tier's cap. Twins are not counted.
    pub fn is_full(&self, ask: &PromotionRequest) -> bool {
        !ask.is_twin() && self.has_no_room()
    }

    /// True if another stack would exceed the tier's cap.
    pub fn has_no_room(&self) -> bool {
        self.stacks.len() + self.other_stacks >= self.team.deployment_cap
    }

    /// True if a variable of these stacks refers to a vault key; most stacks have none.
    pub fn speaks_of_vault(&self) -> bool {
        self.stacks.iter().any(speaks_of_vault)
    }

    pub(super) fn source_exists(&self, ask: &PromotionRequest) -> bool {
        let source = ask.payload.source;
        if ask.is_twin() { self.resource(source).is_some() } else { self.stack(source).is_some() }
    }

    /// The target that there is: the first of the source's family in the environment.
    pub fn target(&self, ask: &PromotionRequest) -> Option<Uuid> {
        let to = &ask.binding.to;
        if ask.is_twin() {
            let root = self.resource(ask.payload.source)?.root;
            let twin = |other: &&Resource| other.root == root && other.env == *to;
            return self.resources.iter().find(twin).map(|twin| twin.id);
        }
        let root = self.stack(ask.payload.source)?.root;
        self.stacks.iter().find(|other| other.env == *to && other.root == root).map(|other| other.id)
    }

    /// The variables that the target would have: its own win over the source's.
    fn merged_variables(&self, ask: &PromotionRequest) -> EnvVars {
        let mut merged =
            self.stack(ask.payload.source).map(|source| source.env_vars.clone()).unwrap_or_default();
        if let Some(target) = self.target(ask).and_then(|target| self.stack(target)) {
            merged.extend(target.env_vars.clone());
        }
        merged
    }

    pub(super) fn vault_refs_resolve(&self, ask: &PromotionRequest) -> bool {
        let target = self.target(ask);
        let stacks = [Some(ask.payload.source), target].into_iter().flatten();
        if !stacks.filter_map(|id| self.stack(id)).any(speaks_of_vault) {
            return true;
        }
        let Binding { from, to, .. } = &ask.binding;
        self.merged_variables(ask).values().filter_map(|value| value.strip_prefix(VAULT)).all(|key| {
            let goes_along = ask.payload.copy_vault && self.vault.value(from, key).is_some();
            goes_along || self.vault.value(to, key).is_some()
        })
    }

    /// The binding of a promotion of this now, in addition to the digest.
    pub fn bound(&self, ask: &PromotionRequest, seal: &Seal) -> Bound {
        // A twin's target must not be there, and has no variables.
        if ask.is_twin() {
            return Bound::default();
        }
        let target = self.target(ask).and_then(|id| self.stack(id));
        let variables = self.merged_variables(ask);
        let mut keys: BTreeSet<&str> =
            variables.values().filter_map(|value| value.strip_prefix(VAULT)).collect();
        let Binding { from, to, .. } = &ask.binding;
        if ask.payload.copy_vault {
            keys.extend(
                self.vault.entries().iter().filter(|entry| entry.env == *from).map(|entry| &*entry.key),
            );
        }
        let in_vault = |key: &str| {
            let there = self.vault.value(to, key);
            let goes_along = || self.vault.value(from, key).filter(|_| ask.payload.copy_vault);
            let value = there.or_else(goes_along);
            let change = match (there, value) {
                (Some(_), _) => Difference::Unchanged,
                (None, Some(_)) => Difference::Added,
                (None, None) => Difference::Missing,
            };
            BoundValue { name: key.to_owned(), seal: value.map(|value| seal.seal(key, value)), change }
        };
        let vault = keys.iter().map(|key| in_vault(key)).collect();
        let of_target = |name: &str| target.is_some_and(|target| target.env_vars.contains_key(name));
        let variable = |(name, value): (&String, &String)| BoundValue {
            name: name.clone(),
            seal: Some(seal.seal(name, value)),
            change: if of_target(name) { Difference::Unchanged } else { Difference::Added },
        };
        let variables = variables.iter().map(variable).collect();
        let target = target.map(|target| BoundTarget {
            id: target.id,
            version: target.version,
            services: Arc::clone(&target.services),
        });
        Bound { target, variables, vault }
    }

    /// True if the target is another one than the approval is bound to, or was written since.
    pub(super) fn has_other_target(&self, ask: &PromotionRequest, bound: &Bound) -> bool {
        let now = if ask.is_twin() { None } else { self.target(ask).and_then(|id| self.stack(id)) };
        let bound = bound.target.as_ref();
        bound.map(|target| (target.id, target.version)) != now.map(|target| (target.id, target.version))
    }

    /// True if the target would get other values than the approval is bound to. A vault key that had no value when it was
    /// asked for may have got one since.
    pub(crate) fn has_other_values(&self, ask: &PromotionRequest, bound: &Bound, seal: &Seal) -> bool {
        let now = self.bound(ask, seal);
        let differ = |before: &[BoundValue], now: &[BoundValue]| {
            let differ = |(before, now): (&BoundValue, &BoundValue)| {
                before.name != now.name || (before.seal.is_some() && before.seal != now.seal)
            };
            before.len() != now.len() || before.iter().zip(now).any(differ)
        };
        differ(&bound.variables, &now.variables) || differ(&bound.vault, &now.vault)
    }

    /// Applies a commit except for the approval, its event and its job. Infallible: the refusals were checked before.
    /// `approved` is the record of the commit's approval.
    pub fn apply(
        &mut self,
        ask: &PromotionRequest,
        commit: Commit<'_>,
        approved: Option<&ApprovalRecord>,
        new_id: &mut dyn FnMut() -> Uuid,
    ) -> Applied {
        let mut applied = Applied::default();
        for op in commit.ops {
            match op {
                Change::Consume(_) => applied.consumed = true,
                Change::WriteTarget { trust_look } => {
                    let found =
                        if *trust_look { commit.target.map(|target| target.id) } else { self.target(ask) };
                    let id = found.unwrap_or_else(&mut *new_id);
                    let mine = |known: Target| known.created && known.id == id;
                    let created = found.is_none()
                        || applied.target.is_some_and(mine)
                        || commit.target.is_some_and(mine);
                    self.write_target(ask, commit, approved, id);
                    applied.target = Some(Target { id, created });
                }
                Change::WriteVault if ask.payload.copy_vault => {
                    let Binding { from, to, .. } = &ask.binding;
                    self.vault.copy(from, to, &mut applied.vault_keys);
                }
                Change::WriteVault => {}
                Change::Audit => applied.events += 1,
                Change::Enqueue { .. } => applied.enqueued = true,
                // `service::supports` refuses a flow with these.
                Change::Row { .. } | Change::Remember => {}
            }
        }
        applied
    }

    /// Creates or updates the target of this id; it is building then.
    ///
    /// A promotion that holds the approved services writes those, and not the source's current ones.
    fn write_target(
        &mut self,
        ask: &PromotionRequest,
        commit: Commit<'_>,
        approved: Option<&ApprovalRecord>,
        id: Uuid,
    ) {
        if ask.is_twin() {
            match self.resources.iter_mut().find(|other| other.id == id) {
                Some(twin) => twin.status = StackStatus::Building,
                None => self.create_twin(ask, id),
            }
            return;
        }
        let env_vars = self.merged_variables(ask);
        let Some(source) = self.stack(ask.payload.source) else { return };
        let services = match approved.filter(|record| record.approval.digest == commit.digest) {
            Some(record) => Arc::clone(&record.services),
            None => Arc::clone(&source.services),
        };
        match self.stacks.iter().position(|other| other.id == id) {
            Some(place) => {
                let target = &mut self.stacks[place];
                target.services = services;
                target.env_vars = env_vars;
                target.version += 1;
                target.status = StackStatus::Building;
            }
            None => {
                let target = Stack {
                    id,
                    name: ask.payload.name.as_ref().unwrap_or(&source.name).clone(),
                    env: ask.binding.to.clone(),
                    status: StackStatus::Building,
                    parent: Some(ask.payload.source),
                    root: source.root,
                    services,
                    env_vars,
                    version: 0,
                };
                self.stacks.push(target);
            }
        }
    }

    fn create_twin(&mut self, ask: &PromotionRequest, id: Uuid) {
        let Some(source) = self.resource(ask.payload.source) else { return };
        let twin = Resource {
            id,
            name: ask.payload.name.clone().unwrap_or_else(|| source.name.clone()),
            kind: source.kind,
            env: ask.binding.to.clone(),
            root: source.root,
            status: StackStatus::Building,
        };
        self.resources.push(twin);
    }

    /// A deploy has ended: its target, or else the first one of what the approval asked for, is no longer building.
    /// The id of what has changed, if anything has.
    pub fn settle(
        &mut self,
        asked: &PromotionRequest,
        target: Option<Uuid>,
        ended: StackStatus,
    ) -> Option<Uuid> {
        let target = target.or_else(|| self.target(asked))?;
        self.end_building(target, ended)
    }

    /// This one is no longer building. Its id, if it was.
    pub fn end_building(&mut self, target: Uuid, ended: StackStatus) -> Option<Uuid> {
        let stacks = self.stacks.iter_mut().map(|stack| (stack.id, &mut stack.status));
        let twins = self.resources.iter_mut().map(|twin| (twin.id, &mut twin.status));
        let (_, building) =
            stacks.chain(twins).find(|(id, status)| *id == target && **status == StackStatus::Building)?;
        *building = ended;
        Some(target)
    }

    /// The request for which an approval was made.
    pub fn asked(record: &ApprovalRecord) -> PromotionRequest {
        let crate::protocol::Approval { team, requested_by, .. } = &*record.approval;
        PromotionRequest {
            team: *team,
            binding: record.binding.clone(),
            requested_by: requested_by.clone(),
            payload: record.payload.clone(),
            key: None,
        }
    }

    /// The services of a source as they are approved.
    pub fn services_to_approve(&self, ask: &PromotionRequest) -> Arc<[Service]> {
        self.stack(ask.payload.source).map_or_else(|| Arc::from([]), |stack| Arc::clone(&stack.services))
    }
}

fn speaks_of_vault(stack: &Stack) -> bool {
    stack.env_vars.values().any(|value| value.starts_with(VAULT))
}
