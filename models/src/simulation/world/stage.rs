//! The stage: where schedules of one flow are played, one after another.

use std::{collections::BTreeMap, sync::Arc};

use countersign::protocol::Flow;

use super::{
    Simulation,
    setup::{Play, Sources, World, strangers},
};
use crate::simulation::{Mutant, Scenario, ledger::Judged, platform::Platform};

/// With more approvals it is not worth while to keep a start: hardly another schedule begins alike.
const MOST_KEPT: usize = 4;

/// Where schedules of one flow are played, one after another. What they begin with alike is made once, and what one was
/// played with is there for the next.
pub struct Stage {
    play: Play,
    starts: BTreeMap<Alike, Start>,
    judged: Judged,
}

/// What the store's start follows from: the approvals with their teams and families, the teams of which a stranger
/// asks, and the room in the plan.
pub(super) type Alike = ([u8; MOST_KEPT], u8, Option<u8>);

/// The world before anybody has come.
struct Start {
    world: World,
    sources: Sources,
    /// What was played with before, for the next time.
    spare: Option<World>,
}

impl Stage {
    /// With this flow, and with what is broken on purpose.
    pub fn new(flow: Arc<Flow>, mutant: Option<Mutant>) -> Self {
        let play = Play::new(flow, mutant);
        Self { play, starts: BTreeMap::new(), judged: Judged::default() }
    }

    /// The scenario at its start, as [`Simulation::new`] makes it. Whoever has played it [gives it
    /// back](Self::take_back), or the next one has to be made anew.
    ///
    /// # Panics
    /// When the scenario names what is not there: [`Scenario::check`] says whether it does.
    pub fn begin(&mut self, scenario: &Scenario) -> Simulation {
        let Self { play, starts, judged } = self;
        judged.make_room();
        let Some(alike) = alike(scenario) else { return play.begin(scenario, std::mem::take(judged)) };
        let start = starts.entry(alike).or_insert_with(|| Start::of(play.start(scenario)));
        let world = match start.spare.take() {
            Some(mut spare) => {
                spare.set_back(&start.world);
                spare
            }
            None => start.world.copy(),
        };
        play.enter(world, &mut start.sources, scenario, std::mem::take(judged), Some(alike))
    }

    /// Takes back what a schedule was played with, for the next one. What is of another stage is left alone.
    pub fn take_back(&mut self, mut simulation: Simulation) {
        let Platform { flow, mutant, .. } = &*simulation.platform;
        if !Arc::ptr_eq(flow, &self.play.flow) || *mutant != self.play.mutant {
            return;
        }
        self.judged = std::mem::take(&mut simulation.judged);
        if let Some(start) = simulation.alike.and_then(|alike| self.starts.get_mut(&alike)) {
            start.spare = Some(World::left_by(simulation));
        }
    }
}

impl Start {
    fn of((world, sources): (World, Sources)) -> Self {
        Self { world, sources, spare: None }
    }
}

fn alike(scenario: &Scenario) -> Option<Alike> {
    let mut approvals = [u8::MAX; MOST_KEPT];
    if scenario.approvals.len() > approvals.len() {
        return None;
    }
    for (place, approval) in approvals.iter_mut().zip(&scenario.approvals) {
        *place = approval.team * Scenario::MOST_TEAMS + approval.family;
    }
    let strangers = strangers(scenario).fold(0, |teams, team| teams | 1 << team);
    Some((approvals, strangers, scenario.room))
}
