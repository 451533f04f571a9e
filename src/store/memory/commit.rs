//! The commit: judged in full, then the approval's exchange, then changes that cannot fail.

use std::sync::Arc;

use uuid::Uuid;

use super::{MemoryStore, TeamState, locked};
use crate::{
    protocol::{Commit, Do, Guards, Member, Op, Refusal, Status, Step, Target, Timestamp, consume},
    store::{
        Ask, AuditEvent, AuditKind, Committed, Execution, Job, JobState, Resource, Stack, StackStatus,
        StoreError,
    },
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
        let is_down = |op: &Op| match op {
            Op::Consume { .. } => team.is_out(&Refusal::EXECUTE_FAILED),
            Op::Enqueue => team.is_out(&Refusal::ENQUEUE_FAILED),
            Op::WriteTarget { .. } | Op::WriteVault | Op::Audit => false,
        };
        if commit.ops.iter().any(is_down) {
            return Err(StoreError::NotApplied);
        }
        let mut guards = None;
        for (index, op) in commit.ops.iter().enumerate() {
            match op {
                Op::Consume { guards: wanted } => {
                    // What comes first in the group is refused first. The exchange judges again.
                    if let Some(record) = self.standings.read(commit.approval)
                        && let Err(refusal) = consume(record.standing, *wanted, commit.digest, now)
                    {
                        return Ok(Committed::NotConsumed(refusal));
                    }
                    guards = Some(*wanted);
                }
                Op::WriteTarget { trust_look } => {
                    if let Some(refusal) = team.write_refused(ask, own_refusals(step, index)) {
                        return Ok(Committed::Refused(refusal));
                    }
                    let target =
                        if *trust_look { commit.target.map(|target| target.id) } else { team.target(ask) };
                    if target.is_none() && team.is_full(ask) {
                        return Ok(Committed::Refused(Refusal::DEPLOYMENT_LIMIT_REACHED));
                    }
                }
                Op::WriteVault => {
                    if let Some(refusal) = team.write_refused(ask, own_refusals(step, index)) {
                        return Ok(Committed::Refused(refusal));
                    }
                }
                Op::Audit | Op::Enqueue => {}
            }
        }
        if let Some(guards) = guards
            && let Err(refusal) = self.exchange(commit, guards, now)
        {
            return Ok(Committed::NotConsumed(refusal));
        }
        let known_job = team.jobs.contains_key(&commit.approval);
        let target = team.apply(ask, commit, now, &mut || self.ids.next());
        let new_job = !known_job && team.jobs.contains_key(&commit.approval);
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

/// The refusals that belong to this change of the step.
fn own_refusals(step: &Step, op: usize) -> &[Refusal] {
    match &step.action {
        Do::Write { refusals, .. } => refusals,
        Do::Atomic(members) => match members.get(op) {
            Some(Member::Write { refusals, .. }) => refusals,
            _ => &[],
        },
        Do::Validate { .. }
        | Do::Check { .. }
        | Do::Consume { .. }
        | Do::Audit
        | Do::Enqueue
        | Do::Launch => &[],
    }
}

impl TeamState {
    fn write_refused(&self, ask: &Ask, refusals: &[Refusal]) -> Option<Refusal> {
        refusals.iter().find(|refusal| self.refuses(ask, refusal)).cloned()
    }

    /// Everything but the consume. Nothing here can fail.
    fn apply(
        &mut self,
        ask: &Ask,
        commit: Commit<'_>,
        now: Timestamp,
        new_id: &mut dyn FnMut() -> Uuid,
    ) -> Option<Target> {
        let mut written = None;
        let mut enqueued = false;
        let mut consumed = false;
        for op in commit.ops {
            match op {
                Op::Consume { .. } => consumed = true,
                Op::WriteTarget { trust_look } => {
                    let found =
                        if *trust_look { commit.target.map(|target| target.id) } else { self.target(ask) };
                    let id = found.unwrap_or_else(&mut *new_id);
                    let mine = |known: Target| known.created && known.id == id;
                    let created =
                        found.is_none() || written.is_some_and(mine) || commit.target.is_some_and(mine);
                    self.write_target(ask, commit, id);
                    written = Some(Target { id, created });
                }
                Op::WriteVault => {
                    for (key, value) in self.vault_keys_to_copy(ask) {
                        self.vault.insert((ask.binding().to.clone(), key), value);
                    }
                }
                Op::Audit => self.record(AuditKind::Executed, commit.approval, now, &ask.by),
                Op::Enqueue => {
                    enqueued = !self.jobs.contains_key(&commit.approval);
                    self.jobs.entry(commit.approval).or_insert_with(|| {
                        Box::new(Job {
                            approval: commit.approval,
                            digest: commit.digest,
                            target: None,
                            state: JobState::Ready,
                        })
                    });
                }
            }
        }
        // From outside, all of it happened at once: the job knows the target that it was written with.
        if let (true, Some(job)) = (enqueued, self.jobs.get_mut(&commit.approval)) {
            job.target = written.or(commit.target).map(|target| target.id);
        }
        if consumed {
            let (key, payload) = (ask.key.clone(), ask.payload.clone());
            let target = written.or(commit.target);
            self.executions
                .entry(commit.approval)
                .or_insert_with(|| Arc::new(Execution { key, payload, target }));
        }
        written
    }

    /// Creates or updates the target of this id; it is building then.
    ///
    /// A promotion that holds what was approved writes that, and not what the source has become since it looked.
    fn write_target(&mut self, ask: &Ask, commit: Commit<'_>, id: Uuid) {
        if ask.is_twin() {
            match self.resources.iter_mut().find(|other| other.id == id) {
                Some(twin) => twin.status = StackStatus::Building,
                None => self.create_twin(ask, id),
            }
            return;
        }
        let env_vars = self.merged_variables(ask);
        self.sources_changed();
        let Some(source) = self.stack(ask.payload.source) else { return };
        let approved = self.approvals.get(&commit.approval);
        let services = match approved.filter(|record| record.approval.digest == commit.digest) {
            Some(record) => record.services.to_vec(),
            None => source.services.clone(),
        };
        let name = ask.payload.name.clone().unwrap_or_else(|| source.name.clone());
        match self.stacks.iter_mut().find(|other| other.id == id) {
            Some(target) => {
                target.services = services;
                target.env_vars = env_vars;
                target.status = StackStatus::Building;
            }
            None => self.stacks.push(Stack {
                id,
                name,
                env: ask.binding().to.clone(),
                status: StackStatus::Building,
                parent: Some(ask.payload.source),
                services,
                env_vars,
            }),
        }
    }

    fn create_twin(&mut self, ask: &Ask, id: Uuid) {
        let Some(source) = self.resource(ask.payload.source) else { return };
        let twin = Resource {
            id,
            name: ask.payload.name.clone().unwrap_or_else(|| source.name.clone()),
            kind: source.kind,
            env: ask.binding().to.clone(),
            root: source.root,
            status: StackStatus::Building,
        };
        self.resources.push(twin);
    }

    /// Writes an event about an approval.
    pub(super) fn record(&mut self, kind: AuditKind, approval: Uuid, at: Timestamp, by: &str) {
        let Some(record) = self.approvals.get(&approval) else { return };
        let binding = record.approval.binding.clone();
        let requested_by = record.approval.requested_by.clone();
        self.audit.push(AuditEvent { kind, approval, at, by: by.to_owned(), binding, requested_by });
    }
}
