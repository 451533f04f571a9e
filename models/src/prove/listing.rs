//! The writer of certificates: from the initial views, every move, until no view is new. The checker trusts none of it.

use std::{fmt::Write as _, ops::ControlFlow};

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::{
    certificate::View,
    plain::{Move, Scene, Views},
};
use crate::properties::Set;

/// The moves of a view.
pub(super) type Moves<'m> = dyn Fn(&Scene, Option<&Scene>) -> Result<Vec<Move>, String> + 'm;

/// Scenes by number, each once.
#[derive(Default)]
struct Numbered {
    numbers: HashMap<String, usize, FixedState>,
    scenes: Vec<Scene>,
    texts: Vec<String>,
}

impl Numbered {
    fn insert(&mut self, views: &Views, scene: Scene) -> Result<usize, String> {
        let text = views.text(&scene)?;
        if let Some(known) = self.numbers.get(&text) {
            return Ok(*known);
        }
        self.numbers.insert(text.clone(), self.scenes.len());
        self.scenes.push(scene);
        self.texts.push(text);
        Ok(self.scenes.len() - 1)
    }
}

/// The views in the order in which they were found.
#[derive(Default)]
pub(super) struct Listing {
    contexts: Numbered,
    participants: Numbered,
    /// For each context its others, and the contexts after moves that leave others as they were.
    nodes: Vec<(Vec<usize>, HashSet<usize, FixedState>)>,
    order: Vec<View>,
    known: HashSet<View, FixedState>,
    /// The properties that some view violates.
    pub(super) violated: Set,
}

impl Listing {
    /// Lists the views that `moves` leads to. `watch` is called with their number, and may stop it.
    pub(super) fn new(
        views: &Views,
        moves: &Moves<'_>,
        watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Self, String> {
        let mut listing = Self::default();
        listing.arrive(views, views.initial())?;
        let mut turn: usize = 0;
        loop {
            let found = listing.order.len();
            if (turn.is_multiple_of(256) || turn == found) && watch(found).is_break() {
                return Err(format!("its views are more than {found}"));
            }
            let Some(view) = listing.order.get(turn) else { return Ok(listing) };
            listing.expand(views, moves, *view)?;
            turn += 1;
        }
    }

    fn arrive(&mut self, views: &Views, (context, others): (Scene, Vec<Scene>)) -> Result<usize, String> {
        let to = self.contexts.insert(views, context)?;
        if to == self.nodes.len() {
            self.nodes.push(Default::default());
            self.order.push((to, None));
        }
        for one in others {
            let one = self.participants.insert(views, one)?;
            self.add(to, one);
        }
        Ok(to)
    }

    fn add(&mut self, context: usize, other: usize) {
        if self.known.insert((context, Some(other))) {
            self.order.push((context, Some(other)));
        }
    }

    fn expand(&mut self, views: &Views, moves: &Moves<'_>, (at, other): View) -> Result<(), String> {
        let context = self.contexts.scenes[at].clone();
        let one = other.map(|other| self.participants.scenes[other].clone());
        self.violated |= views.violated(&context, one.as_ref())?;
        let mut carried: Vec<(usize, usize)> = Vec::new();
        for (leaves_others, after) in moves(&context, one.as_ref())? {
            let to = self.arrive(views, after)?;
            if leaves_others && self.nodes[at].1.insert(to) {
                carried.extend(self.nodes[at].0.iter().map(|earlier| (to, *earlier)));
            }
        }
        if let Some(other) = other {
            self.nodes[at].0.push(other);
            carried.extend(self.nodes[at].1.iter().map(|to| (*to, other)));
        }
        for (to, other) in carried {
            if self.contexts.scenes[to].state.world.clean == context.state.world.clean {
                self.add(to, other);
            } else {
                let after = self.contexts.scenes[to].clone();
                let after = views.settled(after, &self.participants.scenes[other])?;
                self.arrive(views, after)?;
            }
        }
        Ok(())
    }

    /// True if every view of this state is listed.
    #[cfg(test)]
    pub(super) fn covers(&self, views: &Views, all: &Scene) -> bool {
        let (context, others) = views.split(all).expect("a small flow");
        let number = |numbered: &Numbered, scene: &Scene| {
            numbered.numbers.get(&views.text(scene).expect("a small flow")).copied()
        };
        let Some(context) = number(&self.contexts, &context) else { return false };
        let is_known = |one| {
            number(&self.participants, one).is_some_and(|one| self.known.contains(&(context, Some(one))))
        };
        others.iter().all(is_known)
    }

    /// The lines of the views.
    pub(super) fn write(&self, text: &mut String) {
        // Numbered in the order in which they are written.
        let mut numbers = HashMap::with_hasher(FixedState::default());
        for (context, other) in &self.order {
            let Some(other) = other else {
                let _ = writeln!(text, "context {}", self.contexts.texts[*context]);
                continue;
            };
            let next = numbers.len();
            if !numbers.contains_key(other) {
                let _ = writeln!(text, "participant {}", self.participants.texts[*other]);
            }
            let _ = writeln!(text, "view {context} {}", numbers.entry(other).or_insert(next));
        }
    }
}
