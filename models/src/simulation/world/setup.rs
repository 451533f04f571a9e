//! The world before the first action: teams with their stacks, pending approvals, clients that have not begun.

use std::{collections::BTreeMap, sync::Arc};

use countersign::{
    protocol::{
        Approval, Binding, Digest, Effect, Environment, Flow, Kind, Op, Promotion, Request, Timestamp,
    },
    store::{Ask, Clock, EnvVars, MemoryStore, Payload, Plan, Store, Team},
};
use uuid::Uuid;

use super::{
    Attempt, Consumer, Reach, Simulation, Slot, clients::begin_facts, environment, services, team_id,
};
use crate::{
    fixtures::{CountingIds, HandClock, at_once},
    simulation::{
        Found, Mutant, Scenario, Wants,
        ledger::{Judged, Ledger},
        mutants::Switchable,
        platform::{At, Platform},
    },
};

pub(super) const BEGIN: Timestamp = Timestamp(1_800_000_000_000);
/// Between two requests for an approval: windows do not end all at once.
const BETWEEN_REQUESTS_MS: u64 = 60 * 60 * 1000;
const VAULT_KEY: &str = "KEY";

/// Where schedules of one flow are played, one after another. What they begin with alike is made once.
pub struct Stage {
    flow: Arc<Flow>,
    mutant: Option<Mutant>,
    begins_at: At,
    binding: Binding,
    by: Arc<str>,
    judged: Arc<Judged>,
    starts: BTreeMap<Alike, Start>,
}

/// What the store's start follows from: the approvals with their teams and families, the teams of which a stranger
/// asks, and the room in the plan.
type Alike = ([u8; Start::MOST_APPROVALS], u8, Option<u8>);

/// The world before anybody has come.
struct Start {
    world: World,
    /// The two stacks of each team's families.
    families: Vec<((u8, u8), [Uuid; 2])>,
}

struct World {
    store: MemoryStore<Switchable>,
    strategy: Switchable,
    clock: Arc<HandClock>,
    ids: Arc<CountingIds>,
    teams: Vec<(Uuid, usize, usize)>,
    ledgers: Vec<Ledger>,
}

impl Stage {
    /// With this flow, and with what is broken on purpose.
    pub fn new(flow: Arc<Flow>, mutant: Option<Mutant>) -> Self {
        let binding =
            Binding { kind: Kind::Stack, from: environment("staging"), to: environment("production") };
        let begins_at = first(&flow, &binding);
        let (by, judged) = ("dev@example.com".into(), Arc::default());
        Self { flow, mutant, begins_at, binding, by, judged, starts: BTreeMap::new() }
    }

    /// The scenario at its start, as [`Simulation::new`] makes it.
    ///
    /// # Panics
    /// When the scenario names what is not there: [`Scenario::check`] says whether it does.
    pub fn begin(&mut self, scenario: &Scenario) -> Simulation {
        let Some(alike) = alike(scenario) else { return self.begin_afresh(scenario) };
        if !self.starts.contains_key(&alike) {
            self.starts.insert(alike, self.start(scenario));
        }
        let start = &self.starts[&alike];
        self.people(start.world.copy(), &start.families, scenario)
    }

    /// As [`begin`](Self::begin), and nothing is kept for the next time.
    pub(super) fn begin_afresh(&self, scenario: &Scenario) -> Simulation {
        let Start { world, families } = self.start(scenario);
        self.people(world, &families, scenario)
    }

    fn ask(&self, approval: Uuid, team: u8, source: Uuid, key: Option<Arc<str>>) -> Ask {
        Ask {
            request: Request { approval, team: team_id(team), binding: self.binding.clone() },
            by: Arc::clone(&self.by),
            payload: Payload { source, name: None, copy_vault: true },
            key,
        }
    }

    fn start(&self, scenario: &Scenario) -> Start {
        let mut start = Start { world: World::new(self.mutant), families: Vec::new() };
        start.furnish(scenario, &self.binding.from);
        for (index, permission) in scenario.approvals.iter().enumerate() {
            if index > 0 {
                start.world.clock.advance_ms(BETWEEN_REQUESTS_MS);
            }
            let (family, sources) = start.family(permission.team, permission.family);
            let ask = self.ask(Uuid::nil(), permission.team, sources[0], None);
            let record = at_once(start.world.store.request_approval(&ask)).expect("nothing fails in memory");
            let Approval { id, team, digest, expires_at, .. } = record.approval;
            start.world.ledgers.push(Ledger::new(id, team, family, sources, digest, expires_at));
        }
        // The store keeps the digests of what was asked for lately. Who begins with a copy need not hash again.
        for ((team, _), stacks) in &start.families {
            for stack in stacks {
                start.world.store.digest(&self.ask(Uuid::nil(), *team, *stack, None));
            }
        }
        start
    }

