//! A promotion: one attempt to use an approval, as a machine without input or output of its own.
//!
//! It never reads a clock, draws a random number, waits or allocates an id: all of that comes in with the replies.

use super::{
    approval::Digest,
    effect::{Commit, Effect, Reply, Target},
    flow::{Do, Flow, Line, Member, Step},
    refusal::Refusal,
    rules::{Fences, Request, consume, validate},
};

/// How a promotion ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It reached the end of its flow: 202 for a target that it created, otherwise 200.
    Succeeded {
        /// The target, where the flow writes one.
        target: Option<Target>,
    },
    /// It was refused.
    Refused {
        /// The answer.
        refusal: Refusal,
        /// Whether the refusal came from the preflight: a check or a write, and not from the approval's rules.
        preflight: bool,
    },
    /// The answer of a step that may have consumed the approval or written its job was lost: it may or may not
    /// have happened. Only a look at the approval can tell.
    Unknown {
        /// The answer.
        refusal: Refusal,
    },
}

/// All that a running promotion remembers between two effects, for whoever has to store it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// The number of atomic actions done or skipped: the index of the next one.
    pub cursor: u8,
    /// The digest that it holds.
    pub digest: Digest,
    /// The target that it knows of.
    pub target: Option<Target>,
    /// The fencing number of its lease; none before it has taken one.
    pub fence: Option<u64>,
}

/// One attempt to use an approval.
///
/// The calling order is [`begin`](Self::begin), then [`effect`](Self::effect) and [`resume`](Self::resume) in
/// turn, until [`end`](Self::end) says how it ended. Asking for the effect twice gives the same effect.
///
/// A promotion that is dropped half-way has the meaning of a process that was killed there: what it changed stays.
#[derive(Clone, Debug)]
pub struct Promotion<'a> {
    flow: &'a Flow,
    request: &'a Request,
    at: Checkpoint,
    end: Option<End>,
}

impl<'a> Promotion<'a> {
    /// Begins an attempt. `digest` is that of what the request would launch now; it is held until a read
    /// (validate, check) brings a later one.
    pub fn begin(flow: &'a Flow, request: &'a Request, digest: Digest) -> Self {
        Self::restore(flow, request, Checkpoint { cursor: 0, digest, target: None, fence: None })
    }

    /// Goes on from a checkpoint of the same flow and request.
    pub fn restore(flow: &'a Flow, request: &'a Request, at: Checkpoint) -> Self {
        Self { flow, request, at, end: None }
    }

    /// What it remembers. Meaningless once it has ended.
    pub fn checkpoint(&self) -> Checkpoint {
        self.at
    }

