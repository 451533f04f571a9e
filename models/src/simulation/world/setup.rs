//! The world before the first action: teams with their stacks, pending approvals, clients that have not begun.

use std::sync::Arc;

use countersign::{
    protocol::{Binding, Digest, Effect, Flow, Kind, Op, Promotion, Request, Timestamp},
    store::{Ask, EnvVars, MemoryStore, Payload, Plan, Store, Team},
};
use uuid::Uuid;

use super::{
    Attempt, Consumer, PRODUCTION, Reach, STAGING, Simulation, Slot, clients::begin_facts, services, team_id,
};
use crate::{
    fixtures::{CountingIds, HandClock, at_once},
    simulation::{
        Found, Mutant, Scenario, Wants,
        ledger::Ledger,
        mutants::Switchable,
        platform::{At, Platform},
    },
};

pub(super) const BEGIN: Timestamp = Timestamp(1_800_000_000_000);
/// Between two requests for an approval: windows do not end all at once.
const BETWEEN_REQUESTS_MS: u64 = 60 * 60 * 1000;
const VAULT_KEY: &str = "KEY";

pub(super) struct Setup {
    scenario: Scenario,
    platform: Platform,
    binding: Binding,
    /// The two stacks of each team's families.
    families: Vec<((u8, u8), [Uuid; 2])>,
    teams: Vec<(Uuid, usize, usize)>,
}

impl Setup {
    pub(super) fn new(flow: Arc<Flow>, scenario: &Scenario, mutant: Option<Mutant>) -> Self {
        let clock = Arc::new(HandClock::at(BEGIN));
        let strategy = Switchable::new(mutant);
        let store =
            MemoryStore::with_strategy(strategy.clone(), clock.clone(), Arc::new(CountingIds::default()));
        let binding = Binding { kind: Kind::Stack, from: STAGING.clone(), to: PRODUCTION.clone() };
        let platform = Platform::new(store, strategy, clock, flow, mutant);
        let mut setup =
            Self { scenario: scenario.clone(), platform, binding, families: Vec::new(), teams: Vec::new() };
        setup.people_the_teams();
        setup
    }

    fn people_the_teams(&mut self) {
        let mut wanted: Vec<(u8, u8)> =
            self.scenario.approvals.iter().map(|approval| (approval.team, approval.family)).collect();
        // Who asks for another team's approval has a stack of its own to ask for.
        wanted.extend(self.scenario.clients.iter().filter(|client| client.wants == Wants::OtherTeam).map(
            |client| (self.scenario.approvals[usize::from(client.approval)].team + Scenario::MOST_TEAMS, 0),
        ));
        wanted.sort_unstable();
        wanted.dedup();
        let store = &self.platform.store;
        for (team, family) in wanted {
            let id = team_id(team);
            if !self.teams.iter().any(|(known, ..)| *known == id) {
                store.put_team(id, Team { plan: Plan::Pro, deployment_cap: usize::MAX });
                store.put_vault(id, STAGING.clone(), VAULT_KEY, "value");
                self.teams.push((id, 0, usize::MAX));
            }
            let stack = |name: &str| {
                let created = store.create_stack(id, name, STAGING.clone(), services(1), EnvVars::new());
                created.expect("the team is there")
            };
            let stacks = [stack("approved"), stack("other")];
            store.adopt_stack(id, stacks[1], stacks[0]);
            self.families.push(((team, family), stacks));
        }
        if let Some(room) = self.scenario.room {
            for (team, _, cap) in &mut self.teams {
                *cap = store.look(*team, |records| records.stacks.len()).unwrap_or(0) + usize::from(room);
                store.put_team(*team, Team { plan: Plan::Pro, deployment_cap: *cap });
            }
        }
    }

    fn stacks(&self, team: u8, family: u8) -> [Uuid; 2] {
        let found = self.families.iter().find(|(place, _)| *place == (team, family));
        found.expect("every family that is named is there").1
    }

    fn ask(&self, approval: Uuid, team: u8, source: Uuid, key: Option<Arc<str>>) -> Ask {
        Ask {
            request: Request { approval, team: team_id(team), binding: self.binding.clone() },
            by: "dev@example.com".into(),
            payload: Payload { source, name: None, copy_vault: true },
            key,
        }
    }

    pub(super) fn simulation(self) -> Simulation {
        let mut ledgers = Vec::with_capacity(self.scenario.approvals.len());
        for (index, permission) in self.scenario.approvals.iter().enumerate() {
            if index > 0 {
                self.platform.clock.advance_ms(BETWEEN_REQUESTS_MS);
            }
            let sources = self.stacks(permission.team, permission.family);
            let ask = self.ask(Uuid::nil(), permission.team, sources[0], None);
            let record =
                at_once(self.platform.store.request_approval(&ask)).expect("nothing fails in memory");
            let approval = record.approval;
            ledgers.push(Ledger::new(
                approval.id,
                approval.team,
                sources,
                approval.digest,
                approval.expires_at,
            ));
        }
        let begins_at = first(&self.platform.flow, &self.binding);
        let mut consumers = Vec::with_capacity(self.scenario.clients.len());
        for (index, client) in self.scenario.clients.iter().enumerate() {
            let ledger = &mut ledgers[usize::from(client.approval)];
            let permission = self.scenario.approvals[usize::from(client.approval)];
            let (team, source) = match client.wants {
                Wants::Approved => (permission.team, ledger.sources[0]),
                Wants::OtherStack => (permission.team, ledger.sources[1]),
                Wants::OtherTeam => {
                    let team = permission.team + Scenario::MOST_TEAMS;
                    (team, self.stacks(team, 0)[0])
                }
            };
            let key = self.scenario.keys.then(|| format!("key-{index}").into());
            let ask = Arc::new(self.ask(ledger.id, team, source, key));
            let facts = begin_facts(ledger, client.wants, begins_at);
            let attempts = [Attempt::new(Slot::Waiting, facts), Attempt::new(Slot::Off, None)];
            consumers.push(Consumer {
                plan: *client,
                ask,
                attempts,
                consumed: None,
                unknown: false,
                retries: 0,
            });
        }
        let workers = self.scenario.skews_ms.iter().map(|_| None).collect();
        let Self { scenario, platform, teams, .. } = self;
        let mut simulation = Simulation {
            scenario,
            platform: Arc::new(platform),
            ledgers,
            consumers,
            workers,
            teams,
            begins_at,
            found: Found::default(),
            images: 1,
            endings: Default::default(),
            answered_last: None,
            reach: Reach::Store,
            worked_on: None,
            healing: None,
            owed: 0,
            scenes: Vec::new(),
        };
        simulation.observe(None, Reach::Store);
        simulation
    }
}

/// Where a promotion of this flow begins.
fn first(flow: &Flow, binding: &Binding) -> At {
    let request = Request { approval: Uuid::nil(), team: Uuid::nil(), binding: binding.clone() };
    let promotion = Promotion::begin(flow, &request, Digest([0; 32]));
    match promotion.effect() {
        Some(Effect::Commit(commit)) => At::Change {
            consumes: commit.ops.iter().any(|op| matches!(op, Op::Consume { .. })),
            writes_target: commit.ops.iter().any(|op| matches!(op, Op::WriteTarget { .. })),
        },
        Some(Effect::FindTarget) => At::Change { consumes: false, writes_target: true },
        _ => At::Elsewhere,
    }
}