    /// The clients come, and nobody has begun.
    fn people(&self, world: World, families: &[((u8, u8), [Uuid; 2])], scenario: &Scenario) -> Simulation {
        let World { store, strategy, clock, ids: _, teams, mut ledgers } = world;
        let mut consumers = Vec::with_capacity(scenario.clients.len() + 1);
        for (index, client) in scenario.clients.iter().enumerate() {
            let ledger = &mut ledgers[usize::from(client.approval)];
            let permission = scenario.approvals[usize::from(client.approval)];
            let (team, source) = match client.wants {
                Wants::Approved => (permission.team, ledger.sources[0]),
                Wants::OtherStack => (permission.team, ledger.sources[1]),
                Wants::OtherTeam => {
                    let team = permission.team + Scenario::MOST_TEAMS;
                    (team, family_of(families, team, 0).1[0])
                }
            };
            let key = scenario.keys.then(|| format!("key-{index}").into());
            let ask = Arc::new(self.ask(ledger.id, team, source, key));
            let facts = begin_facts(ledger, client.wants, self.begins_at);
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
        let platform = Platform::new(store, strategy, clock, Arc::clone(&self.flow), self.mutant);
        let mut simulation = Simulation {
            skews_ms: scenario.skews_ms.clone(),
            clients: scenario.clients.len(),
            platform: Arc::new(platform),
            ledgers,
            consumers,
            workers: scenario.skews_ms.iter().map(|_| None).collect(),
            teams,
            begins_at: self.begins_at,
            found: Found::default(),
            judged: Arc::clone(&self.judged),
            images: 1,
            endings: Default::default(),
            answered_last: None,
            reach: Reach::Store,
            acted: None,
            worked_on: None,
            healing: None,
            owed: 0,
            scenes: Vec::new(),
        };
        simulation.observe(None, Reach::Store);
        simulation
    }
}

impl World {
    fn new(mutant: Option<Mutant>) -> Self {
        let (clock, ids) = (Arc::new(HandClock::at(BEGIN)), Arc::new(CountingIds::default()));
        let strategy = Switchable::new(mutant);
        let store = MemoryStore::with_strategy(strategy.clone(), clock.clone(), ids.clone());
        Self { store, strategy, clock, ids, teams: Vec::new(), ledgers: Vec::new() }
    }

    /// One that goes its own way.
    fn copy(&self) -> Self {
        let clock = Arc::new(HandClock::at(self.clock.now()));
        let ids = Arc::new(CountingIds::clone(&self.ids));
        let strategy = self.strategy.emptied();
        let store = self.store.fork_with(strategy.clone(), clock.clone(), ids.clone());
        Self { store, strategy, clock, ids, teams: self.teams.clone(), ledgers: self.ledgers.clone() }
    }
}

impl Start {
    /// With more it is not worth while to keep it: hardly another schedule begins alike.
    const MOST_APPROVALS: usize = 4;

    /// Teams with their stacks.
    fn furnish(&mut self, scenario: &Scenario, staging: &Environment) {
        let mut wanted: Vec<(u8, u8)> =
            scenario.approvals.iter().map(|approval| (approval.team, approval.family)).collect();
        // Who asks for another team's approval has a stack of its own to ask for.
        wanted.extend(strangers(scenario).map(|team| (team + Scenario::MOST_TEAMS, 0)));
        wanted.sort_unstable();
        wanted.dedup();
        let World { store, teams, .. } = &mut self.world;
        for (team, family) in wanted {
            let id = team_id(team);
            if !teams.iter().any(|(known, ..)| *known == id) {
                store.put_team(id, Team { plan: Plan::Pro, deployment_cap: usize::MAX });
                store.put_vault(id, staging.clone(), VAULT_KEY, "value");
                teams.push((id, 0, usize::MAX));
            }
            let stack = |name: &str| {
                let created = store.create_stack(id, name, staging.clone(), services(1), EnvVars::new());
                created.expect("the team is there")
            };
            let stacks = [stack("approved"), stack("other")];
            store.adopt_stack(id, stacks[1], stacks[0]);
            self.families.push(((team, family), stacks));
        }
        if let Some(room) = scenario.room {
            for (team, _, cap) in teams {
                *cap = store.look(*team, |records| records.stacks.len()).unwrap_or(0) + usize::from(room);
                store.put_team(*team, Team { plan: Plan::Pro, deployment_cap: *cap });
            }
        }
    }

    fn family(&self, team: u8, family: u8) -> (usize, [Uuid; 2]) {
        family_of(&self.families, team, family)
    }
}

/// The place of a family, and its two stacks.
fn family_of(families: &[((u8, u8), [Uuid; 2])], team: u8, family: u8) -> (usize, [Uuid; 2]) {
    let place = families.iter().position(|(found, _)| *found == (team, family));
    let place = place.expect("every family that is named is there");
    (place, families[place].1)
}

/// The teams whose approvals somebody else asks for.
fn strangers(scenario: &Scenario) -> impl Iterator<Item = u8> {
    let strangers = scenario.clients.iter().filter(|client| client.wants == Wants::OtherTeam);
    strangers.map(|client| scenario.approvals[usize::from(client.approval)].team)
}

fn alike(scenario: &Scenario) -> Option<Alike> {
    let mut approvals = [u8::MAX; Start::MOST_APPROVALS];
    if scenario.approvals.len() > approvals.len() {
        return None;
    }
    for (place, approval) in approvals.iter_mut().zip(&scenario.approvals) {
        *place = approval.team * Scenario::MOST_TEAMS + approval.family;
    }
    let strangers = strangers(scenario).fold(0, |teams, team| teams | 1 << team);
    Some((approvals, strangers, scenario.room))
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
