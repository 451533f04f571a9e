//! A campaign: many seeds, their findings, and their coverage. Reports of shards add up to that of the whole.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use countersign::protocol::Flow;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    Coverage, Failure, Fault, Found, Mutant, Schedule, Simulation, Taken,
    conformance::Shadows,
    schedule::{Drawn, draw},
    shrink,
    swarm::Size,
    world::Ending,
};
use crate::properties::Property;

/// Which seeds: from `from` to before `to`, and of these those of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seeds {
    /// The first.
    pub from: u64,
    /// The one after the last.
    pub to: u64,
    /// Which shard, from 0.
    pub shard: u64,
    /// Number of shards.
    pub shards: u64,
}

impl Seeds {
    /// Number of seeds.
    pub fn count(self) -> u64 {
        let all = self.to.saturating_sub(self.from);
        all / self.shards + u64::from(all % self.shards > self.shard)
    }

    /// The seed of this place.
    pub fn nth(self, index: u64) -> u64 {
        self.from + self.shard + index * self.shards
    }

    /// True if the ranges have a seed in common.
    fn overlap(self, other: Self) -> bool {
        let apart = self.to <= other.from || other.to <= self.from;
        let same_cut = self.shards == other.shards && self.from % self.shards == other.from % other.shards;
        !(apart || (same_cut && self.shard != other.shard))
    }
}

/// A campaign against one flow.
#[derive(Clone)]
pub struct Campaign {
    /// The flow.
    pub flow: Arc<Flow>,
    /// Name in reports.
    pub name: String,
    /// Its file.
    pub flow_file: String,
    /// The injected defect.
    pub mutant: Option<Mutant>,
}

/// One property that was broken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// By how many of the seeds.
    pub seeds: u64,
    /// The first few of them.
    pub first: Vec<u64>,
    /// The first few of them whose schedule is in the model's own world.
    pub first_modelled: Vec<u64>,
}

impl Finding {
    /// Number of seeds kept for a report.
    pub(super) const KEPT: usize = 16;

    /// Number of seeds that find it with this probability. Seeds are drawn independently, so the number of seeds up to
    /// the first that finds it is distributed geometrically.
    pub fn seeds_to_detection(&self, of: u64, probability: f64) -> u64 {
        let hit = self.seeds as f64 / of.max(1) as f64;
        if hit >= 1.0 {
            return 1;
        }
        ((1.0 - probability).ln() / (1.0 - hit).ln()).ceil().max(1.0) as u64
    }
}

/// Result of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The version of countersign that made it.
    pub version: String,
    /// The flow's name.
    pub flow: String,
    /// The mutant, where it is a control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<String>,
    /// The seeds, in order.
    pub seeds: Vec<Seeds>,
    /// Number of schedules played. Less than the number of seeds after a stop.
    pub schedules: u64,
    /// Actions that were taken, those of the heal phases included.
    pub actions: u64,
    /// The most actions of one schedule.
    pub longest: u64,
    /// Schedules in the model's own world.
    pub modelled: u64,
    /// Number of their steps that were compared with the model.
    pub modelled_steps: u64,
    /// The first few seeds of schedules that took a step which is no edge of the model, each with what it was.
    pub divergences: Vec<(u64, String)>,
    /// Number of times each event happened.
    pub coverage: Coverage,
    /// The properties that were broken.
    pub findings: BTreeMap<String, Finding>,
}

/// Why reports do not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmergeable {
    /// They are about different flows or mutants.
    Flow,
    /// They come from different versions.
    Version,
    /// A seed is in two of them.
    Seeds,
}

impl std::fmt::Display for Unmergeable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Flow => "it is about another flow or mutant than the first",
            Self::Version => "it comes from another version than the first",
            Self::Seeds => "it has seeds that another one has, too",
        })
    }
}

impl std::error::Error for Unmergeable {}

impl Report {
    /// Adds another shard's report.
    ///
    /// # Errors
    /// [`Unmergeable`] says why it cannot be.
    pub fn merge(&mut self, other: Self) -> Result<(), Unmergeable> {
        if (&self.flow, &self.mutant) != (&other.flow, &other.mutant) {
            return Err(Unmergeable::Flow);
        }
        if self.version != other.version {
            return Err(Unmergeable::Version);
        }
        let shared = |seeds: &Seeds| other.seeds.iter().any(|others| seeds.overlap(*others));
        if self.seeds.iter().any(shared) {
            return Err(Unmergeable::Seeds);
        }
        self.add(other);
        Ok(())
    }

