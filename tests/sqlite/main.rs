//! The store in SQLite: what the contract asks of it, and what only a file can get wrong.

mod contract;
mod platform;
