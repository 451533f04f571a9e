//! Tier and limits of teams: from the configuration, or from the token's claims.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use countersign::store::{Plan, Team};
use countersign_gate::{
    http::{ByPlan, TenantPolicy},
    instance::operators::Operators,
};
use uuid::Uuid;

use super::{
    config::Config,
    values::{PlanName, Text},
};

/// The teams of the configuration, as it was read last.
#[derive(Debug)]
pub(crate) struct Tenants {
    configured: ArcSwap<BTreeMap<Uuid, Configured>>,
    pub(crate) operators: Arc<ArcSwap<Operators>>,
    /// Number of replacements.
    replaced: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Configured {
    plan: Option<Plan>,
    deployment_cap: Option<usize>,
}

impl Tenants {
    pub(crate) fn new(config: &Config, operators: Operators) -> Self {
        let configured = config.file.tenant.iter().map(|tenant| {
            let tenant = tenant.get_ref();
            let plan = tenant.plan.as_ref().map(|Text(PlanName(plan))| *plan);
            (tenant.team, Configured { plan, deployment_cap: tenant.deployment_cap })
        });
        Self {
            configured: ArcSwap::from_pointee(configured.collect()),
            operators: Arc::new(ArcSwap::from_pointee(operators)),
            replaced: AtomicU64::new(0),
        }
    }

    /// From now on these apply.
    pub(crate) fn replace(&self, other: &Self) {
        self.configured.store(other.configured.load_full());
        self.operators.store(other.operators.load_full());
        self.replaced.fetch_add(1, Ordering::SeqCst);
    }
}

impl TenantPolicy for Tenants {
    /// A configured plan wins over a claimed one.
    fn terms(&self, team: Uuid, claimed: Option<Plan>) -> Team {
        let configured = self.configured.load();
        let configured = configured.get(&team);
        let terms = ByPlan.terms(team, configured.and_then(|team| team.plan).or(claimed));
        let cap = configured.and_then(|team| team.deployment_cap);
        Team { deployment_cap: cap.unwrap_or(terms.deployment_cap), ..terms }
    }

    fn edition(&self) -> u64 {
        self.replaced.load(Ordering::SeqCst)
    }

    fn has_approver(&self, team: Uuid, requester: &str) -> bool {
        self.operators.load().has_approver(team, requester)
    }

    fn may_decide(&self, team: Uuid, requester: &str, person: &str) -> bool {
        self.operators.load().may_decide(team, requester, person)
    }
}
