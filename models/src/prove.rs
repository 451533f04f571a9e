//! Proofs for any number of callers, crashes and faults: a fixpoint over views.
//!
//! The bounded search looks at every state of a few callers; this looks at every view of every state of any number of
//! them. A property that no view violates holds for every number. One that some view violates may hold all the same,
//! because a view shows more than can happen: then nothing is said. docs/proof.md says why this is sound.

pub mod certificate;
mod checker;
mod cutoff;
mod fixpoint;
mod sight;
mod steps;
mod text;
mod view;

use std::{fmt, ops::ControlFlow};

use countersign::protocol::Flow;

use crate::{
    model::Model,
    properties::{Property, Set},
    world::State,
};
pub use cutoff::Cutoff;
use fixpoint::Fixpoint;
use steps::ModelSteps;
use view::NoRoom;

/// Limits of a proof.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// About the bytes that the views of one fixpoint take.
    pub max_bytes: usize,
}

impl Default for Limits {
    /// 1 GiB.
    fn default() -> Self {
        Self { max_bytes: 1 << 30 }
    }
}

/// Why a fixpoint was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// These views take more than [`Limits::max_bytes`].
    Memory(usize),
    /// A view needs more attempts than a state has room for.
    Room,
    /// `watch` stopped it.
    Watch,
}

impl From<NoRoom> for Stopped {
    fn from(NoRoom: NoRoom) -> Self {
        Self::Room
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(views) => write!(f, "{views} views take more memory than allowed"),
            Self::Room => f.write_str("a view needs more attempts than a state has room for"),
            Self::Watch => f.write_str("stopped by the time limit"),
        }
    }
}

/// Result for any number of callers, crashes and faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyNumber {
    /// The property holds.
    Proved,
    /// This view violates it. Whether a run does is for the bounded search to say.
    Open(String),
    /// The fixpoint was not reached.
    Stopped(Stopped),
    /// The property does not apply, or was not requested.
    NotAsked,
}

/// Result for a flow.
pub struct Proof {
    runs: Vec<Run>,
    stopped: Vec<(Set, Stopped)>,
}

/// A fixpoint for some properties.
struct Run {
    wanted: Set,
    steps: ModelSteps,
    fixpoint: Fixpoint,
}

impl Proof {
    /// Result for `property`.
    pub fn of(&self, property: Property) -> AnyNumber {
        if let Some(run) = self.runs.iter().find(|run| run.wanted & property.bit() != 0) {
            let open = run.fixpoint.violating.iter().find(|(one, ..)| *one == property);
            return match open {
                None => AnyNumber::Proved,
                Some((_, context, others)) => AnyNumber::Open(run.steps.show(context, others)),
            };
        }
        let stopped = self.stopped.iter().find(|(set, _)| set & property.bit() != 0);
        stopped.map_or(AnyNumber::NotAsked, |(_, stopped)| AnyNumber::Stopped(*stopped))
    }

    /// True if every view of this state of a bounded model of the flow is in every fixpoint for it.
    pub fn covers(&self, model: &Model, state: &State) -> bool {
        self.runs.iter().all(|run| {
            let speaks = !run.steps.abstraction.sight.clean_only || state.world.clean;
            !speaks || run.steps.is_covered(model, state, |context, one| run.fixpoint.contains(context, one))
        })
    }

    /// The number of callers that reach every view of every fixpoint, if the search for it takes at most about `max_states` states
    /// for each; none where nothing was proved.
    pub fn cutoff(&self, max_states: usize) -> Option<Cutoff> {
        self.runs.iter().map(|run| cutoff::cutoff(&run.steps, &run.fixpoint, max_states)).reduce(Cutoff::and)
    }

    /// The number of contexts of all fixpoints.
    pub fn contexts(&self) -> usize {
        self.runs.iter().map(|run| run.fixpoint.contexts()).sum()
    }

    /// The number of views of all fixpoints.
    pub fn views(&self) -> usize {
        self.runs.iter().map(|run| run.fixpoint.views()).sum()
    }
}

/// Proves what can be proved of `wanted`, as far as it applies to `flow`. `watch` is called with the number of views
/// every now and then, and may stop it.
pub fn prove(
    flow: &Flow,
    wanted: Set,
    limits: Limits,
    watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Proof {
    let base = Model::unseated(flow.clone());
    let modelled =
        Property::MODELLED.iter().filter(|one| base.applies(**one)).fold(0, |set, one| set | one.bit());
    let wanted = wanted & modelled;
    let mut proof = Proof { runs: Vec::new(), stopped: Vec::new() };
    // S3 sees only runs in which nothing else happens, and the others do not see that nothing has.
    let alone = wanted & Property::S3.bit();
    for set in [alone, wanted & !alone] {
        let failed = set != 0 && !proof.try_all(&base, set, limits, watch);
        if failed && set.count_ones() > 1 {
            // Each sees less than all of them.
            let (_, stopped) = proof.stopped.pop().unwrap_or((0, Stopped::Watch));
            for one in Property::MODELLED.iter().filter(|one| set & one.bit() != 0) {
                if stopped == Stopped::Watch {
                    proof.stopped.push((one.bit(), stopped));
                } else {
                    proof.try_all(&base, one.bit(), limits, watch);
                }
            }
        }
    }
    proof
}

impl Proof {
    fn try_all(
        &mut self,
        base: &Model,
        wanted: Set,
        limits: Limits,
        watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> bool {
        let steps = ModelSteps::new(base.clone(), wanted);
        match Fixpoint::run(&steps, limits, false, watch) {
            Ok(fixpoint) => self.runs.push(Run { wanted, steps, fixpoint }),
            Err(stopped) => self.stopped.push((wanted, stopped)),
        }
        self.stopped.last().is_none_or(|(set, _)| *set != wanted)
    }
}

#[cfg(test)]
mod tests;