    pub(super) fn add(&mut self, other: Self) {
        self.seeds.extend(other.seeds);
        self.seeds.sort_unstable();
        self.schedules += other.schedules;
        self.actions += other.actions;
        self.longest = self.longest.max(other.longest);
        self.modelled += other.modelled;
        self.modelled_steps += other.modelled_steps;
        self.divergences.extend(other.divergences);
        self.divergences.sort();
        self.divergences.truncate(Finding::KEPT);
        add(&mut self.coverage.faults, other.coverage.faults);
        add(&mut self.coverage.endings, other.coverage.endings);
        add(&mut self.coverage.witnesses, other.coverage.witnesses);
        for (property, finding) in other.findings {
            let mine = self.findings.entry(property).or_default();
            mine.seeds += finding.seeds;
            for (mine, others) in
                [(&mut mine.first, finding.first), (&mut mine.first_modelled, finding.first_modelled)]
            {
                mine.extend(others);
                mine.sort_unstable();
                mine.truncate(Finding::KEPT);
            }
        }
    }

    /// The finding about a property.
    pub fn finding(&self, property: Property) -> Option<&Finding> {
        self.findings.get(property.id())
    }

    fn count(&mut self, seed: u64, drawn: &Drawn) {
        self.schedules += 1;
        self.actions += (drawn.taken.len() + drawn.liveness_actions.len()) as u64;
        self.longest = self.longest.max((drawn.taken.len() + drawn.liveness_actions.len()) as u64);
        if drawn.size == Size::Modelled {
            self.modelled += 1;
            self.modelled_steps += drawn.taken.len() as u64;
        }
        if let Some(divergence) = &drawn.divergence
            && self.divergences.len() < Finding::KEPT
        {
            self.divergences.push((seed, divergence.to_string()));
        }
    }
}

fn add(counts: &mut BTreeMap<String, u64>, others: BTreeMap<String, u64>) {
    for (name, count) in others {
        *counts.entry(name).or_default() += count;
    }
}

/// Plays single seeds, as they are played in a campaign, and tells every step.
pub struct Watcher<'a> {
    campaign: &'a Campaign,
    shadows: Shadows,
}

impl Watcher<'_> {
    /// Plays one seed, and tells `watch` every step.
    pub fn watch(&self, seed: u64, watch: &mut dyn FnMut(&Taken, &Simulation)) -> Found {
        draw(&self.campaign.flow, self.campaign.mutant, seed, &self.shadows, watch).found
    }
}

/// Counts without names, for the inner loop.
#[derive(Clone, Default)]
struct Tally {
    faults: [u64; Fault::ALL.len()],
    endings: [u64; Ending::ALL.len()],
    broken: Vec<(u64, u32, Size)>,
    witnesses: [u64; Property::SIMULATED.len()],
}

impl Tally {
    fn count(&mut self, seed: u64, drawn: &Drawn) {
        for fault in drawn.taken.iter().filter_map(|taken| taken.fault) {
            self.faults[fault as usize] += 1;
        }
        for (count, endings) in self.endings.iter_mut().zip(drawn.endings) {
            *count += u64::from(endings);
        }
        let Found { broken, exercised } = drawn.found;
        for (count, property) in self.witnesses.iter_mut().zip(Property::SIMULATED) {
            *count += u64::from(exercised >> *property as u32 & 1);
        }
        if broken != 0 {
            self.broken.push((seed, broken, drawn.size));
        }
    }
}

/// Plays the seeds in blocks on the current rayon pool: `empty` makes a report of these seeds, `block` that of some places.
pub(super) fn in_blocks(
    seeds: Seeds,
    empty: &(impl Fn(Vec<Seeds>) -> Report + Sync),
    block: &(impl Fn(std::ops::Range<u64>) -> Report + Sync),
    watch: &mut dyn FnMut(&Report) -> ControlFlow<()>,
) -> Report {
    /// Seeds in one task.
    const BLOCK: u64 = 64;
    /// The most tasks between two calls of `watch`. The first calls come early, for who waits for a frequent finding.
    const MOST_BLOCKS: u64 = 64;
    let mut report = empty(vec![seeds]);
    let count = seeds.count();
    let (mut done, mut blocks) = (0, 4);
    while done < count {
        let until = count.min(done + BLOCK * blocks);
        blocks = MOST_BLOCKS.min(2 * blocks);
        let begins: Vec<_> = (done..until).step_by(BLOCK as usize).collect();
        let part = begins.into_par_iter().map(|from| block(from..until.min(from + BLOCK))).reduce(
            || empty(Vec::new()),
            |mut one, other| {
                one.add(other);
                one
            },
        );
        report.add(part);
        done = until;
        if watch(&report).is_break() && done < count {
            let last = seeds.nth(done - 1);
            report.seeds = vec![Seeds { to: last + 1, ..seeds }];
            break;
        }
    }
    report
}

