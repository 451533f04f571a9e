//! The world before the first action: teams with their stacks, pending approvals, clients that have not begun.

use std::{collections::BTreeMap, sync::Arc};

use countersign::{
    platform::{Binding, Kind},
    protocol::{Approval, Change, Digest, Effect, Flow, Promotion, Request, Retry, Timestamp},
    store::{Approvals, EnvVars, NewStack, Payload, Plan, PromotionRequest, Team, Tenants},
};
use uuid::Uuid;

use super::{
    Attempt, Consumer, Instance, Simulation, Slot, Tally, TeamSeen, clients::begin_facts, environment,
    services, team_id,
};
use crate::{
    fixtures::{UseRequest, run_ready},
    simulation::{
        Client, Mutant, Permission, Scenario, Wants,
        observer::ApprovalObserver,
        platform::{At, Platform},
    },
};

pub(super) const BEGIN: Timestamp = Timestamp(1_800_000_000_000);
/// Time between two requests for an approval: their windows end separately.
const BETWEEN_REQUESTS_MS: u64 = 60 * 60 * 1000;
const VAULT_KEY: &str = "KEY";
const REQUESTER: &str = "dev@example.com";

/// The two stacks of a team's family.
struct Family {
    team: u8,
    number: u8,
    stacks: [Uuid; 2],
}

impl Simulation {
    /// The scenario at its start: every approval is pending, and no client has begun.
    ///
    /// # Panics
    /// If the scenario is inconsistent: see [`Scenario::check`].
    pub fn new(flow: Arc<Flow>, scenario: &Scenario, mutant: Option<Mutant>) -> Self {
        let begins_at = first(&flow);
        // A client of an endpoint without keys sends none.
        let keys = scenario.keys && flow.endpoint().retry == Retry::Key;
        let platform = Platform::new(flow, mutant, BEGIN);
        let (families, teams) = populate(&platform, scenario);
        let mut observers = request_approvals(&platform, scenario, &families);
        let consumers = scenario.clients.iter().enumerate().map(|(index, client)| {
            let observer = &mut observers[usize::from(client.approval)];
            let key = keys.then(|| format!("key-{index}").into());
            let permission = scenario.approvals[usize::from(client.approval)];
            let ask = ask_of(*client, permission, observer, &families, key);
            let facts = begin_facts(observer, client.wants, begins_at);
            Consumer {
                plan: *client,
                ask: Arc::new(ask),
                attempts: [Attempt::new(Slot::Waiting, facts), Attempt::new(Slot::Off, None)],
                consumed: None,
                unknown: false,
                retries: 0,
            }
        });
        let consumers = consumers.collect();
        let mut simulation = Self {
            platform: Arc::new(platform),
            observers,
            consumers,
            instances: scenario
                .skews_ms
                .iter()
                .map(|skew| Instance { skew_ms: *skew, worker: None })
                .collect(),
            teams,
            fences_seen: BTreeMap::new(),
            begins_at,
            clients: scenario.clients.len(),
            images: 1,
            tally: Tally::default(),
            acted: None,
            liveness_phase: None,
            events: Vec::new(),
        };
        simulation.observe();
        simulation
    }
}

fn binding() -> Binding {
    Binding { kind: Kind::Stack, from: environment("staging"), to: environment("production") }
}

fn ask(team: u8, source: Uuid, key: Option<Arc<str>>) -> PromotionRequest {
    PromotionRequest {
        team: team_id(team),
        binding: binding(),
        requested_by: REQUESTER.into(),
        payload: Payload { source, name: None, copy_vault: true },
        key,
    }
}

/// The request of a client.
fn ask_of(
    client: Client,
    permission: Permission,
    observer: &ApprovalObserver,
    families: &[Family],
    key: Option<Arc<str>>,
) -> UseRequest {
    let (team, source) = match client.wants {
        Wants::Approved => (permission.team, observer.sources[0]),
        Wants::OtherStack => (permission.team, observer.sources[1]),
        Wants::OtherTeam => {
            let team = permission.team + Scenario::MOST_TEAMS;
            (team, stacks_of(families, team, 0)[0])
        }
    };
    UseRequest::new(observer.id, ask(team, source, key))
}

