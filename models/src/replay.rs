//! Edge replay: every edge of the model's graph, done on the real store by the real driver, and compared.
//!
//! The model says what follows from an action; here the action is really taken, and all that can be observed of the
//! store, the outbox, the deploys and the promotions has to be what the model says. Worlds are taken level by level,
//! so that the first divergence has a shortest path.
//!
//! One step runs at a time: a store that reads, and writes later what it has read, passes. The claims of
//! `countersign-contract` with concurrent competitors find it.

mod faulty;
mod harness;
mod memory;
mod observed;
mod real;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, fmt, rc::Rc};

use countersign::store::memory::strategy::Strategy;
use hashbrown::HashSet;
use uuid::Uuid;

pub use harness::{About, Records, StoreHarness};
pub use memory::InMemory;
pub use observed::Observed;
use real::Real;
pub use real::TEAM;

use crate::{
    explorer::Explorable as _,
    model::{Action, Model, NarratedEvent},
    world::State,
};

/// Statistics of a replay without divergence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// States reached.
    pub states: usize,
    /// Edges taken, each once.
    pub edges: usize,
}

/// The real store behaved differently from the model.
#[derive(Clone, Debug)]
pub struct Divergence {
    /// A shortest path to it, the diverging action last.
    pub path: Vec<NarratedEvent>,
    /// The observation that the model predicts.
    pub expected: Observed,
    /// The actual observation.
    pub found: Observed,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the store does not do what the model says:")?;
        for (number, scene) in self.path.iter().enumerate() {
            writeln!(f, "{:>5} {scene}", number + 1)?;
        }
        let fields = self.expected.differing(&self.found).join(", ");
        write!(f, "differs in {fields}\nexpected {:#?}\nfound {:#?}", self.expected, self.found)
    }
}

impl std::error::Error for Divergence {}

/// The actions that led here, newest first.
struct Trail {
    action: Action,
    before: Option<Rc<Trail>>,
}

/// A state of the model, and the real world that corresponds to it.
struct Node<Saved> {
    state: State,
    real: Real,
    records: Records,
    saved: Saved,
    trail: Option<Rc<Trail>>,
}

/// Replays every edge of `model` against a store in memory with the strategy `S`.
///
/// # Errors
/// The first [`Divergence`].
pub fn replay<S: Strategy + Default>(model: &Model) -> Result<Replayed, Box<Divergence>> {
    replay_on(model, &mut InMemory::<S>::default(), |_, _| {})
}

/// Replays every edge of `model` against an empty store on its rig. `spoil` receives the approval after each action and
/// may corrupt the store: for tests which show that a divergence is found.
///
/// # Errors
/// The first [`Divergence`].
pub fn replay_on<R: StoreHarness>(
    model: &Model,
    harness: &mut R,
    spoil: impl Fn(&R, Uuid),
) -> Result<Replayed, Box<Divergence>> {
    replay_seen(model, harness, |harness, real| {
        spoil(harness, real.approval);
        harness.look(&real.about())
    })
}

/// As [`replay_on`]; `look` returns what the store contains after an action.
fn replay_seen<R: StoreHarness>(
    model: &Model,
    harness: &mut R,
    look: impl Fn(&mut R, &mut Real) -> Records,
) -> Result<Replayed, Box<Divergence>> {
    let mut known = HashSet::with_hasher(foldhash::fast::FixedState::default());
    known.insert(model.pack(&model.initial()));
    let real = Real::new(model, harness);
    let records = harness.look(&real.about());
    let first = Node { state: model.initial(), real, records, saved: harness.save(), trail: None };
    let mut queue = VecDeque::from([first]);
    let mut edges = 0;
    while let Some(node) = queue.pop_front() {
        for (next, action) in model.moves(&node.state) {
            let mut real = node.real.clone();
            harness.restore(&node.saved);
            real.act(model, action, harness, &node.records);
            edges += 1;
            let records = look(harness, &mut real);
            let (expected, found) =
                (Observed::of_model(model, &next), real.observe(&records, next.world.clean));
            if expected != found {
                let path = narrated(model, action, node.trail.as_deref());
                return Err(Box::new(Divergence { path, expected, found }));
            }
            if known.insert(model.pack(&next)) {
                let trail = Some(Rc::new(Trail { action, before: node.trail.clone() }));
                queue.push_back(Node { state: next, real, records, saved: harness.save(), trail });
            }
        }
    }
    Ok(Replayed { states: known.len(), edges })
}

fn narrated(model: &Model, last: Action, trail: Option<&Trail>) -> Vec<NarratedEvent> {
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
