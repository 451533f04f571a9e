//! The store that the driver and the worker see: the real one behind the step gate, with faults in between.

use std::sync::Arc;

use countersign::{
    protocol::{Change, Commit, Digest, Effect, Refusal, Step, StepAction, Target},
    store::{
        Approvals, AttemptReads, Committed, Execution, Lease, Leased, Leases, Outbox, PromotionRequest,
        Reading, StackStatus, StoreError,
    },
};
use uuid::Uuid;

use super::{At, Late, Message, Platform, WorkerStep};
use crate::simulation::{CallOutcome, Mutant};

/// An event that is lost is swallowed: there is no answer that could be lost.
fn has_answer(step: &Step) -> bool {
    step.action != StepAction::Audit
}

impl Approvals for Platform {
    async fn read_approval(&self, approval: Uuid, ask: &PromotionRequest) -> Result<Reading, StoreError> {
        let outcome = self.pass(At::Elsewhere).await;
        self.name(&Effect::Validate { approval }, None);
        self.reach(outcome)?;
        let mut fresh = self.store.read_approval(approval, ask).await?;
        if self.mutant == Some(Mutant::OwnerIgnored)
            && let Some(approval) = &mut fresh.approval
        {
            Arc::make_mut(approval).team = ask.team;
        }
        match self.reading_before(approval, ask, &fresh, outcome == CallOutcome::StaleRead) {
            Some(before) => Ok(before),
            None => Ok(fresh),
        }
    }

    async fn commit(
        &self,
        ask: &PromotionRequest,
        step: &Step,
        commit: Commit<'_>,
    ) -> Result<Committed, StoreError> {
        let consumes = commit.ops.iter().any(|op| matches!(op, Change::Consume(_)));
        let writes_target = commit.ops.iter().any(|op| matches!(op, Change::WriteTarget { .. }));
        let outcome = self.pass(At::Change { consumes, writes_target }).await;
        self.name(&Effect::Commit(commit), Some(step));
        self.reach(outcome)?;
        if outcome == CallOutcome::AppliedLate && has_answer(step) {
            let Commit { approval, digest, target, fence, ops, uses_seen: _ } = commit;
            let step = self.flow.steps().iter().position(|other| std::ptr::eq(other, step)).unwrap_or(0);
            let message = Message::Commit {
                ask: ask.clone(),
                step,
                approval,
                digest,
                target,
                fence,
                ops: ops.to_vec(),
            };
            let (who, _) = self.step_gate.turn();
            self.control().late.push(Late { who, message });
            self.step_recorder.outcome(outcome);
            self.answered(|| "fault, it is on its way and the answer is given up".to_owned());
            return Err(StoreError::unknown("injected"));
        }
        let refused = self.begin_outage(ask, step, outcome);
        let committed = self.deliver(ask, step, commit);
        self.end_outage(ask, refused, matches!(committed, Ok(Committed::Refused(_)) | Err(_)));
        let committed = committed?;
        match (&committed, self.mutant) {
            (Committed::NotConsumed(_), Some(Mutant::RowCountIgnored)) => {
                return Ok(Committed::Applied { target: None });
            }
            (Committed::NotConsumed(_), Some(Mutant::LoserGetsServerError)) => {
                return Err(StoreError::not_applied("injected"));
            }
            _ => {}
        }
        match &committed {
            Committed::Applied { .. } => {}
            Committed::Refused(refusal) | Committed::NotConsumed(refusal) => {
                self.answered(|| refusal.to_string());
                return Ok(committed);
            }
        }
        match outcome {
            CallOutcome::AnswerLost if has_answer(step) => {
                self.step_recorder.outcome(outcome);
                if consumes && self.mutant == Some(Mutant::ClaimReleased) {
                    self.store.strategy().forget(commit.approval);
                }
                self.answered(|| "fault, applied but the answer is lost".to_owned());
                Err(StoreError::unknown("injected"))
            }
            CallOutcome::AppliedTwice => {
                self.step_recorder.outcome(outcome);
                // The reply to the duplicate is dropped.
                self.deliver(ask, step, commit).ok();
                self.answered(|| "fault, delivered twice".to_owned());
                Ok(committed)
            }
            _ => Ok(committed),
        }
    }

    async fn execution(&self, team: Uuid, approval: Uuid) -> Result<Option<Execution>, StoreError> {
        let outcome = self.pass(At::Elsewhere).await;
        self.name(&Effect::Recall { claim: false }, None);
        self.reach(outcome)?;
        if self.mutant == Some(Mutant::KeyIgnored) {
            return Ok(None);
        }
        self.store.execution(team, approval).await
    }

    crate::decisions_pass_through!(store);
}

impl AttemptReads for Platform {
    fn can_produce(&self, refusal: &Refusal) -> bool {
        self.store.can_produce(refusal)
    }

