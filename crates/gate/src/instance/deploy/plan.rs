//! The document that a deploy command reads on standard input.

use std::fmt::Write as _;

use serde::Serialize;
use uuid::Uuid;

use countersign::{
    platform::Kind,
    protocol::Digest,
    service::Launch,
    store::{ApprovalRecord, Service},
};

/// One JSON document. No variable and no vault value is in it: what a command prints is kept, and a secret that it was
/// never told it cannot print.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The approval.
    pub approval_id: Uuid,
    /// The key under which a repeat is the same deploy. None in flows that launch without one.
    pub key: Option<Uuid>,
    /// Larger than that of every earlier deploy for the target: what keeps state refuses a smaller one. None without a key.
    pub fence: Option<u64>,
    /// Digest of the payload, as 64 hexadecimal digits.
    pub digest: String,
    /// `stack` or `resource_twin`.
    pub kind: Kind,
    /// The promoted stack or resource.
    pub source: Uuid,
    /// From which environment.
    pub from: String,
    /// To which environment.
    pub to: String,
    /// The target.
    pub target: PlanTarget,
    /// The requester.
    pub requested_by: String,
    /// The approved services. `None` when what is launched is not what was approved, as flows allow that do not look.
    pub services: Option<Vec<PlanService>>,
}

/// The stack or the twin that a deploy is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanTarget {
    /// Its id, where the promotion knew it.
    pub id: Option<Uuid>,
    /// Requested name of the target; `None` for the source's.
    pub name: Option<String>,
    /// Its environment.
    pub env: String,
}

/// A service to be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanService {
    /// Its name.
    pub name: String,
    /// The image that was approved for it.
    pub image_ref: Option<String>,
    /// The port that it listens on.
    pub port: Option<u16>,
    /// Reachable from outside.
    pub expose: bool,
}

impl Plan {
    /// Of a launch for this approval.
    pub fn of(launch: Launch, record: &ApprovalRecord) -> Self {
        let (approval, payload) = (&record.approval, &record.payload);
        let as_approved = launch.digest == approval.digest;
        let to = record.binding.to.to_string();
        Self {
            approval_id: launch.approval,
            key: launch.key,
            fence: launch.key.map(|_| launch.fence),
            digest: hex(launch.digest),
            kind: record.binding.kind,
            source: payload.source,
            from: record.binding.from.to_string(),
            target: PlanTarget { id: launch.target, name: payload.name.clone(), env: to.clone() },
            to,
            requested_by: approval.requested_by.to_string(),
            services: as_approved.then(|| record.services.iter().map(PlanService::of).collect()),
        }
    }

    /// As it is written.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json =
            serde_json::to_vec(self).unwrap_or_else(|_| unreachable!("it has nothing but texts and numbers"));
        json.push(b'\n');
        json
    }
}

impl PlanService {
    fn of(service: &Service) -> Self {
        let Service { name, image_ref, port, expose } = service;
        Self { name: name.clone(), image_ref: image_ref.clone(), port: *port, expose: *expose }
    }
}

fn hex(digest: Digest) -> String {
    digest.0.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
