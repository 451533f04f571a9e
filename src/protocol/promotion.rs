//! A promotion: one attempt to use an object, as a state machine without input or output.
//!
//! The promotion executes the whole vocabulary of a flow: the next step after a reply, the handling of an error under
//! `on_error`, the undoing before a refusal is answered. Times, random numbers and ids arrive with the replies.

mod checkpoint;
mod outcome;

pub use checkpoint::{Checkpoint, InvalidCheckpoint};
pub use outcome::{Ending, Outcome, RefusalKind};

use super::{
    approval::Digest,
    effect::{Commit, Effect, Reply, Target},
    flow::{Change, Flow, Instruction, Lease, OnConflict, OnError, OnHeld, Step, StepAction},
    refusal::Refusal,
    rules::{Compared, Fences, Granted, Request, use_object, validate},
};

/// The state of a promotion's machine between two effects, as a model checker enumerates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The number of atomic actions done or skipped: the index of the next one.
    pub cursor: u8,
    /// The digest that it holds.
    pub digest: Digest,
    /// The known target.
    pub target: Option<Target>,
    /// The fencing number of its lease; `None` before it has taken one.
    pub fence: Option<u64>,
    /// The index of the step by which it holds a lease. The action that clears this releases the lease, and so does the
    /// end.
    pub leased_by: Option<u8>,
    /// Its step has failed once and runs again (`on_error = "retry"`).
    pub is_retrying: bool,
    /// The count of uses that it has read for a later write.
    pub uses_seen: u8,
    /// The outcome repeats that of an earlier attempt of the same caller.
    pub repeats: bool,
    /// The steps that were seen to succeed and that a refusal undoes: a bit for each index.
    pub undoable: u64,
    /// The refusal that it will answer when all of them are undone.
    pub ending: Option<Ending>,
}

impl Position {
    /// The initial state of a promotion that holds `digest`.
    pub fn new(digest: Digest) -> Self {
        Self {
            cursor: 0,
            digest,
            target: None,
            fence: None,
            leased_by: None,
            is_retrying: false,
            uses_seen: 0,
            repeats: false,
            undoable: 0,
            ending: None,
        }
    }
}

/// One attempt to use an object.
///
/// Calling order: [`begin`](Self::begin), then alternately [`effect`](Self::effect) and [`resume`](Self::resume), until
/// [`outcome`](Self::outcome) returns the result. Repeated calls of `effect` return the same effect.
///
/// Dropping a promotion half-way corresponds to a crash of the process: its changes stay.
#[derive(Clone, Debug)]
pub struct Promotion<'a> {
    flow: &'a Flow,
    request: Request,
    at: Position,
    /// The refusal of [`Position::ending`]; from a position alone only its status is known.
    refusal: Option<Refusal>,
    outcome: Option<Outcome>,
}

impl<'a> Promotion<'a> {
    /// Begins an attempt. `digest` is that of what the request would launch now; it is held until a read
    /// (validate, check) brings a later one.
    pub fn begin(flow: &'a Flow, request: &Request, digest: Digest) -> Self {
        Self::at_position(flow, request, Position::new(digest))
    }

    /// Goes on from a checkpoint.
    ///
    /// # Errors
    /// [`InvalidCheckpoint`] when it is of another flow or another request.
    pub fn restore(flow: &'a Flow, request: &Request, from: &Checkpoint) -> Result<Self, InvalidCheckpoint> {
        from.check(flow, request)?;
        Ok(Self { flow, request: *request, at: from.at, refusal: from.refusal.clone(), outcome: None })
    }

    /// A promotion in this state. For model checkers, which reach the state through a store of their own: it is not
    /// checked that the preceding steps ran. A driver uses [`restore`](Self::restore).
    pub fn at_position(flow: &'a Flow, request: &Request, at: Position) -> Self {
        Self { flow, request: *request, at, refusal: None, outcome: None }
    }

    /// The request that it carries out.
    pub fn request(&self) -> Request {
        self.request
    }

    /// The state of its machine. Meaningless once it has ended, but for the lease that it holds.
    pub fn position(&self) -> Position {
        self.at
    }

