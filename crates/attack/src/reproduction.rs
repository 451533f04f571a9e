//! The file that a violation leaves: which properties, of which service, and how it came about, so that it can be run again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    history::Event,
    report::{Report, Verdict},
    schedule::{Fault, Moment, Place},
};

/// The part of a campaign in which a violation came about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Scenario {
    /// Each role in turn.
    #[default]
    Sequence,
    /// Uses that are released together.
    Races,
    /// Two uses at an offset.
    Pairs,
    /// A use, and a change that takes place while it runs.
    Changes,
    /// A kill under load.
    Kills,
    /// The statements of two requests, in an order.
    Interleaving {
        /// `use`, or the role that the second request has.
        other: String,
        /// The request of each statement, in the order of their release.
        order: Vec<usize>,
    },
    /// A crash at a statement of a use.
    Crash {
        /// The statement.
        #[serde(flatten)]
        place: Place,
        /// Before or after it.
        moment: Moment,
        /// The part that ends: the service, or its connection to the database.
        fault: Fault,
    },
    /// A use that is held before a statement, while others go on or a change takes place.
    Stall {
        /// `use`, or the role of the change.
        other: String,
        /// The statements before it.
        statement: usize,
    },
}

/// A violation that can be run again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reproduction {
    /// The version of countersign that wrote it.
    pub version: String,
    /// The target file.
    pub target: PathBuf,
    /// The ids of the properties that are violated.
    pub properties: Vec<String>,
    /// Description of the violation.
    pub why: String,
    /// Origin of the violation.
    pub scenario: Scenario,
    /// The history.
    pub history: Vec<Event>,
}

impl Report {
    /// One for each history that violates something.
    pub fn reproductions(&self, target: &std::path::Path) -> Vec<Reproduction> {
        let mut found: Vec<Reproduction> = Vec::new();
        for line in self.verdicts.iter().filter(|line| line.verdict == Verdict::Violated) {
            let (Some(history), Some(scenario)) = (&line.history, &line.scenario) else { continue };
            match found.iter_mut().find(|known| known.history == *history) {
                Some(known) => known.properties.push(line.id.to_owned()),
                None => found.push(Reproduction {
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    target: target.to_owned(),
                    properties: vec![line.id.to_owned()],
                    why: line.why.clone().unwrap_or_default(),
                    scenario: scenario.clone(),
                    history: history.clone(),
                }),
            }
        }
        found
    }
}
