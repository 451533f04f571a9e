//! `atomic-commit` without keys and without an owner, flattened by hand to a few bytes: the baseline of the real core.
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

// A consumer: four bits of stage, two of the next action, one that says that its payload is not the approved one, one that
// says how it began.
const STAGE: u8 = 0b1111;
const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const SUCCEEDED: u8 = 2;
const CONFLICT: u8 = 3;
const REFUSED: u8 = 4;
const UNKNOWN: u8 = 5;
const KILLED: u8 = 6;
const GONE: u8 = 7;
const PREFLIGHT_REFUSED: u8 = 8;
const PREFLIGHT_CONFLICT: u8 = 9;
const PREFLIGHT_INVALID: u8 = 10;
const CURSOR_SHIFT: u8 = 4;
const OTHER_PAYLOAD: u8 = 0b0100_0000;
const BEGAN_ON_USABLE: u8 = 0b1000_0000;

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

    fn is_foreign(&self, consumer: u8) -> bool {
        consumer + 1 == self.bounds.consumers && consumer > 0
    }

    fn promote(&self, bytes: &mut Bytes, action: Move, consumer: u8) -> Option<()> {
        let is_foreign = self.is_foreign(consumer);
        let is_late = bytes[FLAGS] & WINDOW_PASSED != 0;
        let payload = if is_foreign || bytes[FLAGS] & DRIFTED != 0 { OTHER_PAYLOAD } else { 0 };
        let at = CONSUMERS + usize::from(consumer);
        let mut one = bytes[at];
        if one & STAGE == WAITING {
            one = BEGUN | payload;
            if bytes[STATUS] == APPROVED && !is_late {
                one |= BEGAN_ON_USABLE;
            }
            if bytes[FLAGS] & WAS_APPROVED == 0 || is_foreign {
                bytes[FLAGS] &= !CLEAN;
            }
        }
        let cursor = one >> CURSOR_SHIFT & 0b11;
        let end = |stage| match stage {
            SUCCEEDED | REFUSED | UNKNOWN => stage,
            _ => stage | one & BEGAN_ON_USABLE,
        };
        let read = one & !OTHER_PAYLOAD | payload;
        let held = if cursor == VALIDATE { payload } else { one & OTHER_PAYLOAD };
        let is_check = cursor == VALIDATE;
        let judged = if bytes[STATUS] != APPROVED || (!is_late && held != 0) {
            Err(if is_check { PREFLIGHT_CONFLICT } else { CONFLICT })
        } else if is_late {
            Err(if is_check { PREFLIGHT_INVALID } else { GONE })
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
            (Move::Refuses(_), _) | (Move::Fails(_), VALIDATE | PLAN) => end(PREFLIGHT_REFUSED),
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
        if matches!(action, Move::Refuses(_)) {
            bytes[FLAGS] &= !CLEAN;
        }
        bytes[at] = next;
        Some(())
    }
}

/// Merges the kinds of refusal, which nothing asks for after an event that S3 leaves out.
fn merge(one: &mut u8) {
    let stage = match *one & STAGE {
        PREFLIGHT_CONFLICT | PREFLIGHT_INVALID => PREFLIGHT_REFUSED,
        GONE => CONFLICT,
        _ => return,
    };
    *one = *one & !STAGE | stage;
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
        if next[FLAGS] & CLEAN == 0 {
            next[CONSUMERS..].iter_mut().for_each(merge);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("every state is visited", |_, _| true)]
    }
}
