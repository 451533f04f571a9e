//! An attempt from its beginning to its answer, with what faults make of its steps, and its undos.

use crate::{
    flow::{Action, OnError, Retry, Step, Via, WriteTarget},
    moves::Move,
    properties::{Broken, Property::*},
    steps::Done,
    world::{Attempt, Code, Judge, Key, Kin, Kind, Look, Phase, Refusal, Status, World},
};

impl Judge {
    /// The next action of one attempt, in every way it may go; `free`: faults and own refusals may happen.
    pub(crate) fn attempt_moves(&self, before: &World, i: usize, free: bool, out: &mut Vec<Move>) {
        match before.attempts[i].phase {
            Phase::NotBegun => {
                let first = self.roles[i].retry_of.map(|first| before.attempts[first as usize].phase);
                // "once more as soon as the first attempt has begun and has not been seen to succeed"
                if matches!(first, Some(Phase::NotBegun | Phase::Success { received: true, .. })) {
                    return;
                }
                // "Fairness is owed to … the retry of a caller whose final answer was lost."
                let owed = matches!(first, Some(Phase::Success { received: false, .. }));
                let mut world = before.clone();
                self.begin(&mut world, i);
                self.step(before, world, i, owed, free, out);
            }
            Phase::Running => self.step(before, before.clone(), i, true, free, out),
            Phase::Undoing(refusal) => self.undo(before, i, refusal, free, out),
            Phase::Success { .. } | Phase::Refused(_) | Phase::Killed => {}
        }
    }

    fn begin(&self, world: &mut World, i: usize) {
        let (usable, was_usable) = (self.usable(world), world.was_usable);
        // S13: "had taken effect before its retry began, and was not answered with a refusal"
        let owed_same_outcome = self.roles[i].retry_of.is_some_and(|first| {
            let first = &world.attempts[first as usize];
            first.took_effect() && !first.is_answered_with_refusal()
        });
        world.attempts[i] = Attempt {
            phase: Phase::Running,
            digest: self.source(world, i),
            began_usable: usable,
            began_after_usable: was_usable,
            owed_same_outcome,
            ..Attempt::NOT_BEGUN
        };
    }

    /// The digest that an attempt reads now.
    pub(crate) fn source(&self, world: &World, i: usize) -> u8 {
        match (self.roles[i].other_payload, world.source_drifted) {
            (true, _) => 2,
            (false, drifted) => u8::from(drifted),
        }
    }

    fn step(&self, before: &World, world: World, i: usize, owed: bool, free: bool, out: &mut Vec<Move>) {
        let Some(step) = self.flow.steps.get(world.attempts[i].at as usize) else {
            return self.answer(before, &world, i, free, out);
        };
        let fault = free && world.faults_left > 0;
        let performed = self.perform(&world, i, step);
        if free && performed.may_refuse {
            let (to, broke) =
                self.refuse(world.clone(), i, Refusal { kind: Kind::Preflight, code: Code::Own });
            self.emit(before, to, owed, broke, out);
        }
        match performed.done {
            Done::Waits => {}
            Done::Halfway(to) | Done::Found(to) => self.emit(before, to, owed, Broken::default(), out),
            Done::Refused(refusal) => {
                let (to, broke) = self.refuse(world.clone(), i, refusal);
                self.emit(before, to, owed, broke, out);
            }
            Done::NoRows => {
                let to = self.advance(world.clone(), i, false);
                self.emit(before, to, owed, Broken::default(), out);
            }
            Done::Through(through, broke) => {
                if fault && loses_answer(step) {
                    let mut lost = through.clone();
                    lost.faults_left -= 1;
                    self.forget_lease(&mut lost, &world, i, step);
                    let (to, also) = self.after_fault(lost, i, step, true);
                    let mut broke = broke;
                    broke.join(also);
                    self.emit(before, to, owed, broke, out);
                }
                self.emit(before, self.advance(through, i, true), owed, broke, out);
            }
        }
        if fault && !matches!(&step.action, Action::Act(act) if act.via == Via::Memory) {
            let hurt = World { faults_left: world.faults_left - 1, ..world };
            let (to, broke) = match step.action {
                Action::Audit => (self.advance(hurt, i, false), Broken::default()),
                _ => self.after_fault(hurt, i, step, false),
            };
            self.emit(before, to, owed, broke, out);
        }
    }

    /// `on_error`: what the endpoint makes of a 503.
    fn after_fault(&self, mut world: World, i: usize, step: &Step, lost: bool) -> (World, Broken) {
        match step.on_error {
            OnError::Continue => (self.advance(world, i, false), Broken::default()),
            OnError::Retry if !world.attempts[i].tried => {
                world.attempts[i].tried = true;
                world.attempts[i].look = Look::No;
                (world, Broken::default())
            }
            OnError::Retry | OnError::Refuse => {
                let kind = match step.action {
                    Action::Validate { .. } | Action::Check | Action::Write(_) => Kind::Preflight,
                    Action::Recall { .. } | Action::Lease(_) => Kind::Plain,
                    Action::Consume(_) | Action::Act(_) | Action::Remember | Action::Group(_) => {
                        if lost {
                            Kind::Unknown
                        } else {
                            Kind::Plain
                        }
                    }
                    Action::Audit => unreachable!("its failure is swallowed"),
                };
                self.refuse(world, i, Refusal { kind, code: Code::Fault })
            }
        }
    }

