//! The service driver on the store in memory.

mod at_once;
mod digest;
mod finding_11;
mod keys;
mod listing;
mod outbox;
mod platform;
mod refusals;
mod retry;
mod twins;
mod worker;
