//! The store in SQLite: what the contract asks of it, and what only a file can get wrong.

mod archive;
mod contract;
mod crash;
mod disk_full;
mod dump;
mod files;
mod group_commit;
mod platform;
mod readiness;
mod same_as_memory;
