//! The outbox: launch jobs, their leases with fencing numbers, and what a deploy's end settles.

use uuid::Uuid;

use super::{
    Directory, Filed, MemoryStore, TeamState, Tenant, locked,
    queue::{Place, Row, Turn},
};
use crate::{
    protocol::Timestamp,
    store::{Estate, Job, JobState, Lease, StackStatus},
    strategy::Strategy,
};

/// A job, with its place in the queue.
#[derive(Clone, Debug)]
pub(super) struct JobRow {
    pub(super) job: Job,
    place: Place,
}

impl Row for JobRow {
    fn place(&mut self) -> &mut Place {
        &mut self.place
    }

    fn turn(&self, now: Timestamp) -> Turn {
        match self.job.state {
            JobState::Leased { until, .. } if now < until => Turn::NotBefore(until),
            JobState::Ready | JobState::Leased { .. } => Turn::Now,
            JobState::Done => Turn::Over,
        }
    }
}

fn job_of(filed: &mut Filed) -> Option<&mut JobRow> {
    filed.job.as_deref_mut()
}

impl Directory {
    /// Writes the job of an approval that this team has, unless there is one.
    pub(super) fn write_job(&mut self, owner: &Tenant, job: Job) {
        let Self { filed, jobs, .. } = self;
        let approval = job.approval;
        let mine = filed.get_mut(&approval).filter(|filed| filed.owner.id == owner.id);
        if let Some(filed) = mine.filter(|filed| filed.job.is_none()) {
            filed.job = Some(Box::new(JobRow { job, place: jobs.add(approval) }));
        }
    }

    /// The job, if the lease is still the latest.
    fn held(&mut self, lease: &Lease) -> Option<&mut JobRow> {
        let row = self.filed.get_mut(&lease.approval)?.job.as_mut()?;
        let latest = matches!(row.job.state, JobState::Leased { fence, .. } if fence == lease.fence);
        latest.then_some(row)
    }
}

impl<S: Strategy> MemoryStore<S> {
    pub(super) fn lease_now(&self, until: Timestamp) -> Option<Lease> {
        let mut directory = locked(&self.directory);
        let Directory { filed, jobs, .. } = &mut *directory;
        let approval = jobs.next(filed, job_of, self.clock.now())?;
        let row = filed.get_mut(&approval).and_then(job_of)?;
        let fence = match row.job.state {
            JobState::Leased { fence, .. } => fence + 1,
            JobState::Ready | JobState::Done => 1,
        };
        row.job.state = JobState::Leased { fence, until };
        jobs.put_off(approval, &mut row.place, until);
        let Job { digest, target, .. } = row.job;
        Some(Lease { approval, digest, target, fence })
    }

    pub(super) fn renew_now(&self, lease: &Lease, until: Timestamp) -> bool {
        let mut directory = locked(&self.directory);
        let Some(row) = directory.held(lease) else { return false };
        row.job.state = JobState::Leased { fence: lease.fence, until };
        let mut place = row.place;
        directory.jobs.moved(lease.approval, &mut place, until);
        if let Some(row) = directory.held(lease) {
            row.place = place;
        }
        true
    }

    pub(super) fn finish_now(&self, lease: &Lease, ended: StackStatus) -> bool {
        let Some(owner) = self.owner(lease.approval) else { return false };
        let mut team = owner.state();
        {
            let mut directory = locked(&self.directory);
            let Some(row) = directory.held(lease) else { return false };
            row.job.state = JobState::Done;
        }
        team.settle(lease.approval, lease.target, ended);
        true
    }

    pub(super) fn settle_now(&self, approval: Uuid, target: Option<Uuid>, status: StackStatus) {
        self.with_owner(approval, |team| team.settle(approval, target, status));
    }
}

impl TeamState {
    fn settle(&mut self, approval: Uuid, target: Option<Uuid>, ended: StackStatus) {
        let Self { estate, approvals, .. } = self;
        let first = || estate.target(&Estate::asked(&approvals.get(&approval)?.record));
        if let Some(target) = target.or_else(first).filter(|_| approvals.contains_key(&approval)) {
            estate.end_building(target, ended);
        }
    }
}
