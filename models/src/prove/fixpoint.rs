//! The fixpoint: from the initial view, every move, until no view is new.
//!
//! A move of one participant is seen by every other one that the same context has. It changes that one only by a
//! crash; else the other is in the new context as it was. Where a move may reach others (a refund under a shared
//! key), each pair is moved together instead.

use std::{
    hash::{BuildHasher, Hash},
    ops::ControlFlow,
};

use foldhash::fast::FixedState;
use hashbrown::{HashSet, HashTable};

use super::{
    Limits, Stopped,
    steps::{Mover, Step, Steps},
    view::{Context, NoRoom, Participant},
};
use crate::properties::{Property, Set};

const HASHER: FixedState = FixedState::with_seed(0);

/// How a move of a context, or of one of its participants, is seen by the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Edge {
    /// They are as they were, in this context.
    Unchanged(u32),
    /// A crash.
    Crash,
}

/// Values by number, each once.
struct Numbered<T> {
    all: Vec<T>,
    table: HashTable<u32>,
}

impl<T: Eq + Hash> Numbered<T> {
    fn new() -> Self {
        Self { all: Vec::new(), table: HashTable::new() }
    }

    fn find(&self, value: &T) -> Option<u32> {
        self.table.find(HASHER.hash_one(value), |known| self.all[*known as usize] == *value).copied()
    }

    /// Its number, and whether it is new.
    fn insert(&mut self, value: T) -> (u32, bool) {
        if let Some(known) = self.find(&value) {
            return (known, false);
        }
        let number = self.all.len() as u32;
        let all = &self.all;
        let hash = HASHER.hash_one(&value);
        self.table.insert_unique(hash, number, |known| HASHER.hash_one(&all[*known as usize]));
        self.all.push(value);
        (number, true)
    }

    fn get(&self, number: u32) -> &T {
        &self.all[number as usize]
    }

    fn bytes(&self) -> usize {
        self.all.capacity() * size_of::<T>() + self.table.allocation_size()
    }
}

/// The views of one context.
struct Node {
    /// Its other participants, in the order in which they came.
    others: Vec<u32>,
    known: HashSet<u32, FixedState>,
    edges: Vec<Edge>,
    crashes: bool,
}

/// All views.
pub(super) struct Fixpoint {
    contexts: Numbered<Context>,
    participants: Numbered<Participant>,
    nodes: Vec<Node>,
    /// For each property that a view violates the first such view.
    pub(super) violating: Vec<(Property, Context, Vec<Participant>)>,
    violated: Set,
    views: usize,
    queue: Vec<(u32, Option<u32>)>,
}

impl Fixpoint {
    /// Runs to the end, or to a limit. The end comes earlier where a view violates each of the properties. `together`: moves every pair of participants together, rather than rely on
    /// that a move leaves the others as they were.
    pub(super) fn run(
        steps: &impl Steps,
        limits: Limits,
        together: bool,
        watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Self, Stopped> {
        let mut fixpoint = Self {
            contexts: Numbered::new(),
            participants: Numbered::new(),
            nodes: Vec::new(),
            violating: Vec::new(),
            violated: 0,
            views: 0,
            queue: Vec::new(),
        };
        let together = together || steps.reaches_others();
        fixpoint.node(steps, steps.initial())?;
        let mut turns = 0_usize;
        while let Some((node, other)) = fixpoint.queue.pop() {
            if steps.wanted() & !fixpoint.violated == 0 {
                break;
            }
            fixpoint.expand(steps, node, other, together)?;
            turns += 1;
            if turns.is_multiple_of(256) {
                if fixpoint.bytes() > limits.max_bytes {
                    return Err(Stopped::Memory(fixpoint.views()));
                }
                if watch(fixpoint.views()).is_break() {
                    return Err(Stopped::Watch);
                }
            }
        }
        Ok(fixpoint)
    }

    /// The number of contexts.
    pub(super) fn contexts(&self) -> usize {
        self.nodes.len()
    }

    /// The number of views.
    pub(super) fn views(&self) -> usize {
        self.views
    }

    /// About the memory that is held.
    fn bytes(&self) -> usize {
        self.contexts.bytes()
            + self.participants.bytes()
            + self.nodes.capacity() * size_of::<Node>()
            // The list of a context's participants, the set, and the queue.
            + self.views * 32
    }

    /// Every context with its other participants.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Context, impl Iterator<Item = &Participant>)> {
        self.contexts
            .all
            .iter()
            .zip(&self.nodes)
            .map(|(context, node)| (context, node.others.iter().map(|number| self.participants.get(*number))))
    }

    /// Properties violated in some view.
    pub(super) fn violated(&self) -> Set {
        self.violated
    }

    /// True if this view is in the fixpoint.
    pub(super) fn contains(&self, context: &Context, other: Option<&Participant>) -> bool {
        self.numbers_of(context, other).is_some()
    }

    /// The numbers of this view, if it is one of them.
    pub(super) fn numbers_of(
        &self,
        context: &Context,
        other: Option<&Participant>,
    ) -> Option<(u32, Option<u32>)> {
        let node = self.contexts.find(context)?;
        let Some(other) = other else { return Some((node, None)) };
        let number = self.participants.find(other)?;
        self.nodes[node as usize].known.contains(&number).then_some((node, Some(number)))
    }

