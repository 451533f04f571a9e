//! The checker of certificates: the initial view is listed, every move of a listed view leads to listed views, every
//! view follows from earlier ones, and none violates what is claimed. The same is asked of whole states, of which nothing was
//! forgotten: one for each view, and two moves from there.
//!
//! The checker searches nothing. It shares with the prover what a view is, and how it is moved, but nothing of the fixpoint.

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::{
    certificate::{Claim, Refusal, View},
    steps::{ModelSteps, Mover, Step, Steps},
    view::{Context, Participant},
};
use crate::properties::{Property, Set};

/// The values that are listed, by text: each as it was derived, and the first with nothing forgotten.
struct Listed<'c, T> {
    numbers: HashMap<&'c str, usize, FixedState>,
    values: Vec<[Option<T>; 2]>,
}

impl<'c, T: Clone> Listed<'c, T> {
    fn new(texts: &[&'c str]) -> Self {
        Self { numbers: texts.iter().copied().zip(0..).collect(), values: vec![[None, None]; texts.len()] }
    }

    fn find(&mut self, text: &str, derived: Option<&T>, whole: Option<&T>) -> Result<usize, String> {
        let missing = || format!("a move leads to `{text}`, not listed");
        let number = *self.numbers.get(text).ok_or_else(missing)?;
        for (known, value) in self.values[number].iter_mut().zip([derived, whole]) {
            *known = known.take().or_else(|| value.cloned());
        }
        Ok(number)
    }

    fn value(&self, number: usize, is_whole: bool) -> T {
        let [derived, whole] = &self.values[number];
        let value = whole.as_ref().filter(|_| is_whole).or(derived.as_ref());
        value.expect("only what was derived is moved").clone()
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
    /// True for a view that was derived.
    views: HashMap<View, bool, FixedState>,
}

/// Checks one claim of a certificate.
pub(super) fn check(steps: &ModelSteps, claim: &Claim<'_>) -> Result<(), Refusal> {
    let mut checker = Checker {
        steps,
        proved: claim.proved,
        contexts: Listed::new(&claim.contexts),
        participants: Listed::new(&claim.participants),
        nodes: vec![Node::default(); claim.contexts.len()],
        views: claim.views.iter().map(|(_, view)| (*view, false)).collect(),
    };
    let at = |line: usize| move |why: String| Refusal::Unsound { line, why };
    checker.arrive(&Step::to(steps.initial()), true).map_err(at(claim.line))?;
    claim.views.iter().try_for_each(|(line, view)| checker.expand(*view).map_err(at(*line)))
}

impl Checker<'_> {
    /// Judges a step: its views are listed and, if it `derives` them, follow. The number of their context.
    fn arrive(&mut self, step: &Step, derives: bool) -> Result<usize, String> {
        self.judge(step.violated)?;
        let views = &self.steps.abstraction;
        let text = views.known_text_of_context(&step.context)?;
        let to = self.contexts.find(&text, derives.then_some(&step.context), step.whole_context())?;
        self.view((to, None), derives)?;
        for (at, one) in step.others.iter().enumerate() {
            let text = views.known_text_of_participant(one)?;
            let number = self.participants.find(&text, derives.then_some(one), step.whole_other(at))?;
            self.view((to, Some(number)), derives)?;
        }
        Ok(to)
    }

    fn view(&mut self, view: View, derives: bool) -> Result<(), String> {
        let view =
            self.views.get_mut(&view).ok_or_else(|| format!("a move leads to {view:?}, not listed"))?;
        *view |= derives;
        Ok(())
    }

    fn judge(&self, violated: Set) -> Result<(), String> {
        let found = Property::ALL.iter().find(|one| violated & self.proved & one.bit() != 0);
        found.map_or(Ok(()), |one| Err(format!("the view, or a move of it, violates {one}")))
    }

    fn values(&self, at: usize, others: &[usize], is_whole: bool) -> (Context, Vec<Participant>) {
        let others = others.iter().map(|one| self.participants.value(*one, is_whole)).collect();
        (self.contexts.value(at, is_whole), others)
    }

    /// Makes the moves of `mover`: up to two in the whole state, and one in the view. The contexts after that one.
    fn moves(&mut self, at: usize, others: &[usize], mover: Mover) -> Result<Vec<usize>, String> {
        let (context, values) = self.values(at, others, true);
        let steps = self.steps.two_steps(&context, &values, mover)?;
        steps.iter().try_for_each(|step| self.arrive(step, false).map(drop))?;
        let (context, values) = self.values(at, others, false);
        self.steps.steps(&context, &values, mover)?.iter().map(|step| self.arrive(step, true)).collect()
    }

    /// Judges a view; makes its moves, as it and those before it see them; shows it the moves of those before it.
    fn expand(&mut self, view: View) -> Result<(), String> {
        let (at, others) = (view.0, Vec::from_iter(view.1));
        self.views[&view].then_some(()).ok_or("the view does not follow from those before it")?;
        let (context, values) = self.values(at, &others, false);
        self.judge(self.steps.violated(&context, &values)?)?;
        let in_pairs = self.steps.reaches_others();
        let seen = self.nodes[at].others.clone();
        for to in self.moves(at, &others, view.1.map_or(Mover::Context, |_| Mover::Other(0)))? {
            if !in_pairs && to != at && self.nodes[at].after.insert(to) {
                seen.iter().try_for_each(|earlier| self.view((to, Some(*earlier)), true))?;
            }
        }
        if !self.nodes[at].crashes && self.steps.may_crash(&context, &values)? {
            self.nodes[at].crashes = true;
            seen.iter().try_for_each(|earlier| self.moves(at, &[*earlier], Mover::Crash).map(drop))?;
        }
        if self.nodes[at].crashes {
            self.moves(at, &others, Mover::Crash)?;
        }
        let Some(other) = view.1 else { return Ok(()) };
        self.nodes[at].others.push(other);
        self.nodes[at].after.clone().into_iter().try_for_each(|to| self.view((to, Some(other)), true))?;
        self.moves(at, &[other], Mover::Context)?;
        for earlier in seen.into_iter().chain([other]).filter(|_| in_pairs) {
            self.moves(at, &[other, earlier], Mover::Other(0))?;
            self.moves(at, &[other, earlier], Mover::Other(1))?;
        }
        Ok(())
    }
}
