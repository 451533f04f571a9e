//! The parts of a running instance, on the store in memory.

mod commands;
#[path = "../http/log.rs"]
mod log;
mod mails;
mod metrics;
mod outages;
mod platform;
mod renewals;
mod supervision;
mod webhooks;
mod workers;
