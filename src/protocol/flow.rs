//! A flow: the requirements on an object, and the order in which one endpoint does its work, as data.
//!
//! Invariants: 1 to [`Flow::MAX_STEPS`] steps with different names, and as many members in a group; at most one consume,
//! and under the `lease` guard only after a lease; at most [`Flow::MAX_ACTS`] acts, with different names; `recall` and
//! `remember` only if clients send keys; `digest` and `target` compared only if the object is bound to them; in a group
//! only work that one transaction can do. [`Flow::new`], the only constructor, checks them all.

mod built_in;
mod instruction;
mod invalid;
mod object;
mod step;

pub use instruction::{Change, Swap};
pub use invalid::{FlowProblem, InvalidFlow};
pub use object::{DecisionGuards, DecisionRule, Endpoint, FailedAttempt, Method, Object, Retry};
pub use step::{
    Act, Atomicity, Checks, Consume, Guards, Lease, Member, OnConflict, OnError, OnHeld, Step, StepAction,
    Storage, Via, Write, WriteTarget,
};

pub(super) use instruction::Instruction;

/// The promises, and the order of the steps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    object: Object,
    decision: DecisionRule,
    endpoint: Endpoint,
    steps: Vec<Step>,
    /// The atomic actions, each with the index of its step.
    instructions: Vec<(Instruction, u8)>,
}

impl Flow {
    /// The most steps that a flow, and the most members that a group may have.
    pub const MAX_STEPS: usize = 64;
    /// The most acts in a flow.
    pub const MAX_ACTS: usize = 3;

    /// Makes a flow.
    ///
    /// # Errors
    /// [`InvalidFlow`] when an invariant of this module does not hold.
    pub fn new(
        object: Object,
        decision: DecisionRule,
        endpoint: Endpoint,
        steps: Vec<Step>,
    ) -> Result<Self, InvalidFlow> {
        let nowhere = |problem| InvalidFlow { step: None, member: None, problem };
        check_object(&object, decision).map_err(nowhere)?;
        if steps.is_empty() {
            return Err(nowhere(FlowProblem::NoSteps));
        }
        if steps.len() > Self::MAX_STEPS {
            return Err(InvalidFlow {
                step: Some(Self::MAX_STEPS),
                ..nowhere(FlowProblem::TooManySteps(steps.len()))
            });
        }
        let mut before = Before::default();
        let mut instructions = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let acts = before.acts.len() as u8;
            before.check(step, index, &object, endpoint).map_err(|(member, problem)| InvalidFlow {
                step: Some(index),
                member,
                problem,
            })?;
            // At most 64 steps, so that the index fits.
            instructions
                .extend(instruction::instructions_of(step, acts).into_iter().map(|one| (one, index as u8)));
        }
        let beyond = |step: &Step| match step.action {
            StepAction::Lease(Lease { until: Some(until), .. }) if until >= steps.len() => Some(until),
            _ => None,
        };
        if let Some((index, until)) =
            steps.iter().enumerate().find_map(|(at, step)| Some((at, beyond(step)?)))
        {
            return Err(InvalidFlow { step: Some(index), ..nowhere(FlowProblem::UntilBeforeLease(until)) });
        }
        Ok(Self { object, decision, endpoint, steps, instructions })
    }

    /// The requirements on the object.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The rule for decisions.
    pub fn decision(&self) -> DecisionRule {
        self.decision
    }

    /// The endpoint that runs the steps.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The steps, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The acts with their names, in order.
    pub fn acts(&self) -> impl Iterator<Item = (&str, &Act)> {
        self.steps.iter().flat_map(Step::acts)
    }

    /// The consume; `None` in a flow that uses nothing up.
    pub fn consume(&self) -> Option<&Consume> {
        self.steps.iter().find_map(Step::consume)
    }

    /// The instruction at `cursor`, with its step and the step's index; none at the end of the flow.
    pub(super) fn instruction(&self, cursor: u8) -> Option<(&Instruction, &Step, usize)> {
        let (instruction, step) = self.instructions.get(usize::from(cursor))?;
        Some((instruction, &self.steps[usize::from(*step)], usize::from(*step)))
    }

    /// The cursor of the answer.
    pub(super) fn end(&self) -> u8 {
        // At most 64 steps of two instructions each.
        self.instructions.len() as u8
    }

    /// True if the lease that step `lease` takes is held until this step.
    pub(super) fn ends_lease(&self, lease: usize, step: usize) -> bool {
        matches!(self.steps[lease].action, StepAction::Lease(Lease { until, .. }) if until == Some(step))
    }

    /// True if a step acquires the object's lease.
    pub fn takes_lease(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, StepAction::Lease(_)))
    }

    /// True if an attempt looks for the outcome of an earlier one under its key.
    pub fn recalls(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, StepAction::Recall { .. }))
    }

    /// The first instruction of the step of `cursor`, and the first after that step.
    pub(super) fn span_of_step(&self, cursor: u8) -> (u8, u8) {
        let at = usize::from(cursor);
        let step = self.instructions[at].1;
        let same = |(_, other): &&(Instruction, u8)| *other == step;
        let before = self.instructions[..at].iter().rev().take_while(same).count();
        let after = self.instructions[at..].iter().take_while(same).count();
        // At most 64 steps of two instructions each.
        ((at - before) as u8, (at + after) as u8)
    }
}

