//! Teams, stacks, resources and vaults: their setup, and the inspection of their state.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use super::{ApprovalEntry, MemoryStore, TeamState, Tenant, no_such_team};
use crate::{
    platform::Environment,
    protocol::{Refusal, Timestamp},
    store::{
        ApprovalRecord, AuditKind, BreakGlass, GlassBroken, Job, NewResource, NewStack, Query, Resource,
        Service, Stack, StackStatus, StoreError, Team, TenantState, Tenants, Vault, VaultEntry, Way,
        memory::strategy::{IdMap, Record, Strategy},
    },
};

/// A team's records, as of one moment.
#[derive(Clone, Copy)]
pub struct Records<'a> {
    /// The team's tier and limits.
    pub team: Team,
    /// The stacks, oldest first.
    pub stacks: &'a [Stack],
    /// The resources, oldest first.
    pub resources: &'a [Resource],
    /// The vault of each environment.
    pub vault: &'a Vault,
    /// The events, oldest first.
    pub events: &'a [Event],
    approvals: &'a IdMap<Box<ApprovalEntry>>,
}

impl<'a> Records<'a> {
    /// The ids of all approvals, in no order that means anything.
    pub fn approvals(&self) -> impl Iterator<Item = Uuid> + 'a {
        self.approvals.keys().copied()
    }

    /// The approval as it was requested. [`MemoryStore::standing`] has its present status.
    pub fn approval(&self, id: Uuid) -> Option<&'a ApprovalRecord> {
        self.approvals.get(&id).map(|entry| &entry.record)
    }

    /// The launch job of an approval, if it has one.
    pub fn job(&self, approval: Uuid) -> Option<&'a Job> {
        Some(&self.approvals.get(&approval)?.job.as_ref()?.job)
    }

    /// The fencing number of an approval's lease that was given last, and when it runs out; `None` before the first.
    pub fn lease(&self, approval: Uuid) -> Option<(u64, Timestamp)> {
        let entry = self.approvals.get(&approval)?;
        entry.lease.as_ref().map(|_| (entry.fence(), entry.leased_until()))
    }
}

/// An event, without what its approval's record says already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Kind of the event.
    pub kind: AuditKind,
    /// To which approval.
    pub approval: Uuid,
    pub(super) at: Timestamp,
    /// The user that caused the event; `None` for the operator.
    pub(super) by: Option<Arc<str>>,
    pub(super) way: Option<Way>,
    pub(super) reason: Option<Arc<str>>,
    /// The place of the approval's event before.
    pub(super) before: Option<u32>,
}

impl<S: Strategy> MemoryStore<S> {
    /// Current state of an approval.
    pub fn standing(&self, approval: Uuid) -> Option<Record> {
        self.standings.read(approval)
    }

    /// Reads a team's records at one moment; `None` for an unknown team.
    pub fn look<T>(&self, team: Uuid, look: impl FnOnce(Records<'_>) -> T) -> Option<T> {
        self.with_team(team, |team| {
            let TeamState { tenant_state, events, approvals, .. } = team;
            let TenantState { team, stacks, resources, vault, .. } = tenant_state;
            look(Records { team: *team, stacks, resources, vault, events, approvals })
        })
    }
}

impl<S: Strategy> Tenants for MemoryStore<S> {
    async fn put_team(&self, id: Uuid, team: Team) -> Result<(), StoreError> {
        let mut teams = self.teams.write();
        let tenant = teams.entry(id).or_insert_with(|| Arc::new(Tenant::new(id, TeamState::new(team))));
        tenant.state().tenant_state.team = team;
        Ok(())
    }

    async fn create_stack(&self, team: Uuid, stack: NewStack) -> Result<Result<Stack, Refusal>, StoreError> {
        let id = self.ids.next();
        let create = |team: &mut TeamState| {
            if team.tenant_state.has_no_room() {
                return Err(Refusal::DEPLOYMENT_LIMIT_REACHED);
            }
            let root = match stack.parent {
                Some(parent) => team.tenant_state.stack(parent).ok_or(Refusal::NOT_FOUND)?.root,
                None => id,
            };
            let stack = stack.deployed(id, root);
            team.tenant_state.stacks.push(stack.clone());
            Ok(stack)
        };
        self.with_team(team, create).ok_or_else(no_such_team)
    }

