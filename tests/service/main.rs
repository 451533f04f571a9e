//! The service driver on the store in memory. What any store has to promise is in `tests/stores/`.

mod auto_approve;
mod gate;
mod idempotency;
mod leases;
mod outbox;
mod platform;
mod refusals;
mod snapshots;
mod twins;
mod worker;
