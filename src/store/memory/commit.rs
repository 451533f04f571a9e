//! The commit: judged in full, then the approval's exchange, then changes that cannot fail.

use std::sync::Arc;

use uuid::Uuid;

use super::{MemoryStore, TeamState};
use crate::{
    platform::TenantFacts,
    protocol::{Commit, Fences, Guards, Refusal, Status, Step, Timestamp, consume},
    store::memory::strategy::Strategy,
    store::{
        AuditKind, Committed, Execution, Job, JobState, PromotionRequest, StoreError, preflight::Judgement,
    },
};

impl<S: Strategy> MemoryStore<S> {
    pub(super) fn commit_now(
        &self,
        ask: &PromotionRequest,
        step: &Step,
        commit: Commit<'_>,
    ) -> Result<Committed, StoreError> {
        let teams = self.teams();
        let Some(tenant) = teams.get(&ask.team) else {
            return Ok(Committed::Refused(Refusal::NOT_FOUND));
        };
        // Another team's approval is in another entry, whose fence is read before: no two teams' locks are held together.
        let foreign = commit.fence.and_then(|_| self.foreign_fence(ask.team, commit.approval));
        let mut team = tenant.state();
        let TeamState { tenant_state, approvals, events, foreign_executions, launches, .. } = &mut *team;
        // The one reading of the clock that this commit goes by.
        let now = self.clock.now();
        // Both are far away, and neither has to wait for the other.
        let standing = self.standings.read(commit.approval).map(|record| record.standing);
        let mut entry = approvals.get_mut(&commit.approval);
        let latest = entry.as_ref().map(|entry| entry.fence()).or(foreign).unwrap_or(0);
        let fences = Fences { held: commit.fence, latest };
        // The exchange judges the consume again.
        let preflight = &*self.preflight;
        let approved = entry.as_ref().map(|entry| &entry.record);
        let seal = self.seal;
        let facts = TenantFacts::new(tenant_state, ask);
        let judgement = Judgement { preflight, facts, step, commit, standing, approved, seal, fences, now };
        let guards = match judgement.guards() {
            Ok(guards) => guards,
            Err(refused) => return Ok(refused),
        };
        if let Some(guards) = guards
            && let Err(refusal) = self.exchange(commit, fences, guards, now)
        {
            return Ok(Committed::NotConsumed(refusal));
        }
        // Infallible from here on.
        let approved = entry.as_ref().map(|entry| &entry.record);
        let applied = tenant_state.apply(ask, commit, approved, &mut || self.ids.next());
        let Commit { approval, digest, .. } = commit;
        // The commit is atomic to readers: the job carries the target that the commit wrote.
        let target = applied.target.or(commit.target);
        if let Some(entry) = &mut entry {
            for _ in 0..applied.events {
                entry.write_event(events, AuditKind::Executed, now, Some(Arc::clone(&ask.requested_by)));
            }
        }
        if applied.consumed {
            let execution = Execution::of(ask, commit.ops, target, applied.vault_keys);
            match &mut entry {
                Some(entry) => {
                    entry.execution.get_or_insert_with(|| Box::new(execution));
                }
                None => {
                    foreign_executions.entry(approval).or_insert(execution);
                }
            }
        }
        if let Some(entry) = entry.filter(|entry| applied.enqueued && entry.job.is_none()) {
            let target = target.map(|target| target.id);
            if let Some(target) = target {
                launches.entry(target).or_default().add(approval);
            }
            self.write_job(entry, ask.team, Job { approval, digest, target, state: JobState::Ready });
        }
        Ok(Committed::Applied { target: applied.target })
    }

    /// The fencing number that was given last for an approval of another team than this one.
    fn foreign_fence(&self, team: Uuid, approval: Uuid) -> Option<u64> {
        let owner = self.owner(approval).filter(|owner| owner.id != team)?;
        owner.state().approvals.get(&approval).map(|entry| entry.fence())
    }

    /// The compare-and-swap: of all that was compared on this approval, the last.
    fn exchange(
        &self,
        commit: Commit<'_>,
        fences: Fences,
        guards: Guards,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let judge =
            |standing| consume(standing, fences, guards, commit.digest, now).map(|()| Status::Executed);
        match self.standings.update(commit.approval, now, judge) {
            Some(Ok(_)) => Ok(()),
            Some(Err(refusal)) => Err(refusal),
            None => Err(Refusal::APPROVAL_NOT_FOUND),
        }
    }
}
