//! The outbox: launch jobs, their leases with fencing numbers, and what a deploy's end settles.

use std::{collections::VecDeque, sync::Arc};

use uuid::Uuid;

use super::{
    ApprovalEntry, Directory, MemoryStore, TeamState, Tenant, after,
    queue::{Place, Queue, Ticket},
};
use crate::{
    store::memory::strategy::Strategy,
    store::{Clock as _, Job, JobState, Lease, StackStatus, TenantState},
};

/// A job, with its place in the queue.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct JobRow {
    pub(super) job: Job,
    place: Place,
}

/// The launches for one target: one at a time, in the order of use.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TargetLaunches {
    /// The approvals whose jobs are not done, oldest first. Only the first one's may be leased.
    unfinished: VecDeque<Uuid>,
    /// The fencing number that was given last.
    fence: u64,
}

impl TargetLaunches {
    pub(super) fn add(&mut self, approval: Uuid) {
        self.unfinished.push_back(approval);
    }

    fn is_next(&self, approval: Uuid) -> bool {
        self.unfinished.front() == Some(&approval)
    }
}

impl<S: Strategy> MemoryStore<S> {
    /// Writes the job of an approval that has none.
    pub(super) fn write_job(&self, entry: &mut ApprovalEntry, team: Uuid, job: Job) {
        let place = self.directory.lock().jobs.add(job.approval, team);
        entry.job = Some(Box::new(JobRow { job, place }));
    }

    pub(super) fn lease_now(&self, lease_ms: u64) -> Option<Lease> {
        loop {
            let (ticket, owner) = self.next_in(|directory| &mut directory.jobs)?;
            let approval = ticket.id;
            let mut team = owner.state();
            let now = self.lease_clock.now();
            let TeamState { approvals, launches, .. } = &mut *team;
            let row = approvals.get_mut(&approval).and_then(|entry| entry.job.as_mut());
            let Some(row) = row.filter(|row| ticket.is_for(row.place)) else { continue };
            let of_target = row.job.target.and_then(|target| launches.get_mut(&target));
            if row.job.state == JobState::Ready
                && of_target.as_ref().is_some_and(|launches| !launches.is_next(approval))
            {
                // The job gets another ticket when the previous one is done.
                continue;
            }
            let fence = match row.job.state {
                JobState::Leased { until: held, .. } if now < held => {
                    self.directory.lock().jobs.file(approval, &mut row.place, held);
                    continue;
                }
                JobState::Leased { fence, .. } => fence + 1,
                JobState::Ready => 1,
                JobState::Done => continue,
            };
            let fence = match of_target {
                Some(launches) => {
                    launches.fence = fence.max(launches.fence + 1);
                    launches.fence
                }
                None => fence,
            };
            let until = after(now, lease_ms);
            row.job.state = JobState::Leased { fence, until };
            let mut directory = self.directory.lock();
            directory.jobs.serve(ticket);
            directory.jobs.file(approval, &mut row.place, until);
            let Job { digest, target, .. } = row.job;
            return Some(Lease { approval, digest, target, fence });
        }
    }

    pub(super) fn renew_now(&self, lease: &Lease, lease_ms: u64) -> bool {
        let renew = |team: &mut TeamState| {
            let Some(row) = team.held(lease) else { return false };
            let until = after(self.lease_clock.now(), lease_ms);
            row.job.state = JobState::Leased { fence: lease.fence, until };
            if row.place.is_after(until) {
                self.directory.lock().jobs.file(lease.approval, &mut row.place, until);
            }
            true
        };
        self.with_owner(lease.approval, renew).unwrap_or(false)
    }

    pub(super) fn finish_now(&self, lease: &Lease, ended: StackStatus) -> bool {
        let finish = |team: &mut TeamState| {
            let Some(row) = team.held(lease) else { return false };
            row.job.state = JobState::Done;
            match team.next_launch(lease) {
                // The target keeps the version that the next use wrote; that use's deploy is still to come. Its job is
                // ready immediately, even if the clock was reset.
                Some(next) => self.directory.lock().jobs.add_again(next.job.approval, next.place),
                None => team.settle(lease.approval, lease.target, ended),
            }
            true
        };
        self.with_owner(lease.approval, finish).unwrap_or(false)
    }

    /// The next ready ticket of a queue, with the team that owns its approval.
    pub(super) fn next_in(
        &self,
        queue: impl Fn(&mut Directory) -> &mut Queue,
    ) -> Option<(Ticket, Arc<Tenant>)> {
        let mut directory = self.directory.lock();
        loop {
            let ticket = queue(&mut directory).next(self.lease_clock.now())?;
            if let Some(owner) = directory.owners.get(&ticket.id) {
                return Some((ticket, Arc::clone(owner)));
            }
        }
    }

    pub(super) fn settle_now(&self, approval: Uuid, target: Option<Uuid>, status: StackStatus) {
        self.with_owner(approval, |team| team.settle(approval, target, status));
    }
}

impl TeamState {
    /// The job, if the lease is still the latest.
    fn held(&mut self, lease: &Lease) -> Option<&mut JobRow> {
        let row = self.approvals.get_mut(&lease.approval)?.job.as_mut()?;
        let latest = matches!(row.job.state, JobState::Leased { fence, .. } if fence == lease.fence);
        latest.then_some(row)
    }

    /// The next job for the same target, after this one is done.
    fn next_launch(&mut self, done: &Lease) -> Option<&mut JobRow> {
        let launches = self.launches.get_mut(&done.target?)?;
        launches.unfinished.retain(|approval| *approval != done.approval);
        let next = launches.unfinished.front()?;
        self.approvals.get_mut(next)?.job.as_deref_mut()
    }

    fn settle(&mut self, approval: Uuid, target: Option<Uuid>, ended: StackStatus) {
        let Self { tenant_state, approvals, .. } = self;
        let first = || tenant_state.target(&TenantState::asked(&approvals.get(&approval)?.record));
        if let Some(target) = target.or_else(first).filter(|_| approvals.contains_key(&approval)) {
            tenant_state.end_building(target, ended);
        }
    }
}
