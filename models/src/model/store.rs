//! The replies of the store and of the outside to an effect, as the action's outcome will have it.

use countersign::protocol::{
    Change, Commit, Compared, Effect, Fences, Granted, Member, Observed, OnConflict, Refusal, Reply, Status,
    StepAction, Swap, Target, use_object,
};

use super::{LATEST_FENCE, Model, Role, StepOutcome, clock, target_id, target_index};
use crate::world::{Deploy, Job, JobStatus, MAX_COUNT, Payload, State, TargetStatus};

impl Model {
    /// Executes an effect. `None` if the outcome is impossible here: the reply to a refused commit cannot be lost, and
    /// a lease held by another attempt is waited for.
    ///
    /// A reply that reports no change implies that nothing has changed.
    pub(super) fn reply<'m>(
        &'m self,
        effect: Effect<'m>,
        state: &mut State,
        attempt: u8,
        outcome: StepOutcome,
    ) -> Option<Reply<'m>> {
        let source = self.source(&state.world, attempt).digest();
        match outcome {
            StepOutcome::Fails => {
                if let Effect::Undo { step } = effect
                    && self.layout.undone_writes >> step & 1 == 1
                {
                    state.attempts[usize::from(attempt)].wrote = true;
                }
                return Some(Reply::Failed);
            }
            StepOutcome::Refuses => return self.own_refusal(effect, state, attempt),
            StepOutcome::Happens | StepOutcome::LosesAnswer => {}
        }
        let is_lost = outcome == StepOutcome::LosesAnswer;
        let done = || if is_lost { Reply::OutcomeUnknown } else { Reply::Done };
        Some(match effect {
            Effect::Validate { .. } | Effect::ReadApproval { .. } => {
                if matches!(effect, Effect::ReadApproval { .. }) && self.layout.reads_status {
                    state.attempts[usize::from(attempt)].seen_status = Some(state.world.status);
                }
                Reply::Approval {
                    approval: Some(&self.approvals[state.world.status as usize]),
                    digest: source,
                    fence: LATEST_FENCE,
                    now: clock(state.world.window_passed),
                    observed: Observed {
                        uses: state.world.uses,
                        own_use: self.has_own_use(state, attempt),
                        target_is_current: !state.world.target_drifted,
                        same_binding: true,
                    },
                }
            }
            Effect::Check => Reply::Read { digest: source },
            Effect::Recall { claim } => self.recall(state, attempt, claim),
            Effect::Lease { .. } => return self.take_lease(state, attempt, outcome),
            Effect::FindTarget => Reply::Target(state.world.found_target().map(target_id)),
            Effect::Commit(commit) => match self.judge(commit, state, attempt) {
                Err(_) if is_lost => return None,
                Err(refusal) => Reply::NotConsumed(refusal),
                Ok(granted) => {
                    let target = self.write(commit, granted, state, attempt, is_lost);
                    let own_use = granted == Some(Granted::OwnUse);
                    if is_lost { Reply::OutcomeUnknown } else { Reply::Committed { target, own_use } }
                }
            },
            Effect::Launch { act, digest, target } => {
                self.take_effect(state, attempt, act, Payload::of(digest));
                let target = target.map(|target| target_index(target.id));
                state.attempts[usize::from(attempt)].deploys[usize::from(act)] =
                    Deploy { runs: true, target };
                Reply::Done
            }
            Effect::Call { act, key, digest } => {
                let slot = self.slot(state, attempt);
                let keyed = &mut state.world.keyed[usize::from(act)];
                let is_known = key && *keyed >> slot & 1 == 1;
                if key {
                    *keyed |= 1 << slot;
                }
                if !is_known {
                    self.take_effect(state, attempt, act, Payload::of(digest));
                }
                done()
            }
            Effect::Prepare { act } => {
                state.attempts[usize::from(attempt)].answers |= 1 << act;
                Reply::Done
            }
            Effect::Undo { step } => {
                self.undo(state, attempt, step);
                Reply::Done
            }
            Effect::Answer => done(),
        })
    }

    /// True if a use that is not undone belongs to an attempt of the same caller, and the store knows it.
    fn has_own_use(&self, state: &State, attempt: u8) -> bool {
        let uses = |attempt: u8| {
            let one = &state.attempts[usize::from(attempt)];
            one.uses > 0 && !one.is_forgotten
        };
        uses(attempt) || self.sibling(attempt).is_some_and(uses)
    }

    /// The step refuses by its own judgement. In a group a member does, if those before it do not conflict.
    fn own_refusal<'m>(&'m self, effect: Effect<'m>, state: &State, attempt: u8) -> Option<Reply<'m>> {
        let line = &self.profiles[usize::from(state.attempts[usize::from(attempt)].cursor)];
        if let (Effect::Commit(commit), Some(step)) = (effect, line.step)
            && let StepAction::Atomic(members) = &self.flow.steps()[step].action
        {
            let before = members.iter().position(|member: &Member| !member.refusals().is_empty())?;
            let earlier = Commit { ops: &commit.ops[..before], ..commit };
            if self.judge(earlier, state, attempt).is_err() {
                return None;
            }
        }
        line.refusal.clone().map(Reply::Refused)
    }

    /// The conflicts of a transaction, in the order of its members: the first one decides. What its consume is granted,
    /// if it has one that is not skipped.
    fn judge(&self, commit: Commit<'_>, state: &State, attempt: u8) -> Result<Option<Granted>, Refusal> {
        let is_alone = commit.ops.len() == 1;
        // A group is judged on the committed state: rows before the consume are keyed by the use that it accepts.
        let swap = commit.ops.iter().find_map(|op| match op {
            Change::Consume(swap) => Some(swap),
            _ => None,
        });
        let consumed = swap.map(|swap| self.swap(commit, swap, state, attempt));
        let accepted = matches!(consumed, Some(Ok(Granted::OwnUse))).then(|| {
            let mut after = *state;
            after.attempts[usize::from(attempt)].repeats = true;
            after
        });
        let after = accepted.as_ref().unwrap_or(state);
        let mut granted = None;
        for op in commit.ops {
            match op {
                Change::Consume(swap) => match &consumed {
                    Some(Ok(grant)) => granted = Some(*grant),
                    Some(Err(_)) if swap.on_conflict == OnConflict::Continue && !is_alone => {}
                    Some(Err(refusal)) => return Err(refusal.clone()),
                    None => {}
                },
                Change::Row { act, unique: true } => {
                    if state.world.keyed[usize::from(*act)] >> self.slot(after, attempt) & 1 == 1 {
                        return Err(Refusal::DUPLICATE);
                    }
                }
                Change::Row { unique: false, .. }
                | Change::WriteTarget { .. }
                | Change::WriteVault
                | Change::Audit
                | Change::Enqueue { .. }
                | Change::Remember => {}
            }
        }
        Ok(granted)
    }

    fn swap(&self, commit: Commit<'_>, swap: &Swap, state: &State, attempt: u8) -> Result<Granted, Refusal> {
        let world = &state.world;
        // The write of a read-then-write has been granted by its read.
        let accept_own = swap.accept_own && !swap.trust_look;
        let against = Compared {
            own_use: self.has_own_use(state, attempt),
            target_is_current: !world.target_drifted,
            ..Compared::at(clock(world.window_passed), commit.digest)
        };
        let fences = Fences { held: commit.fence, latest: LATEST_FENCE };
        use_object(self.approvals[world.status as usize].state(), fences, swap.guards, accept_own, against)
    }

    /// Applies a transaction that nothing refuses. The target that it wrote.
    fn write(
        &self,
        commit: Commit<'_>,
        granted: Option<Granted>,
        state: &mut State,
        attempt: u8,
        is_lost: bool,
    ) -> Option<Target> {
        let index = usize::from(attempt);
        // Settled: a group is judged on the committed state, so that an act before the consume is keyed by its use.
        let one = &mut state.attempts[index];
        one.repeats |= granted == Some(Granted::OwnUse) && one.uses == 0;
        let mut written: Option<Target> = None;
        let mut enqueued = Vec::new();
        for op in commit.ops {
            match op {
                Change::Consume(swap) if granted == Some(Granted::Usable) => {
                    self.count_use(commit, swap, state, attempt);
                }
                Change::Consume(_) => {}
                Change::WriteTarget { trust_look } => {
                    let target = self.write_target(commit, *trust_look, written, state, attempt, is_lost);
                    written = Some(target);
                }
                Change::WriteVault => {
                    let replaced = u128::from(state.world.vault_written);
                    state.world.vault_written = true;
                    self.note_write(state, attempt, replaced, is_lost);
                    if self.layout.undone_writes != 0 {
                        state.world.vault_writer = Some(attempt);
                    }
                }
                Change::Audit => self.audit(state, attempt),
                Change::Row { act, unique } => {
                    if *unique {
                        state.world.keyed[usize::from(*act)] |= 1 << self.slot(state, attempt);
                    }
                    self.take_effect(state, attempt, *act, Payload::of(commit.digest));
                }
                Change::Enqueue { act } => {
                    let slot = self.slot(state, attempt);
                    let job = &mut state.world.jobs[usize::from(*act)][slot];
                    if job.status == JobStatus::Absent {
                        let payload = Payload::of(commit.digest);
                        *job = Job { status: JobStatus::Ready, payload, ..Job::default() };
                        enqueued.push((*act, slot));
                        self.note_act(state, attempt, *act);
                    }
                }
                Change::Remember => self.store_outcome(state, attempt),
            }
        }
        // A transaction has no order from outside: a job knows the target that it is written with.
        for (act, slot) in enqueued {
            let target = written.or(commit.target).map(|target| target_index(target.id));
            state.world.jobs[usize::from(act)][slot].target = target;
        }
        written
    }

    fn count_use(&self, commit: Commit<'_>, swap: &Swap, state: &mut State, attempt: u8) {
        let object = self.flow.object();
        let sibling = self.sibling(attempt).map(|other| state.attempts[usize::from(other)]);
        let State { world, attempts } = state;
        let one = &mut attempts[usize::from(attempt)];
        let violated = &mut world.violated;
        violated.used_unapproved |=
            object.approvers > 0 && !matches!(world.status, Status::Approved | Status::Executed);
        violated.used_late |= world.window_passed;
        violated.used_revoked |= world.was_revoked;
        violated.used_stale |= world.target_drifted;
        violated.scanner |= self.role(attempt) == Role::Scanner;
        violated.retry |= sibling.is_some_and(|other| (one.is_owed || other.is_owed) && other.uses > 0);
        one.uses = (one.uses + 1).min(3);
        one.is_forgotten = false;
        if self.layout.tracks_last_user {
            world.last_user = Some(attempt);
        }
        world.applied = (world.applied + 1).min(MAX_COUNT);
        let before = if swap.trust_look { commit.uses_seen } else { world.uses };
        world.uses = (before + 1).min(MAX_COUNT);
        let seen = one.seen_status.take();
        if world.uses >= object.uses {
            world.move_to(Status::Executed);
        } else if let (true, Some(seen)) = (swap.trust_look, seen) {
            // The status that follows from the count that was written: that which was read.
            world.move_to(seen);
        }
        self.note_change(world, attempt);
    }

    fn write_target(
        &self,
        commit: Commit<'_>,
        trust_look: bool,
        written: Option<Target>,
        state: &mut State,
        attempt: u8,
        is_lost: bool,
    ) -> Target {
        let world = &mut state.world;
        let known = commit.target.map(|target| target_index(target.id));
        let found = if trust_look { known } else { world.found_target() };
        let target = found.unwrap_or_else(|| world.free_target());
        let is_mine = |earlier: Option<Target>| {
            earlier.is_some_and(|earlier| earlier.created && earlier.id == target_id(target))
        };
        let place = &mut world.targets[usize::from(target)];
        let replaced = *place as u128;
        let created = *place == TargetStatus::Absent || is_mine(written) || is_mine(commit.target);
        // Settled: where no act starts a deploy, a written target is settled immediately.
        *place = if self.has_deploys() { TargetStatus::Building } else { TargetStatus::Settled };
        if self.layout.undone_writes != 0 {
            world.writers[usize::from(target)] = Some(attempt);
        }
        self.note_write(state, attempt, replaced, is_lost);
        Target { id: target_id(target), created }
    }

    /// Keeps what an undo would restore. A write that no undo follows stays.
    fn note_write(&self, state: &mut State, attempt: u8, replaced: u128, is_lost: bool) {
        self.note_change(&mut state.world, attempt);
        let one = &mut state.attempts[usize::from(attempt)];
        let step = self.profiles[usize::from(one.cursor)].step;
        match step.filter(|step| self.layout.undone_writes >> step & 1 == 1) {
            Some(step) if !is_lost => {
                one.replaced = one.replaced & !(3 << (2 * step)) | replaced << (2 * step);
            }
            _ => one.wrote = true,
        }
    }

    /// Settled: where an attempt may accept an earlier use, no attempt writes a second event for one use: neither it nor,
    /// if it was faster, the attempt whose use it is.
    fn audit(&self, state: &mut State, attempt: u8) {
        let owner = usize::from(self.owner_of_use(state, attempt));
        let accepts = self.flow.consume().is_some_and(|consume| consume.accept_own);
        if accepts && state.attempts[owner].has_event {
            return;
        }
        if self.layout.tracks_events {
            state.attempts[owner].has_event = true;
        }
        state.world.executed_events = (state.world.executed_events + 1).min(MAX_COUNT);
        self.note_change(&mut state.world, attempt);
    }
}
