//! Teams, stacks and resources: the records that a promotion reads and writes.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use crate::{platform::Environment, protocol::Timestamp};

/// The tier of a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plan {
    /// One environment.
    Free,
    /// Several environments, and with them promotes.
    Pro,
    /// Pro with higher limits.
    Enterprise,
}

/// A tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Team {
    /// The team's tier.
    pub plan: Plan,
    /// The most stacks that it may have.
    pub deployment_cap: usize,
}

/// State of a stack, a twin or a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StackStatus {
    /// Its deploy has not ended.
    Building,
    /// Its deploy succeeded.
    Healthy,
    /// Its deploy failed.
    Failed,
}

/// One service of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The image that was built for it.
    pub image_ref: Option<String>,
    /// The port that it listens on.
    pub port: Option<u16>,
    /// Reachable from outside.
    pub expose: bool,
}

/// Names and values. A value `vault:KEY` stands for what the environment's vault has under `KEY`.
pub type EnvVars = BTreeMap<String, String>;

/// A deployed stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Its id.
    pub id: Uuid,
    /// Display name.
    pub name: String,
    /// The environment.
    pub env: Environment,
    /// State of its latest deploy.
    pub status: StackStatus,
    /// The stack that it was promoted from.
    pub parent: Option<Uuid>,
    /// The first of its family: itself, unless it was promoted.
    pub root: Uuid,
    /// Its services.
    pub services: Arc<[Service]>,
    /// Its variables.
    pub env_vars: EnvVars,
    /// How often its services or variables were written since it was created. It tells a target that has become again what
    /// it was from one that has not changed.
    pub version: u64,
}

impl Stack {
    /// Name in addresses, unique in the team.
    pub fn slug(&self) -> String {
        let (_, low) = self.id.as_u64_pair();
        format!("{}-{:012x}", simplified(&self.name), low & 0xFFFF_FFFF_FFFF)
    }
}

/// The name reduced to lower-case letters, digits and single dashes.
fn simplified(name: &str) -> String {
    const LONGEST: usize = 40;
    let mut simple = String::new();
    for letter in name.chars().take(LONGEST) {
        if letter.is_ascii_alphanumeric() {
            simple.push(letter.to_ascii_lowercase());
        } else if !simple.is_empty() && !simple.ends_with('-') {
            simple.push('-');
        }
    }
    let simple = simple.trim_end_matches('-');
    if simple.is_empty() { "stack".to_owned() } else { simple.to_owned() }
}

/// The product that a resource runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// PostgreSQL.
    Postgres,
    /// Redis.
    Redis,
    /// MongoDB.
    Mongodb,
}

/// A provisioned resource, or one's twin in another environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its id.
    pub id: Uuid,
    /// Display name.
    pub name: String,
    /// The product.
    pub kind: ResourceKind,
    /// The environment.
    pub env: Environment,
    /// The first of its family.
    pub root: Uuid,
    /// State of its latest deploy.
    pub status: StackStatus,
}

/// A stack to be deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewStack {
    /// Display name.
    pub name: String,
    /// The environment.
    pub env: Environment,
    /// A stack of the family that it joins; `None` to start a family.
    pub parent: Option<Uuid>,
    /// Its services.
    pub services: Vec<Service>,
    /// Its variables.
    pub env_vars: EnvVars,
}

impl NewStack {
    /// The stack that it becomes, under this id, in the family of this root.
    pub(crate) fn deployed(self, id: Uuid, root: Uuid) -> Stack {
        let Self { name, env, parent, services, env_vars } = self;
        let services = services.into();
        Stack { id, name, env, status: StackStatus::Healthy, parent, root, services, env_vars, version: 0 }
    }
}

/// A direct change of a protected environment, which an administrator makes without an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakGlass {
    /// The environment that it changes.
    pub env: Environment,
    /// The change, such as a stack's image. Never a value.
    pub change: String,
    /// The administrator.
    pub by: String,
    /// Why there is no time for an approval.
    pub reason: String,
}

/// A direct change of a protected environment, as the audit has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlassBroken {
    /// When it was announced.
    pub at: Timestamp,
    /// The change.
    pub what: BreakGlass,
}

/// A resource to be provisioned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewResource {
    /// Display name.
    pub name: String,
    /// The product.
    pub kind: ResourceKind,
    /// The environment.
    pub env: Environment,
}
