//! Copies of a store that go their own way, for harnesses that look at more than one continuation.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;

use super::{Directory, Folder, Known, MemoryStore, TeamState, Tenant, locked};
use crate::{
    store::{Clock, Estate, Ids, Stack},
    strategy::{IdMap, Strategy},
};

impl<S: Strategy + Default> MemoryStore<S> {
    /// A copy that goes its own way, by another clock.
    pub fn fork(&self, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        let mut fork = Self::new(clock, ids);
        fork.set_back(self);
        self.standings.for_each(&mut |id, record| {
            let same = fork.standings.insert(id, record);
            debug_assert_eq!(id, same, "a copy is filled in the order of the original");
        });
        fork
    }
}

impl<S: Strategy> MemoryStore<S> {
    /// Has again what `original` has, of which it is a copy, and nothing else: cheaper than a new fork where most of it is
    /// the same. The original has not changed since, and ids that were given out since are not given out again.
    ///
    /// The standings are the caller's to set back, as the clock and the ids are; those of approvals that have come since
    /// are of nothing, and stay.
    pub fn set_back(&mut self, original: &Self) {
        let teams = self.teams.get_mut().unwrap_or_else(PoisonError::into_inner);
        let directory = self.directory.get_mut().unwrap_or_else(PoisonError::into_inner);
        let originals = original.teams();
        if same_keys(teams, &originals) {
            for (id, tenant) in originals.iter() {
                teams[id].state().set_back(&tenant.state());
            }
        } else {
            let copy = |tenant: &Arc<Tenant>| {
                let state = Mutex::new(tenant.state().clone());
                (tenant.id, Arc::new(Tenant { id: tenant.id, state }))
            };
            *teams = originals.values().map(copy).collect();
            // Those that there are, are of teams that are gone.
            *directory = Directory::default();
        }
        directory.set_back(&locked(&original.directory), teams);
    }
}

fn same_keys<T>(one: &IdMap<T>, other: &IdMap<T>) -> bool {
    one.len() == other.len() && one.keys().all(|id| other.contains_key(id))
}

// What there is, is named in full: a part that is added is missed here first.

impl Directory {
    fn set_back(&mut self, original: &Self, teams: &IdMap<Arc<Tenant>>) {
        let Self { owners, by_token, jobs, notices } = self;
        // Approvals come with their token, and never go.
        if !same_keys(owners, &original.owners) {
            by_token.clone_from(&original.by_token);
            let owner = |(id, owner): (&Uuid, &Arc<Tenant>)| Some((*id, Arc::clone(teams.get(&owner.id)?)));
            *owners = original.owners.iter().filter_map(owner).collect();
        }
        jobs.clone_from(&original.jobs);
        notices.clone_from(&original.notices);
        debug_assert_eq!(*by_token, original.by_token, "each token is an approval's");
    }
}

impl TeamState {
    fn set_back(&mut self, original: &Self) {
        let Self { estate, approvals, events, digests, asked_under, keys, deploy_logs, strays } = self;
        let Estate { team, stacks, other_stacks, resources, vault, outages } = estate;
        (*team, *other_stacks) = (original.estate.team, original.estate.other_stacks);
        set_list_back(stacks, &original.estate.stacks, Stack::set_back);
        set_list_back(resources, &original.estate.resources, set_back);
        vault.set_back(&original.estate.vault);
        set_back(outages, &original.estate.outages);
        for (id, folder) in &original.approvals {
            match approvals.get_mut(id) {
                Some(known) => known.set_back(folder),
                None => {
                    approvals.insert(*id, folder.clone());
                }
            }
        }
        // All of the original's are there by now.
        if approvals.len() > original.approvals.len() {
            approvals.retain(|id, _| original.approvals.contains_key(id));
        }
        // Events are written once, and stay as they are.
        events.truncate(original.events.len());
        events.extend_from_slice(&original.events[events.len()..]);
        set_list_back(digests, &original.digests, Known::set_back);
        set_map_back(asked_under, &original.asked_under);
        set_map_back(keys, &original.keys);
        set_back(deploy_logs, &original.deploy_logs);
        set_map_back(strays, &original.strays);
        debug_assert_eq!(self, original, "it has what the original has");
    }
}

impl Stack {
    fn set_back(&mut self, original: &Self) {
        if self.id != original.id {
            self.clone_from(original);
        }
        let Self { id: _, name: _, env: _, status, parent, root, services, env_vars } = self;
        (*status, *parent, *root) = (original.status, original.parent, original.root);
        set_shared_back(services, &original.services);
        set_map_back(env_vars, &original.env_vars);
    }
}

impl Known {
    fn set_back(&mut self, original: &Self) {
        // What else there is in it, the digest says.
        if self.digest != original.digest {
            self.clone_from(original);
        } else if let (Some(services), Some(original)) = (&mut self.services, &original.services) {
            set_shared_back(services, original);
        }
    }
}

impl Folder {
    fn set_back(&mut self, original: &Self) {
        if !Arc::ptr_eq(&self.record.approval, &original.record.approval) {
            // It is no copy, and has another approval of this id.
            self.clone_from(original);
        }
        self.bring_up_to_date(original.row.status);
        // What was asked for never changes, and neither does anything else of its row.
        let Self { record: _, row: _, last_event, execution, job, notice, lease } = self;
        (*last_event, *notice) = (original.last_event, original.notice);
        set_back(execution, &original.execution);
        set_back(job, &original.job);
        set_back(lease, &original.lease);
    }
}

fn set_back<T: Clone + PartialEq>(part: &mut T, original: &T) {
    if part != original {
        part.clone_from(original);
    }
}

fn set_shared_back<T: ?Sized>(shared: &mut Arc<T>, original: &Arc<T>) {
    if !Arc::ptr_eq(shared, original) {
        *shared = Arc::clone(original);
    }
}

fn set_list_back<T: Clone>(list: &mut Vec<T>, original: &[T], set_back: fn(&mut T, &T)) {
    list.truncate(original.len());
    for (part, original) in list.iter_mut().zip(original) {
        set_back(part, original);
    }
    list.extend_from_slice(&original[list.len()..]);
}

fn set_map_back<K: Clone + Ord, T: Clone + PartialEq>(map: &mut BTreeMap<K, T>, original: &BTreeMap<K, T>) {
    if map.is_empty() && original.is_empty() {
        return;
    }
    if map.len() > original.len() {
        map.retain(|key, part| original.get(key) == Some(part));
        // None of them is any different.
        if map.len() == original.len() {
            return;
        }
    }
    set_back(map, original);
}
