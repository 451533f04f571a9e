//! The checker of certificates: the initial view is listed, every move of a listed view leads to listed views, every
//! view follows from earlier ones, and none violates what is claimed.
//!
//! The checker reads the views once, in their order, and searches nothing. With the prover it shares what a view is and how the
//! model moves one (`view`, `sight`, `steps`), and nothing of the fixpoint. Only a value that was derived is moved: a
//! certificate names states, and cannot bring its own.

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::{
    certificate::{Claim, Refusal},
    steps::{ModelSteps, Mover, Steps},
    view::{Context, NoRoom, Participant},
};
use crate::properties::{Property, Set};

type View = (usize, Option<usize>);

/// The values that are listed: by text, and as they were derived.
struct Listed<'c, T> {
    numbers: HashMap<&'c str, usize, FixedState>,
    values: Vec<Option<T>>,
}

impl<'c, T: Clone> Listed<'c, T> {
    fn new(texts: &[&'c str]) -> Self {
        Self { numbers: texts.iter().copied().zip(0..).collect(), values: vec![None; texts.len()] }
    }

    fn derive(&mut self, text: &str, value: &T) -> Result<usize, String> {
        let number =
            *self.numbers.get(text).ok_or_else(|| format!("a move leads to `{text}`, not listed"))?;
        self.values[number].get_or_insert_with(|| value.clone());
        Ok(number)
    }

    fn value(&self, number: usize) -> T {
        self.values[number].clone().expect("only what was derived is moved")
    }
}

/// A context up to the current view; `after`: the contexts after moves that leave others as they were.
#[derive(Clone, Default)]
struct Node {
    others: Vec<usize>,
    after: HashSet<usize, FixedState>,
    crashes: bool,
}

struct Checker<'c> {
    steps: &'c ModelSteps,
    proved: Set,
    contexts: Listed<'c, Context>,
    participants: Listed<'c, Participant>,
    nodes: Vec<Node>,
    views: HashSet<View, FixedState>,
    derived: HashSet<View, FixedState>,
}

/// Checks one claim of a certificate.
pub(super) fn check(steps: &ModelSteps, claim: &Claim<'_>) -> Result<(), Refusal> {
    let mut checker = Checker {
        steps,
        proved: claim.proved,
        contexts: Listed::new(&claim.contexts),
        participants: Listed::new(&claim.participants),
        nodes: vec![Node::default(); claim.contexts.len()],
        views: claim.views.iter().map(|(_, view)| *view).collect(),
        derived: HashSet::default(),
    };
    let at = |line: usize| move |why: String| Refusal::Unsound { line, why };
    checker.arrive(&steps.initial(), &[]).map_err(at(claim.line))?;
    claim.views.iter().try_for_each(|(line, view)| checker.expand(*view).map_err(at(*line)))
}

fn room<T>(result: Result<T, NoRoom>) -> Result<T, String> {
    result.map_err(|NoRoom| "the views after it need more room than a state has".to_owned())
}

impl Checker<'_> {
    /// These views are derived. The number of their context.
    fn arrive(&mut self, context: &Context, others: &[Participant]) -> Result<usize, String> {
        let to = self.contexts.derive(&room(self.steps.abstraction.text_of_context(context))?, context)?;
        self.derive((to, None))?;
        for one in others {
            let text = room(self.steps.abstraction.text_of_participant(one))?;
            let one = self.participants.derive(&text, one)?;
            self.derive((to, Some(one)))?;
        }
        Ok(to)
    }

    fn derive(&mut self, view: View) -> Result<(), String> {
        self.derived.insert(view);
        let missing = || format!("a move leads to {view:?}, not listed");
        self.views.contains(&view).then_some(()).ok_or_else(missing)
    }

    fn judge(&self, violated: Set) -> Result<(), String> {
        let found = Property::ALL.iter().find(|one| violated & self.proved & one.bit() != 0);
        found.map_or(Ok(()), |one| Err(format!("the view, or a move of it, violates {one}")))
    }

    /// Makes the moves of `mover`. The contexts after them.
    fn moves(&mut self, at: usize, others: &[usize], mover: Mover) -> Result<Vec<usize>, String> {
        let others: Vec<_> = others.iter().map(|one| self.participants.value(*one)).collect();
        let steps = room(self.steps.steps(&self.contexts.value(at), &others, mover))?;
        steps.iter().try_for_each(|step| self.judge(step.violated))?;
        steps.iter().map(|step| self.arrive(&step.context, &step.others)).collect()
    }

    /// Judges a view; makes its moves, as it and those before it see them; shows it the moves of those before it.
    fn expand(&mut self, view: View) -> Result<(), String> {
        let (at, others) = (view.0, Vec::from_iter(view.1));
        if !self.derived.contains(&view) {
            return Err("the view does not follow from those before it".to_owned());
        }
        let context = self.contexts.value(at);
        let values: Vec<_> = others.iter().map(|one| self.participants.value(*one)).collect();
        self.judge(room(self.steps.violated(&context, &values))?)?;
        let in_pairs = self.steps.reaches_others();
        let seen = self.nodes[at].others.clone();
        let mover = if others.is_empty() { Mover::Context } else { Mover::Other(0) };
        for to in self.moves(at, &others, mover)? {
            if !in_pairs && to != at && self.nodes[at].after.insert(to) {
                seen.iter().try_for_each(|earlier| self.derive((to, Some(*earlier))))?;
            }
        }
        if !self.nodes[at].crashes && room(self.steps.may_crash(&context, &values))? {
            self.nodes[at].crashes = true;
            self.moves(at, &[], Mover::Crash)?;
            seen.iter().try_for_each(|earlier| self.moves(at, &[*earlier], Mover::Crash).map(drop))?;
        }
        let Some(other) = view.1 else { return Ok(()) };
        self.nodes[at].others.push(other);
        self.nodes[at].after.clone().into_iter().try_for_each(|to| self.derive((to, Some(other))))?;
        if self.nodes[at].crashes {
            self.moves(at, &[other], Mover::Crash)?;
        }
        if in_pairs {
            self.moves(at, &[other], Mover::Context)?;
            for earlier in seen.into_iter().chain([other]) {
                self.moves(at, &[other, earlier], Mover::Other(0))?;
                self.moves(at, &[other, earlier], Mover::Other(1))?;
            }
        }
        Ok(())
    }
}
