//! What tests and benchmarks share: fault injection, seeding, readings behind a store's back, a throwaway PostgreSQL.
//!
//! - [`Faulty`] is a store whose parts fail on demand.
//! - [`Breaking`] is a store whose calls panic or fail a number of times.
//! - [`Seed`] writes through the contract what a test begins with; [`Peek`] and [`SqlPeek`] read what is in a store.
//! - [`Cluster`] is a PostgreSQL server that is gone with its owner.
//!
//! Nothing but tests and benchmarks depends on this crate.

mod breaking;
mod cluster;
mod faulty;
mod peek;
mod seed;
mod sql_peek;
mod tier;

pub use self::{
    breaking::{Break, Breaking},
    cluster::{Cluster, Failed, Fsync, Installation, NotInstalled, may_be_skipped},
    faulty::Faulty,
    peek::Peek,
    seed::Seed,
    sql_peek::SqlPeek,
    tier::SLOW,
};
