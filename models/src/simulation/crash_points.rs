//! Every crash that the model knows, really done: a crash before and after every effect of every interleaving of two
//! consumers who ask for the same and a third who asks for something else. Any of them may never begin.

use std::{ops::ControlFlow, sync::Arc};

use countersign::protocol::Flow;
use rayon::prelude::*;

use super::{
    Found, Simulation,
    conformance::{Shadow, played},
};
use crate::{
    explorer::{Explorable as _, Limits, explore},
    model::{Action, Bounds, Model},
    world::{Lease, State},
};

/// Result of the crash points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrashPoints {
    /// The model's states in which the process may crash.
    pub total: usize,
    /// Crash points that were reached, crashed in, and healed from.
    pub covered: usize,
    /// Findings after the liveness phase of each.
    pub found: Found,
}

/// Leads the real service to every state of the model (three consumers, one crash, no fault) in which a crash is
/// possible, crashes, and heals.
pub fn crash_points(flow: &Arc<Flow>) -> CrashPoints {
    let model = Model::of_callers(Flow::clone(flow), Bounds { consumers: 3, crashes: 1, faults: 0 });
    let explored = explore(&model, Limits::default(), &mut |_| ControlFlow::Continue(()));
    let state_of = |id| model.unpack(explored.packed(id));
    let crashes = |state: &State| model.moves(state).any(|(_, action)| action == Action::Crash);
    // The real code releases its lease in the action that ends the attempt: without a crash, an ended attempt has none.
    let is_real = |state: &State| state.world.lease == Lease::Free || state.world.lease_last.is_some();
    let is_point = |state: &State| is_real(state) && crashes(state);
    let points: Vec<_> = explored.ids().filter(|id| is_point(&state_of(*id))).collect();
    let played = points.par_iter().map(|point| {
        let path = explored.path_to(*point);
        let states: Vec<State> = path.iter().map(|id| state_of(*id)).collect();
        let actions = states.windows(2).map(|pair| {
            let edge = model.moves(&pair[0]).find(|(next, _)| *next == pair[1]);
            edge.expect("they are an edge of the graph").1
        });
        crash_after(flow, &model, &actions.collect::<Vec<_>>())
    });
    let none = || CrashPoints { total: points.len(), ..CrashPoints::default() };
    played.fold(none, CrashPoints::with).reduce(none, |one, other| CrashPoints {
        total: one.total,
        covered: one.covered + other.covered,
        found: one.found.and(other.found),
    })
}

impl CrashPoints {
    fn with(self, found: Option<Found>) -> Self {
        match found {
            Some(found) => Self { covered: self.covered + 1, found: self.found.and(found), ..self },
            None => self,
        }
    }
}

/// `None` if the real code did not follow the model there.
fn crash_after(flow: &Arc<Flow>, model: &Model, path: &[Action]) -> Option<Found> {
    let scenario = super::Scenario::of_model(model.bounds().consumers);
    let mut simulation = Simulation::new(Arc::clone(flow), &scenario, None);
    let mut shadow = Shadow::of(model);
    for action in path.iter().chain([&Action::Crash]) {
        if *action == Action::LeaseEnds {
            // The attempt may have released the lease already.
            while shadow.is_leased() {
                shadow.follow(&simulation.take(super::Action::LeasesRunOut)?, &simulation).ok()?;
            }
            continue;
        }
        let mut last = None;
        for step in played(*action) {
            // Without a held lease this action is impossible, and skipped.
            last = simulation.take(step).or(last);
            if let Some(taken) = last.filter(|taken| taken.action == step && taken.modelled != Some(*action))
            {
                // An action without a counterpart in the model must change nothing.
                shadow.follow(&taken, &simulation).ok()?;
            }
        }
        let taken = last.filter(|taken| taken.modelled == Some(*action))?;
        shadow.follow(&taken, &simulation).ok()?;
    }
    simulation.liveness_phase();
    Some(simulation.found())
}
