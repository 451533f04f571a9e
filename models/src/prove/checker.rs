//! The checker of certificates: the initial views are listed, every move of a listed view leads to listed views, every view
//! follows from earlier ones, and none violates what is claimed.
//!
//! The checker searches nothing, and shares with the prover nothing but the model.

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::{
    certificate::{Claim, Refusal, View},
    plain::{Move, Scene, Views},
};
use crate::{
    explorer::{Explorable, FairnessClass},
    model::Action,
    properties::{Inevitable, Property, Set},
};

impl Views {
    /// The moves of the other participant; where there is none, those of the world and of named participants. And the crash.
    pub(super) fn moves(&self, context: &Scene, other: Option<&Scene>) -> Result<Vec<Move>, String> {
        let all = self.join(context, other)?;
        let model = self.model(&all.classes)?;
        let mut actions = Vec::new();
        model.candidates(&all.state, &mut actions);
        let own_keys = self.model.flow().object().uses > 1;
        // The first attempt of those that move here: the other's, or that of the first who is named.
        let seats = self.seats(&all.classes);
        let from = if other.is_some() { seats[seats.len() - 1].1 } else { seats[0].2 };
        // The crash is there once, whether or not it kills one that is seen here.
        let is_here =
            |action: &Action| action.attempt(own_keys).map_or(other.is_none(), |by| usize::from(by) >= from);
        actions.retain(|action| *action != Action::Crash && is_here(action));
        actions.push(Action::Crash);
        let after = actions.into_iter().filter_map(|action| Some((action, model.apply(&all.state, action)?)));
        let split = |state| self.split(&Scene { classes: all.classes.clone(), state });
        after.map(|(action, state)| Ok((action != Action::Crash, split(state)?))).collect()
    }

    /// The view of a context after a move of others, which the model merges with what is over in every state.
    pub(super) fn settled(&self, context: Scene, other: &Scene) -> Result<(Scene, Vec<Scene>), String> {
        let mut all = self.join(&context, Some(other))?;
        self.model(&all.classes)?.normalise(&mut all.state);
        self.split(&all)
    }

    /// The properties that this view violates. L1 and L2: pending, without an enabled owed move. Where successes are not named,
    /// nothing is said of what counts them.
    pub(super) fn violated(&self, context: &Scene, other: Option<&Scene>) -> Result<Set, String> {
        let all = self.join(context, other)?;
        let model = self.model(&all.classes)?;
        let found = model.judge(&all.state);
        let is_pending = |one: &&Inevitable| found.pending >> **one as u8 & 1 == 1;
        let pending =
            Inevitable::ALL.iter().filter(is_pending).fold(0, |set, one| set | one.property().bit());
        let is_owed = |action: &Action| matches!(model.mover(&all.state, action), FairnessClass::Owed(_));
        let stays = pending != 0 && !model.moves(&all.state).any(|(_, action)| is_owed(&action));
        let counts_uses = if model.counts_uses_of_successes() { Property::L1.bit() } else { 0 };
        let counted = Property::S2.bit() | Property::S3.bit() | counts_uses;
        Ok(found.broken | if stays { pending } else { 0 } | if self.names_users { 0 } else { counted })
    }
}

/// The scenes that are listed, by text, and by number those that were derived. Only they are moved.
struct Listed<'c>(HashMap<&'c str, usize, FixedState>, HashMap<usize, Scene, FixedState>);

impl<'c> Listed<'c> {
    fn new(texts: &[&'c str]) -> Self {
        Self(texts.iter().copied().zip(0..).collect(), HashMap::default())
    }

    fn find(&mut self, views: &Views, scene: Scene) -> Result<usize, String> {
        let text = views.text(&scene)?;
        let number = *self.0.get(&*text).ok_or_else(|| format!("a move leads to `{text}`, not listed"))?;
        self.1.entry(number).or_insert(scene);
        Ok(number)
    }
}

struct Checker<'c> {
    views: &'c Views,
    contexts: Listed<'c>,
    participants: Listed<'c>,
    /// For each context its others up to the current view, and the contexts after moves that leave others as they were.
    nodes: Vec<(Vec<usize>, HashSet<usize, FixedState>)>,
    /// True for a view that was derived.
    derived: HashMap<View, bool, FixedState>,
}

/// Checks the claim of a certificate.
pub(super) fn check(views: &Views, claim: &Claim<'_>) -> Result<(), Refusal> {
    let mut checker = Checker {
        views,
        contexts: Listed::new(&claim.contexts),
        participants: Listed::new(&claim.participants),
        nodes: vec![Default::default(); claim.contexts.len()],
        derived: claim.views.iter().map(|(_, view)| (*view, false)).collect(),
    };
    let at = |line: usize| move |why: String| Refusal::Unsound { line, why };
    checker.arrive(views.initial()).map_err(at(claim.line))?;
    claim.views.iter().try_for_each(|(line, view)| checker.expand(*view, claim.proved).map_err(at(*line)))
}

impl Checker<'_> {
    /// These views are listed. The number of their context.
    fn arrive(&mut self, (context, others): (Scene, Vec<Scene>)) -> Result<usize, String> {
        let to = self.contexts.find(self.views, context)?;
        self.derive((to, None))?;
        others.into_iter().try_for_each(|one| {
            let one = self.participants.find(self.views, one)?;
            self.derive((to, Some(one)))
        })?;
        Ok(to)
    }

    fn derive(&mut self, view: View) -> Result<(), String> {
        let missing = || format!("a move leads to {view:?}, not listed");
        self.derived.get_mut(&view).map(|derived| *derived = true).ok_or_else(missing)
    }

    /// Judges a view; makes its moves; shows it the moves of the views before it, and its moves to them.
    fn expand(&mut self, (at, other): View, proved: Set) -> Result<(), String> {
        self.derived[&(at, other)].then_some(()).ok_or("the view does not follow from those before it")?;
        let context = self.contexts.1[&at].clone();
        let one = other.map(|other| self.participants.1[&other].clone());
        let violated = self.views.violated(&context, one.as_ref())? & proved;
        let found = Property::ALL.iter().find(|one| violated & one.bit() != 0);
        found.map_or(Ok(()), |one| Err(format!("the view violates {one}")))?;
        let mut seen = Vec::new();
        for (leaves_others, after) in self.views.moves(&context, one.as_ref())? {
            let to = self.arrive(after)?;
            if leaves_others && self.nodes[at].1.insert(to) {
                seen.extend(self.nodes[at].0.iter().map(|earlier| (to, *earlier)));
            }
        }
        seen.extend(other.into_iter().flat_map(|other| self.nodes[at].1.iter().map(move |to| (*to, other))));
        self.nodes[at].0.extend(other);
        for (to, other) in seen {
            let after = self.contexts.1[&to].clone();
            match &self.participants.1[&other] {
                _ if context.state.world.clean == after.state.world.clean => {
                    self.derive((to, Some(other)))?;
                }
                other => self.views.settled(after, other).and_then(|after| self.arrive(after)).map(drop)?,
            }
        }
        Ok(())
    }
}
