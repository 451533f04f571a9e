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
        let Some(team) = self.team(ask.request.team) else {
            return Ok(Committed::Refused(Refusal::NOT_FOUND));
        };
        let mut team = locked(&team);
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
        let (new_job, target) = team.apply(ask, commit, now, &mut || self.ids.next());
        drop(team);
        if new_job {
            // Only an index: until it has the job, the worker does not see it.
            locked(&self.directory).outbox.push(commit.approval);
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
    /// Everything but the consume. Nothing here can fail. Whether the job is a new one, and the target.
    fn apply(
        &mut self,
        ask: &Ask,
        commit: Commit<'_>,
        now: Timestamp,
        new_id: &mut dyn FnMut() -> Uuid,
    ) -> (bool, Option<Target>) {
        let approved = self.approvals.get(&commit.approval).cloned();
        let applied = self.estate.apply(ask, commit, approved.as_deref(), new_id);
        if applied.target.is_some() {
            self.sources_changed();
        }
        for _ in 0..applied.events {
            self.record(AuditKind::Executed, commit.approval, now, &ask.by);
        }
        // From outside, all of it happened at once: the job knows the target that it was written with.
        let target = applied.target.or(commit.target);
        let new_job = applied.enqueued && !self.jobs.contains_key(&commit.approval);
        if new_job {
            let Commit { approval, digest, .. } = commit;
            let job =
                Job { approval, digest, target: target.map(|target| target.id), state: JobState::Ready };
            self.jobs.insert(approval, Box::new(job));
        }
        if applied.consumed {
            let (key, payload) = (ask.key.clone(), ask.payload.clone());
            let execution = Execution { key, payload, target, vault_keys: applied.vault_keys };
            self.executions.entry(commit.approval).or_insert_with(|| Arc::new(execution));
        }
        (new_job, applied.target)
    }
}
