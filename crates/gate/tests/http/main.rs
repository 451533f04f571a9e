//! The gate over HTTP, on a store in memory.

mod admin;
mod asks;
mod bad_input;
mod bound;
mod contention;
mod decisions;
mod gate;
mod idempotency;
mod identity;
mod isolation;
mod limits;
mod log;
mod page;
mod promote;
mod protected;
mod refusals;
mod safe_methods;
mod secrecy;
mod server;
mod sessions;
mod signer;
mod stacks;
