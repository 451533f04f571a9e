//! Teams, stacks, resources and vaults: what there is before anybody promotes, and what can be looked at after.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;

use super::{Folder, MemoryStore, TeamState, Tenant};
use crate::{
    protocol::{Digest, Environment, Refusal, Timestamp},
    store::{
        ApprovalRecord, Ask, AuditKind, EnvVars, Job, JobState, NewResource, NewStack, Resource,
        ResourceKind, Service, Stack, StackStatus, StoreError, Team, Tenants, VaultEntry,
    },
    strategy::{IdMap, Record, Strategy},
};

/// A team's records, as of one moment.
#[derive(Clone, Copy)]
pub struct Records<'a> {
    /// The stacks, oldest first.
    pub stacks: &'a [Stack],
    /// The events, oldest first.
    pub events: &'a [Event],
    approvals: &'a IdMap<Box<Folder>>,
}

impl Records<'_> {
    /// The ids of all approvals, in no order that means anything.
    pub fn approvals(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.approvals.keys().copied()
    }

    /// The approval as it was requested. How it stands now, [`MemoryStore::standing`] says.
    pub fn approval(&self, id: Uuid) -> Option<&ApprovalRecord> {
        self.approvals.get(&id).map(|folder| &folder.record)
    }

    /// Where an approval's launch job is; none when there is none.
    pub fn job_state(&self, approval: Uuid) -> Option<JobState> {
        self.approvals.get(&approval)?.job_state()
    }
}

/// An event, without what its approval's record says already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: AuditKind,
    /// To which approval.
    pub approval: Uuid,
    pub(super) at: Timestamp,
    /// Who did it; none: the operator.
    pub(super) by: Option<Arc<str>>,
    /// The place of the approval's event before.
    pub(super) before: Option<u32>,
}

impl<S: Strategy> MemoryStore<S> {
    /// Adds a team, or changes what it pays for.
    pub fn put_team(&self, id: Uuid, team: Team) {
        let mut teams = self.teams.write().unwrap_or_else(PoisonError::into_inner);
        let state = || Mutex::new(TeamState::new(team));
        let tenant = teams.entry(id).or_insert_with(|| Arc::new(Tenant { id, state: state() }));
        tenant.state().estate.team = team;
    }

    /// Deploys a stack of its own; none when there is no such team.
    pub fn create_stack(
        &self,
        team: Uuid,
        name: &str,
        env: Environment,
        services: impl Into<Arc<[Service]>>,
        env_vars: EnvVars,
    ) -> Option<Uuid> {
        let id = self.ids.next();
        let status = StackStatus::Healthy;
        let (name, services) = (name.to_owned(), services.into());
        let stack = Stack { id, name, env, status, parent: None, root: id, services, env_vars };
        self.with_team(team, |team| {
            team.estate.stacks.push(stack);
            id
        })
    }

    /// Makes a stack a member of another one's family; false when one of the two is not there.
    pub fn adopt_stack(&self, team: Uuid, stack: Uuid, parent: Uuid) -> bool {
        self.with_team(team, |team| team.estate.adopt(stack, parent)).unwrap_or(false)
    }

    /// Provisions a resource; none when there is no such team.
    pub fn create_resource(
        &self,
        team: Uuid,
        name: &str,
        kind: ResourceKind,
        env: Environment,
    ) -> Option<Uuid> {
        let id = self.ids.next();
        let status = StackStatus::Healthy;
        let resource = Resource { id, name: name.to_owned(), kind, env, root: id, status };
        self.with_team(team, |team| team.estate.resources.push(resource)).map(|()| id)
    }

    /// Sets the services of a stack: a new build of it. False when there is none.
    pub fn put_services(&self, team: Uuid, stack: Uuid, services: impl Into<Arc<[Service]>>) -> bool {
        let services = services.into();
        let put = |team: &mut TeamState| match team.estate.stacks.iter_mut().find(|other| other.id == stack) {
            Some(stack) => {
                stack.services = services;
                true
            }
            None => false,
        };
        self.with_team(team, put).unwrap_or(false)
    }

    /// Sets a vault key; false when there is no such team.
    pub fn put_vault(&self, team: Uuid, env: Environment, key: &str, value: &str) -> bool {
        let entry = VaultEntry { env, key: key.into(), value: value.into() };
        let put = |team: &mut TeamState| team.estate.vault.put(entry);
        self.with_team(team, put).is_some()
    }

    /// The value of a vault key.
    pub fn vault(&self, team: Uuid, env: &Environment, key: &str) -> Option<String> {
        self.with_team(team, |team| team.estate.vault.value(env, key).map(|value| value.as_ref().to_owned()))
            .flatten()
    }

    /// A team's stacks, oldest first.
    pub fn stacks(&self, team: Uuid) -> Vec<Stack> {
        self.with_team(team, |team| team.estate.stacks.clone()).unwrap_or_default()
    }

    /// A team's resources, oldest first.
    pub fn resources(&self, team: Uuid) -> Vec<Resource> {
        self.with_team(team, |team| team.estate.resources.clone()).unwrap_or_default()
    }

