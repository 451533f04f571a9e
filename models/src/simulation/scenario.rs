//! The participants of a schedule: teams, approvals, clients and instances.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Bounds;

/// The payload that a client requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wants {
    /// The approved payload.
    Approved,
    /// Another stack of the same team and family, under the same approval.
    OtherStack,
    /// A stack of another team, under the same approval.
    OtherTeam,
}

/// An approval, pending at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permission {
    /// The owning team.
    pub team: u8,
    /// For which of the team's families of stacks. Approvals of one family have one target.
    pub family: u8,
}

/// A client that uses an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Which approval.
    pub approval: u8,
    /// The requested payload.
    pub wants: Wants,
    /// The instance that serves its requests.
    pub instance: u8,
}

/// The participants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// By how much the leases of each instance are longer by the store's clock than it believes, in milliseconds: its own
    /// clock goes wrong.
    pub skews_ms: Vec<i64>,
    /// The approvals.
    pub approvals: Vec<Permission>,
    /// The clients. Those of one approval with the approved payload come first.
    pub clients: Vec<Client>,
    /// Clients send an idempotency key, where the endpoint has keys.
    pub keys: bool,
    /// Number of targets that each team's tier allows; `None` for no limit.
    pub room: Option<u8>,
}

/// Why a scenario cannot be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidScenario {
    /// This many instances.
    Instances(usize),
    /// A clock that is off by this many milliseconds.
    Skew(i64),
    /// This many approvals.
    Approvals(usize),
    /// This many clients.
    Clients(usize),
    /// The approval in this place names a team or a family that is not there.
    Permission(usize),
    /// The client in this place names an approval or an instance that is not there.
    Client(usize),
    /// This many callers, of at most so many.
    Callers(u8, u8),
    /// So many crashes and faults.
    Budget(u8, u8),
}

impl fmt::Display for InvalidScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (instances, approvals, clients) =
            (Scenario::MOST_INSTANCES, Scenario::MOST_APPROVALS, Scenario::MOST_CLIENTS);
        match self {
            Self::Instances(found) => {
                write!(f, "expected 1 to {instances} instances in `skews_ms`, found {found}")
            }
            Self::Skew(found) => {
                write!(f, "expected at most {MOST_SKEW_MS} milliseconds in `skews_ms`, found {found}")
            }
            Self::Approvals(found) => write!(f, "expected 1 to {approvals} `approvals`, found {found}"),
            Self::Clients(found) => write!(f, "expected at most {clients} `clients`, found {found}"),
            Self::Permission(place) => {
                let last = Scenario::MOST_TEAMS - 1;
                write!(f, "expected a `team` and a `family` from 0 to {last} in `approvals[{place}]`")
            }
            Self::Client(place) => {
                write!(f, "`clients[{place}]` names an `approval` or an `instance` that is not there")
            }
            Self::Callers(found, most) => {
                write!(f, "expected 1 to {most} `callers` for this flow, found {found}")
            }
            Self::Budget(crashes, faults) => write!(
                f,
                "expected at most {} `crashes` and `faults`, found {crashes} and {faults}",
                Bounds::MAX_BUDGET
            ),
        }
    }
}

impl std::error::Error for InvalidScenario {}

/// Milliseconds that a clock may be off.
const MOST_SKEW_MS: u64 = 1_000_000;

impl Scenario {
    /// The most instances.
    pub const MOST_INSTANCES: usize = 8;
    /// The most approvals.
    pub const MOST_APPROVALS: usize = 32;
    /// The most clients.
    pub const MOST_CLIENTS: usize = 128;
    /// The most teams, and families of a team.
    pub const MOST_TEAMS: u8 = 8;

    /// The model's world: one approval, one instance, `consumers` clients of which from two on the last wants another
    /// stack.
    pub fn of_model(consumers: u8) -> Self {
        let client = |index| {
            let foreign = consumers >= 2 && index == consumers - 1;
            let wants = if foreign { Wants::OtherStack } else { Wants::Approved };
            Client { approval: 0, wants, instance: 0 }
        };
        Self {
            skews_ms: vec![0],
            approvals: vec![Permission { team: 0, family: 0 }],
            clients: (0..consumers).map(client).collect(),
            keys: true,
            room: None,
        }
    }

    /// Checks that everything it names exists.
    ///
    /// # Errors
    /// [`InvalidScenario`] names the missing part.
    pub fn check(&self) -> Result<(), InvalidScenario> {
        let instances = self.skews_ms.len();
        if !(1..=Self::MOST_INSTANCES).contains(&instances) {
            return Err(InvalidScenario::Instances(instances));
        }
        if let Some(skew) = self.skews_ms.iter().find(|skew| skew.unsigned_abs() > MOST_SKEW_MS) {
            return Err(InvalidScenario::Skew(*skew));
        }
        if !(1..=Self::MOST_APPROVALS).contains(&self.approvals.len()) {
            return Err(InvalidScenario::Approvals(self.approvals.len()));
        }
        if self.clients.len() > Self::MOST_CLIENTS {
            return Err(InvalidScenario::Clients(self.clients.len()));
        }
        let most = Self::MOST_TEAMS;
        let unknown = |one: &Permission| one.team >= most || one.family >= most;
        if let Some(place) = self.approvals.iter().position(unknown) {
            return Err(InvalidScenario::Permission(place));
        }
        let unknown = |client: &Client| {
            usize::from(client.approval) >= self.approvals.len() || usize::from(client.instance) >= instances
        };
        if let Some(place) = self.clients.iter().position(unknown) {
            return Err(InvalidScenario::Client(place));
        }
        Ok(())
    }
}
