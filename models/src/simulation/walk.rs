//! Random walks of the model: schedules of a flow that the production driver does not carry out.
//!
//! Moves, rules and properties are those of the model checker, and none is written a second time. A walk has more callers, crashes
//! and faults than an exploration: it samples a world that is too large to be explored. What it finds is a run of the
//! model; what it does not find may exist.

mod campaign;
mod failure;
mod kinds;
mod liveness;
mod schedule;
mod shrink;
mod swarm;

pub use campaign::Campaign;
pub use failure::{Failure, Plays};