    /// The context and the participants of these numbers.
    pub(super) fn values_of(&self, context: u32, others: &[u32]) -> (Context, Vec<Participant>) {
        let others = others.iter().map(|other| *self.participants.get(*other));
        (self.contexts.get(context).clone(), others.collect())
    }

    fn note(&mut self, violated: Set, context: &Context, others: &[Participant]) {
        let new = violated & !self.violated;
        self.violated |= violated;
        for property in Property::ALL.iter().filter(|one| new & one.bit() != 0) {
            self.violating.push((*property, context.clone(), others.to_vec()));
        }
    }

    /// The number of a context, which is judged if it is new.
    fn node(&mut self, steps: &impl Steps, context: Context) -> Result<u32, NoRoom> {
        if let Some(known) = self.contexts.find(&context) {
            return Ok(known);
        }
        self.note(steps.violated(&context, &[])?, &context, &[]);
        let (number, _) = self.contexts.insert(context);
        self.nodes.push(Node {
            others: Vec::new(),
            known: HashSet::with_hasher(HASHER),
            edges: Vec::new(),
            crashes: false,
        });
        self.views += 1;
        self.queue.push((number, None));
        Ok(number)
    }

    /// Adds a participant to a context, and judges the view if it is new.
    fn add(&mut self, steps: &impl Steps, node: u32, other: u32) -> Result<(), NoRoom> {
        if !self.nodes[node as usize].known.insert(other) {
            return Ok(());
        }
        self.nodes[node as usize].others.push(other);
        self.views += 1;
        let one = *self.participants.get(other);
        let context = self.contexts.get(node);
        let violated = steps.violated(context, &[one])?;
        if violated & !self.violated != 0 {
            let context = context.clone();
            self.note(violated, &context, &[one]);
        }
        self.queue.push((node, Some(other)));
        Ok(())
    }

    /// Keeps what a step leads to. The context that it leads to.
    fn arrive(&mut self, steps: &impl Steps, step: &Step) -> Result<u32, NoRoom> {
        self.note(step.violated, &step.context, &step.others);
        let to = self.node(steps, step.context.clone())?;
        for one in &step.others {
            let (number, _) = self.participants.insert(*one);
            self.add(steps, to, number)?;
        }
        Ok(to)
    }

    /// Makes the moves of a new view: of its context, if it has no other participant, else of that one.
    fn expand(
        &mut self,
        steps: &impl Steps,
        node: u32,
        other: Option<u32>,
        together: bool,
    ) -> Result<(), NoRoom> {
        let context = self.contexts.get(node).clone();
        let others: Vec<Participant> = other.iter().map(|one| *self.participants.get(*one)).collect();
        let mover = if others.is_empty() { Mover::Context } else { Mover::Other(0) };
        for step in steps.steps(&context, &others, mover)? {
            let to = self.arrive(steps, &step)?;
            if to != node && !together {
                self.edge(steps, node, Edge::Unchanged(to))?;
            }
        }
        if !self.nodes[node as usize].crashes && steps.may_crash(&context, &others)? {
            self.nodes[node as usize].crashes = true;
            for step in steps.steps(&context, &[], Mover::Crash)? {
                self.arrive(steps, &step)?;
            }
            self.edge(steps, node, Edge::Crash)?;
        }
        if let Some(other) = other {
            for edge in self.nodes[node as usize].edges.clone() {
                self.follow(steps, node, edge, other)?;
            }
            if together {
                self.pairs(steps, node, &context, other)?;
            }
        }
        Ok(())
    }

    fn edge(&mut self, steps: &impl Steps, node: u32, edge: Edge) -> Result<(), NoRoom> {
        if self.nodes[node as usize].edges.contains(&edge) {
            return Ok(());
        }
        self.nodes[node as usize].edges.push(edge);
        for other in self.nodes[node as usize].others.clone() {
            self.follow(steps, node, edge, other)?;
        }
        Ok(())
    }

    /// The effect of a move on another participant.
    fn follow(&mut self, steps: &impl Steps, node: u32, edge: Edge, other: u32) -> Result<(), NoRoom> {
        match edge {
            Edge::Unchanged(to) => self.add(steps, to, other),
            Edge::Crash => {
                let context = self.contexts.get(node).clone();
                let one = *self.participants.get(other);
                for step in steps.steps(&context, &[one], Mover::Crash)? {
                    self.arrive(steps, &step)?;
                }
                Ok(())
            }
        }
    }

    /// Moves this participant together with each other one, and with the context.
    fn pairs(&mut self, steps: &impl Steps, node: u32, context: &Context, other: u32) -> Result<(), NoRoom> {
        let one = *self.participants.get(other);
        for step in steps.steps(context, &[one], Mover::Context)? {
            self.arrive(steps, &step)?;
        }
        for second in self.nodes[node as usize].others.clone() {
            let pair = [one, *self.participants.get(second)];
            for mover in [Mover::Other(0), Mover::Other(1)] {
                for step in steps.steps(context, &pair, mover)? {
                    self.arrive(steps, &step)?;
                }
            }
        }
        Ok(())
    }
}