impl Campaign {
    /// A report with nothing in it.
    fn report(&self, seeds: Vec<Seeds>) -> Report {
        let zero = |names: &mut dyn Iterator<Item = &'static str>| {
            names.map(|name| (name.to_owned(), 0)).collect::<BTreeMap<_, _>>()
        };
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            flow: self.name.clone(),
            mutant: self.mutant.map(|mutant| mutant.name().to_owned()),
            seeds,
            schedules: 0,
            actions: 0,
            longest: 0,
            modelled: 0,
            modelled_steps: 0,
            divergences: Vec::new(),
            coverage: Coverage {
                faults: zero(&mut Fault::ALL.iter().map(|fault| fault.name())),
                endings: zero(&mut Ending::ALL.iter().map(|ending| ending.name())),
                witnesses: zero(&mut Property::SIMULATED.iter().map(|property| property.id())),
            },
            findings: BTreeMap::new(),
        }
    }

    /// Plays all seeds, on the current rayon pool. `watch` receives the report so far and may stop the run; then the
    /// report covers the seeds that were played.
    pub fn run(&self, seeds: Seeds, watch: &mut dyn FnMut(&Report) -> ControlFlow<()>) -> Report {
        let shadows = Shadows::new(&self.flow);
        in_blocks(seeds, &|seeds| self.report(seeds), &|places| self.block(seeds, places, &shadows), watch)
    }

    fn block(&self, seeds: Seeds, places: std::ops::Range<u64>, shadows: &Shadows) -> Report {
        // A flow of its own: threads that count references to one flow wait for each other.
        let flow = Arc::new(Flow::clone(&self.flow));
        let mut report = self.report(Vec::new());
        let mut tally = Tally::default();
        for place in places {
            let seed = seeds.nth(place);
            let drawn = draw(&flow, self.mutant, seed, shadows, &mut |_, _| {});
            report.count(seed, &drawn);
            tally.count(seed, &drawn);
        }
        let named = |names: Vec<&str>, counts: &[u64]| {
            names.into_iter().map(str::to_owned).zip(counts.iter().copied()).collect()
        };
        report.coverage = Coverage {
            faults: named(Fault::ALL.iter().map(|one| one.name()).collect(), &tally.faults),
            endings: named(Ending::ALL.iter().map(|one| one.name()).collect(), &tally.endings),
            witnesses: named(Property::SIMULATED.iter().map(|one| one.id()).collect(), &tally.witnesses),
        };
        for (seed, broken, size) in tally.broken {
            for property in Property::SIMULATED.iter().filter(|property| broken >> **property as u32 & 1 == 1)
            {
                let finding = report.findings.entry(property.id().to_owned()).or_default();
                finding.seeds += 1;
                if finding.first.len() < Finding::KEPT {
                    finding.first.push(seed);
                }
                if size == Size::Modelled && finding.first_modelled.len() < Finding::KEPT {
                    finding.first_modelled.push(seed);
                }
            }
        }
        report
    }

    /// A watcher of single seeds, one after another.
    pub fn watcher(&self) -> Watcher<'_> {
        Watcher { campaign: self, shadows: Shadows::new(&self.flow) }
    }

    /// The shortest schedule that violates `property`, of those to which the first seeds in the report shrink.
    pub fn shrunk(&self, report: &Report, property: Property) -> Option<Failure> {
        let finding = report.finding(property)?;
        self.shortest(finding.first.iter().chain(&finding.first_modelled), property)
    }

    /// As [`shrunk`](Self::shrunk), but only of schedules in the model's own world, with the model's faults.
    pub fn shrunk_modelled(&self, report: &Report, property: Property) -> Option<Failure> {
        self.shortest(report.finding(property)?.first_modelled.iter(), property)
    }

    fn shortest<'s>(&self, seeds: impl Iterator<Item = &'s u64>, property: Property) -> Option<Failure> {
        let shadows = Shadows::new(&self.flow);
        let seeds: Vec<u64> = seeds.copied().collect();
        let failures = seeds.into_par_iter().map(|seed| self.failure(seed, &shadows, property));
        failures.min_by_key(|failure| (failure.actions.len(), failure.scenario.clients.len(), failure.seed))
    }

    fn failure(&self, seed: u64, shadows: &Shadows, property: Property) -> Failure {
        let drawn = draw(&self.flow, self.mutant, seed, shadows, &mut |_, _| {});
        // A violation in the liveness phase includes the actions of that phase.
        let actions = drawn.taken.iter().map(|taken| taken.action).chain(drawn.liveness_actions).collect();
        let schedule = Schedule { scenario: drawn.scenario, actions };
        let Schedule { scenario, actions } = shrink(&self.flow, &schedule, self.mutant, property);
        Failure {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            property: property.id().to_owned(),
            flow: self.name.clone(),
            flow_file: self.flow_file.clone(),
            mutant: self.mutant.map(|mutant| mutant.name().to_owned()),
            seed,
            scenario,
            actions,
        }
    }
}
