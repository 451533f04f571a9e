//! Tier and limits of teams: from the configuration, or from the token's claims.

use std::{collections::BTreeMap, sync::Arc};

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

/// The teams of the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tenants {
    configured: BTreeMap<Uuid, Configured>,
    operators: Arc<Operators>,
}

#[derive(Clone, Copy, Debug)]
struct Configured {
    plan: Option<Plan>,
    deployment_cap: Option<usize>,
}

impl Tenants {
    pub(crate) fn new(config: &Config, operators: Arc<Operators>) -> Self {
        let configured = config.file.tenant.iter().map(|tenant| {
            let tenant = tenant.get_ref();
            let plan = tenant.plan.as_ref().map(|Text(PlanName(plan))| *plan);
            (tenant.team, Configured { plan, deployment_cap: tenant.deployment_cap })
        });
        Self { configured: configured.collect(), operators }
    }
}

impl TenantPolicy for Tenants {
    /// A configured plan wins over a claimed one.
    fn terms(&self, team: Uuid, claimed: Option<Plan>) -> Team {
        let configured = self.configured.get(&team);
        let terms = ByPlan.terms(team, configured.and_then(|team| team.plan).or(claimed));
        let cap = configured.and_then(|team| team.deployment_cap);
        Team { deployment_cap: cap.unwrap_or(terms.deployment_cap), ..terms }
    }

    fn has_approver(&self, team: Uuid, requester: &str) -> bool {
        self.operators.has_approver(team, requester)
    }

    fn may_decide(&self, team: Uuid, requester: &str, person: &str) -> bool {
        self.operators.may_decide(team, requester, person)
    }
}
