//! The deployment platform: its stacks, resources, vaults and caps, and the rules for promoting them.
//!
//! Pure, like the protocol: a store reads the records of a team, lets [`TenantState`] judge and change them, and writes
//! the difference. [`admit`] judges a request before there is an approval for it.

mod admission;
mod binding;
mod digest;
mod preflight;
mod records;
mod request;
mod tenant_state;
mod vault;

pub use admission::{Admitted, Caller, admit, admit_change, admit_source, is_auto_approved, is_protected};
pub use binding::{Binding, Environment, Kind};
pub use digest::{Seal, digest_of};
pub use preflight::{PlatformChecks, TenantFacts};
pub use records::{
    BreakGlass, EnvVars, GlassBroken, NewResource, NewStack, Plan, Resource, ResourceKind, Service, Stack,
    StackStatus, Team,
};
pub use request::{ApprovalRecord, Bound, BoundTarget, BoundValue, Difference, Payload, PromotionRequest};
pub use tenant_state::{Applied, TenantState};
pub use vault::{Vault, VaultEntry};
