//! Attacks a running service over HTTP and its database connection, and judges what it did by the same properties as
//! every other method.
//!
//! - A *target file* names the roles of a service: how to make an object, how to use it, how to observe it.
//! - *Races* send uses together. *Schedules* run every interleaving of their SQL statements. *Kills* end the process.
//! - One judgement turns the recorded history into verdicts.
//!
//! The crate knows nothing of our own server.

pub mod learn;
pub mod proxy;
pub mod schedule;
mod sql;