    /// A checkpoint to [`restore`](Self::restore); none once it has ended.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let running = self.outcome.is_none();
        running.then(|| Checkpoint::new(self.flow, &self.request, self.at, self.refusal.clone()))
    }

    /// Outcome; `None` while it runs.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// The refusal that it will answer when its undos have run. After a restore only its status is known.
    pub fn pending_refusal(&self) -> Option<&Refusal> {
        self.at.ending?;
        self.refusal.as_ref()
    }

    /// The step that the next effect belongs to; `None` for the answer, for an undo, and when it has ended.
    pub fn step(&self) -> Option<&'a Step> {
        if self.outcome.is_some() || self.at.ending.is_some() {
            return None;
        }
        self.flow.instruction(self.at.cursor).map(|(_, step, _)| step)
    }

    /// The step that is undone next, the last of those that are left.
    fn undone(&self) -> Option<usize> {
        self.at.ending?;
        self.at.undoable.checked_ilog2().map(|step| step as usize)
    }

    /// The next thing to do; `None` when it has ended.
    #[inline]
    pub fn effect(&self) -> Option<Effect<'a>> {
        if self.outcome.is_some() {
            return None;
        }
        if let Some(step) = self.undone() {
            return Some(Effect::Undo { step });
        }
        let Some((instruction, ..)) = self.flow.instruction(self.at.cursor) else {
            return Some(Effect::Answer);
        };
        let Position { digest, target, fence, uses_seen, .. } = self.at;
        let approval = self.request.approval;
        Some(match instruction {
            Instruction::Validate { .. } => Effect::Validate { approval },
            Instruction::Check => Effect::Check,
            Instruction::Recall { claim } => Effect::Recall { claim: *claim },
            Instruction::Lease => Effect::Lease { approval },
            Instruction::FindTarget => Effect::FindTarget,
            Instruction::ReadObject(_) => Effect::ReadApproval { approval },
            Instruction::Commit(ops) => {
                Effect::Commit(Commit { approval, digest, target, fence, uses_seen, ops })
            }
            Instruction::Start { act } => Effect::Launch { act: *act, digest, target },
            Instruction::Call { act, key } => Effect::Call { act: *act, key: *key, digest },
            Instruction::Prepare { act } => Effect::Prepare { act: *act },
        })
    }

    /// Processes the reply to the effect.
    ///
    /// # Panics
    /// If the reply is none of those that [`Effect`] lists for the pending effect, or nothing is pending: the driver is
    /// wrong, and going on would act on a misunderstanding.
    pub fn resume(&mut self, reply: Reply<'_>) {
        assert!(self.outcome.is_none(), "the promotion has ended: nothing is pending");
        if let Some(step) = self.undone() {
            assert!(
                matches!(reply, Reply::Done | Reply::Failed | Reply::OutcomeUnknown),
                "{reply:?} does not answer an undo"
            );
            return self.undo(step);
        }
        let Some((instruction, step, index)) = self.flow.instruction(self.at.cursor) else {
            assert!(matches!(reply, Reply::Done | Reply::OutcomeUnknown), "the answer is pending");
            self.outcome = Some(Outcome::Succeeded { target: self.at.target, repeats: self.at.repeats });
            return;
        };
        match (instruction, reply) {
            (
                Instruction::Validate { checks, accept_own },
                Reply::Approval { approval, digest, now, observed, .. },
            ) => {
                self.at.digest = digest;
                let against = Compared {
                    own_use: observed.own_use,
                    target_is_current: observed.target_is_current,
                    same_binding: observed.same_binding,
                    ..Compared::at(now, digest)
                };
                match validate(approval, *checks, *accept_own, &self.request, against) {
                    Ok(_) => self.advance(),
                    Err(refusal) => self.refuse(refusal, RefusalKind::Validation),
                }
            }
            (Instruction::ReadObject(swap), Reply::Approval { approval, fence, now, observed, .. }) => {
                let found = approval.ok_or(Refusal::APPROVAL_NOT_FOUND);
                let fences = Fences { held: self.at.fence, latest: fence };
                let against = Compared {
                    own_use: observed.own_use,
                    target_is_current: observed.target_is_current,
                    same_binding: observed.same_binding,
                    ..Compared::at(now, self.at.digest)
                };
                self.at.uses_seen = observed.uses;
                let judge = |row: &crate::protocol::Approval| {
                    use_object(row.state(), fences, swap.guards, swap.accept_own, against)
                };
                match found.and_then(judge) {
                    Ok(Granted::Usable) => self.advance(),
                    // All changes were made by the earlier use.
                    Ok(Granted::OwnUse) => {
                        self.at.repeats = true;
                        self.complete_step();
                    }
                    Err(refusal) => self.conflict(refusal, swap.on_conflict),
                }
            }
            (Instruction::Lease, Reply::Leased { fence }) => {
                // Another number is another lease. With the same one it shares what it holds.
                if self.at.fence != Some(fence) || self.at.leased_by.is_none() {
                    self.at.leased_by = Some(index as u8);
                }
                self.at.fence = Some(fence);
                self.advance();
            }
            (Instruction::Lease, Reply::LeaseHeld) => {
                if let StepAction::Lease(Lease { on_held: OnHeld::Refuse, .. }) = step.action {
                    self.refuse(Refusal::LEASE_HELD, RefusalKind::Conflict);
                }
                // Otherwise the lease is still pending.
            }
            (Instruction::Check, Reply::Read { digest }) => {
                self.at.digest = digest;
                self.advance();
            }
            (Instruction::Recall { .. }, Reply::NotRecalled) => self.advance(),
            (Instruction::Recall { .. }, Reply::Recalled { target }) => {
                // Only the answer is left.
                self.at.target = target;
                self.at.repeats = true;
                self.at.cursor = self.flow.end();
            }
            // The key is another request's.
            (Instruction::Recall { .. }, Reply::Refused(refusal)) => {
                self.refuse(refusal, RefusalKind::Conflict);
            }
            (Instruction::Recall { .. }, Reply::InFlight) => {
                self.refuse(Refusal::IN_FLIGHT, RefusalKind::Conflict);
            }
            (Instruction::FindTarget, Reply::Target(found)) => {
                let known = self.at.target;
                self.at.target = found.map(|id| Target {
                    id,
                    created: known.is_some_and(|known| known.id == id && known.created),
                });
                self.advance();
            }
            (Instruction::Commit(_), Reply::Committed { target, own_use }) => {
                self.at.target = target.or(self.at.target);
                self.at.repeats |= own_use;
                self.advance();
            }
            (
                Instruction::Start { .. } | Instruction::Call { .. } | Instruction::Prepare { .. },
                Reply::Done,
            ) => self.advance(),
            (Instruction::Commit(ops), Reply::NotConsumed(refusal)) => {
                let alone = match ops.as_slice() {
                    [Change::Consume(swap)] => swap.on_conflict,
                    _ => OnConflict::Refuse,
                };
                self.conflict(refusal, alone);
            }
            (Instruction::Lease, Reply::NotConsumed(refusal)) => {
                self.refuse(refusal, RefusalKind::Conflict);
            }
            (
                Instruction::Check
                | Instruction::FindTarget
                | Instruction::Commit(_)
                | Instruction::Start { .. }
                | Instruction::Call { .. }
                | Instruction::Prepare { .. },
                Reply::Refused(refusal),
            ) => self.refuse(refusal, RefusalKind::Own),
            (
                Instruction::Validate { .. }
                | Instruction::ReadObject(_)
                | Instruction::Check
                | Instruction::Recall { .. }
                | Instruction::Lease
                | Instruction::FindTarget
                | Instruction::Commit(_)
                | Instruction::Call { .. }
                | Instruction::Prepare { .. },
                Reply::Failed,
            ) => self.fail(instruction, step, false),
            // The lease may have been acquired: nothing is consumed, and the lease expires.
            (Instruction::Lease, Reply::OutcomeUnknown) => self.fail(instruction, step, false),
            (Instruction::Commit(_) | Instruction::Call { .. }, Reply::OutcomeUnknown) => {
                self.fail(instruction, step, true);
            }
            (instruction, reply) => panic!("{reply:?} does not answer {instruction:?}"),
        }
    }

    /// Goes on to the next instruction; the last one of a step completes it.
    fn advance(&mut self) {
        if self.at.cursor + 1 == self.flow.span_of_step(self.at.cursor).1 {
            self.complete_step();
        } else {
            self.at.cursor += 1;
        }
    }

    /// The step was seen to succeed: a later refusal undoes it, where it says so.
    fn complete_step(&mut self) {
        if let Some((_, step, index)) = self.flow.instruction(self.at.cursor)
            && step.is_undone()
        {
            self.at.undoable |= 1 << index;
        }
        self.leave_step();
    }

    fn leave_step(&mut self) {
        if let Some((.., index)) = self.flow.instruction(self.at.cursor)
            && let Some(lease) = self.at.leased_by
            && self.flow.ends_lease(usize::from(lease), index)
        {
            self.at.leased_by = None;
        }
        self.at.is_retrying = false;
        self.at.cursor = self.flow.span_of_step(self.at.cursor).1;
    }

    /// The step's conflict. After an ignored one there is nothing to undo.
    fn conflict(&mut self, refusal: Refusal, on_conflict: OnConflict) {
        match on_conflict {
            OnConflict::Continue => self.leave_step(),
            OnConflict::Refuse => self.refuse(refusal, RefusalKind::Conflict),
        }
    }

    /// A 503 of the step. `is_unknown`: it may have been applied.
    fn fail(&mut self, instruction: &Instruction, step: &Step, is_unknown: bool) {
        let is_event = matches!(step.action, StepAction::Audit);
        match step.on_error {
            // An event that is lost is lost.
            _ if is_event => self.leave_step(),
            OnError::Continue => self.leave_step(),
            OnError::Retry if !self.at.is_retrying => {
                self.at.is_retrying = true;
                self.at.cursor = self.flow.span_of_step(self.at.cursor).0;
            }
            OnError::Refuse | OnError::Retry => {
                // A write may have been applied, and the endpoint answers as if it was not.
                let kind = match is_unknown {
                    _ if step.is_preflight() => RefusalKind::PreflightUnavailable,
                    true => RefusalKind::Unknown,
                    false => RefusalKind::Unavailable,
                };
                self.refuse(unavailable(instruction, step), kind);
            }
        }
    }

    /// Ends with this refusal, or undoes first.
    fn refuse(&mut self, refusal: Refusal, kind: RefusalKind) {
        let ending = Ending { kind, status: refusal.status() };
        if self.at.undoable == 0 {
            self.outcome = Some(ending.outcome(refusal));
        } else {
            self.at.ending = Some(ending);
            self.refusal = Some(refusal);
        }
    }

    /// The undo of `step` has been tried; it is not tried again.
    fn undo(&mut self, step: usize) {
        self.at.undoable &= !(1 << step);
        if matches!(self.flow.steps()[step].action, StepAction::Lease(_)) {
            self.at.leased_by = None;
        }
        if let (0, Some(ending)) = (self.at.undoable, self.at.ending) {
            let refusal = self.refusal.take().unwrap_or_else(|| ending.anonymous());
            self.outcome = Some(ending.outcome(refusal));
        }
    }
}

