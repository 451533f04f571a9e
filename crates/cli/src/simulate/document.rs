//! The result of a campaign: printed, written as JSON, and merged.

use std::collections::BTreeMap;

use countersign::protocol::Flow;
use countersign_models::{
    flows::Subject,
    properties::Property,
    simulation::{Campaign, CrashPoints, Failure, Replayed, Report, Shortest, Unplayable, walk},
};
use serde::{Deserialize, Serialize};

use super::{
    lengths::{Difference, difference, difference_of_walk},
    player::Player,
    trace::TraceDigest,
};
use countersign_terminal::{Exit, print_data};

/// A failure of the driver, or of the model.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum AnyFailure {
    Model(walk::Failure),
    Driver(Failure),
}

impl AnyFailure {
    pub(crate) fn flow(&self) -> &str {
        match self {
            Self::Model(failure) => &failure.flow,
            Self::Driver(failure) => &failure.flow,
        }
    }

    pub(crate) fn property(&self) -> &str {
        match self {
            Self::Model(failure) => &failure.property,
            Self::Driver(failure) => &failure.property,
        }
    }

    pub(crate) fn mutant(&self) -> Option<&str> {
        match self {
            Self::Model(failure) => failure.mutant.as_deref(),
            Self::Driver(failure) => failure.mutant.as_deref(),
        }
    }

    /// The version that found it.
    pub(crate) fn version(&self) -> &str {
        match self {
            Self::Model(failure) => &failure.version,
            Self::Driver(failure) => &failure.version,
        }
    }

    pub(crate) fn seed(&self) -> u64 {
        match self {
            Self::Model(failure) => failure.seed,
            Self::Driver(failure) => failure.seed,
        }
    }

    /// Number of actions.
    pub(crate) fn length(&self) -> usize {
        match self {
            Self::Model(failure) => failure.actions.len(),
            Self::Driver(failure) => failure.actions.len(),
        }
    }

    pub(crate) fn replay(&self) -> Result<Replayed, Unplayable> {
        match self {
            Self::Model(failure) => failure.replay(),
            Self::Driver(failure) => failure.replay(),
        }
    }
}

/// A property that was broken, as short as it got.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shrunk {
    /// The shortest failure, over all kinds of schedule and fault.
    pub(crate) failure: AnyFailure,
    /// Actions of the shortest one in the model's own world; `None` when none was found there.
    pub(crate) modelled: Option<usize>,
    /// Actions of the model's shortest run; `None` when the model has none, or the platform is a mutant.
    pub(crate) model_shortest: Option<usize>,
    /// Why that is not the failure's length; `None` when it is.
    pub(crate) differs: Option<Difference>,
    pub(crate) median_seeds: u64,
    pub(crate) p99_seeds: u64,
}

impl Shrunk {
    pub(crate) fn all(campaign: &Campaign, report: &Report) -> BTreeMap<String, Self> {
        let shrink = |property: &Property| {
            let failure = AnyFailure::Driver(campaign.shrunk(report, *property)?);
            let modelled = campaign.shrunk_modelled(report, *property).map(|failure| failure.actions.len());
            let shrunk = Self { modelled, ..Self::new(report, *property, failure)? };
            Some((property.id().to_owned(), shrunk))
        };
        let mut all = Property::ALL.iter().filter_map(shrink).collect();
        Self::compare(&mut all, &campaign.flow);
        all
    }

    /// As [`all`](Self::all), of walks. Lengths are not compared: the model may be too large to be explored.
    pub(super) fn all_walks(walks: &walk::Campaign, report: &Report) -> BTreeMap<String, Self> {
        let shrink = |property: Property| {
            let failure = AnyFailure::Model(walks.shrunk(report, property)?);
            Some((property.id().to_owned(), Self::new(report, property, failure)?))
        };
        walks.properties().filter_map(shrink).collect()
    }

    /// The failure, with the seeds that detect it. Lengths are not compared.
    fn new(report: &Report, property: Property, failure: AnyFailure) -> Option<Self> {
        let finding = report.finding(property)?;
        Some(Self {
            failure,
            modelled: None,
            model_shortest: None,
            differs: None,
            median_seeds: finding.seeds_to_detection(report.schedules, 0.5),
            p99_seeds: finding.seeds_to_detection(report.schedules, 0.99),
        })
    }

