//! The outbox: launch jobs, their leases with fencing numbers, and what a deploy's end settles.

use uuid::Uuid;

use super::{MemoryStore, TeamState, locked};
use crate::{
    protocol::Timestamp,
    store::{Estate, Job, JobState, Lease, StackStatus},
    strategy::Strategy,
};

impl<S: Strategy> MemoryStore<S> {
    pub(super) fn lease_now(&self, until: Timestamp) -> Option<Lease> {
        let outbox = locked(&self.directory).outbox.clone();
        outbox.into_iter().find_map(|approval| {
            let team = self.team_of_approval(approval)?;
            let mut team = locked(&team);
            let now = self.clock.now();
            let job = team.jobs.get_mut(&approval)?;
            let fence = match job.state {
                JobState::Ready => 1,
                JobState::Leased { fence, until } if until <= now => fence + 1,
                JobState::Leased { .. } | JobState::Done => return None,
            };
            job.state = JobState::Leased { fence, until };
            let Job { approval, digest, target, .. } = **job;
            Some(Lease { approval, digest, target, fence })
        })
    }

    pub(super) fn renew_now(&self, lease: &Lease, until: Timestamp) -> bool {
        let Some(team) = self.team_of_approval(lease.approval) else { return false };
        locked(&team).holder_moves(lease, JobState::Leased { fence: lease.fence, until })
    }

    pub(super) fn finish_now(&self, lease: &Lease, ended: StackStatus) -> bool {
        let Some(team) = self.team_of_approval(lease.approval) else { return false };
        let mut team = locked(&team);
        let holds = team.holder_moves(lease, JobState::Done);
        if holds {
            team.settle(lease.approval, lease.target, ended);
        }
        holds
    }

    pub(super) fn settle_now(&self, approval: Uuid, target: Option<Uuid>, status: StackStatus) {
        let Some(team) = self.team_of_approval(approval) else { return };
        locked(&team).settle(approval, target, status);
    }
}

impl TeamState {
    /// Moves the job if the lease is still the latest.
    fn holder_moves(&mut self, lease: &Lease, state: JobState) -> bool {
        match self.jobs.get_mut(&lease.approval) {
            Some(job) if matches!(job.state, JobState::Leased { fence, .. } if fence == lease.fence) => {
                job.state = state;
                true
            }
            _ => false,
        }
    }

    fn settle(&mut self, approval: Uuid, target: Option<Uuid>, ended: StackStatus) {
        if let Some(record) = self.approvals.get(&approval) {
            self.estate.settle(&Estate::asked(record), target, ended);
        }
    }
}
