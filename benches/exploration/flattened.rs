//! `atomic-commit` without keys, flattened by hand to a few bytes: the baseline of the real core.
//!
//! The rules of this one flow are repeated here: that makes it fast, and is acceptable only in a benchmark.

use countersign_models::model::Bounds;
use stateright::Property;

/// Status, flags, job, crashes left, faults left, and one byte for each consumer.
type Bytes = [u8; 9];

const STATUS: usize = 0;
const FLAGS: usize = 1;
const JOB: usize = 2;
const CRASHES: usize = 3;
const FAULTS: usize = 4;
const CONSUMERS: usize = 5;

// Statuses.
const PENDING: u8 = 0;
const APPROVED: u8 = 1;
const REJECTED: u8 = 2;
const EXPIRED: u8 = 3;
const EXECUTED: u8 = 4;

// Flags.
const WAS_APPROVED: u8 = 1;
const WINDOW_PASSED: u8 = 2;
const DRIFTED: u8 = 4;
const CLEAN: u8 = 8;
const LAUNCHED: u8 = 16;

// Jobs, in the order in which they go.
const ABSENT: u8 = 0;
const READY: u8 = 1;
const LEASED: u8 = 2;
const RUNNING: u8 = 3;
const DONE: u8 = 4;

// A consumer: three bits of stage, two of the next action, two of the payload, one that says how it began.
const STAGE: u8 = 0b111;
const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const SUCCEEDED: u8 = 2;
const CONFLICT: u8 = 3;
const REFUSED: u8 = 4;
const PREFLIGHT_REFUSED: u8 = 5;
const UNKNOWN: u8 = 6;
const KILLED: u8 = 7;
const CURSOR_SHIFT: u8 = 3;
const PAYLOAD_SHIFT: u8 = 5;
const BEGAN_ON_APPROVED: u8 = 0b1000_0000;

// The flow's actions.
const VALIDATE: u8 = 0;
const PLAN: u8 = 1;
const COMMIT: u8 = 2;
const ANSWER: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Move {
    Approve,
    Expire,
    Reject,
    Clock,
    Drift,
    Job,
    Crash,
    Happens(u8),
    Refuses(u8),
    Fails(u8),
    LosesAnswer(u8),
}

pub(crate) struct Flattened {
    bounds: Bounds,
}

impl Flattened {
    pub(crate) fn new(bounds: Bounds) -> Self {
        assert!(usize::from(bounds.consumers) <= size_of::<Bytes>() - CONSUMERS, "there is no room for more");
        Self { bounds }
    }

    fn source(&self, bytes: &Bytes, consumer: u8) -> u8 {
        if consumer + 1 == self.bounds.consumers { 2 } else { u8::from(bytes[FLAGS] & DRIFTED != 0) }
    }

    fn promote(&self, bytes: &mut Bytes, action: Move, consumer: u8) -> Option<()> {
        let source = self.source(bytes, consumer);
        let at = CONSUMERS + usize::from(consumer);
        let mut one = bytes[at];
        if one & STAGE == WAITING {
            one = BEGUN | source << PAYLOAD_SHIFT;
            if bytes[STATUS] == APPROVED {
                one |= BEGAN_ON_APPROVED;
            }
            if bytes[FLAGS] & WAS_APPROVED == 0 || source == 2 {
                bytes[FLAGS] &= !CLEAN;
            }
        }
        let cursor = one >> CURSOR_SHIFT & 0b11;
        let end = |stage| match stage {
            PREFLIGHT_REFUSED => stage | one & BEGAN_ON_APPROVED,
            _ => stage,
        };
        let read = one & !(0b11 << PAYLOAD_SHIFT) | source << PAYLOAD_SHIFT;
        let payload = if cursor == VALIDATE { source } else { one >> PAYLOAD_SHIFT & 0b11 };
        let judged = if bytes[STATUS] != APPROVED {
            Err(CONFLICT)
        } else if bytes[FLAGS] & WINDOW_PASSED != 0 {
            Err(REFUSED)
        } else if payload != 0 {
            Err(CONFLICT)
        } else {
            Ok(())
        };
        let commit = |bytes: &mut Bytes| {
            bytes[STATUS] = EXECUTED;
            bytes[JOB] = READY;
        };
        let next = match (action, cursor) {
            (Move::Happens(_), VALIDATE) => judged.map_or_else(end, |()| read + (1 << CURSOR_SHIFT)),
            (Move::Happens(_), PLAN) => read + (1 << CURSOR_SHIFT),
            (Move::Happens(_), COMMIT) => match judged {
                Ok(()) => {
                    commit(bytes);
                    one + (1 << CURSOR_SHIFT)
                }
                Err(stage) => end(stage),
            },
            (Move::Happens(_), _) => end(SUCCEEDED),
            (Move::Refuses(_), COMMIT) if judged.is_err() => return None,
            (Move::Refuses(_), _) | (Move::Fails(_), PLAN) => end(PREFLIGHT_REFUSED),
            (Move::Fails(_), _) => end(REFUSED),
            _ => {
                judged.ok()?;
                commit(bytes);
                end(UNKNOWN)
            }
        };
        if matches!(action, Move::Fails(_) | Move::LosesAnswer(_)) {
            bytes[FAULTS] -= 1;
            bytes[FLAGS] &= !CLEAN;
        }
        if next & STAGE == PREFLIGHT_REFUSED {
            bytes[FLAGS] &= !CLEAN;
        }
        bytes[at] = next;
        Some(())
    }
}