fn check_object(object: &Object, decision: DecisionRule) -> Result<(), FlowProblem> {
    if object.uses == 0 || object.uses > Object::MAX_USES {
        return Err(FlowProblem::Uses(object.uses));
    }
    if object.approvers > Object::MAX_APPROVERS {
        return Err(FlowProblem::Approvers(object.approvers));
    }
    if object.approvers == 0 && object.separate {
        return Err(FlowProblem::SeparateWithoutApprovers);
    }
    if object.approvers == 0 && decision != DecisionRule::default() {
        return Err(FlowProblem::DecisionWithoutApprovers);
    }
    Ok(())
}

/// Properties of the steps before the current one.
#[derive(Default)]
struct Before {
    consumed: bool,
    leased: bool,
    acts: Vec<String>,
    names: Vec<String>,
}

/// The index of the member that is wrong, and what is.
type Wrong = (Option<usize>, FlowProblem);

impl Before {
    fn check(&mut self, step: &Step, index: usize, object: &Object, endpoint: Endpoint) -> Result<(), Wrong> {
        let alone = |problem| Err((None, problem));
        match &step.action {
            StepAction::Validate { checks, .. } => {
                check_bound(object, checks.digest, checks.target).map_err(|problem| (None, problem))?;
            }
            StepAction::Atomic(members) if members.is_empty() => return alone(FlowProblem::EmptyGroup),
            StepAction::Atomic(members) if members.len() > Flow::MAX_STEPS => {
                return alone(FlowProblem::TooManyMembers(members.len()));
            }
            StepAction::Atomic(members) => {
                for (index, member) in members.iter().enumerate() {
                    self.check_member(member, object, endpoint).map_err(|problem| (Some(index), problem))?;
                }
            }
            StepAction::Lease(lease) => {
                if lease.renewed && !lease.expires {
                    return alone(FlowProblem::RenewedForever);
                }
                if let Some(until) = lease.until.filter(|until| *until <= index) {
                    return alone(FlowProblem::UntilBeforeLease(until));
                }
                self.leased = true;
            }
            StepAction::Write(Write {
                what: WriteTarget::Vault,
                atomicity: Atomicity::ReadThenWrite,
                ..
            }) => {
                return alone(FlowProblem::VaultReadThenWrite);
            }
            StepAction::Consume(consume) => {
                self.check_consume(consume, object).map_err(|problem| (None, problem))?;
            }
            StepAction::Act(act) => {
                if act.name.is_some() {
                    return alone(FlowProblem::ActNamedTwice);
                }
                if act.undo && !matches!(act.via, Via::Call { .. }) {
                    return alone(FlowProblem::UndoOfAct);
                }
            }
            StepAction::Recall { .. } | StepAction::Remember if endpoint.retry != Retry::Key => {
                return alone(FlowProblem::KeyWithoutRetry);
            }
            StepAction::Check { .. }
            | StepAction::Recall { .. }
            | StepAction::Write(_)
            | StepAction::Audit
            | StepAction::Remember => {}
        }
        for (name, act) in step.acts() {
            let member =
                step.members().iter().position(|member| matches!(member, Member::Act(one) if one == act));
            if self.acts.len() == Flow::MAX_ACTS {
                return Err((member, FlowProblem::TooManyActs));
            }
            if self.acts.iter().any(|earlier| earlier == name) {
                return Err((member, FlowProblem::SameAct(name.to_owned())));
            }
            self.acts.push(name.to_owned());
        }
        if let Some(name) = &step.name {
            if self.names.contains(name) {
                return alone(FlowProblem::SameStep(name.clone()));
            }
            self.names.push(name.clone());
        }
        Ok(())
    }

    fn check_member(
        &mut self,
        member: &Member,
        object: &Object,
        endpoint: Endpoint,
    ) -> Result<(), FlowProblem> {
        let (atomicity, undo) = match member {
            Member::Consume(consume) => {
                self.check_consume(consume, object)?;
                (consume.atomicity, consume.undo)
            }
            Member::Write(write) => (write.atomicity, write.undo),
            Member::Act(act) if !matches!(act.via, Via::Outbox | Via::Row { .. }) => {
                return Err(FlowProblem::ActInGroup);
            }
            Member::Act(act) => (Atomicity::Atomic, act.undo),
            Member::Remember if endpoint.retry != Retry::Key => return Err(FlowProblem::KeyWithoutRetry),
            Member::Audit | Member::Remember => (Atomicity::Atomic, false),
        };
        if atomicity == Atomicity::ReadThenWrite {
            return Err(FlowProblem::ReadThenWriteInGroup);
        }
        if undo {
            return Err(FlowProblem::UndoInGroup);
        }
        Ok(())
    }

    fn check_consume(&mut self, consume: &Consume, object: &Object) -> Result<(), FlowProblem> {
        if self.consumed {
            return Err(FlowProblem::SecondConsume);
        }
        if consume.guards.lease && !self.leased {
            return Err(FlowProblem::GuardWithoutLease);
        }
        self.consumed = true;
        check_bound(object, consume.guards.digest, consume.guards.target)
    }
}

/// What a step compares is bound.
fn check_bound(object: &Object, digest: bool, target: bool) -> Result<(), FlowProblem> {
    if digest && !object.bound {
        return Err(FlowProblem::NothingBound { condition: "digest", promise: "bound" });
    }
    if target && !object.target_bound {
        return Err(FlowProblem::NothingBound { condition: "target", promise: "target_bound" });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
