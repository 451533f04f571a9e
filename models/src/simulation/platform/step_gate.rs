//! The step gate: admits one task at a time, with the outcome of its effect, and records where the others wait.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{At, Who};
use crate::simulation::CallOutcome;

/// A lock that is never contended, as that of [the notes](super::step_record).
#[derive(Debug, Default)]
pub(super) struct StepGate(Mutex<State>);

#[derive(Debug)]
struct State {
    /// `None` stops all tasks.
    permit: Option<CallOutcome>,
    at: At,
    /// The task that may run, and its instance.
    turn: (Who, u8),
}

impl Default for State {
    fn default() -> Self {
        Self { permit: None, at: At::default(), turn: (Who::Worker { instance: 0 }, 0) }
    }
}

impl StepGate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next task that is polled may pass once.
    pub(super) fn admit(&self, who: Who, instance: u8, outcome: CallOutcome) {
        let mut state = self.state();
        (state.permit, state.turn) = (Some(outcome), (who, instance));
    }

    pub(super) fn set_turn(&self, who: Who, instance: u8) {
        self.state().turn = (who, instance);
    }

    pub(super) fn turn(&self) -> (Who, u8) {
        self.state().turn
    }

    /// The permit, if there is one. It is used up.
    pub(super) fn take_permit(&self) -> Option<CallOutcome> {
        self.state().permit.take()
    }

    /// A task waits here.
    pub(super) fn wait(&self, at: At) {
        self.state().at = at;
    }

    /// Position of the last waiting task.
    pub(super) fn at(&self) -> At {
        self.state().at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out() {
        let step_gate = StepGate::default();
        assert_eq!((step_gate.take_permit(), step_gate.at()), (None, At::Elsewhere));
        let whos = [
            Who::Attempt { client: 0, attempt: 0 },
            Who::Attempt { client: u8::MAX, attempt: u16::MAX },
            Who::Worker { instance: 0 },
            Who::Worker { instance: 7 },
        ];
        for (who, instance) in whos.into_iter().flat_map(|who| [(who, 0), (who, 7)]) {
            for outcome in CallOutcome::ALL {
                step_gate.admit(who, instance, outcome);
                assert_eq!(step_gate.turn(), (who, instance));
                assert_eq!(step_gate.take_permit(), Some(outcome));
                assert_eq!(step_gate.take_permit(), None, "one permit, one passage");
            }
        }
        for consumes in [false, true] {
            for writes_target in [false, true] {
                for at in [At::Change { consumes, writes_target }, At::Deploy, At::Elsewhere] {
                    step_gate.wait(at);
                    assert_eq!(step_gate.at(), at);
                }
            }
        }
    }
}
