//! The played subject: the production driver or, where it does not carry the flow out, the model.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use countersign::service::supports;
use countersign_models::{
    model::Bounds,
    simulation::{Campaign, CrashPoints, Mutant, Report, Seeds, crash_points, walk},
};
use rayon::prelude::*;

use super::{document::Shrunk, trace};
use crate::judge::fit;
use countersign_terminal::{BadInput, input::Named};

/// Seeds that the canary has to be noticed by.
const CANARY_SEEDS: u64 = 4096;
const CANARY: &str = "canary";

pub(super) enum Player {
    /// The production driver and the memory store.
    Driver(Campaign),
    /// Random walks of the model.
    Model {
        walks: Box<walk::Campaign>,
        /// The part of the flow that the driver does not carry out.
        lacks: String,
    },
}

impl Player {
    pub(super) fn new(named: &Named, mutant: Option<&str>) -> Result<Self, BadInput> {
        let flow = &named.subject.flow;
        if let Err(lacks) = supports(flow) {
            let walks = walk::Campaign::new(&named.name, flow.clone(), &named.file);
            let walks = match mutant {
                None => walks,
                Some(CANARY) => walks.on_the_canary(),
                Some(name) => {
                    let title =
                        format!("{}: found the mutant `{name}`, expected `{CANARY}`: {lacks}", named.name);
                    return Err(BadInput::plain(
                        &title,
                        "this flow is played in the model, which has none of the platform's mutants",
                    ));
                }
            };
            return Ok(Self::Model { walks: Box::new(walks), lacks: lacks.to_string() });
        }
        let mutant = mutant.map(|name| {
            let name = name.replace('_', "-");
            let name = if name == CANARY { Mutant::ForgottenOnRestart.name() } else { &name };
            Mutant::find(name).ok_or_else(|| {
                let names: Vec<&str> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
                let title =
                    format!("found the unknown mutant `{name}`, expected one of {}", names.join(", "));
                BadInput::plain(&title, "without --mutant the platform is sound")
            })
        });
        fit(&named.name, flow, Bounds::default())?;
        Ok(Self::Driver(Campaign {
            flow: Arc::new(flow.clone()),
            name: named.name.clone(),
            flow_file: named.file.clone(),
            mutant: mutant.transpose()?,
        }))
    }

    pub(super) fn flow_file(&self) -> &str {
        match self {
            Self::Driver(campaign) => &campaign.flow_file,
            Self::Model { walks, .. } => &walks.flow_file,
        }
    }

    pub(super) fn lacks(&self) -> Option<&str> {
        match self {
            Self::Driver(_) => None,
            Self::Model { lacks, .. } => Some(lacks),
        }
    }

    pub(super) fn run(&self, seeds: Seeds, watch: &mut dyn FnMut(&Report) -> ControlFlow<()>) -> Report {
        match self {
            Self::Driver(campaign) => campaign.run(seeds, watch),
            Self::Model { walks, .. } => walks.run(seeds, watch),
        }
    }

    /// The crash points of the driver, unless the platform is broken on purpose.
    pub(super) fn crash_points(&self) -> CrashPoints {
        match self {
            Self::Driver(campaign) if campaign.mutant.is_none() => crash_points(&campaign.flow),
            Self::Driver(_) | Self::Model { .. } => CrashPoints::default(),
        }
    }

    /// By how many seeds the canary is noticed; `None` when it is not.
    pub(super) fn canary(&self) -> Option<u64> {
        let seeds = Seeds { from: 0, to: CANARY_SEEDS, shard: 0, shards: 1 };
        let watch = &mut |_: &Report| ControlFlow::Continue(());
        let (report, breaks) = match self {
            Self::Driver(campaign) => {
                let canary = Campaign { mutant: Some(Mutant::ForgottenOnRestart), ..campaign.clone() };
                (canary.run(seeds, watch), Mutant::ForgottenOnRestart.breaks())
            }
            Self::Model { walks, .. } => (
                walk::Campaign::clone(walks).on_the_canary().run(seeds, watch),
                walk::Campaign::CANARY_BREAKS,
            ),
        };
        report.finding(breaks)?.first.first().map(|seed| seed + 1)
    }

    /// Every property that was violated, as short as it got.
    pub(super) fn shrunk(&self, report: &Report) -> BTreeMap<String, Shrunk> {
        match self {
            Self::Driver(campaign) => Shrunk::all(campaign, report),
            Self::Model { walks, .. } => Shrunk::all_walks(walks, report),
        }
    }

    /// The trace of these blocks of seeds, by their places, on the current pool.
    pub(super) fn traces(&self, seeds: Seeds, blocks: Vec<std::ops::Range<u64>>) -> Vec<Vec<u8>> {
        let block = |places: std::ops::Range<u64>, put: &dyn Fn(u64, &mut Vec<u8>)| {
            let mut text = Vec::new();
            places.for_each(|place| put(seeds.nth(place), &mut text));
            text
        };
        match self {
            Self::Driver(campaign) => blocks
                .into_par_iter()
                .map_init(
                    || campaign.watcher(),
                    |watcher, places| block(places, &|seed, text| trace::driver_lines(watcher, seed, text)),
                )
                .collect(),
            Self::Model { walks, .. } => blocks
                .into_par_iter()
                .map(|places| block(places, &|seed, text| trace::model_lines(walks, seed, text)))
                .collect(),
        }
    }
}