    /// "a lease whose answer was lost: its holder does not know of it"
    fn forget_lease(&self, world: &mut World, before: &World, i: usize, step: &Step) {
        if let (Action::Lease(_), Some(held)) = (&step.action, &mut world.lease) {
            world.fence &= !(1 << i);
            match before.lease {
                None => held.known = false,
                Some(already) => *held = already, // it had joined its caller's other attempt
            }
        }
    }

    /// Goes on to the next step; `seen`: the step was seen to succeed.
    pub(crate) fn advance(&self, mut world: World, i: usize, seen: bool) -> World {
        let at = world.attempts[i].at;
        let attempt = &mut world.attempts[i];
        if seen && self.flow.steps[at as usize].undo {
            attempt.done |= 1 << at;
        }
        (attempt.at, attempt.look, attempt.tried) = (at + 1, Look::No, false);
        if let Some(held) = world.lease
            && self.lease_of(held).until == Some(at as usize)
        {
            self.release(&mut world, i);
        }
        world
    }

    /// Releases the lease if the attempt holds it and knows of it.
    fn release(&self, world: &mut World, i: usize) {
        if world.lease.is_some_and(|held| held.known && held.holders & 1 << i != 0) {
            world.lease = None;
        }
    }

    /// The attempt has met a refusal: undos first, then the answer, which is no action of its own.
    fn refuse(&self, mut world: World, i: usize, refusal: Refusal) -> (World, Broken) {
        if world.attempts[i].done != 0 {
            world.attempts[i].phase = Phase::Undoing(refusal);
            return (world, Broken::default());
        }
        self.answer_refusal(world, i, refusal)
    }

    fn answer_refusal(&self, mut world: World, i: usize, refusal: Refusal) -> (World, Broken) {
        // "when its attempt answers a refusal (same action)"; an unknown outcome is none.
        if refusal.kind != Kind::Unknown {
            for row in &mut world.keys {
                row.marker = row.marker.filter(|marker| marker.by as usize != i);
                row.stored = row.stored.filter(|stored| stored.by as usize != i);
            }
        }
        let mut broke = Broken::default();
        // S12: "every refusal that it gets by the object's rules is 404"
        let not_404 = matches!(refusal.code, Code::Conflict | Code::Gone | Code::Passing);
        broke.add_if(self.roles[i].kin == Kin::OtherTenant && not_404, S12);
        self.end(&mut world, i, Phase::Refused(refusal));
        (world, broke)
    }

    fn end(&self, world: &mut World, i: usize, phase: Phase) {
        self.release(world, i);
        world.attempts[i].phase = phase;
        self.keep_history(world, i);
    }

    /// Reduces an ended attempt to its history.
    pub(crate) fn keep_history(&self, world: &mut World, i: usize) {
        world.fence &= !(1 << i);
        let attempt = &mut world.attempts[i];
        let succeeded = matches!(attempt.phase, Phase::Success { .. });
        *attempt = Attempt {
            phase: attempt.phase,
            began_usable: attempt.began_usable && attempt.refusal().is_some(),
            began_after_usable: attempt.began_after_usable,
            owed_same_outcome: attempt.owed_same_outcome,
            swaps: attempt.swaps,
            writes: attempt.writes,
            acts: attempt.acts,
            audited: attempt.audited && attempt.swaps > 0,
            use_of: attempt.use_of.filter(|_| succeeded && self.flow.object.burns()),
            ..Attempt::NOT_BEGUN
        };
    }

    /// "Answering a success is an action."
    fn answer(&self, before: &World, world: &World, i: usize, free: bool, out: &mut Vec<Move>) {
        let repeat = world.attempts[i].repeat;
        let mut broke = Broken::default();
        broke.add_if(self.roles[i].kin == Kin::OtherTenant, S12);
        if free && world.faults_left > 0 && self.flow.retry != Retry::None {
            let mut lost = world.clone();
            lost.faults_left -= 1;
            self.end(&mut lost, i, Phase::Success { received: false, repeat });
            self.emit(before, lost, true, broke, out);
        }
        let mut to = world.clone();
        for act in 0..self.flow.acts.len() {
            if world.attempts[i].answers & 1 << act == 0 {
                continue;
            }
            // "a repeated outcome is the same effect for the same caller", whichever of the two answers comes first
            let had = world.attempts.iter().enumerate().any(|(j, other)| {
                let repeats = repeat || matches!(other.phase, Phase::Success { repeat: true, .. });
                self.roles[i].same_caller & 1 << j != 0 && other.acts[act] > 0 && repeats
            });
            if !had {
                broke.join(self.take_effect(&mut to, i, act));
            }
        }
        self.end(&mut to, i, Phase::Success { received: true, repeat });
        self.emit(before, to, true, broke, out);
    }