    async fn check(
        &self,
        approval: Uuid,
        ask: &PromotionRequest,
        step: &Step,
    ) -> Result<Result<Digest, Refusal>, StoreError> {
        let outcome = self.pass(At::Elsewhere).await;
        self.name(&Effect::Check, Some(step));
        self.reach(outcome)?;
        let refused = self.begin_outage(ask, step, outcome);
        let mut checked = self.store.check(approval, ask, step).await?;
        self.end_outage(ask, refused, checked.is_err());
        if let (Ok(digest), CallOutcome::StaleRead) = (&mut checked, outcome)
            && let Ok(fresh) = self.store.read_approval(approval, ask).await
        {
            *digest = self.reading_before(approval, ask, &fresh, true).unwrap_or(fresh).digest;
        }
        self.answer_of(&checked);
        Ok(checked)
    }

    async fn find_target(
        &self,
        ask: &PromotionRequest,
        step: &Step,
    ) -> Result<Result<Option<Uuid>, Refusal>, StoreError> {
        let outcome = self.pass(At::Change { consumes: false, writes_target: true }).await;
        self.name(&Effect::FindTarget, Some(step));
        self.reach(outcome)?;
        let mut found = self.store.find_target(ask, step).await?;
        if let Some(refusal) = step.refusals().next().filter(|_| outcome == CallOutcome::Refuses) {
            found = Err(refusal.clone());
            self.step_recorder.outcome(outcome);
        }
        if let (Ok(target @ Some(_)), CallOutcome::StaleRead) = (&mut found, outcome) {
            // There was none at the beginning.
            *target = None;
            self.step_recorder.outcome(CallOutcome::StaleRead);
        }
        if let Ok(target) = found {
            self.step_recorder.target(target.map(|id| Target { id, created: false }));
        }
        self.answer_of(&found);
        Ok(found)
    }
}

impl Leases for Platform {
    async fn lease_approval(&self, team: Uuid, approval: Uuid) -> Result<Leased, StoreError> {
        let outcome = self.pass(At::Elsewhere).await;
        self.name(&Effect::Lease { approval }, None);
        self.reach(outcome)?;
        let leased = self.store.lease_approval(team, approval).await?;
        match leased {
            Leased::Taken { .. } if outcome == CallOutcome::AnswerLost => {
                self.step_recorder.outcome(outcome);
                self.answered(|| "fault, leased but the answer is lost".to_owned());
                return Err(StoreError::unknown("injected"));
            }
            Leased::Taken { .. } => {}
            Leased::Held { .. } => {
                self.step_gate.wait(At::Elsewhere);
                self.step_recorder.waits();
                self.answered(|| "held by another: waits".to_owned());
            }
            Leased::Absent => self.answered(|| Refusal::APPROVAL_NOT_FOUND.to_string()),
        }
        Ok(leased)
    }

    /// Happens with the end of the promotion, and is not a separate action: a crash before that releases nothing.
    async fn release_approval(&self, team: Uuid, approval: Uuid, fence: u64) -> Result<(), StoreError> {
        self.store.release_approval(team, approval, fence).await
    }
}

impl Outbox for Platform {
    async fn lease_job(&self, lease_ms: u64) -> Result<Option<Lease>, StoreError> {
        let outcome = self.pass(At::Elsewhere).await;
        self.worker_does(WorkerStep::Leased, None, "leases the launch job");
        self.reach(outcome)?;
        let lease = self.store.lease_job(lease_ms).await?;
        self.step_recorder.approval(lease.as_ref().map(|lease| lease.approval));
        if lease.is_some() && outcome == CallOutcome::AnswerLost {
            self.step_recorder.outcome(outcome);
            self.answered(|| "fault, leased but the answer is lost".to_owned());
            return Err(StoreError::unknown("injected"));
        }
        Ok(lease)
    }

    async fn renew_lease(&self, lease: &Lease, lease_ms: u64) -> Result<bool, StoreError> {
        let outcome = self.pass(At::Elsewhere).await;
        self.worker_does(WorkerStep::Renewed, Some(lease.approval), "renews the lease");
        self.reach(outcome)?;
        let renewed = self.store.renew_lease(lease, lease_ms).await?;
        self.step_recorder.acted(lease.fence, renewed);
        if !renewed {
            self.answered(|| "no longer its own".to_owned());
        }
        Ok(renewed)
    }

    async fn finish_job(&self, lease: &Lease, ended: StackStatus) -> Result<bool, StoreError> {
        let outcome = self.pass(At::Elsewhere).await;
        self.worker_does(WorkerStep::Finished, Some(lease.approval), "settles the target: the job is done");
        self.reach(outcome)?;
        if outcome == CallOutcome::AppliedLate {
            let (who, _) = self.step_gate.turn();
            self.control().late.push(Late { who, message: Message::Finish { lease: lease.clone(), ended } });
            self.step_recorder.outcome(outcome);
            self.answered(|| "fault, it is on its way and the answer is given up".to_owned());
            return Err(StoreError::unknown("injected"));
        }
        let finished = self.deliver_finish(lease, ended)?;
        match outcome {
            CallOutcome::AnswerLost => {
                self.step_recorder.outcome(outcome);
                self.answered(|| "fault, applied but the answer is lost".to_owned());
                Err(StoreError::unknown("injected"))
            }
            CallOutcome::AppliedTwice => {
                self.step_recorder.outcome(outcome);
                self.deliver_finish(lease, ended).ok();
                Ok(finished)
            }
            _ => Ok(finished),
        }
    }

    crate::settles_pass_through!(store);
}
