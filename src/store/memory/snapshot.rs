//! A copy of the whole store, for a caller that tries more than one continuation of the same state.

use std::sync::Arc;

use super::{
    Directory, MemoryStore, Tenant,
    locks::{Lock, Rank, SharedLock},
};
use crate::{
    store::memory::strategy::Strategy,
    store::{Clock, Ids},
};

impl<S: Strategy + Default> MemoryStore<S> {
    /// A copy that goes its own way, by another clock and with other ids. The caller keeps other threads off the store
    /// meanwhile: two teams are copied one after the other.
    pub fn snapshot(&self, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        let standings = S::default();
        self.standings.for_each(&mut |id, record| {
            let same = standings.insert(id, record);
            debug_assert_eq!(id, same, "a copy is filled in the order of the original");
        });
        let copy = |tenant: &Arc<Tenant>| {
            let state = tenant.state().clone();
            (tenant.id, Arc::new(Tenant::new(tenant.id, state)))
        };
        let teams: crate::store::memory::strategy::IdMap<_> = self.teams().values().map(copy).collect();
        let directory = self.directory.lock();
        let Directory { owners, by_token, approvers, jobs, notices } = &*directory;
        let owners = owners.iter().filter_map(|(id, owner)| Some((*id, Arc::clone(teams.get(&owner.id)?))));
        let copied = Directory {
            owners: owners.collect(),
            by_token: by_token.clone(),
            approvers: approvers.clone(),
            jobs: jobs.clone(),
            notices: notices.clone(),
        };
        Self {
            standings,
            teams: SharedLock::new(Rank::Teams, teams),
            directory: Lock::new(Rank::Directory, copied),
            lease_clock: self.lease_clock.going_by(Arc::clone(&clock)),
            clock,
            ids,
            preflight: Arc::clone(&self.preflight),
            seal: self.seal,
        }
    }
}