    /// How it ended; none while it runs.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The step that the next effect belongs to; none for the answer, and when it has ended.
    pub fn step(&self) -> Option<&'a Step> {
        if self.end.is_some() {
            return None;
        }
        self.flow.line(self.at.cursor).map(|(_, step)| step)
    }

    /// The next thing to do; none when it has ended.
    #[inline]
    pub fn effect(&self) -> Option<Effect<'a>> {
        if self.end.is_some() {
            return None;
        }
        let Some((line, _)) = self.flow.line(self.at.cursor) else {
            return Some(Effect::Answer);
        };
        let Checkpoint { digest, target, fence, .. } = self.at;
        let approval = self.request.approval;
        Some(match line {
            Line::Validate(_) => Effect::Validate { approval },
            Line::Check => Effect::Check,
            Line::Lease => Effect::Lease { approval },
            Line::FindTarget => Effect::FindTarget,
            Line::ReadApproval(_) => Effect::ReadApproval { approval },
            Line::Commit(ops) => Effect::Commit(Commit { approval, digest, target, fence, ops }),
            Line::Launch => Effect::Launch { digest, target },
        })
    }

    /// Takes what became of the effect.
    ///
    /// # Panics
    /// When the reply is none of those that [`Effect`] lists for the pending effect, or nothing is pending:
    /// the driver is wrong, and going on would act on a misunderstanding.
    pub fn resume(&mut self, reply: Reply<'_>) {
        assert!(self.end.is_none(), "the promotion has ended: nothing is pending");
        let Some((line, step)) = self.flow.line(self.at.cursor) else {
            assert_eq!(reply, Reply::Done, "the answer is pending");
            self.end = Some(End::Succeeded { target: self.at.target });
            return;
        };
        match (line, reply) {
            (Line::Validate(checks), Reply::Approval { approval, digest, now, .. }) => {
                self.at.digest = digest;
                self.go_on_if(validate(approval, *checks, self.request, digest, now));
            }
            (Line::ReadApproval(guards), Reply::Approval { approval, fence, now, .. }) => {
                let found = approval.ok_or(Refusal::APPROVAL_NOT_FOUND);
                let fences = Fences { held: self.at.fence, latest: fence };
                self.go_on_if(
                    found.and_then(|row| consume(row.standing(), fences, *guards, self.at.digest, now)),
                );
            }
            (Line::Lease, Reply::Leased { fence }) => {
                self.at.fence = Some(fence);
                self.at.cursor += 1;
            }
            // It is still the lease that is pending.
            (Line::Lease, Reply::Held) => {}
            (Line::Check, Reply::Read { digest }) => {
                self.at.digest = digest;
                self.at.cursor += 1;
            }
            (Line::FindTarget, Reply::Target(found)) => {
                let known = self.at.target;
                self.at.target = found.map(|id| Target {
                    id,
                    created: known.is_some_and(|known| known.id == id && known.created),
                });
                self.at.cursor += 1;
            }
            (Line::Commit(_), Reply::Committed { target }) => {
                self.at.target = target.or(self.at.target);
                self.at.cursor += 1;
            }
            (Line::Launch, Reply::Done) => self.at.cursor += 1,
            (Line::Lease | Line::Commit(_), Reply::NotConsumed(refusal)) => self.go_on_if(Err(refusal)),
            (Line::Check | Line::FindTarget | Line::Commit(_), Reply::Refused(refusal)) => {
                self.fail(step, refusal, Failure::Own);
            }
            (
                Line::Validate(_)
                | Line::ReadApproval(_)
                | Line::Check
                | Line::Lease
                | Line::FindTarget
                | Line::Commit(_),
                Reply::Failed,
            ) => self.fail(step, unavailable(line, step), Failure::Before),
            // Perhaps it has a lease and does not know it: nothing is consumed, and the lease runs out.
            (Line::Lease, Reply::Lost) => self.fail(step, unavailable(line, step), Failure::Before),
            (Line::Commit(_), Reply::Lost) => self.fail(step, unavailable(line, step), Failure::After),
            (line, reply) => panic!("{reply:?} does not answer {line:?}"),
        }
    }

    /// Goes on, or ends with a refusal by the approval's rules.
    fn go_on_if(&mut self, judgement: Result<(), Refusal>) {
        match judgement {
            Ok(()) => self.at.cursor += 1,
            Err(refusal) => self.end = Some(End::Refused { refusal, preflight: false }),
        }
    }

    fn fail(&mut self, step: &Step, refusal: Refusal, failure: Failure) {
        if step.is_best_effort() {
            self.at.cursor = self.flow.after_step(self.at.cursor);
            return;
        }
        self.end = Some(match failure {
            // A write that refuses inside a group is a preflight refusal too: the group was not applied.
            Failure::Own => End::Refused { refusal, preflight: true },
            Failure::Before => End::Refused { refusal, preflight: step.is_preflight() },
            // A write may have been applied, and the endpoint answers as if it was not.
            Failure::After if step.is_preflight() => End::Refused { refusal, preflight: true },
            Failure::After => End::Unknown { refusal },
        });
    }
}

/// When a step failed.
#[derive(Clone, Copy)]
enum Failure {
    /// By its own judgement.
    Own,
    /// Certainly before anything changed.
    Before,
    /// Perhaps after it changed.
    After,
}

/// The 503 of a step whose infrastructure failed: its own if it lists one.
fn unavailable(line: &Line, step: &Step) -> Refusal {
    if let Some(own) = step.refusals().find(|refusal| refusal.status() == 503) {
        return own.clone();
    }
    match &step.action {
        Do::Validate { .. } | Do::Check { .. } => Refusal::LOOKUP_FAILED,
        Do::Write { .. } if matches!(line, Line::FindTarget) => Refusal::LOOKUP_FAILED,
        Do::Write { .. } => Refusal::UPDATE_FAILED,
        Do::Lease => Refusal::LEASE_FAILED,
        Do::Enqueue => Refusal::ENQUEUE_FAILED,
        Do::Consume { .. } => Refusal::EXECUTE_FAILED,
        Do::Atomic(members) if members.iter().any(|member| matches!(member, Member::Consume { .. })) => {
            Refusal::EXECUTE_FAILED
        }
        Do::Atomic(_) | Do::Audit | Do::Launch => Refusal::UPDATE_FAILED,
    }
}

#[cfg(test)]
mod tests;
