//! The result of a campaign: printed, written as JSON, and merged.

use std::collections::BTreeMap;

use countersign::protocol::Flow;
use countersign_models::{
    flows::Subject,
    properties::Property,
    simulation::{Campaign, CrashPoints, Failure, Report, Shortest},
};
use serde::{Deserialize, Serialize};

use super::{
    lengths::{Difference, difference},
    trace::TraceDigest,
};
use countersign_terminal::{Exit, print_data};

/// A property that was broken, as short as it got.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shrunk {
    /// The shortest failure, over all kinds of schedule and fault.
    pub(crate) failure: Failure,
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
            let finding = report.finding(*property)?;
            let shrunk = Self {
                failure: campaign.shrunk(report, *property)?,
                modelled: campaign.shrunk_modelled(report, *property).map(|failure| failure.actions.len()),
                model_shortest: None,
                differs: None,
                median_seeds: finding.seeds_to_detection(report.schedules, 0.5),
                p99_seeds: finding.seeds_to_detection(report.schedules, 0.99),
            };
            Some((property.id().to_owned(), shrunk))
        };
        let mut all = Property::ALL.iter().filter_map(shrink).collect();
        Self::compare(&mut all, &campaign.flow);
        all
    }

    /// Says anew how long the model's shortest runs are, and why the failures are not as long.
    pub(crate) fn compare(all: &mut BTreeMap<String, Self>, flow: &Flow) {
        let is_mutant = |shrunk: &Self| shrunk.failure.mutant.is_some();
        let model = if all.values().all(is_mutant) { BTreeMap::new() } else { Shortest::of(flow) };
        for (id, shrunk) in all {
            let shortest = Property::from_id(id).and_then(|property| model.get(&property));
            let length = shrunk.failure.actions.len();
            shrunk.model_shortest = shortest.map(|shortest| shortest.actions);
            shrunk.differs = difference(is_mutant(shrunk), length, shrunk.modelled, shortest);
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    pub(crate) report: Report,
    /// The flow's file: what the report is about, and what its author expects.
    pub(crate) flow_file: String,
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
        campaign: &Campaign,
        report: Report,
        trace: Option<TraceDigest>,
        canary_seeds: Option<u64>,
        points: CrashPoints,
        seconds: f64,
        shrunk: BTreeMap<String, Shrunk>,
    ) -> Self {
        let mut document = Self {
            report,
            flow_file: campaign.flow_file.clone(),
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

    pub(crate) fn failures(&self) -> Vec<&Failure> {
        self.shrunk.values().map(|shrunk| &shrunk.failure).collect()
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
pub(crate) fn file_name(failure: &Failure) -> String {
    let plain = |name: &str| name.replace(|one: char| !one.is_ascii_alphanumeric() && one != '-', "_");
    match &failure.mutant {
        Some(mutant) => format!("{}-{}-{}.json", plain(&failure.flow), plain(mutant), failure.property),
        None => format!("{}-{}.json", plain(&failure.flow), failure.property),
    }
}

/// The file of a failure.
pub(crate) fn file(failure: &Failure) -> String {
    match serde_json::to_string_pretty(failure) {
        Ok(json) => json + "\n",
        Err(error) => unreachable!("numbers and texts can always be written: {error}"),
    }
}
