//! The world before the first action: teams with their stacks, pending approvals, clients that have not begun.

use std::sync::Arc;

use countersign::{
    protocol::{
        Approval, Binding, Digest, Effect, Environment, Flow, Kind, Op, Promotion, Request, Timestamp,
    },
    store::{Ask, EnvVars, Payload, Plan, Store, Team},
};
use uuid::Uuid;

use super::{
    Attempt, Consumer, Reach, Simulation, Slot, Worker, clients::begin_facts, environment, services,
    stage::Alike, team_id,
};
use crate::{
    fixtures::at_once,
    simulation::{
        Client, Found, Mutant, Scenario, Wants,
        ledger::{Judged, Ledger},
        platform::{At, Platform},
    },
};

pub(super) const BEGIN: Timestamp = Timestamp(1_800_000_000_000);
/// Between two requests for an approval: windows do not end all at once.
const BETWEEN_REQUESTS_MS: u64 = 60 * 60 * 1000;
const VAULT_KEY: &str = "KEY";

/// What every schedule is about.
pub(super) struct Play {
    pub(super) flow: Arc<Flow>,
    pub(super) mutant: Option<Mutant>,
    begins_at: At,
    binding: Binding,
    by: Arc<str>,
}

/// What there is to be asked for.
#[derive(Default)]
pub(super) struct Sources {
    /// The two stacks of each team's families.
    families: Vec<((u8, u8), [Uuid; 2])>,
    /// What was asked for before, each in a [place](place_of) of its own.
    asks: Vec<Option<Arc<Ask>>>,
}

/// What a schedule is played with.
pub(super) struct World {
    platform: Arc<Platform>,
    ledgers: Vec<Ledger>,
    teams: Vec<(Uuid, usize, usize)>,
    consumers: Vec<Consumer>,
    workers: Vec<Option<Worker>>,
    skews_ms: Vec<i64>,
}

impl Play {
    pub(super) fn new(flow: Arc<Flow>, mutant: Option<Mutant>) -> Self {
        let binding =
            Binding { kind: Kind::Stack, from: environment("staging"), to: environment("production") };
        let begins_at = first(&flow, &binding);
        Self { flow, mutant, begins_at, binding, by: "dev@example.com".into() }
    }

    /// As [`Stage::begin`](super::Stage::begin), where nothing is kept for the next time.
    pub(super) fn begin(&self, scenario: &Scenario, judged: Judged) -> Simulation {
        let (world, mut sources) = self.start(scenario);
        self.enter(world, &mut sources, scenario, judged, None)
    }

    fn ask(&self, approval: Uuid, team: u8, source: Uuid, key: Option<Arc<str>>) -> Ask {
        Ask {
            request: Request { approval, team: team_id(team), binding: self.binding.clone() },
            by: Arc::clone(&self.by),
            payload: Payload { source, name: None, copy_vault: true },
            key,
        }
    }

    /// The world before anybody has come.
    pub(super) fn start(&self, scenario: &Scenario) -> (World, Sources) {
        let mut world = World::new(Platform::new(Arc::clone(&self.flow), self.mutant, BEGIN));
        let families = world.furnish(scenario, &self.binding.from);
        let World { platform, ledgers, .. } = &mut world;
        for (index, permission) in scenario.approvals.iter().enumerate() {
            if index > 0 {
                platform.clock.advance_ms(BETWEEN_REQUESTS_MS);
            }
            let (family, sources) = family_of(&families, permission.team, permission.family);
            let ask = self.ask(Uuid::nil(), permission.team, sources[0], None);
            let record = at_once(platform.store.request_approval(&ask)).expect("nothing fails in memory");
            let Approval { id, team, digest, expires_at, .. } = *record.approval;
            ledgers.push(Ledger::new(id, team, family, sources, digest, expires_at));
        }
        // The store keeps the digests of what was asked for lately. Who begins with a copy need not hash again.
        for ((team, _), stacks) in &families {
            for stack in stacks {
                platform.store.digest(&self.ask(Uuid::nil(), *team, *stack, None));
            }
        }
        let mut sources = Sources { families, ..Sources::default() };
        // What the store has is looked at once for all who begin here.
        let nobody = Scenario { clients: Vec::new(), ..scenario.clone() };
        let mut simulation = self.enter(world, &mut sources, &nobody, Judged::default(), None);
        simulation.observe(None, Reach::Store);
        (World::left_by(simulation), sources)
    }

