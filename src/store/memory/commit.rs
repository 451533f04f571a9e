//! The commit: judged in full, then the approval's exchange, then changes that cannot fail.

use std::sync::Arc;

use uuid::Uuid;

use super::{MemoryStore, TeamState, locked};
use crate::{
    protocol::{Commit, Guards, Op, Refusal, Status, Step, Target, Timestamp, consume},
    store::{Ask, AuditKind, Committed, Execution, Job, JobState, StoreError},
    strategy::Strategy,
};

impl<S: Strategy> MemoryStore<S> {
    pub(super) fn commit_now(
        &self,
        ask: &Ask,
        step: &Step,
        commit: Commit<'_>,
    ) -> Result<Committed, StoreError> {
        let teams = self.teams();
        let Some(tenant) = teams.get(&ask.request.team) else {
            return Ok(Committed::Refused(Refusal::NOT_FOUND));
        };
        let mut team = tenant.state();
        // The one reading of the clock that this commit goes by.
        let now = self.clock.now();
        if team.estate.is_down(commit) {
            return Err(StoreError::NotApplied);
        }
        let mut guards = None;
        for (place, op) in commit.ops.iter().enumerate() {
            if let Op::Consume { guards: wanted } = op {
                // What comes first in the group is refused first. The exchange judges again.
                if let Some(record) = self.standings.read(commit.approval)
                    && let Err(refusal) = consume(record.standing, *wanted, commit.digest, now)
                {
                    return Ok(Committed::NotConsumed(refusal));
                }
                guards = Some(*wanted);
            }
            if let Some(refusal) = team.estate.write_refused(ask, step, commit, place) {
                return Ok(Committed::Refused(refusal));
            }
        }
        if let Some(guards) = guards
            && let Err(refusal) = self.exchange(commit, guards, now)
        {
            return Ok(Committed::NotConsumed(refusal));
        }
        let (enqueued, target) = team.apply(ask, commit, now, &mut || self.ids.next());
        if let Some(job) = enqueued {
            // Last, and still under the team's lock: whoever has the job finds all that it was written with.
            locked(&self.directory).write_job(tenant, job);
        }
        Ok(Committed::Applied { target })
    }

    /// The compare-and-swap: of all that was compared on this approval, the last.
    fn exchange(&self, commit: Commit<'_>, guards: Guards, now: Timestamp) -> Result<(), Refusal> {
        let judge = |standing| consume(standing, guards, commit.digest, now).map(|()| Status::Executed);
        match self.standings.update(commit.approval, now, judge) {
            Some(Ok(_)) => Ok(()),
            Some(Err(refusal)) => Err(refusal),
            None => Err(Refusal::APPROVAL_NOT_FOUND),
        }
    }
}

impl TeamState {
    /// Everything but the consume and the job. Nothing here can fail. The job to be written, and the target.
    fn apply(
        &mut self,
        ask: &Ask,
        commit: Commit<'_>,
        now: Timestamp,
        new_id: &mut dyn FnMut() -> Uuid,
    ) -> (Option<Job>, Option<Target>) {
        let Commit { approval, digest, .. } = commit;
        let approved = self.approvals.get(&approval).map(|folder| &folder.record);
        let applied = self.estate.apply(ask, commit, approved, new_id);
        for _ in 0..applied.events {
            self.write_event(AuditKind::Executed, approval, now, Some(Arc::clone(&ask.by)));
        }
        // From outside, all of it happened at once: the job knows the target that it was written with.
        let target = applied.target.or(commit.target);
        let job = || Job { approval, digest, target: target.map(|target| target.id), state: JobState::Ready };
        if applied.consumed {
            let (key, payload) = (ask.key.clone(), ask.payload.clone());
            let execution = Execution { key, payload, target, vault_keys: applied.vault_keys };
            match self.approvals.get_mut(&approval) {
                Some(folder) => {
                    folder.execution.get_or_insert(execution);
                }
                None => {
                    self.strays.entry(approval).or_insert(execution);
                }
            }
        }
        (applied.enqueued.then(job), applied.target)
    }
}
