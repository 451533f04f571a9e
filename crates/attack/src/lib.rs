//! Judges a running service, in any language: races over HTTP, every interleaving of its SQL statements, crashes.
//!
//! - A [`target`] file names the roles of a service: how to make an object, how to use it, how to observe it.
//! - A [`campaign`] races uses, interleaves their statements through the [`proxy`], and kills the service.
//! - One judgement ([`judge`]) turns recorded runs ([`history`]) into the verdicts of a [`report`].
//!
//! The crate knows nothing of our own server.

pub mod campaign;
pub mod canary;
pub mod client;
mod clock;
pub mod init;
pub mod learn;
pub mod proxy;
pub mod report;
pub mod reproduction;
pub mod safety;
pub mod schedule;
pub mod service;
mod session;
mod sink;
mod sql;
pub mod target;
pub mod template;
mod tls;

pub use clock::Clock;
/// Recorded histories, and their judgement.
pub use countersign_models::history::{self, judge};
