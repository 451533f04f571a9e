//! The turnstile: who may pass, what is to become of the effect behind it, and where a task waits that has not passed.
//!
//! One thread plays a schedule. That these are atomics is for the bounds of the traits that the platform stands behind,
//! and none of them orders anything: a relaxed one costs what a plain one does, and a lock at every step would not.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use super::{At, Who};
use crate::simulation::Outcome;

#[derive(Debug, Default)]
pub(super) struct Turnstile {
    /// The outcome's place, counted from 1; 0: nobody may pass.
    permit: AtomicU8,
    at: AtomicU8,
    /// Whose turn it is, and on which instance.
    turn: AtomicU64,
}

const CONSUMES: u8 = 4;
const WRITES_TARGET: u8 = 8;
const WORKER: u64 = 1 << 32;

impl Turnstile {
    /// The next task that is polled may pass once.
    pub(super) fn admit(&self, who: Who, instance: u8, outcome: Outcome) {
        self.permit.store(outcome as u8 + 1, Relaxed);
        self.set_turn(who, instance);
    }

    pub(super) fn set_turn(&self, who: Who, instance: u8) {
        let who = match who {
            Who::Attempt { client, attempt } => u64::from(client) << 16 | u64::from(attempt),
            Who::Worker { instance } => WORKER | u64::from(instance),
        };
        self.turn.store(who << 8 | u64::from(instance), Relaxed);
    }

    pub(super) fn turn(&self) -> (Who, u8) {
        let turn = self.turn.load(Relaxed);
        let who = turn >> 8;
        let who = if who & WORKER == 0 {
            Who::Attempt { client: (who >> 16) as u8, attempt: who as u16 }
        } else {
            Who::Worker { instance: who as u8 }
        };
        (who, turn as u8)
    }

    /// The permit, if there is one. It is used up.
    pub(super) fn take_permit(&self) -> Option<Outcome> {
        let permit = self.permit.load(Relaxed);
        self.permit.store(0, Relaxed);
        Outcome::ALL.get(usize::from(permit).wrapping_sub(1)).copied()
    }

    /// A task waits here.
    pub(super) fn wait(&self, at: At) {
        let at = match at {
            At::Elsewhere => 0,
            At::Deploy => 1,
            At::Change { consumes, writes_target } => {
                2 | if consumes { CONSUMES } else { 0 } | if writes_target { WRITES_TARGET } else { 0 }
            }
        };
        self.at.store(at, Relaxed);
    }

    /// Where the last one waits.
    pub(super) fn at(&self) -> At {
        match self.at.load(Relaxed) {
            0 => At::Elsewhere,
            1 => At::Deploy,
            change => {
                At::Change { consumes: change & CONSUMES != 0, writes_target: change & WRITES_TARGET != 0 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out() {
        let turnstile = Turnstile::default();
        assert_eq!((turnstile.take_permit(), turnstile.at()), (None, At::Elsewhere));
        let whos = [
            Who::Attempt { client: 0, attempt: 0 },
            Who::Attempt { client: u8::MAX, attempt: u16::MAX },
            Who::Worker { instance: 0 },
            Who::Worker { instance: 7 },
        ];
        for (who, instance) in whos.into_iter().flat_map(|who| [(who, 0), (who, 7)]) {
            for outcome in Outcome::ALL {
                turnstile.admit(who, instance, outcome);
                assert_eq!(turnstile.turn(), (who, instance));
                assert_eq!(turnstile.take_permit(), Some(outcome));
                assert_eq!(turnstile.take_permit(), None, "one permit, one passage");
            }
        }
        for consumes in [false, true] {
            for writes_target in [false, true] {
                for at in [At::Change { consumes, writes_target }, At::Deploy, At::Elsewhere] {
                    turnstile.wait(at);
                    assert_eq!(turnstile.at(), at);
                }
            }
        }
    }
}
