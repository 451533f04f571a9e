//! The protocol: approvals, refusals, flows and promotions, and nothing that touches the outside world.
//!
//! It knows no clock, no randomness, no async runtime, no file and no network. What it needs of the world it asks
//! for as an [`Effect`]; whoever drives it answers with a [`Reply`].

pub mod approval;
pub mod effect;
pub mod flow;
pub mod promotion;
pub mod refusal;
pub mod rules;

pub use approval::{
    Approval, Binding, Digest, Environment, Event, IllegalTransition, Kind, Standing, Status, Timestamp,
    Window, transition,
};
pub use effect::{Commit, Effect, Reply, Target};
pub use flow::{Checks, Do, Flow, Guards, How, InvalidFlow, Member, Op, Step, What};
pub use promotion::{Checkpoint, End, Promotion};
pub use refusal::{InvalidRefusal, Refusal};
pub use rules::{Fences, Request, consume, lease, validate};
