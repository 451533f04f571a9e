//! The judgement of histories: which properties each object's operations show violated.
//!
//! A 2xx happened. A 4xx is an observation. A refused connection did not happen. A timeout, a reset and a 5xx may have
//! happened; the reads after the race resolve them.

pub mod general;
pub mod linear;
mod rules;

use super::Trial;
use crate::properties::Property;

/// Result of one property on one object's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Vacuous: nothing in it could have violated the property.
    NotExercised,
    /// Not violated, though it could have been.
    Holds,
    /// Violated, and how.
    Violated(String),
    /// The outcome of a request decides, and nothing resolves it.
    Unknown(String),
}

/// A property by its id. `None` where this version of the models does not know it.
pub fn property(id: &str) -> Option<Property> {
    Property::ALL.iter().copied().find(|property| property.id() == id)
}

/// The ids of the properties of a report, in its order. No history shows S16 and S22 violated: it has neither tokens nor
/// versions of a target.
pub const JUDGED: &[&str] = &[
    "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "S12", "S13", "S14", "S15", "S16",
    "S17", "S18", "S19", "S20", "S21", "S22", "L1", "L2", "L3", "L4",
];

/// The judgement of one property over all objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The property's id.
    pub id: &'static str,
    /// Number of objects that could have violated it.
    pub exercised: usize,
    /// Number of objects that did.
    pub violated: usize,
    /// Number of undecided objects.
    pub unknown: usize,
    /// The violation with the fewest operations, with its description.
    pub shortest: Option<(Trial, String)>,
    /// Why one is undecided.
    pub undecided: Option<String>,
}

/// The judgements so far. Of the histories it keeps only the shortest violations.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    judged: Vec<Judged>,
    trials: usize,
}

impl Default for Tally {
    fn default() -> Self {
        let judged = |id: &&'static str| Judged {
            id,
            exercised: 0,
            violated: 0,
            unknown: 0,
            shortest: None,
            undecided: None,
        };
        Self { judged: JUDGED.iter().map(judged).collect(), trials: 0 }
    }
}

/// Histories that show their statements come first: each says what happened inside, and can be run again exactly.
fn size(trial: &Trial) -> (bool, usize) {
    (trial.operations.iter().all(|operation| operation.details.sql.is_empty()), trial.operations.len())
}

impl Tally {
    /// Judges the history of one more object. Returns the properties of which it is the shortest violation so far.
    pub fn add(&mut self, trial: &Trial) -> Vec<&'static str> {
        let mut shortest = Vec::new();
        self.trials += 1;
        for judged in &mut self.judged {
            match rules::judge(trial, judged.id) {
                Finding::NotExercised => {}
                Finding::Holds => judged.exercised += 1,
                Finding::Violated(how) => {
                    judged.exercised += 1;
                    judged.violated += 1;
                    let is_shorter = |(best, _): &(Trial, String)| size(trial) < size(best);
                    if judged.shortest.as_ref().is_none_or(is_shorter) {
                        judged.shortest = Some((trial.clone(), how));
                        shortest.push(judged.id);
                    }
                }
                Finding::Unknown(why) => {
                    judged.unknown += 1;
                    judged.undecided.get_or_insert(why);
                }
            }
        }
        shortest
    }

    /// Number of judged objects.
    pub fn trials(&self) -> usize {
        self.trials
    }

    /// One judgement per property, in the order of [`JUDGED`].
    pub fn judged(&self) -> &[Judged] {
        &self.judged
    }

    /// The property of this id was violated.
    pub fn is_violated(&self, id: &str) -> bool {
        self.judged.iter().any(|judged| judged.id == id && judged.violated > 0)
    }
}

/// Judges a property on the history of one object.
pub fn judge(trial: &Trial, id: &str) -> Finding {
    rules::judge(trial, id)
}

/// Judges every property over every object.
pub fn judge_all(trials: &[Trial]) -> Tally {
    let mut tally = Tally::default();
    for trial in trials {
        tally.add(trial);
    }
    tally
}

#[cfg(test)]
mod tests;
