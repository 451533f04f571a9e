//! The protocol: approvals, refusals, flows and promotions, without input or output.
//!
//! The protocol knows no clock, no randomness, no async runtime, no file and no network. It requests input and output
//! as an [`Effect`]; its driver answers with a [`Reply`].

pub mod approval;
pub mod effect;
pub mod flow;
pub mod preflight;
pub mod promotion;
pub mod refusal;
pub mod rules;

pub use approval::{
    Approval, ApprovalState, Digest, Event, IllegalTransition, Status, Timestamp, Validity, transition,
};
pub use effect::{Commit, Effect, Observed, Reply, Target};
pub use flow::{
    Act, Atomicity, Change, Checks, Consume, DecisionGuards, DecisionRule, Endpoint, FailedAttempt, Flow,
    FlowProblem, Guards, InvalidFlow, Lease, Member, Method, Object, OnConflict, OnError, OnHeld, Retry,
    Step, StepAction, Storage, Swap, Via, Write, WriteTarget,
};
pub use preflight::Preflight;
pub use promotion::{Checkpoint, Ending, InvalidCheckpoint, Outcome, Position, Promotion, RefusalKind};
pub use refusal::{InvalidRefusal, Refusal};
pub use rules::{Compared, Fences, Granted, Request, consume, lease, use_object, validate};
