//! The orders that this crate ships.

use super::{
    Act, Checks, Consume, DecisionRule, Endpoint, Flow, Guards, Lease, Member, Object, Retry, Step,
    StepAction, Via, Write, WriteTarget,
};
use crate::protocol::refusal::Refusal;

impl Flow {
    /// The order that this crate ships: repeat the outcome that is stored under the request's key, or else validate, plan,
    /// commit everything atomically, and let a worker launch.
    pub fn atomic_commit() -> Self {
        Self::one_commit(false, Self::refusals_for_stacks())
    }

    /// The same order for resources: there is at most one twin in an environment, and a provisioner that may fail.
    pub fn atomic_commit_for_twins() -> Self {
        Self::one_commit(false, Self::refusals_for_twins())
    }

    /// [`atomic_commit`](Self::atomic_commit) for many concurrent requests for the same approval: one after another
    /// plans, the others wait for the lease. The same commit protects the approval, and refuses a promotion whose
    /// lease was taken since.
    pub fn atomic_commit_lease() -> Self {
        Self::one_commit(true, Self::refusals_for_stacks())
    }

    /// The same order for resources.
    pub fn atomic_commit_lease_for_twins() -> Self {
        Self::one_commit(true, Self::refusals_for_twins())
    }

    /// The order for an object of one's own: repeat the outcome that is stored under the request's key, or else validate,
    /// check (where there are `refusals`), then use the object, write its event and store the outcome atomically. The effect belongs into the same transaction, or after an [`Outcome::Succeeded`] under the object's id.
    ///
    /// [`Outcome::Succeeded`]: crate::protocol::Outcome::Succeeded
    pub fn single_use(refusals: Vec<Refusal>) -> Self {
        let validate = StepAction::Validate { checks: Checks::ALL, accept_own: false };
        let use_it = vec![Member::Consume(Consume::new(Guards::ALL)), Member::Audit, Member::Remember];
        let mut steps = vec![recall(), Step::from(validate)];
        if !refusals.is_empty() {
            steps.push(Step::named("preflight", StepAction::Check { refusals }));
        }
        steps.push(Step::named("use", StepAction::Atomic(use_it)));
        Self::shipped(steps)
    }

    /// A deployment approval that runs `steps` behind a POST without retries.
    ///
    /// # Errors
    /// As [`Flow::new`].
    pub fn of_steps(steps: Vec<Step>) -> Result<Self, super::InvalidFlow> {
        Self::new(Object::default(), DecisionRule::default(), Endpoint::default(), steps)
    }

    fn refusals_for_stacks() -> (Vec<Refusal>, Vec<Refusal>) {
        let plan = vec![
            Refusal::FETCH_FAILED,
            Refusal::NO_SERVICES,
            Refusal::MISSING_IMAGE_REF,
            Refusal::LOOKUP_FAILED,
            Refusal::ENV_LOAD_FAILED,
            Refusal::VAULT_REF_FAILED,
        ];
        (plan, vec![Refusal::DEPLOYMENT_LIMIT_REACHED])
    }

    fn refusals_for_twins() -> (Vec<Refusal>, Vec<Refusal>) {
        let plan = vec![Refusal::LOOKUP_FAILED, Refusal::TWIN_EXISTS];
        (plan, vec![Refusal::TWIN_EXISTS, Refusal::PROVISION_FAILED])
    }

    /// `refusals` are those of the plan, and those of the target's write.
    fn one_commit(leased: bool, refusals: (Vec<Refusal>, Vec<Refusal>)) -> Self {
        let (plan, refusals) = refusals;
        let validate = || Step::from(StepAction::Validate { checks: Checks::ALL, accept_own: false });
        let mut steps = vec![recall(), validate()];
        if leased {
            // A promotion that gets the lease after the winner is refused here, before it plans.
            steps.extend([StepAction::Lease(Lease::default()).into(), validate()]);
        }
        let guards = Guards { lease: leased, ..Guards::ALL };
        let commit = vec![
            Member::Consume(Consume::new(guards)),
            Member::Write(Write { refusals, ..Write::new(WriteTarget::Target) }),
            Member::Write(Write::new(WriteTarget::Vault)),
            Member::Audit,
            Member::Act(Act { name: Some("launch".to_owned()), ..Act::new(Via::Outbox) }),
            Member::Remember,
        ];
        steps.extend([
            Step::named("plan", StepAction::Check { refusals: plan }),
            Step::named("commit", StepAction::Atomic(commit)),
        ]);
        Self::shipped(steps)
    }

    /// A flow of the steps above, whose clients send keys.
    fn shipped(steps: Vec<Step>) -> Self {
        let endpoint = Endpoint { retry: Retry::Key, ..Endpoint::default() };
        match Self::new(Object::default(), DecisionRule::default(), endpoint, steps) {
            Ok(flow) => flow,
            Err(invalid) => unreachable!("the order above has every invariant: {invalid}"),
        }
    }
}

/// Looks for the outcome without a marker: of two attempts under one key that overlap, the commit refuses one.
fn recall() -> Step {
    StepAction::Recall { claim: false, claim_expires: true }.into()
}