    /// Says anew how long the model's shortest runs are, and why the failures are not as long.
    pub(crate) fn compare(all: &mut BTreeMap<String, Self>, flow: &Flow) {
        let is_mutant = |shrunk: &Self| shrunk.failure.mutant().is_some();
        // The model may take long to be explored: it is not, for what it does not judge.
        let is_judged = |id: &str| Property::from_id(id).is_some_and(|one| Property::MODELLED.contains(&one));
        let is_compared = all.iter().any(|(id, shrunk)| !is_mutant(shrunk) && is_judged(id));
        let model = if is_compared { Shortest::of(flow) } else { BTreeMap::new() };
        for (id, shrunk) in all {
            let shortest = Property::from_id(id).and_then(|property| model.get(&property));
            let length = shrunk.failure.length();
            shrunk.model_shortest = shortest.map(|shortest| shortest.actions);
            shrunk.differs = match shrunk.failure {
                AnyFailure::Driver(_) => difference(is_mutant(shrunk), length, shrunk.modelled, shortest),
                AnyFailure::Model(_) => difference_of_walk(length, shrunk.model_shortest),
            };
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    pub(crate) report: Report,
    /// The flow's file: what the report is about, and what its author expects.
    pub(crate) flow_file: String,
    /// The part of the flow that the production driver does not carry out: the schedules are walks of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) driver_lacks: Option<String>,
    /// Hash of the step-by-step trace of some seeds; `None` if it was not requested.
    pub(crate) trace: Option<TraceDigest>,
    /// The seeds that the canary was noticed by; `None` when it was not.
    pub(crate) canary_seeds: Option<u64>,
    pub(crate) crash_points: usize,
    pub(crate) crash_points_covered: usize,
    pub(crate) seconds: f64,
    /// Properties that were broken, and that the flow's author does not expect to be.
    pub(crate) unexpected: Vec<String>,
    /// Events that were possible and never happened.
    pub(crate) not_covered: Vec<String>,
    pub(crate) shrunk: BTreeMap<String, Shrunk>,
}

impl Document {
    pub(crate) fn new(
        player: &Player,
        report: Report,
        trace: Option<TraceDigest>,
        canary_seeds: Option<u64>,
        points: CrashPoints,
        seconds: f64,
        shrunk: BTreeMap<String, Shrunk>,
    ) -> Self {
        let mut document = Self {
            report,
            flow_file: player.flow_file().to_owned(),
            driver_lacks: player.lacks().map(str::to_owned),
            trace,
            canary_seeds,
            crash_points: points.total,
            crash_points_covered: points.covered,
            seconds,
            unexpected: Vec::new(),
            not_covered: Vec::new(),
            shrunk,
        };
        document.judge();
        document
    }

    /// The flow and what its author expects. The file was read when the campaign was made.
    pub(crate) fn subject(&self) -> Option<Subject> {
        Subject::read(self.flow_file.as_bytes()).ok()
    }

    /// Recomputes the unexpected and the uncovered entries.
    pub(crate) fn judge(&mut self) {
        let Some(subject) = self.subject() else { return };
        let expectations = &subject.expectations;
        let is_expected = |property: &Property| {
            expectations.broken.contains(property) || expectations.broken_in_simulation.contains(property)
        };
        let broken = Property::ALL.iter().filter(|property| self.report.finding(**property).is_some());
        self.unexpected = broken
            .filter(|property| !is_expected(property))
            .map(|property| property.id().to_owned())
            .collect();
        self.not_covered = self.report.coverage.missing(&subject);
    }

    pub(crate) fn is_expected_broken(&self, property: Property) -> bool {
        self.subject().is_some_and(|subject| {
            let expectations = subject.expectations;
            expectations.broken.contains(&property) || expectations.broken_in_simulation.contains(&property)
        })
    }

    pub(crate) fn failures(&self) -> Vec<&AnyFailure> {
        self.shrunk.values().map(|shrunk| &shrunk.failure).collect()
    }

    /// The properties that are judged.
    pub(crate) fn properties(&self) -> Vec<Property> {
        let subject = self.driver_lacks.as_ref().and_then(|_| self.subject());
        let is_judged = |property: &Property| match &subject {
            Some(subject) => Property::MODELLED.contains(property) && property.applies(&subject.flow),
            None => Property::SIMULATED.contains(property),
        };
        Property::numbered().into_iter().filter(is_judged).collect()
    }

    pub(crate) fn exit(&self) -> Exit {
        let conforms = self.report.divergences.is_empty() || self.report.mutant.is_some();
        let sound = self.unexpected.is_empty() && conforms && self.canary_seeds.is_some();
        let complete = self.not_covered.is_empty() && self.crash_points == self.crash_points_covered;
        match (sound, complete) {
            (false, _) => Exit::Unexpected,
            (true, false) => Exit::CutOff,
            (true, true) => Exit::Expected,
        }
    }

    pub(crate) fn print(&self) {
        match serde_json::to_string_pretty(self) {
            Ok(json) => print_data!("{json}"),
            Err(error) => unreachable!("numbers and texts can always be written: {error}"),
        }
    }
}

/// The name of a failure's file.
pub(crate) fn file_name(failure: &AnyFailure) -> String {
    let plain = |name: &str| name.replace(|one: char| !one.is_ascii_alphanumeric() && one != '-', "_");
    let (flow, property) = (plain(failure.flow()), failure.property());
    match failure.mutant() {
        Some(mutant) => format!("{flow}-{}-{property}.json", plain(mutant)),
        None => format!("{flow}-{property}.json"),
    }
}

/// The file of a failure.
pub(crate) fn file(failure: &AnyFailure) -> String {
    match serde_json::to_string_pretty(failure) {
        Ok(json) => json + "\n",
        Err(error) => unreachable!("numbers and texts can always be written: {error}"),
    }
}