    async fn stack(&self, team: Uuid, slug: &str) -> Result<Option<Stack>, StoreError> {
        let find = |team: &mut TeamState| team.by_slug(slug).cloned();
        Ok(self.with_team(team, find).flatten())
    }

    async fn stack_by_id(&self, team: Uuid, id: Uuid) -> Result<Option<Stack>, StoreError> {
        Ok(self.with_team(team, |team| team.tenant_state.stack(id).cloned()).flatten())
    }

    async fn family(&self, team: Uuid, root: Uuid) -> Result<Vec<Stack>, StoreError> {
        let members = |team: &mut TeamState| {
            team.tenant_state.stacks.iter().filter(|stack| stack.root == root).cloned().collect()
        };
        Ok(self.with_team(team, members).unwrap_or_default())
    }

    async fn put_image(
        &self,
        team: Uuid,
        slug: &str,
        service: &str,
        image_ref: &str,
    ) -> Result<Option<Stack>, StoreError> {
        let put = |team: &mut TeamState| {
            let stack = team.by_slug(slug)?;
            let mut services = stack.services.to_vec();
            services.iter_mut().find(|other| other.name == service)?.image_ref = Some(image_ref.to_owned());
            stack.services = services.into();
            stack.version += 1;
            Some(stack.clone())
        };
        Ok(self.with_team(team, put).flatten())
    }

    async fn put_services(
        &self,
        team: Uuid,
        stack: Uuid,
        services: Vec<Service>,
    ) -> Result<bool, StoreError> {
        let put = |team: &mut TeamState| match team
            .tenant_state
            .stacks
            .iter_mut()
            .find(|other| other.id == stack)
        {
            Some(stack) => {
                stack.services = services.into();
                stack.version += 1;
                true
            }
            None => false,
        };
        Ok(self.with_team(team, put).unwrap_or(false))
    }

    async fn patch_env(
        &self,
        team: Uuid,
        slug: &str,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<Option<Stack>, StoreError> {
        let patch = |team: &mut TeamState| {
            let stack = team.by_slug(slug)?;
            for (name, value) in changes {
                match value {
                    Some(value) => stack.env_vars.insert(name.clone(), value.clone()),
                    None => stack.env_vars.remove(name),
                };
            }
            stack.version += 1;
            Some(stack.clone())
        };
        Ok(self.with_team(team, patch).flatten())
    }

    async fn put_vault(
        &self,
        team: Uuid,
        env: &Environment,
        key: &str,
        value: &str,
    ) -> Result<(), StoreError> {
        let entry = VaultEntry { env: env.clone(), key: key.into(), value: value.into() };
        self.with_team(team, |team| team.tenant_state.vault.put(entry)).ok_or_else(no_such_team)
    }

    async fn break_glass(&self, team: Uuid, what: BreakGlass) -> Result<(), StoreError> {
        let at = self.clock.now();
        let write = |team: &mut TeamState| team.glass_broken.push(GlassBroken { at, what });
        self.with_team(team, write).ok_or_else(no_such_team)
    }

    async fn glass_broken(&self, team: Uuid) -> Result<Vec<GlassBroken>, StoreError> {
        let latest =
            |team: &mut TeamState| team.glass_broken.iter().rev().take(Query::MAX_LIMIT).cloned().collect();
        Ok(self.with_team(team, latest).unwrap_or_default())
    }

    async fn create_resource(&self, team: Uuid, resource: NewResource) -> Result<Resource, StoreError> {
        let id = self.ids.next();
        let NewResource { name, kind, env } = resource;
        let resource = Resource { id, name, kind, env, root: id, status: StackStatus::Healthy };
        let create = |team: &mut TeamState| team.tenant_state.resources.push(resource.clone());
        self.with_team(team, create).ok_or_else(no_such_team)?;
        Ok(resource)
    }

    async fn resource(&self, team: Uuid, id: Uuid) -> Result<Option<Resource>, StoreError> {
        Ok(self.with_team(team, |team| team.tenant_state.resource(id).cloned()).flatten())
    }
}

impl TeamState {
    fn by_slug(&mut self, slug: &str) -> Option<&mut Stack> {
        self.tenant_state.stacks.iter_mut().find(|stack| stack.slug() == slug)
    }
}
