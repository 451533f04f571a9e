//! Proofs for any number of callers, crashes and faults: a fixpoint over views.
//!
//! The bounded search looks at every state of a few callers; this looks at every view of every state of any number of
//! them. A property that no view violates holds for every number. One that some view violates may hold all the same,
//! because a view shows more than can happen: then nothing is said. docs/proof.md says why this is sound.

pub mod certificate;
mod checker;
mod cutoff;
mod fixpoint;
mod listing;
mod live;
mod plain;
mod sight;
mod steps;
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
use sight::Sight;
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

/// Views of a flow of which all properties are tried at the same time: tens of milliseconds.
const FEW_VIEWS: usize = 4_000;

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
    /// Those that prove something.
    runs: Vec<Run>,
    /// Each open property, with a view that violates it.
    open: Vec<(Property, String)>,
    stopped: Vec<(Set, Stopped)>,
}

/// A fixpoint for some properties.
struct Run {
    wanted: Set,
    steps: ModelSteps,
    fixpoint: Fixpoint,
}

impl Run {
    fn proved(&self) -> Set {
        self.wanted & !self.fixpoint.violated()
    }
}

impl Proof {
    /// Result for `property`.
    pub fn of(&self, property: Property) -> AnyNumber {
        if self.runs.iter().any(|run| run.proved() & property.bit() != 0) {
            return AnyNumber::Proved;
        }
        if let Some((_, stopped)) = self.stopped.iter().find(|(set, _)| set & property.bit() != 0) {
            return AnyNumber::Stopped(*stopped);
        }
        let open = self.open.iter().find(|(one, _)| *one == property);
        open.map_or(AnyNumber::NotAsked, |(_, view)| AnyNumber::Open(view.clone()))
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
///
/// Properties that see the same have one fixpoint. The first has contexts that name no users: it is small, and most
/// properties need no more. Those that it leaves open have a second one.
pub fn prove(
    flow: &Flow,
    wanted: Set,
    limits: Limits,
    watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Proof {
    let base = Model::unseated(flow.clone());
    let applies = |one: &&Property| wanted & one.bit() != 0 && base.applies(**one);
    let mut left: Vec<Property> = Property::MODELLED.iter().filter(applies).copied().collect();
    let mut proof = Proof { runs: Vec::new(), open: Vec::new(), stopped: Vec::new() };
    proof.try_together(&base, &mut left, limits, watch);
    for names_users in [false, true] {
        let mut open = Vec::new();
        for set in seeing_the_same(&base, &left, names_users) {
            let steps = ModelSteps::new(base.clone(), set, names_users);
            let fixpoint = match Fixpoint::run(&steps, limits, false, watch) {
                Ok(fixpoint) => fixpoint,
                Err(stopped) => {
                    proof.stopped.push((set, stopped));
                    continue;
                }
            };
            for (property, context, others) in &fixpoint.violating {
                open.push(*property);
                if names_users {
                    proof.open.push((*property, steps.show(context, others)));
                }
            }
            if fixpoint.violated() != set {
                proof.runs.push(Run { wanted: set, steps, fixpoint });
            }
        }
        left = open;
    }
    proof
}

impl Proof {
    /// Tries all at the same time, with users named, as long as the views are few. S3 is apart: it sees only runs in which nothing
    /// else happens. Properties that see which attempts are of one caller are left out: there are many pairs of attempts.
    fn try_together(
        &mut self,
        base: &Model,
        left: &mut Vec<Property>,
        limits: Limits,
        watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) {
        let sees_callers = |one: &&Property| Sight::new(base, one.bit(), true).callers;
        let all = left.iter().filter(|one| !sees_callers(one)).fold(0, |set, one| set | one.bit());
        let alone = all & Property::S3.bit();
        for set in [alone, all & !alone].into_iter().filter(|set| *set != 0) {
            let steps = ModelSteps::new(base.clone(), set, true);
            let few = |views: usize| {
                if views > FEW_VIEWS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let Ok(fixpoint) = Fixpoint::run(&steps, limits, false, &mut |views| match few(views) {
                ControlFlow::Continue(()) => watch(views),
                many => many,
            }) else {
                continue;
            };
            for (property, context, others) in &fixpoint.violating {
                self.open.push((*property, steps.show(context, others)));
            }
            left.retain(|one| set & one.bit() == 0);
            if fixpoint.violated() != set {
                self.runs.push(Run { wanted: set, steps, fixpoint });
            }
        }
    }
}

/// Sets of the properties that see the same of a state.
fn seeing_the_same(base: &Model, properties: &[Property], names_users: bool) -> Vec<Set> {
    let mut sets: Vec<(Sight, Set)> = Vec::new();
    for property in properties {
        let sight = Sight::new(base, property.bit(), names_users);
        match sets.iter_mut().find(|(other, _)| *other == sight) {
            Some((_, set)) => *set |= property.bit(),
            None => sets.push((sight, property.bit())),
        }
    }
    sets.into_iter().map(|(_, set)| set).collect()
}

#[cfg(test)]
mod tests;
