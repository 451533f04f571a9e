//! The leases of approvals: which attempt may run now.

use uuid::Uuid;

use super::{ApprovalEntry, MemoryStore, TeamState, after};
use crate::{
    protocol::{Timestamp, lease},
    store::memory::strategy::Strategy,
    store::{APPROVAL_LEASE_MS, Clock as _, Leased},
};

/// The lease that was taken last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LeaseRow {
    fence: u64,
    until: Timestamp,
}

impl ApprovalEntry {
    /// The fencing number that was given last; 0 when none was.
    pub(super) fn fence(&self) -> u64 {
        self.lease.as_ref().map_or(0, |row| row.fence)
    }

    /// End of the latest lease; in the past without one.
    pub(super) fn leased_until(&self) -> Timestamp {
        self.lease.as_ref().map_or(Timestamp(0), |row| row.until)
    }
}

impl<S: Strategy> MemoryStore<S> {
    pub(super) fn take_lease(&self, team: Uuid, approval: Uuid) -> Leased {
        let take = |team: &mut TeamState| {
            // Another team's is in another entry.
            let Some(entry) = team.approvals.get_mut(&approval) else {
                return Leased::Absent;
            };
            let now = self.lease_clock.now();
            match lease(entry.fence(), entry.leased_until(), now) {
                Ok(fence) => {
                    let until = after(now, APPROVAL_LEASE_MS);
                    entry.lease = Some(Box::new(LeaseRow { fence, until }));
                    Leased::Taken { fence }
                }
                Err(until) => Leased::Held { until },
            }
        };
        self.with_team(team, take).unwrap_or(Leased::Absent)
    }

    pub(super) fn give_lease_back(&self, team: Uuid, approval: Uuid, fence: u64) {
        self.with_team(team, |team| {
            let row = team.approvals.get_mut(&approval).and_then(|entry| entry.lease.as_mut());
            if let Some(row) = row.filter(|row| row.fence == fence) {
                row.until = Timestamp(0);
            }
        });
    }
}
