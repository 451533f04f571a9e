//! Faults of the store, the network, the clock and the process. Each kind is counted separately.
//!
//! The budget of one schedule: at most [`MOST_FAULTS`] faults of all kinds together, of these at most [`MOST_CRASHES`]
//! crashes. The seed draws the enabled kinds and their frequencies: a schedule with failures everywhere finds less than
//! one with two kinds. Failing deploys, slow deploys and a step's own refusals are not faults: they may happen at any
//! time, and cost nothing.
//!
//! Not injected: a store that loses acknowledged writes (no gate can be built on it: the simulator's canary shows that
//! it is detected), and a deployer that launches one key twice.

use serde::{Deserialize, Serialize};

/// The most faults of one schedule, crashes included.
pub const MOST_FAULTS: u32 = 6;
/// The most crashes of one schedule.
pub const MOST_CRASHES: u32 = 3;

/// Duration of a slow effect, in milliseconds: longer than a lease.
pub(super) const SLOW_MS: u64 = super::LEASE_MS + 1;
/// The largest jump of the store's clock, forwards and backwards, in milliseconds.
pub(super) const JUMP_MS: i64 = 3 * 60 * 60 * 1000;
/// The most by which a lease is longer by the store's clock than the instance believes, or shorter, in milliseconds: longer
/// than a lease.
pub(super) const SKEW_MS: i64 = 45_000;

/// Outcome of one effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// Executed, and judged by the protocol's rules.
    #[default]
    Happens,
    /// Its step refuses by its own judgement. No fault.
    Refuses,
    /// The infrastructure fails, and nothing has changed.
    FailedBefore,
    /// Applied, with a lost reply.
    AnswerLost,
    /// The message is delivered twice; the answer is the first one's.
    AppliedTwice,
    /// The answer is lost, and the message is delivered some time later.
    AppliedLate,
    /// Takes longer than a lease.
    Slow,
    /// The read is of an earlier moment.
    StaleRead,
}

impl CallOutcome {
    /// All of them, in their order.
    #[cfg(test)]
    pub(super) const ALL: [Self; 8] = [
        Self::Happens,
        Self::Refuses,
        Self::FailedBefore,
        Self::AnswerLost,
        Self::AppliedTwice,
        Self::AppliedLate,
        Self::Slow,
        Self::StaleRead,
    ];

    /// The kind of fault; `None` if the outcome is not a fault.
    pub fn fault(self) -> Option<Fault> {
        match self {
            Self::Happens | Self::Refuses => None,
            Self::FailedBefore => Some(Fault::FailedBefore),
            Self::AnswerLost => Some(Fault::AnswerLost),
            Self::AppliedTwice => Some(Fault::AppliedTwice),
            Self::AppliedLate => Some(Fault::AppliedLate),
            Self::Slow => Some(Fault::Slow),
            Self::StaleRead => Some(Fault::StaleRead),
        }
    }
}

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $kind:ident $name:literal;)+) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[doc = $doc])+ $kind),+
        }

        impl Fault {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// Name in reports.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),+ }
            }
        }
    };
}

faults! {
    /// The infrastructure fails, and nothing has changed.
    FailedBefore "failed before";
    /// Applied, and the answer is lost.
    AnswerLost "applied, answer lost";
    /// Delivered twice.
    AppliedTwice "applied twice";
    /// Answered by a timeout, delivered later.
    AppliedLate "applied late";
    /// Longer than a lease; a slow check is a slow preflight.
    Slow "slow effect";
    /// A read of an earlier moment.
    StaleRead "stale read";
    /// An instance dies, with all that it was doing, and starts again.
    Crash "crash";
    /// The store's clock jumps.
    ClockJump "clock jump";
    /// An instance's clock goes wrong: the lease that it takes is longer than it believes, or shorter.
    Skew "clock skew";
    /// The client's request arrives twice.
    DuplicatedRequest "duplicated request";
    /// The client asks again.
    RetriedRequest "retried request";
    /// A worker continues after its lease has expired.
    PausedWorker "paused worker";
    /// A deploy fails.
    FailedDeploy "failed deploy";
    /// A deploy outlasts the lease, which is renewed.
    SlowDeploy "slow deploy";
}

impl Fault {
    /// Its bit in a set.
    pub(super) fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The kinds of fault for an effect on the store.
pub(super) const OF_EFFECTS: [(Fault, CallOutcome); 6] = [
    (Fault::FailedBefore, CallOutcome::FailedBefore),
    (Fault::AnswerLost, CallOutcome::AnswerLost),
    (Fault::AppliedTwice, CallOutcome::AppliedTwice),
    (Fault::AppliedLate, CallOutcome::AppliedLate),
    (Fault::Slow, CallOutcome::Slow),
    (Fault::StaleRead, CallOutcome::StaleRead),
];
