//! The verdict on a flow: properties that hold within the bounds, and violations with their shortest runs.

use std::ops::ControlFlow;

use crate::{
    explorer::{CutOff, Explorable as _, Explored, Id, Limits, Progress, explore},
    liveness::avoidable,
    model::{Action, Bounds, Model, NarratedEvent},
    properties::{Inevitable, Property},
    world::{Packed, State},
};

/// The verdicts that a flow's author expects, at the default bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectations {
    /// These are broken; all others hold.
    pub broken: Vec<Property>,
    /// These are broken, too, by what only the simulator does.
    pub broken_in_simulation: Vec<Property>,
    /// Vacuous: these hold without being exercised.
    pub vacuous: Vec<Property>,
}

/// Verdict of one property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No run within the bounds breaks it.
    Holds,
    /// This run violates it: none has fewer faults and crashes, of those none is shorter, and of those none switches
    /// less often between callers.
    Violated(Run),
    /// The property does not apply to the flow.
    DoesNotApply,
    /// The exploration was cut off before a violation was found.
    Unknown,
}

/// A run that breaks a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// From the initial state, the fewest actions that show it.
    pub actions: Vec<Action>,
    /// For L1 and L2: the continuation to the states in which the run stays. Fair, and without faults.
    pub tail: Vec<Action>,
    /// For L1 and L2: the cycle that avoids the property for ever; empty if no owed move is enabled.
    pub cycle: Vec<Action>,
}

impl Run {
    fn to(model: &Model, explored: &Explored<Packed>, path: &[Id]) -> Self {
        Self { actions: actions(model, explored, path), tail: Vec::new(), cycle: Vec::new() }
    }

    /// The run in words, without tail and cycle.
    pub fn events(&self, model: &Model) -> Vec<NarratedEvent> {
        narrated(model, &mut model.initial(), &self.actions)
    }

    /// The continuation in words: tail and cycle.
    pub fn aftermath(&self, model: &Model) -> [Vec<NarratedEvent>; 2] {
        let mut state = model.initial();
        narrated(model, &mut state, &self.actions);
        [narrated(model, &mut state, &self.tail), narrated(model, &mut state, &self.cycle)]
    }
}

fn narrated(model: &Model, state: &mut State, actions: &[Action]) -> Vec<NarratedEvent> {
    let narrate = |&action: &Action| {
        let scene = model.narrate(state, action);
        *state = stateright::Model::next_state(model, state, action).expect("a run's actions are possible");
        scene
    };
    actions.iter().map(narrate).collect()
}

/// A property's verdict, and whether it is the expected one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The property.
    pub property: Property,
    /// Its verdict.
    pub verdict: Verdict,
    /// Something happened that puts it to the test.
    pub exercised: bool,
    /// The verdict is the expected one.
    pub expected: bool,
}

/// Result of checking a flow.
#[derive(Clone, Debug)]
pub struct Report {
    /// Within which bounds.
    pub bounds: Bounds,
    /// The number of unique states.
    pub states: usize,
    /// The number of edges.
    pub edges: usize,
    /// The number of actions to the farthest state.
    pub depth: usize,
    /// The memory that states and edges took, in bytes.
    pub bytes: usize,
    /// Why it is not complete; `None` when it is.
    pub cut_off: Option<CutOff>,
    /// One for each property.
    pub judgements: Vec<Judgement>,
}

impl Report {
    /// True if every verdict is the expected one.
    pub fn is_expected(&self) -> bool {
        self.judgements.iter().all(|judgement| judgement.expected)
    }

    /// True if a property was unexpectedly violated: certain even after a truncated exploration.
    pub fn has_unexpected_run(&self) -> bool {
        self.judgements.iter().any(|one| !one.expected && matches!(one.verdict, Verdict::Violated(_)))
    }

    /// The judgement of `property`.
    pub fn of(&self, property: Property) -> &Judgement {
        self.judgements
            .iter()
            .find(|one| one.property == property)
            .unwrap_or_else(|| unreachable!("the model judges {property}, or it is not asked for"))
    }
}

/// Explores `model` within `limits` and judges every property, on the current rayon pool. `watch` may stop it.
pub fn verify(
    model: &Model,
    expectations: &Expectations,
    limits: Limits,
    watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Report {
    let explored = explore(model, limits, watch);
    let lasso = |inevitable: Inevitable| {
        explored
            .cut_off()
            .is_none()
            .then(|| {
                let faults = |packed: &Packed| model.faults(&model.unpack(packed));
                avoidable(&explored, inevitable as u8, faults, |ends| explored.calmest(model, ends))
            })
            .flatten()
    };
    let (launch, settling) = rayon::join(|| lasso(Inevitable::Launch), || lasso(Inevitable::Settling));
    let judgements = Property::MODELLED
        .iter()
        .map(|&property| {
            let lasso = match property {
                Property::L1 => launch.as_ref(),
                Property::L2 => settling.as_ref(),
                _ => None,
            };
            let run = match explored.calmest_violation(model, property as usize) {
                Some(path) => Some(Run::to(model, &explored, &path)),
                None => lasso.map(|lasso| Run {
                    tail: actions(model, &explored, &lasso.tail),
                    cycle: actions(model, &explored, &lasso.cycle),
                    ..Run::to(model, &explored, &lasso.stem)
                }),
            };
            let verdict = match run {
                _ if !model.applies(property) => Verdict::DoesNotApply,
                Some(run) => Verdict::Violated(run),
                None if explored.cut_off().is_some() => Verdict::Unknown,
                None => Verdict::Holds,
            };
            let exercised = explored.exercised() & property.bit() != 0;
            let expected = expectations.meet(property, &verdict, exercised, model.bounds());
            Judgement { property, verdict, exercised, expected }
        })
        .collect();
    Report {
        bounds: model.bounds(),
        states: explored.states(),
        edges: explored.edges(),
        depth: explored.depth(),
        bytes: explored.bytes(),
        cut_off: explored.cut_off(),
        judgements,
    }
}

/// The actions that lead from each of these states to the next.
fn actions(model: &Model, explored: &Explored<Packed>, path: &[Id]) -> Vec<Action> {
    path.windows(2)
        .map(|pair| {
            let [from, to] = [pair[0], pair[1]].map(|id| model.unpack(explored.packed(id)));
            let (_, action) =
                model.moves(&from).find(|(next, _)| *next == to).expect("they are an edge of the graph");
            action
        })
        .collect()
}

impl Expectations {
    fn meet(&self, property: Property, verdict: &Verdict, exercised: bool, bounds: Bounds) -> bool {
        let expected_broken = self.broken.contains(&property);
        match verdict {
            Verdict::Unknown => false,
            // No expectation is needed; only "broken" contradicts it.
            Verdict::DoesNotApply => !expected_broken,
            Verdict::Violated(_) => expected_broken,
            // Less happens within smaller bounds: less is broken, and less is exercised.
            Verdict::Holds if !bounds.reach(Bounds::default()) => true,
            Verdict::Holds if expected_broken => false,
            Verdict::Holds => exercised || self.vacuous.contains(&property),
        }
    }
}
