//! Edge replay: every edge of the model's graph, done on the real store by the real driver, and compared.
//!
//! The model says what follows from an action; here the action is really taken, and all that can be observed of the
//! store, the outbox, the deploys and the promotions has to be what the model says. Worlds are taken level by level,
//! so that the first divergence has a shortest path.

mod real;

use std::{collections::VecDeque, fmt, rc::Rc};

use countersign::strategy::Strategy;
use hashbrown::HashSet;

pub use real::Observed;
use real::Real;

use crate::{
    model::{Action, Model, Scene},
    world::State,
};

/// What was replayed without a divergence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// States reached.
    pub states: usize,
    /// Edges taken, each once.
    pub edges: usize,
}

/// The real thing did something else than the model.
#[derive(Clone, Debug)]
pub struct Divergence {
    /// A shortest path to it, the diverging action last.
    pub path: Vec<Scene>,
    /// What the model says.
    pub expected: Observed,
    /// What really is.
    pub found: Observed,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the store does not do what the model says:")?;
        for (number, scene) in self.path.iter().enumerate() {
            writeln!(f, "{:>5} {scene}", number + 1)?;
        }
        write!(f, "expected {:#?}\nfound {:#?}", self.expected, self.found)
    }
}

impl std::error::Error for Divergence {}

/// The actions that led here, newest first.
struct Trail {
    action: Action,
    before: Option<Rc<Trail>>,
}

/// Replays every edge of `model` against a store in memory with the strategy `S`.
///
/// # Errors
/// The first [`Divergence`].
pub fn replay<S: Strategy + Default>(model: &Model) -> Result<Replayed, Box<Divergence>> {
    replay_with::<S>(model, |_| {})
}

/// As [`replay`], but `spoil` may do something to the real store after each action: for tests that show that a
/// divergence is found.
///
/// # Errors
/// The first [`Divergence`].
pub fn replay_with<S: Strategy + Default>(
    model: &Model,
    spoil: impl Fn(&Real<S>),
) -> Result<Replayed, Box<Divergence>> {
    let mut known = HashSet::with_hasher(foldhash::fast::FixedState::default());
    known.insert(model.initial().pack());
    let mut queue = VecDeque::from([(model.initial(), Real::<S>::new(model), None::<Rc<Trail>>)]);
    let mut edges = 0;
    while let Some((state, real, trail)) = queue.pop_front() {
        for (next, action) in model.moves(&state) {
            let mut after = real.fork();
            after.act(model, action);
            spoil(&after);
            edges += 1;
            let (expected, found) = (Observed::of_model(model, &next), after.observe());
            if expected != found {
                let path = narrated(model, action, trail.as_deref());
                return Err(Box::new(Divergence { path, expected, found }));
            }
            if known.insert(next.pack()) {
                let trail = Trail { action, before: trail.clone() };
                queue.push_back((next, after, Some(Rc::new(trail))));
            }
        }
    }
    Ok(Replayed { states: known.len(), edges })
}

fn narrated(model: &Model, last: Action, trail: Option<&Trail>) -> Vec<Scene> {
    let mut actions = vec![last];
    let mut at = trail;
    while let Some(step) = at {
        actions.push(step.action);
        at = step.before.as_deref();
    }
    let mut state: State = model.initial();
    let narrate = |action: Action| {
        let scene = model.narrate(&state, action);
        if let Some(next) = stateright::Model::next_state(model, &state, action) {
            state = next;
        }
        scene
    };
    actions.into_iter().rev().map(narrate).collect()
}
