//! A failure as a small file: all that another machine needs to see the same run.

use std::sync::Arc;

use countersign::{
    flow_file::Problem,
    protocol::Flow,
    service::{UnsupportedStep, supports},
};
use serde::{Deserialize, Serialize};

use super::{Action, InvalidScenario, Mutant, Scenario, Schedule, schedule::begin};
use crate::{flows::Subject, model::NarratedEvent, properties::Property};

/// A schedule that breaks a property, with the flow that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The version of countersign that found it.
    pub version: String,
    /// The property's id.
    pub property: String,
    /// The flow's name.
    pub flow: String,
    /// The flow's file, whole.
    pub flow_file: String,
    /// The mutant, for a control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<String>,
    /// The seed that found it; the actions are its shrunk schedule.
    pub seed: u64,
    /// The participants.
    pub scenario: Scenario,
    /// The actions.
    pub actions: Vec<Action>,
}

/// Why a failure cannot be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unplayable {
    /// Unknown property.
    Property,
    /// Unknown mutant.
    Mutant,
    /// The scenario is inconsistent.
    Scenario(InvalidScenario),
    /// The flow's file is invalid.
    Flow(Problem),
    /// The production driver, which the simulation runs, does not carry the flow out.
    Unsupported(UnsupportedStep),
}

impl std::fmt::Display for Unplayable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Property => f.write_str("`property` names no property"),
            Self::Mutant => f.write_str("`mutant` names no mutant"),
            Self::Scenario(invalid) => write!(f, "`scenario`: {invalid}"),
            Self::Flow(problem) => write!(f, "`flow_file`: {problem}"),
            Self::Unsupported(unsupported) => write!(f, "`flow_file`: {unsupported}"),
        }
    }
}

impl std::error::Error for Unplayable {}

/// Result of replaying a failure.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The property.
    pub property: Property,
    /// The violation was reproduced.
    pub is_broken: bool,
    /// Number of actions that were possible.
    pub taken: usize,
    /// The actions in words.
    pub events: Vec<NarratedEvent>,
    /// The actions of the liveness phase in words.
    pub aftermath: Vec<NarratedEvent>,
    /// The violation in words; only of the model's.
    pub reason: Option<String>,
}

impl Failure {
    /// The schedule that it is.
    pub fn schedule(&self) -> Schedule {
        Schedule { scenario: self.scenario.clone(), actions: self.actions.clone() }
    }

    /// The flow that it is about.
    ///
    /// # Errors
    /// [`Unplayable::Flow`] for an invalid flow file, [`Unplayable::Unsupported`] for a flow that the driver cannot
    /// execute.
    pub fn flow(&self) -> Result<Arc<Flow>, Unplayable> {
        let subject = Subject::read(self.flow_file.as_bytes()).map_err(Unplayable::Flow)?;
        supports(&subject.flow).map_err(Unplayable::Unsupported)?;
        Ok(Arc::new(subject.flow))
    }

    /// Plays it again.
    ///
    /// # Errors
    /// [`Unplayable`] with the cause.
    pub fn replay(&self) -> Result<Replayed, Unplayable> {
        let property = Property::from_id(&self.property).ok_or(Unplayable::Property)?;
        let mutant = match &self.mutant {
            Some(name) => Some(Mutant::find(name).ok_or(Unplayable::Mutant)?),
            None => None,
        };
        self.scenario.check().map_err(Unplayable::Scenario)?;
        let flow = self.flow()?;
        let mut simulation = begin(&flow, &self.scenario, mutant, &self.actions).narrate();
        let taken = self.actions.iter().filter(|action| simulation.take(**action).is_some()).count();
        let until = simulation.events().len();
        simulation.liveness_phase();
        let (events, aftermath) = simulation.events().split_at(until);
        let is_broken = simulation.found().broken >> property as u32 & 1 == 1;
        let (events, aftermath) = (events.to_vec(), aftermath.to_vec());
        Ok(Replayed { property, is_broken, taken, events, aftermath, reason: None })
    }
}
