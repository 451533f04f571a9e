//! A store whose next answer is as the model's action will have it.

use countersign::{
    protocol::{Commit, Digest, Refusal, Step},
    store::{
        Approvals, AttemptReads, Committed, Execution, Leased, Leases, PromotionRequest, Reading, StoreError,
    },
};
use uuid::Uuid;

use super::StoreHarness;
use crate::model::StepOutcome;

/// The real store with injected faults.
pub(super) struct Faulty<'a, R: StoreHarness> {
    pub(super) store: &'a R::Store,
    pub(super) harness: &'a R,
    pub(super) outcome: StepOutcome,
    pub(super) team: Uuid,
}

impl<R: StoreHarness> Faulty<'_, R> {
    /// Runs the work during an outage of the step's first refusal, if that is the outcome.
    async fn while_out<T>(&self, step: &Step, work: impl Future<Output = T>) -> T {
        let refusal = step.refusals().next().filter(|_| self.outcome == StepOutcome::Refuses).cloned();
        if let Some(refusal) = &refusal {
            self.harness.begin_outage(self.team, refusal);
        }
        let done = work.await;
        if let Some(refusal) = &refusal {
            self.harness.end_outage(self.team, refusal);
        }
        done
    }

    fn is_reached(&self) -> Result<(), StoreError> {
        if self.outcome == StepOutcome::Fails { Err(StoreError::not_applied("injected")) } else { Ok(()) }
    }
}

impl<R: StoreHarness> Approvals for Faulty<'_, R> {
    async fn read_approval(&self, approval: Uuid, ask: &PromotionRequest) -> Result<Reading, StoreError> {
        self.is_reached()?;
        self.store.read_approval(approval, ask).await
    }

    async fn commit(
        &self,
        ask: &PromotionRequest,
        step: &Step,
        commit: Commit<'_>,
    ) -> Result<Committed, StoreError> {
        self.is_reached()?;
        let committed = self.while_out(step, self.store.commit(ask, step, commit)).await?;
        if self.outcome == StepOutcome::LosesAnswer {
            Err(StoreError::unknown("injected"))
        } else {
            Ok(committed)
        }
    }

    async fn execution(&self, team: Uuid, approval: Uuid) -> Result<Option<Execution>, StoreError> {
        self.is_reached()?;
        self.store.execution(team, approval).await
    }

    crate::decisions_pass_through!(store);
}

impl<R: StoreHarness> AttemptReads for Faulty<'_, R> {
    fn can_produce(&self, refusal: &Refusal) -> bool {
        self.store.can_produce(refusal)
    }

    async fn check(
        &self,
        approval: Uuid,
        ask: &PromotionRequest,
        step: &Step,
    ) -> Result<Result<Digest, Refusal>, StoreError> {
        self.is_reached()?;
        self.while_out(step, self.store.check(approval, ask, step)).await
    }

    async fn find_target(
        &self,
        ask: &PromotionRequest,
        step: &Step,
    ) -> Result<Result<Option<Uuid>, Refusal>, StoreError> {
        self.is_reached()?;
        match step.refusals().next().filter(|_| self.outcome == StepOutcome::Refuses) {
            Some(refusal) => Ok(Err(refusal.clone())),
            None => self.store.find_target(ask, step).await,
        }
    }
}

impl<R: StoreHarness> Leases for Faulty<'_, R> {
    async fn lease_approval(&self, team: Uuid, approval: Uuid) -> Result<Leased, StoreError> {
        self.is_reached()?;
        let leased = self.store.lease_approval(team, approval).await?;
        if self.outcome == StepOutcome::LosesAnswer {
            Err(StoreError::unknown("injected"))
        } else {
            Ok(leased)
        }
    }

    async fn release_approval(&self, team: Uuid, approval: Uuid, fence: u64) -> Result<(), StoreError> {
        self.store.release_approval(team, approval, fence).await
    }
}
