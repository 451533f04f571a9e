//! Undos, before a refusal is answered: each one atomic action, in reverse order.

use countersign::protocol::{Status, StepAction, Via};

use super::Model;
use crate::world::{State, TargetStatus};

const TARGETS: [TargetStatus; 3] = [TargetStatus::Absent, TargetStatus::Building, TargetStatus::Settled];

impl Model {
    /// Undoes the effect of this step of the attempt, as far as it is still its own.
    pub(super) fn undo(&self, state: &mut State, attempt: u8, step: usize) {
        match &self.flow.steps()[step].action {
            StepAction::Consume(_) => self.undo_use(state, attempt),
            StepAction::Write(_) => self.undo_write(state, attempt, step),
            StepAction::Act(act) => {
                if let Via::Call { key } = act.via {
                    let index = self.flow.steps()[..step].iter().flat_map(|step| step.acts()).count();
                    self.refund(state, attempt, index, key);
                }
            }
            StepAction::Lease(_) => {
                if self.is_leased_by(&state.world, attempt) {
                    Self::free_lease(&mut state.world);
                }
            }
            StepAction::Validate { .. }
            | StepAction::Check { .. }
            | StepAction::Recall { .. }
            | StepAction::Audit
            | StepAction::Remember
            | StepAction::Atomic(_) => {}
        }
    }

    /// Settled: only if it is still this attempt's use; count minus one, status back to approved if the count is below
    /// `uses`, and a releasing event in the same action if it had written its event.
    fn undo_use(&self, state: &mut State, attempt: u8) {
        let State { world, attempts } = state;
        let one = &mut attempts[usize::from(attempt)];
        if one.uses == 0 || (self.layout.tracks_last_user && world.last_user != Some(attempt)) {
            return;
        }
        one.uses -= 1;
        if one.uses == 0 {
            world.last_user = None;
        }
        world.applied = world.applied.saturating_sub(1);
        world.uses = world.uses.saturating_sub(1);
        if std::mem::take(&mut one.has_event) {
            world.executed_events = world.executed_events.saturating_sub(1);
        }
        if world.status == Status::Executed && world.uses < self.flow.object().uses {
            // An attempt's undo of its own use may leave a final status.
            world.status = Status::Approved;
        }
    }

    /// Settled: the undo restores the replaced value, if this attempt was the last to write it.
    fn undo_write(&self, state: &mut State, attempt: u8, step: usize) {
        let one = state.attempts[usize::from(attempt)];
        let replaced = (one.replaced >> (2 * step) & 3) as usize;
        state.attempts[usize::from(attempt)].replaced &= !(3 << (2 * step));
        let world = &mut state.world;
        let is_last = if self.writes_target_at(step) {
            let Some(target) = one.target.map(usize::from) else { return };
            let is_last = world.writers[target] == Some(attempt);
            if is_last {
                world.targets[target] = TARGETS[replaced.min(2)];
            }
            is_last
        } else {
            let is_last = world.vault_writer == Some(attempt);
            if is_last {
                world.vault_written = replaced != 0;
            }
            is_last
        };
        if !is_last {
            state.attempts[usize::from(attempt)].wrote = true;
        }
    }

    /// Settled: the effect is gone, and a later call under the same key acts anew.
    fn refund(&self, state: &mut State, attempt: u8, act: usize, key: bool) {
        let slot = self.slot(state, attempt);
        let State { world, attempts } = state;
        let one = &mut attempts[usize::from(attempt)];
        if key && world.keyed[act] >> slot & 1 == 0 {
            return;
        }
        if key {
            world.keyed[act] &= !(1 << slot);
            for other in attempts.iter_mut() {
                // Under one key there was one effect, regardless of its callers.
                if self.flow.object().uses == 1 {
                    other.acted[act] = 0;
                }
            }
            attempts[usize::from(attempt)].acted[act] = 0;
        } else {
            one.acted[act] = one.acted[act].saturating_sub(1);
        }
        world.effects[act] = world.effects[act].saturating_sub(1);
    }
}
