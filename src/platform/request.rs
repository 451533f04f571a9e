//! A request for a promotion, and the approval that it gets: the payload, and the values that a use has to find again.

use std::sync::Arc;

use uuid::Uuid;

use super::records::Service;
use crate::{
    platform::{Binding, Kind},
    protocol::{Approval, Digest, Timestamp},
};

/// The payload of a request: the body of the original call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Payload {
    /// The stack or the resource that it is about.
    pub source: Uuid,
    /// Name of a new target; the source's name by default.
    pub name: Option<String>,
    /// Copies vault keys too.
    pub copy_vault: bool,
}

/// A caller's request: who asks, and for what. It is the request for an approval, and is repeated by each attempt to use
/// that one, which names the approval separately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromotionRequest {
    /// The caller's team.
    pub team: Uuid,
    /// What it is for: a use has to repeat what was approved.
    pub binding: Binding,
    /// The e-mail address of the caller.
    pub requested_by: Arc<str>,
    /// The payload to promote.
    pub payload: Payload,
    /// The caller's idempotency key: a retry gets the same outcome.
    pub key: Option<Arc<str>>,
}

impl PromotionRequest {
    /// True for a resource's twin.
    pub fn is_twin(&self) -> bool {
        self.binding.kind == Kind::ResourceTwin
    }
}

/// An approval with all that is kept of it, but the hash of its link's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRecord {
    /// The fields that the rules read.
    pub approval: Arc<Approval>,
    /// What it is for.
    pub binding: Binding,
    /// The requested payload.
    pub payload: Payload,
    /// The source's services when it was asked for. They are what is approved: what was built since is not.
    pub services: Arc<[Service]>,
    /// The binding in addition to the digest; `None` for a request of an older schema.
    pub bound: Option<Arc<Bound>>,
    /// Time of the request.
    pub created_at: Timestamp,
    /// Time of the last change of status; `None` while pending.
    pub decided_at: Option<Timestamp>,
}

/// What an approval is bound to besides its digest: the target as it was when it was asked for, and the values that the
/// target is to have. Values are kept as keyed hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// The target that there was; none: it is to be created.
    pub target: Option<BoundTarget>,
    /// The variables that the target is to have, by name.
    pub variables: Vec<BoundValue>,
    /// The vault keys of the target's environment that these refer to or that are copied, by name.
    pub vault: Vec<BoundValue>,
}

/// A target as it was when an approval was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundTarget {
    /// Its id.
    pub id: Uuid,
    /// Its version.
    pub version: u64,
    /// Its services.
    pub services: Arc<[Service]>,
}

/// A variable or a vault key, and what a promotion makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundValue {
    /// Its name.
    pub name: String,
    /// The keyed hash of its value; none when it has no value yet.
    pub seal: Option<Digest>,
    /// Difference of the value from the target's.
    pub change: Difference,
}

/// Difference of a new value from the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Equal.
    Unchanged,
    /// There is none.
    Added,
    /// Missing before and after.
    Missing,
}
