//! The common part of tests and benchmarks: fault injection, seeding, direct access to stores, a throwaway PostgreSQL.
//!
//! - [`Faulty`] is a store whose parts fail on demand.
//! - [`Breaking`] is a store whose calls panic or fail a number of times.
//! - [`Seed`] writes a test's initial state through the contract; [`Peek`] and [`SqlPeek`] read a store's content.
//! - [`Cluster`] is a PostgreSQL server that is removed with its owner.
//! - [`certificate`] writes the certificate of a server.
//! - [`unused_port`] is a port for a server that a test starts.
//!
//! Only tests and benchmarks depend on this crate.

mod breaking;
mod certificate;
mod cluster;
mod peek;
mod port;
mod seed;
mod sql_peek;
mod tier;

pub use countersign_contract::Faulty;

pub use self::{
    breaking::{Break, Breaking},
    certificate::certificate,
    cluster::{Cluster, Failed, Fsync, Installation, NotInstalled, may_be_skipped},
    peek::Peek,
    port::unused_port,
    seed::Seed,
    sql_peek::SqlPeek,
    tier::{SLOW_TIER, slow, unless},
};