    /// The launch job of an approval.
    pub fn job(&self, team: Uuid, approval: Uuid) -> Option<Job> {
        let job =
            |team: &mut TeamState| team.approvals.get(&approval)?.job.as_ref().map(|row| row.job.clone());
        self.with_team(team, job).flatten()
    }

    /// The fencing number of an approval's lease that was given last, and when it runs out; none before the first.
    pub fn lease(&self, team: Uuid, approval: Uuid) -> Option<(u64, Timestamp)> {
        let lease = |team: &mut TeamState| {
            let folder = team.approvals.get(&approval)?;
            folder.lease.as_ref().map(|_| (folder.fence(), folder.leased_until()))
        };
        self.with_team(team, lease).flatten()
    }

    /// Where an approval's launch job is; none when there is none.
    pub fn job_state(&self, approval: Uuid) -> Option<JobState> {
        self.with_owner(approval, |team| team.approvals.get(&approval)?.job_state()).flatten()
    }

    /// The most stacks that a team may have; none when there is no such team.
    pub fn deployment_cap(&self, team: Uuid) -> Option<usize> {
        self.with_team(team, |team| team.estate.team.deployment_cap)
    }

    /// How an approval stands now.
    pub fn standing(&self, approval: Uuid) -> Option<Record> {
        self.standings.read(approval)
    }

    /// Looks at a team's records as they are at one moment; none when there is no such team.
    pub fn look<T>(&self, team: Uuid, look: impl FnOnce(Records<'_>) -> T) -> Option<T> {
        self.with_team(team, |team| {
            look(Records { stacks: &team.estate.stacks, events: &team.events, approvals: &team.approvals })
        })
    }

    /// What `ask` would launch now; none when there is no such team.
    pub fn digest(&self, ask: &Ask) -> Option<Digest> {
        self.with_team(ask.request.team, |team| team.digest(ask))
    }

    /// From now on this part of the platform fails for the team, with this refusal, wherever a step lists it.
    pub fn begin_outage(&self, team: Uuid, refusal: Refusal) {
        self.with_team(team, |team| team.estate.outages.insert(refusal));
    }

    /// It works again.
    pub fn end_outage(&self, team: Uuid, refusal: &Refusal) {
        self.with_team(team, |team| team.estate.outages.remove(refusal));
    }
}

impl<S: Strategy> Tenants for MemoryStore<S> {
    async fn put_team(&self, id: Uuid, team: Team) -> Result<(), StoreError> {
        MemoryStore::put_team(self, id, team);
        Ok(())
    }

    async fn create_stack(&self, team: Uuid, stack: NewStack) -> Result<Result<Stack, Refusal>, StoreError> {
        let id = self.ids.next();
        let NewStack { name, env, services, env_vars } = stack;
        let (status, services) = (StackStatus::Healthy, services.into());
        let stack = Stack { id, name, env, status, parent: None, root: id, services, env_vars };
        let create = |team: &mut TeamState| {
            if team.estate.has_no_room() {
                return Err(Refusal::DEPLOYMENT_LIMIT_REACHED);
            }
            team.estate.stacks.push(stack.clone());
            Ok(stack)
        };
        self.with_team(team, create).ok_or(StoreError::NotApplied)
    }

    async fn stack(&self, team: Uuid, slug: &str) -> Result<Option<Stack>, StoreError> {
        let find = |team: &mut TeamState| team.by_slug(slug).cloned();
        Ok(self.with_team(team, find).flatten())
    }

    async fn stack_by_id(&self, team: Uuid, id: Uuid) -> Result<Option<Stack>, StoreError> {
        Ok(self.with_team(team, |team| team.estate.stack(id).cloned()).flatten())
    }

    async fn family(&self, team: Uuid, root: Uuid) -> Result<Vec<Stack>, StoreError> {
        let members = |team: &mut TeamState| {
            team.estate.stacks.iter().filter(|stack| stack.root == root).cloned().collect()
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
            Some(stack.clone())
        };
        Ok(self.with_team(team, put).flatten())
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
        let there = MemoryStore::put_vault(self, team, env.clone(), key, value);
        if there { Ok(()) } else { Err(StoreError::NotApplied) }
    }

    async fn create_resource(&self, team: Uuid, resource: NewResource) -> Result<Resource, StoreError> {
        let id = self.ids.next();
        let NewResource { name, kind, env } = resource;
        let resource = Resource { id, name, kind, env, root: id, status: StackStatus::Healthy };
        let create = |team: &mut TeamState| team.estate.resources.push(resource.clone());
        self.with_team(team, create).ok_or(StoreError::NotApplied)?;
        Ok(resource)
    }

    async fn resource(&self, team: Uuid, id: Uuid) -> Result<Option<Resource>, StoreError> {
        Ok(self.with_team(team, |team| team.estate.resource(id).cloned()).flatten())
    }
}

impl TeamState {
    fn by_slug(&mut self, slug: &str) -> Option<&mut Stack> {
        self.estate.stacks.iter_mut().find(|stack| stack.slug() == slug)
    }
}
