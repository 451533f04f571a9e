//! The service: drives attempts of any flow against a store and a deployer. It names no runtime.
//!
//! A [`Driver`] runs attempts: [`promote`](Driver::promote), [`promote_once`](Driver::promote_once) under an
//! idempotency key, [`promote_auto_approved`](Driver::promote_auto_approved) where a rule approves. [`step`] is one
//! atomic action of an attempt, for tests that control the interleaving. [`request_once`] requests an approval.
//! [`supports`] checks that the driver can execute a flow; call it once, when the flow is loaded. [`under_key`]
//! serialises requests under one idempotency key. [`work`] is the worker; [`acquire`], [`run_to_completion`] and
//! [`release`] are its parts, for a worker that may have to stop in between.

mod auto_approve;
mod deployer;
mod driver;
mod idempotency;
mod once;
mod preflight;
mod supports;
mod timer;
mod waiter;
mod worker;

pub use auto_approve::POLICY;
pub use deployer::{Deployer, InMemoryDeployer, Launch, NoDeployer, Running};
pub use driver::{Driver, step};
pub use idempotency::{IdempotencyKey, InvalidKey, Use, under_key};
pub use once::{Answer, request_decision, request_once};
pub use preflight::{CheckRequest, Lookup, NoPreflight};
pub use supports::{UnsupportedStep, supports, supports_with};
pub use timer::{NoopTimer, Timer};
pub use waiter::{RetryImmediately, Waiter};
pub use worker::{Held, Terms, Worked, acquire, launch, release, run_to_completion, work};

pub use crate::platform::{
    Admitted, Caller, admit, admit_change, admit_source, is_auto_approved, is_protected,
};
