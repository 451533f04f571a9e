//! A campaign of walks. Its report is that of any campaign.

use std::{collections::BTreeMap, ops::ControlFlow};

use countersign::protocol::Flow;
use rayon::prelude::*;

use super::{
    Failure, Plays,
    kinds::Kind,
    schedule::{Drawn, draw},
    shrink::shrink,
};
use crate::{
    model::{Action, Model},
    properties::{PromotionState, Property},
    simulation::{Coverage, Ending, Finding, Found, Report, Seeds, campaign::in_blocks},
    world::State,
};

/// The name of the store that is broken on purpose: it counts each use and each effect twice.
pub(super) const CANARY: &str = "canary";

/// A campaign of walks of one flow.
#[derive(Clone)]
pub struct Campaign {
    /// Name in reports.
    pub name: String,
    /// Its file.
    pub flow_file: String,
    /// The flow, with no callers in particular.
    base: Model,
    most_callers: u8,
    /// The kinds of move that the flow has.
    possible: Vec<Kind>,
    canary: bool,
}

impl Campaign {
    /// The property that the canary violates.
    pub const CANARY_BREAKS: Property = Property::S2;

    /// A campaign of this flow.
    pub fn new(name: &str, flow: Flow, flow_file: &str) -> Self {
        let base = Model::unseated(flow);
        Self {
            name: name.to_owned(),
            flow_file: flow_file.to_owned(),
            most_callers: base.most_callers(),
            possible: Kind::possible(&base),
            base,
            canary: false,
        }
    }

    /// The same on a store that counts each use and each effect twice.
    #[must_use]
    pub fn on_the_canary(self) -> Self {
        Self { canary: true, ..self }
    }

    /// True if the store is broken on purpose.
    pub fn is_canary(&self) -> bool {
        self.canary
    }

    /// The properties that the flow promises and the model judges.
    pub fn properties(&self) -> impl Iterator<Item = Property> {
        Property::MODELLED.iter().copied().filter(|property| self.base.applies(*property))
    }

    fn report(&self, seeds: Vec<Seeds>) -> Report {
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            flow: self.name.clone(),
            mutant: self.canary.then(|| CANARY.to_owned()),
            seeds,
            schedules: 0,
            actions: 0,
            longest: 0,
            modelled: 0,
            modelled_steps: 0,
            divergences: Vec::new(),
            coverage: Coverage {
                faults: self.possible.iter().map(|kind| (kind.name().to_owned(), 0)).collect(),
                endings: BTreeMap::new(),
                witnesses: self.properties().map(|one| (one.id().to_owned(), 0)).collect(),
            },
            findings: BTreeMap::new(),
        }
    }

    /// Plays all seeds, on the current rayon pool. `watch` receives the report so far and may stop the run; then the
    /// report covers the seeds that were played.
    pub fn run(&self, seeds: Seeds, watch: &mut dyn FnMut(&Report) -> ControlFlow<()>) -> Report {
        let block = |places: std::ops::Range<u64>| {
            let mut report = self.report(Vec::new());
            for place in places {
                let seed = seeds.nth(place);
                let drawn = self.draw(seed, &mut |_, _, _| {});
                self.count(&mut report, seed, &drawn);
            }
            report
        };
        in_blocks(seeds, &|seeds| self.report(seeds), &block, watch)
    }

    fn draw(&self, seed: u64, watch: &mut dyn FnMut(Action, &Model, &State)) -> Drawn {
        draw(&self.base, self.most_callers, self.canary, seed, watch)
    }

    fn count(&self, report: &mut Report, seed: u64, drawn: &Drawn) {
        let actions = (drawn.taken.len() + drawn.liveness_actions.len()) as u64;
        report.schedules += 1;
        report.actions += actions;
        report.longest = report.longest.max(actions);
        for (kind, count) in Kind::ALL.iter().zip(drawn.kinds).filter(|(_, count)| *count > 0) {
            *report.coverage.faults.entry(kind.name().to_owned()).or_default() += count;
        }
        let begun =
            |stage: &&PromotionState| !matches!(stage, PromotionState::Waiting | PromotionState::Running);
        for stage in drawn.stages.iter().filter(begun) {
            let ending = Ending::of(*stage, false).name();
            *report.coverage.endings.entry(ending.to_owned()).or_default() += 1;
        }
        for property in self.properties() {
            if drawn.found.exercised & property.bit() != 0 {
                *report.coverage.witnesses.entry(property.id().to_owned()).or_default() += 1;
            }
        }
        for property in drawn.found.broken() {
            let finding = report.findings.entry(property.id().to_owned()).or_default();
            finding.seeds += 1;
            if finding.first.len() < Finding::KEPT {
                finding.first.push(seed);
            }
        }
    }

    /// Plays one seed, and tells `watch` every action and the state after it.
    pub fn watch(&self, seed: u64, watch: &mut dyn FnMut(Action, &Model, &State)) -> Found {
        self.draw(seed, watch).found
    }

    /// The walk with the fewest faults and crashes, and of those the shortest, of those to which the first seeds in the
    /// report that violate `property` shrink.
    pub fn shrunk(&self, report: &Report, property: Property) -> Option<Failure> {
        let seeds = report.finding(property)?.first.clone();
        let failures = seeds.into_par_iter().map(|seed| self.failure(seed, property));
        failures.min_by_key(|one| (one.crashes + one.faults, one.actions.len(), one.callers, one.seed))
    }

    fn failure(&self, seed: u64, property: Property) -> Failure {
        let drawn = self.draw(seed, &mut |_, _, _| {});
        let actions = drawn.taken.into_iter().chain(drawn.liveness_actions).collect();
        let (bounds, actions) = shrink(&self.base, self.canary, drawn.bounds, actions, property);
        Failure {
            plays: Plays::Model,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            property: property.id().to_owned(),
            flow: self.name.clone(),
            flow_file: self.flow_file.clone(),
            mutant: self.canary.then(|| CANARY.to_owned()),
            seed,
            callers: bounds.consumers,
            crashes: bounds.crashes,
            faults: bounds.faults,
            actions,
        }
    }
}
