//! Actions that must happen once, after the checks passed and, optionally, a person approved.
//!
//! A coupon that pays out once, on SQLite (`examples/coupon.rs`, feature `sqlite`):
//!
#![cfg_attr(feature = "sqlite", doc = "```no_run")]
#![cfg_attr(not(feature = "sqlite"), doc = "```ignore")]
#![doc = include_str!("../examples/coupon.rs")]
//! ```
//!
//! The other examples: `axum_route.rs`, a route that answers 200 once; `preflight.rs`, a custom check that refuses
//! without using the coupon up; `two_callers.rs`, a model of two callers in one file. An item that a person has to
//! approve is [requested](gate::Gate::request) and [decided](gate::Gate::decide) instead of issued.
//!
//! Deploy approvals, one-time tokens, coupons and payment confirms share four steps: validate, check, consume, act.
//! Their order decides what a crash, a retry or a second request does. Here the order is a [`Flow`], one attempt to use an
//! approval is a [`Promotion`] that runs it, and the model-checked order is the one in production.
//!
//! ```text
//! pending ──approve (unexpired)──▶ approved ──consume──▶ executed
//!    ├──reject──▶ rejected
//!    └──touched after expires_at──▶ expired
//! ```
//!
//! # Without the stores
//!
//! The [`protocol`] performs no input or output: it requests one [`Effect`] at a time and takes the reply. The driver
//! provides the store, the clock and the ids. The rules belong to the protocol: the store calls [`transition`] and
//! [`consume`] inside its transaction, or has to agree with them.
//!
//! ```
//! use countersign::protocol::*;
//! use uuid::Uuid;
//!
//! /// A gate for one approval: the embedder's part.
//! struct Gate {
//!     approval: Approval,
//!     target: Option<Uuid>,
//!     launch_jobs: Vec<Digest>,
//! }
//!
//! impl Gate {
//!     /// Does what one promotion asks for, until it has ended.
//!     fn promote(&mut self, flow: &Flow, request: &Request, source: Digest, now: Timestamp) -> Outcome {
//!         let mut promotion = Promotion::begin(flow, request, source);
//!         while let Some(effect) = promotion.effect() {
//!             let row = (effect_is_about(&effect) == Some(self.approval.id)).then(|| self.approval.clone());
//!             let reply = match effect {
//!                 Effect::Validate { .. } | Effect::ReadApproval { .. } => {
//!                     let observed = Observed::default();
//!                     Reply::Approval { approval: row.as_ref(), digest: source, fence: 0, now, observed }
//!                 }
//!                 // Its requests have no key.
//!                 Effect::Recall { .. } => Reply::NotRecalled,
//!                 Effect::Check => Reply::Read { digest: source },
//!                 Effect::FindTarget => Reply::Target(self.target),
//!                 Effect::Commit(commit) => self.commit(commit, now),
//!                 Effect::Answer => Reply::Done,
//!                 // Its flow has no step that asks for anything else.
//!                 _ => Reply::Failed,
//!             };
//!             promotion.resume(reply);
//!         }
//!         promotion.outcome().expect("nothing is left to do").clone()
//!     }
//!
//!     /// One transaction: all of it or nothing. A database would hold its locks from here to the end.
//!     fn commit(&mut self, commit: Commit<'_>, now: Timestamp) -> Reply<'static> {
//!         let mut written = None;
//!         for op in commit.ops {
//!             match op {
//!                 Change::Consume(Swap { guards, .. }) => {
//!                     let (standing, fences) = (self.approval.state(), Fences::default());
//!                     if let Err(refusal) = consume(standing, fences, *guards, commit.digest, now) {
//!                         return Reply::NotConsumed(refusal);
//!                     }
//!                     self.approval.status = Status::Executed;
//!                 }
//!                 Change::WriteTarget { .. } => {
//!                     let created = self.target.is_none();
//!                     let id = *self.target.get_or_insert(Uuid::from_u128(7));
//!                     written = Some(Target { id, created });
//!                 }
//!                 Change::Enqueue { .. } => self.launch_jobs.push(commit.digest),
//!                 _ => {}
//!             }
//!         }
//!         Reply::Committed { target: written, own_use: false }
//!     }
//! }
//!
//! fn effect_is_about(effect: &Effect<'_>) -> Option<Uuid> {
//!     match effect {
//!         Effect::Validate { approval } | Effect::ReadApproval { approval } => Some(*approval),
//!         _ => None,
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (id, team, approved) = (Uuid::from_u128(1), Uuid::from_u128(2), Digest([1; 32]));
//! let approval = Approval {
//!     id,
//!     team,
//!     requested_by: "dev@example.com".into(),
//!     digest: approved,
//!     status: Status::Approved,
//!     expires_at: Timestamp(1_000),
//! };
//! let mut gate = Gate { approval, target: None, launch_jobs: vec![] };
//! let request = Request { approval: id, team };
//! let flow = Flow::atomic_commit();
//!
//! // The current payload is not the approved one.
//! let other = gate.promote(&flow, &request, Digest([9; 32]), Timestamp(10));
//! assert_eq!(other, Outcome::Refused { refusal: Refusal::APPROVAL_PAYLOAD_MISMATCH, kind: RefusalKind::Validation });
//!
//! // The first use wins; every later one is a 409.
//! assert!(matches!(gate.promote(&flow, &request, approved, Timestamp(20)), Outcome::Succeeded { .. }));
//! let second = gate.promote(&flow, &request, approved, Timestamp(30));
//! assert_eq!(second, Outcome::Refused { refusal: Refusal::APPROVAL_NOT_APPROVED, kind: RefusalKind::Validation });
//! assert_eq!(gate.launch_jobs, [approved]);
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! - `flow-files`: reads a [`Flow`] from a TOML file, with errors that point into it (`countersign::flow_file`).
//!
//! - `service`: the gate, a store in memory, and the driver that runs attempts against any store (`countersign::gate`,
//!   `countersign::store`, `countersign::service`).
//!
//! - `sqlite`: a store in a SQLite file (`countersign::store::sqlite`).
//!
//! - `postgres`: a store in PostgreSQL (`countersign::store::postgres`).
//!
//! The gate as a server is a separate crate: `countersign-gate`.
//!
//! [`Flow`]: protocol::Flow
//! [`Promotion`]: protocol::Promotion
//! [`Effect`]: protocol::Effect
//! [`transition`]: protocol::transition
//! [`consume`]: protocol::consume

#[cfg(feature = "flow-files")]
pub mod flow_file;
#[cfg(feature = "service")]
pub mod gate;
#[cfg(feature = "service")]
pub mod platform;
pub mod protocol;
#[cfg(feature = "service")]
pub mod service;
#[cfg(feature = "service")]
pub mod store;

#[cfg(feature = "service")]
pub use self::{
    gate::{Gate, Item},
    protocol::{Flow, Outcome, Refusal},
    store::{RandomIds, SystemClock},
};