    /// Undoes the last of the steps that are still to be undone: one atomic action.
    fn undo(&self, before: &World, i: usize, refusal: Refusal, free: bool, out: &mut Vec<Move>) {
        let at = 63 - before.attempts[i].done.leading_zeros();
        let mut kept = before.clone();
        kept.attempts[i].done &= !(1 << at);
        let finish = |world: World| self.refuse(world, i, refusal);

        let mut undone = kept.clone();
        match &self.flow.steps[at as usize].action {
            Action::Consume(_) => self.undo_use(&mut undone, i),
            Action::Write(what) => undo_write(&mut undone, i, at as u8, *what),
            Action::Lease(_) => self.release(&mut undone, i),
            Action::Act(act) => self.refund(&mut undone, i, act.number, act.key),
            other => unreachable!("{other:?} has no undo"),
        }
        let (to, broke) = finish(undone);
        // Not `emit`: an undo of the attempt's own use may leave a final status.
        out.push(Move { to, owed: true, by: None, broke });
        // "A failed undo is not tried again, the next one runs."
        if free && before.faults_left > 0 {
            kept.faults_left -= 1;
            let (to, broke) = finish(kept);
            self.emit(before, to, true, broke, out);
        }
    }

    /// "only if it is still this attempt's use; count minus one, status back, and a releasing event in the same
    /// action if it had written its event"
    fn undo_use(&self, world: &mut World, i: usize) {
        let still_mine = if self.flow.object.uses == 1 {
            world.used_by == Some(i as u8)
        } else {
            world.users & 1 << i != 0
        };
        if !still_mine || world.attempts[i].swaps == 0 {
            return;
        }
        world.count = world.count.saturating_sub(1);
        if world.status == Status::Used && world.count < self.flow.object.uses {
            world.status = Status::Approved;
        }
        let attempt = &mut world.attempts[i];
        attempt.swaps -= 1;
        if attempt.swaps == 0 {
            world.users &= !(1 << i);
            attempt.use_of = None;
            if world.used_by == Some(i as u8) {
                world.used_by = None;
            }
        }
        if attempt.audited {
            attempt.audited = false;
            world.events -= 1;
        }
    }

    /// "the effect is gone, and a later call under the same key acts anew"
    fn refund(&self, world: &mut World, i: usize, act: usize, keyed: bool) {
        let mut by = i;
        if keyed {
            let keys = [Key::Attempt(i as u8), self.key(world, i)];
            let is_it = |key: Key| {
                world.keyed_effects.iter().position(|effect| effect.act as usize == act && effect.key == key)
            };
            let Some(index) = keys.into_iter().find_map(is_it) else { return };
            by = world.keyed_effects.remove(index).by as usize;
        }
        let count = &mut world.attempts[by].acts[act];
        if *count > 0 {
            *count -= 1;
            world.effects[act] -= 1;
        }
    }
}

/// "what it replaced, if this attempt was the last to write it"
fn undo_write(world: &mut World, i: usize, step: u8, what: WriteTarget) {
    let attempt = &mut world.attempts[i];
    let Some(saved) = attempt.replaced.iter_mut().find(|saved| saved.is_some_and(|saved| saved.step == step))
    else {
        return; // it had changed no row
    };
    let replaced = saved.take().expect("it was found");
    let me = Some(i as u8);
    match (what, replaced.slot) {
        (WriteTarget::Target, Some(slot)) => {
            if world.target_writers[slot as usize] != me {
                return;
            }
            world.target_writers[slot as usize] = replaced.writer;
            let bit = 1 << slot;
            world.targets = world.targets & !bit | if replaced.existed { bit } else { 0 };
            world.building = world.building & !bit | if replaced.building { bit } else { 0 };
        }
        (WriteTarget::Vault, None) => {
            if world.vault_writer != me {
                return;
            }
            world.vault_writer = replaced.writer;
        }
        other => unreachable!("{other:?}"),
    }
    world.attempts[i].writes -= 1;
}

/// "Applied, answer lost" hits `write`, `consume`, `lease`, `act` (outbox, row, call), `remember` and groups.
fn loses_answer(step: &Step) -> bool {
    match &step.action {
        Action::Write(_) | Action::Consume(_) | Action::Lease(_) | Action::Remember | Action::Group(_) => {
            true
        }
        Action::Act(act) => matches!(act.via, Via::Outbox | Via::Row | Via::Call),
        Action::Validate { .. } | Action::Check | Action::Recall { .. } | Action::Audit => false,
    }
}