impl stateright::Model for Flattened {
    type State = Bytes;
    type Action = Move;

    fn init_states(&self) -> Vec<Bytes> {
        vec![[PENDING, CLEAN, ABSENT, self.bounds.crashes, self.bounds.faults, 0, 0, 0, 0]]
    }

    fn actions(&self, bytes: &Bytes, moves: &mut Vec<Move>) {
        let flag = |flag| bytes[FLAGS] & flag != 0;
        if bytes[STATUS] == PENDING {
            moves.push(if flag(WINDOW_PASSED) { Move::Expire } else { Move::Approve });
            moves.push(Move::Reject);
        }
        if !flag(WINDOW_PASSED) {
            moves.push(Move::Clock);
        }
        if flag(WAS_APPROVED) && !flag(DRIFTED) {
            moves.push(Move::Drift);
        }
        for consumer in 0..self.bounds.consumers {
            let one = bytes[CONSUMERS + usize::from(consumer)];
            if one & STAGE > BEGUN {
                continue;
            }
            let cursor = one >> CURSOR_SHIFT & 0b11;
            moves.push(Move::Happens(consumer));
            if cursor == PLAN || cursor == COMMIT {
                moves.push(Move::Refuses(consumer));
            }
            if bytes[FAULTS] > 0 && cursor < ANSWER {
                moves.push(Move::Fails(consumer));
            }
            if bytes[FAULTS] > 0 && cursor == COMMIT {
                moves.push(Move::LosesAnswer(consumer));
            }
        }
        if (READY..DONE).contains(&bytes[JOB]) {
            moves.push(Move::Job);
        }
        let runs = |one: &u8| one & STAGE == BEGUN;
        if bytes[CRASHES] > 0
            && (matches!(bytes[JOB], LEASED | RUNNING) || bytes[CONSUMERS..].iter().any(runs))
        {
            moves.push(Move::Crash);
        }
    }

    fn next_state(&self, bytes: &Bytes, action: Move) -> Option<Bytes> {
        let mut next = *bytes;
        match action {
            Move::Approve => {
                next[STATUS] = APPROVED;
                next[FLAGS] |= WAS_APPROVED;
            }
            Move::Expire => {
                next[STATUS] = EXPIRED;
                next[FLAGS] &= !CLEAN;
            }
            Move::Reject => {
                next[STATUS] = REJECTED;
                next[FLAGS] &= !CLEAN;
            }
            Move::Clock => next[FLAGS] = next[FLAGS] & !CLEAN | WINDOW_PASSED,
            Move::Drift => next[FLAGS] = next[FLAGS] & !CLEAN | DRIFTED,
            Move::Job => {
                if next[JOB] == LEASED {
                    next[FLAGS] |= LAUNCHED;
                }
                next[JOB] += 1;
            }
            Move::Crash => {
                for one in next[CONSUMERS..].iter_mut().filter(|one| **one & STAGE == BEGUN) {
                    *one = KILLED;
                }
                if matches!(next[JOB], LEASED | RUNNING) {
                    next[JOB] = READY;
                }
                next[CRASHES] -= 1;
                next[FLAGS] &= !CLEAN;
            }
            Move::Happens(consumer)
            | Move::Refuses(consumer)
            | Move::Fails(consumer)
            | Move::LosesAnswer(consumer) => self.promote(&mut next, action, consumer)?,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("every state is visited", |_, _| true)]
    }
}