/// Requests the scenario's approvals, and opens an observer for each.
fn request_approvals(platform: &Platform, scenario: &Scenario, families: &[Family]) -> Vec<ApprovalObserver> {
    let requested = scenario.approvals.iter().enumerate().map(|(index, permission)| {
        if index > 0 {
            platform.clock.advance_ms(BETWEEN_REQUESTS_MS);
        }
        let sources = stacks_of(families, permission.team, permission.family);
        let ask = ask(permission.team, sources[0], None);
        let record =
            run_ready(platform.store.request_approval(&ask)).expect("nothing fails in memory").record;
        let Approval { id, team, digest, expires_at, .. } = *record.approval;
        ApprovalObserver::new(id, team, sources, digest, expires_at)
    });
    requested.collect()
}

/// Creates the scenario's teams, and the two stacks of each family.
fn populate(platform: &Platform, scenario: &Scenario) -> (Vec<Family>, Vec<TeamSeen>) {
    let mut wanted: Vec<(u8, u8)> =
        scenario.approvals.iter().map(|approval| (approval.team, approval.family)).collect();
    // A client of another team needs a stack of its own to request.
    wanted.extend(strangers(scenario).map(|team| (team + Scenario::MOST_TEAMS, 0)));
    wanted.sort_unstable();
    wanted.dedup();
    let store = &platform.store;
    let staging = environment("staging");
    let put_team = |id, deployment_cap| {
        run_ready(store.put_team(id, Team { plan: Plan::Pro, deployment_cap }))
            .expect("nothing fails in memory");
    };
    let (mut families, mut teams) = (Vec::<Family>::with_capacity(wanted.len()), Vec::<TeamSeen>::new());
    for (team, number) in wanted {
        let id = team_id(team);
        if !teams.iter().any(|known| known.id == id) {
            put_team(id, usize::MAX);
            run_ready(store.put_vault(id, &staging, VAULT_KEY, "value")).expect("the team is there");
            teams.push(TeamSeen { id, events: 0, cap: usize::MAX });
        }
        let stack = |name: &str, parent| {
            let (name, env) = (name.to_owned(), staging.clone());
            let new = NewStack { name, env, parent, services: services(1), env_vars: EnvVars::new() };
            run_ready(store.create_stack(id, new)).expect("the team is there").expect("there is room").id
        };
        let approved = stack("approved", None);
        families.push(Family { team, number, stacks: [approved, stack("other", Some(approved))] });
    }
    if let Some(room) = scenario.room {
        for team in &mut teams {
            let stacks = store.look(team.id, |records| records.stacks.len());
            team.cap = stacks.unwrap_or(0) + usize::from(room);
            put_team(team.id, team.cap);
        }
    }
    (families, teams)
}

/// The two stacks of a family.
fn stacks_of(families: &[Family], team: u8, number: u8) -> [Uuid; 2] {
    let family = families.iter().find(|family| (family.team, family.number) == (team, number));
    family.expect("every family that is named is there").stacks
}

/// The teams whose approvals a client of another team requests.
fn strangers(scenario: &Scenario) -> impl Iterator<Item = u8> {
    let strangers = scenario.clients.iter().filter(|client| client.wants == Wants::OtherTeam);
    strangers.map(|client| scenario.approvals[usize::from(client.approval)].team)
}

/// First position of a promotion of this flow.
fn first(flow: &Flow) -> At {
    let request = Request { approval: Uuid::nil(), team: Uuid::nil() };
    let promotion = Promotion::begin(flow, &request, Digest([0; 32]));
    match promotion.effect() {
        Some(Effect::Commit(commit)) => At::Change {
            consumes: commit.ops.iter().any(|op| matches!(op, Change::Consume(_))),
            writes_target: commit.ops.iter().any(|op| matches!(op, Change::WriteTarget { .. })),
        },
        Some(Effect::FindTarget) => At::Change { consumes: false, writes_target: true },
        _ => At::Elsewhere,
    }
}
