//! The simulator: the real driver, worker and store, thousands of schedules long, with every fault, reproducible by a seed.
//!
//! ```text
//! seed ─▶ swarm ─▶ scenario, kinds of fault ─▶ scheduler ─▶ actions ─▶ Simulation ─▶ observers ─▶ properties
//!                                                             │            │
//!                                     shrinker ◀── failure ◀──┘            └─▶ platform: store, deployer, clock
//! ```
//!
//! A [`Simulation`] takes one [`Action`] after another. Everything in it follows from the scenario and the actions: it
//! reads no clock, draws nothing, and knows no runtime but a poll. What a seed decides, the scheduler decides before,
//! so that the list of actions alone plays the same run again.
//!
//! Judged by the same properties as the model, after every step; liveness when the schedule is over, in a liveness phase
//! without faults.

mod action;
mod campaign;
mod conformance;
mod coverage;
mod crash_points;
mod failure;
mod faults;
mod known_bad;
mod liveness_phase;
mod mutants;
mod observer;
mod platform;
mod scenario;
mod schedule;
mod shortest;
mod shrink;
mod swarm;
mod task;
pub mod walk;
mod world;

pub use action::Action;
pub use campaign::{Campaign, Finding, Report, Seeds, Unmergeable, Watcher};
pub use conformance::Divergence;
pub use coverage::Coverage;
pub use crash_points::{CrashPoints, crash_points};
pub use failure::{Failure, Replayed, Unplayable};
pub use faults::{CallOutcome, Fault, MOST_CRASHES, MOST_FAULTS};
pub use known_bad::{Bad, KnownBad};
pub use mutants::Mutant;
pub use observer::Found;
pub use scenario::{Client, InvalidScenario, Permission, Scenario, Wants};
pub use schedule::{Played, Schedule, play};
pub use shortest::Shortest;
pub use shrink::shrink;
pub use swarm::{Size, Swarm};
pub use world::{Ending, Simulation, Taken};

/// Duration of a worker's lease, in milliseconds.
pub const LEASE_MS: u64 = 30_000;
