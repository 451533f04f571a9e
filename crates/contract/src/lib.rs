//! The claims that every store of [`countersign`] has to keep, to be run on a store of your own.
//!
//! - [`ItemClaim`]: for a gate of items such as coupons. The store has the contracts of an
//!   [`AttemptStore`](countersign::store::AttemptStore); [`ItemBackend`] gives it a clock that a claim can move.
//! - [`Claim`]: for a store of the whole platform, with stacks, jobs, notices and keys, behind a [`Backend`].
//!
//! A claim gets an empty store, and panics if it is violated: each is one test.
//!
//! ```
//! use std::sync::Arc;
//!
//! use countersign::{protocol::Timestamp, store::MemoryStore};
//! use countersign_contract::{AnyAttemptStore, ItemBackend, ItemClaim, Later};
//! use countersign_models::fixtures::{CountingIds, HandClock, token_of};
//!
//! struct InMemory(AnyAttemptStore, Arc<HandClock>);
//!
//! impl ItemBackend for InMemory {
//!     fn store(&self) -> &AnyAttemptStore {
//!         &self.0
//!     }
//!
//!     fn set_clock(&self, now: Timestamp) -> Later<'_, ()> {
//!         self.1.set(now);
//!         Box::pin(std::future::ready(()))
//!     }
//!
//!     fn token(&self, approval: uuid::Uuid) -> String {
//!         token_of(approval)
//!     }
//! }
//!
//! let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
//! for claim in ItemClaim::all() {
//!     let clock = Arc::new(HandClock::at(Timestamp(1_000)));
//!     let store: MemoryStore = MemoryStore::new(clock.clone(), Arc::new(CountingIds::default()));
//!     let backend = InMemory(AnyAttemptStore::new(Arc::new(store)), clock);
//!     runtime.block_on(claim.check(Arc::new(backend)));
//! }
//! ```
//!
//! # What the claims do not replace
//!
//! Replaying the edges of a model (`countersign_models::replay`) compares a store with the model after every step, one step
//! at a time. A store that reads, and writes later what it has read, passes it: between the two nothing else runs.
//! The claims with eight competitors find such a store.

mod backend;
mod claims;
mod erased;
mod faulty;
mod items;
pub mod world;

pub use backend::Backend;
pub use claims::Claim;
pub use erased::{AnyAttemptStore, AnyStore, Later};
pub use faulty::Faulty;
pub use items::{ItemBackend, ItemClaim};