/// The 503 of a step whose infrastructure failed: its own if it lists one.
fn unavailable(instruction: &Instruction, step: &Step) -> Refusal {
    if let Some(own) = step.refusals().find(|refusal| refusal.status() == 503) {
        return own.clone();
    }
    match &step.action {
        StepAction::Validate { .. } | StepAction::Check { .. } | StepAction::Recall { .. } => {
            Refusal::LOOKUP_FAILED
        }
        StepAction::Write(_) if matches!(instruction, Instruction::FindTarget) => Refusal::LOOKUP_FAILED,
        StepAction::Write(_) => Refusal::UPDATE_FAILED,
        StepAction::Lease(_) => Refusal::LEASE_FAILED,
        StepAction::Consume(_) => Refusal::EXECUTE_FAILED,
        StepAction::Remember => Refusal::REMEMBER_FAILED,
        StepAction::Act(_) => match instruction {
            Instruction::Commit(ops) if matches!(ops.as_slice(), [Change::Enqueue { .. }]) => {
                Refusal::ENQUEUE_FAILED
            }
            Instruction::Commit(_) => Refusal::UPDATE_FAILED,
            _ => Refusal::CALL_FAILED,
        },
        StepAction::Atomic(_) if step.consume().is_some() => Refusal::EXECUTE_FAILED,
        StepAction::Atomic(_) | StepAction::Audit => Refusal::UPDATE_FAILED,
    }
}

#[cfg(test)]
mod tests;
