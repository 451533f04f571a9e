//! One action of a schedule: drawn, written to a file, shrunk, and replayed.
//!
//! Actions name clients, approvals and instances by their place in the scenario, never what a run gave an id to:
//! an action still means the same when others before it are left out.

use serde::{Deserialize, Serialize};

use super::faults::CallOutcome;

/// One action. Those that are not possible when their turn comes are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// The operator says yes.
    Approve {
        /// To which approval.
        approval: u8,
    },
    /// The operator opens the link too late.
    Expire {
        /// The approval.
        approval: u8,
    },
    /// An administrator says no.
    Reject {
        /// To which approval.
        approval: u8,
    },
    /// The clock passes the end of a window.
    ClockPasses {
        /// The approval.
        approval: u8,
    },
    /// The store's clock jumps.
    ClockJumps {
        /// Milliseconds forwards, or backwards if negative.
        ms: i64,
    },
    /// Time passes until leases expire.
    LeasesRunOut,
    /// The source gets new images.
    SourceChanges {
        /// The source of which approval.
        approval: u8,
    },
    /// A client's request has its next effect; the first one begins the promotion.
    Promotion {
        /// The client.
        client: u8,
        /// The second of two requests that are under way.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        duplicate: bool,
        /// Outcome of the effect.
        #[serde(default, skip_serializing_if = "happens")]
        outcome: CallOutcome,
    },
    /// The client's request arrives a second time, while the first is under way or after it.
    Duplicate {
        /// The client.
        client: u8,
    },
    /// The client asks again, after an answer that was no success or none at all.
    Retry {
        /// The client.
        client: u8,
    },
    /// A message that was late arrives.
    Arrives {
        /// The oldest of this client's, or of no client's.
        client: Option<u8>,
    },
    /// An instance's worker has its next effect.
    Worker {
        /// The instance.
        instance: u8,
        /// Outcome of the effect.
        #[serde(default, skip_serializing_if = "happens")]
        outcome: CallOutcome,
    },
    /// A deploy that was launched by a worker ends.
    DeployEnds {
        /// For which approval.
        approval: u8,
        /// Badly.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        failed: bool,
    },
    /// A deploy that was launched by a client's own request ends.
    ProcessDeployEnds {
        /// The client; its oldest message arrives.
        client: u8,
        /// Badly.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        failed: bool,
    },
    /// An instance dies, with its requests, its worker and the deploys that it runs, and starts again.
    Crash {
        /// Which one.
        instance: u8,
    },
}

fn happens(outcome: &CallOutcome) -> bool {
    *outcome == CallOutcome::Happens
}

impl Action {
    /// The same action without a fault; `None` when it is nothing but a fault, or has none.
    pub(super) fn without_fault(self) -> Option<Self> {
        match self {
            Self::Promotion { client, duplicate, outcome } if outcome != CallOutcome::Happens => {
                Some(Self::Promotion { client, duplicate, outcome: CallOutcome::Happens })
            }
            Self::Worker { instance, outcome } if outcome != CallOutcome::Happens => {
                Some(Self::Worker { instance, outcome: CallOutcome::Happens })
            }
            Self::DeployEnds { approval, failed: true } => Some(Self::DeployEnds { approval, failed: false }),
            Self::ProcessDeployEnds { client, failed: true } => {
                Some(Self::ProcessDeployEnds { client, failed: false })
            }
            _ => None,
        }
    }
}
