//! The service driver on the store in memory.

mod digest;
mod finding_11;
mod listing;
mod outbox;
mod platform;
mod refusals;
mod retry;
mod worker;