    /// The clients come to a store that has been looked at, and nobody has begun.
    pub(super) fn enter(
        &self,
        world: World,
        sources: &mut Sources,
        scenario: &Scenario,
        judged: Judged,
        alike: Option<Alike>,
    ) -> Simulation {
        let Sources { families, asks } = sources;
        let World { platform, mut ledgers, teams, mut consumers, mut workers, mut skews_ms } = world;
        for (index, client) in scenario.clients.iter().enumerate() {
            let ledger = &mut ledgers[usize::from(client.approval)];
            let key = scenario.keys.then_some(index);
            let place = place_of(*client, key);
            asks.resize(asks.len().max(place + 1), None);
            let ask = asks[place].get_or_insert_with(|| {
                let permission = scenario.approvals[usize::from(client.approval)];
                let (team, source) = match client.wants {
                    Wants::Approved => (permission.team, ledger.sources[0]),
                    Wants::OtherStack => (permission.team, ledger.sources[1]),
                    Wants::OtherTeam => {
                        let team = permission.team + Scenario::MOST_TEAMS;
                        (team, family_of(families, team, 0).1[0])
                    }
                };
                Arc::new(self.ask(ledger.id, team, source, key.map(|index| format!("key-{index}").into())))
            });
            let facts = begin_facts(ledger, client.wants, self.begins_at);
            let attempts = [Attempt::new(Slot::Waiting, facts), Attempt::new(Slot::Off, None)];
            consumers.push(Consumer {
                plan: *client,
                ask: Arc::clone(ask),
                attempts,
                consumed: None,
                unknown: false,
                retries: 0,
            });
        }
        workers.extend(scenario.skews_ms.iter().map(|_| None));
        skews_ms.clone_from(&scenario.skews_ms);
        let mut simulation = Simulation {
            skews_ms,
            clients: scenario.clients.len(),
            platform,
            ledgers,
            consumers,
            workers,
            teams,
            begins_at: self.begins_at,
            found: Found::default(),
            judged,
            alike,
            images: 1,
            endings: Default::default(),
            answered_last: None,
            reach: Reach::Store,
            acted: None,
            touched: None,
            healing: None,
            owed: 0,
            scenes: Vec::new(),
        };
        simulation.observe(None, Reach::Beside);
        simulation
    }
}

impl World {
    /// With nobody in it.
    fn new(platform: Platform) -> Self {
        let (ledgers, teams, consumers, workers, skews_ms) = Default::default();
        Self { platform: Arc::new(platform), ledgers, teams, consumers, workers, skews_ms }
    }

    /// What is there when everybody has gone.
    pub(super) fn left_by(simulation: Simulation) -> Self {
        let Simulation { platform, mut ledgers, teams, mut consumers, mut workers, skews_ms, .. } =
            simulation;
        // With them go all that share the platform.
        consumers.clear();
        workers.clear();
        ledgers.iter_mut().for_each(Ledger::forget_judgement);
        Self { platform, ledgers, teams, consumers, workers, skews_ms }
    }

    /// Teams with their stacks: the two of each family.
    fn furnish(&mut self, scenario: &Scenario, staging: &Environment) -> Vec<((u8, u8), [Uuid; 2])> {
        let mut wanted: Vec<(u8, u8)> =
            scenario.approvals.iter().map(|approval| (approval.team, approval.family)).collect();
        // Who asks for another team's approval has a stack of its own to ask for.
        wanted.extend(strangers(scenario).map(|team| (team + Scenario::MOST_TEAMS, 0)));
        wanted.sort_unstable();
        wanted.dedup();
        let mut families = Vec::with_capacity(wanted.len());
        let Self { platform, teams, .. } = self;
        let store = &platform.store;
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
            families.push(((team, family), stacks));
        }
        if let Some(room) = scenario.room {
            for (team, _, cap) in teams {
                *cap = store.look(*team, |records| records.stacks.len()).unwrap_or(0) + usize::from(room);
                store.put_team(*team, Team { plan: Plan::Pro, deployment_cap: *cap });
            }
        }
        families
    }

    /// One that goes its own way.
    pub(super) fn copy(&self) -> Self {
        let Platform { flow, mutant, .. } = &*self.platform;
        let mut copy = Self::new(Platform::new(Arc::clone(flow), *mutant, BEGIN));
        copy.set_back(self);
        copy
    }

    /// Is as another one in which nobody has come.
    pub(super) fn set_back(&mut self, original: &Self) {
        let Self { platform, ledgers, teams, consumers: _, workers: _, skews_ms: _ } = self;
        let platform = Arc::get_mut(platform).expect("who shares it has gone");
        platform.set_back(&original.platform, original.ledgers.iter().map(|ledger| ledger.id));
        ledgers.truncate(original.ledgers.len());
        for (ledger, original) in ledgers.iter_mut().zip(&original.ledgers) {
            ledger.set_back(original);
        }
        ledgers.extend_from_slice(&original.ledgers[ledgers.len()..]);
        teams.clone_from(&original.teams);
    }
}

/// The place of what this client asks for, under the key of the client of this number if it has one.
fn place_of(client: Client, key: Option<usize>) -> usize {
    let key = key.map_or(0, |client| client + 1);
    let wants = match client.wants {
        Wants::Approved => 0,
        Wants::OtherStack => 1,
        Wants::OtherTeam => 2,
    };
    (key * Scenario::MOST_APPROVALS + usize::from(client.approval)) * 3 + wants
}

/// The place of a family, and its two stacks.
fn family_of(families: &[((u8, u8), [Uuid; 2])], team: u8, family: u8) -> (usize, [Uuid; 2]) {
    let place = families.iter().position(|(found, _)| *found == (team, family));
    let place = place.expect("every family that is named is there");
    (place, families[place].1)
}

/// The teams whose approvals somebody else asks for.
pub(super) fn strangers(scenario: &Scenario) -> impl Iterator<Item = u8> {
    let strangers = scenario.clients.iter().filter(|client| client.wants == Wants::OtherTeam);
    strangers.map(|client| scenario.approvals[usize::from(client.approval)].team)
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
