//! Liveness: from every state, with faults off, is the inevitable reached on every fair path?
//!
//! A path is weakly fair unless an owed move stays enabled for ever from some point on and is never made. stateright's
//! `eventually` knows neither fairness nor cycles; this module examines the strongly connected components of the
//! pending states, in each of which a path could stay for ever.

use std::{collections::VecDeque, hash::Hash};

use petgraph::{algo::TarjanScc, csr::Csr, visit::NodeIndexable};

use crate::explorer::{Explored, FairnessClass, Id};

/// A fair run that never reaches the good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lasso {
    /// From an initial state, the shortest way to a state from which the good can be avoided.
    pub stem: Vec<Id>,
    /// On from the stem's last state, which is its first, to where the run stays.
    pub tail: Vec<Id>,
    /// Round and round, back to the tail's last state, which is its first; empty when it just stands still.
    pub cycle: Vec<Id>,
}

/// The states in which the good has yet to come, with the edges between them that are neither fault nor crash.
struct Region<'e, S> {
    explored: &'e Explored<S>,
    nodes: Vec<Id>,
    /// By shard and place; `OUTSIDE` elsewhere.
    index: Vec<Vec<u32>>,
}

const OUTSIDE: u32 = u32::MAX;

/// A way in which the good can be avoided, with the shortest stem there is; `None` when it always comes about.
/// `bit` tells which good: that of [`Explored::pending`].
///
/// Fewest faults and crashes come first (`faults`), then the shortest stem; `stem` chooses it among the states that are
/// left. Meaningless on an exploration that was cut off.
pub fn avoidable<S: Copy + Eq + Hash + Send + Sync>(
    explored: &Explored<S>,
    bit: u8,
    faults: impl Fn(&S) -> u32,
    stem: impl Fn(&[Id]) -> Vec<Id>,
) -> Option<Lasso> {
    let region = Region::new(explored, bit);
    let graph = region.graph();
    let mut avoids = vec![false; region.nodes.len()];
    // For each state the trap that it is part of.
    let mut trap_of = vec![OUTSIDE; region.nodes.len()];
    let mut traps: Vec<Vec<u32>> = Vec::new();
    let mut inside = vec![false; region.nodes.len()];
    // Components come after all that they lead to.
    TarjanScc::new().run(&graph, |component: &[u32]| {
        component.iter().for_each(|&node| inside[node as usize] = true);
        let is_trap = region.starved_classes(component, &inside) == 0;
        let leads_on =
            component.iter().any(|&node| region.edges(node).any(|(next, _)| avoids[next as usize]));
        for &node in component {
            inside[node as usize] = false;
            avoids[node as usize] = is_trap || leads_on;
            if is_trap {
                trap_of[node as usize] = traps.len() as u32;
            }
        }
        if is_trap {
            traps.push(component.to_vec());
        }
    });
    let rank = |id: Id| (faults(explored.packed(id)), explored.depth_of(id));
    let candidates = || (0..region.nodes.len()).filter(|&node| avoids[node]).map(|node| region.nodes[node]);
    let least = candidates().map(rank).min()?;
    let ends: Vec<Id> = candidates().filter(|id| rank(*id) == least).collect();
    let stem = stem(&ends);
    let last = *stem.last()?;
    let first = region.index[last.shard()][last.local()];

    let tail = region.walk(first, |node| trap_of[node as usize] != OUTSIDE, |_| true);
    let entry = *tail.last()?;
    let mut members = traps[trap_of[entry as usize] as usize].clone();
    members.sort_unstable();
    let ids = |nodes: &[u32]| nodes.iter().map(|&node| region.nodes[node as usize]).collect();
    Some(Lasso { stem, tail: ids(&tail), cycle: ids(&region.fair_cycle(entry, &members)) })
}

impl<'e, S: Copy + Eq + Hash + Send + Sync> Region<'e, S> {
    fn new(explored: &'e Explored<S>, bit: u8) -> Self {
        let mut nodes = Vec::new();
        let mut index: Vec<Vec<u32>> = Vec::new();
        for id in explored.ids() {
            if index.len() <= id.shard() {
                index.resize_with(id.shard() + 1, Vec::new);
            }
            let is_pending = explored.pending(id) & 1 << bit != 0;
            index[id.shard()].push(if is_pending { nodes.len() as u32 } else { OUTSIDE });
            if is_pending {
                nodes.push(id);
            }
        }
        Self { explored, nodes, index }
    }

    /// The moves from this state that are neither fault nor crash and after which the good has yet to come.
    fn edges(&self, node: u32) -> impl Iterator<Item = (u32, FairnessClass)> {
        self.calm_edges(node).filter(|(next, _)| *next != OUTSIDE)
    }

    fn calm_edges(&self, node: u32) -> impl Iterator<Item = (u32, FairnessClass)> {
        self.explored
            .successors(self.nodes[node as usize])
            .filter(|(_, mover)| *mover != FairnessClass::Fault)
            .map(|(id, mover)| (self.index[id.shard()][id.local()], mover))
    }

    fn graph(&self) -> Csr<(), (), petgraph::Directed, u32> {
        let mut edges = Vec::new();
        for node in 0..self.nodes.len() as u32 {
            let begin = edges.len();
            edges.extend(self.edges(node).map(|(next, _)| (node, next)));
            edges[begin..].sort_unstable();
        }
        edges.dedup();
        let mut graph = Csr::from_sorted_edges(&edges).expect("they are sorted, and none is there twice");
        while graph.node_bound() < self.nodes.len() {
            graph.add_node(());
        }
        graph
    }

    /// The classes that could move from this state, a bit for each.
    fn able(&self, node: u32) -> u32 {
        self.calm_edges(node).fold(0, |able, (_, mover)| able | bit_of(mover))
    }

    /// The classes that can move in every state of the component and never do within it.
    fn starved_classes(&self, component: &[u32], inside: &[bool]) -> u32 {
        let mut starved = u32::MAX;
        let mut moved = 0;
        for &node in component {
            starved &= self.able(node);
            for (next, mover) in self.edges(node) {
                if inside[next as usize] {
                    moved |= bit_of(mover);
                }
            }
        }
        starved & !moved
    }

    /// A shortest way from `from` to a state that is wanted, both included, through states that are allowed.
    fn walk(&self, from: u32, wanted: impl Fn(u32) -> bool, allowed: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut parents =
            hashbrown::HashMap::<u32, u32, _>::with_hasher(foldhash::fast::FixedState::default());
        parents.insert(from, from);
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            if wanted(node) {
                let mut path = vec![node];
                let mut at = node;
                while at != from {
                    at = parents[&at];
                    path.push(at);
                }
                path.reverse();
                return path;
            }
            for (next, _) in self.edges(node) {
                if allowed(next) && !parents.contains_key(&next) {
                    parents.insert(next, node);
                    queue.push_back(next);
                }
            }
        }
        Vec::new()
    }

    /// Round the component and back to `entry`, so that every class either moves or is somewhere not able to.
    fn fair_cycle(&self, entry: u32, members: &[u32]) -> Vec<u32> {
        let is_member = |node: u32| members.binary_search(&node).is_ok();
        if members.len() == 1 && !self.edges(entry).any(|(next, _)| next == entry) {
            return Vec::new();
        }
        let mut cycle = vec![entry];
        let at = |cycle: &[u32]| *cycle.last().expect("the entry is in it");
        let classes = members.iter().fold(0, |all, &node| all | self.able(node));
        for class in (0..u32::from(FairnessClass::CLASSES)).filter(|class| classes >> class & 1 == 1) {
            let idle = |node: u32| self.able(node) >> class & 1 == 0;
            let step = |node: u32| {
                let mine = |(_, mover): &(u32, FairnessClass)| bit_of(*mover) >> class & 1 == 1;
                self.edges(node).filter(mine).map(|(next, _)| next).find(|next| is_member(*next))
            };
            cycle.extend(
                self.walk(at(&cycle), |node| idle(node) || step(node).is_some(), is_member).iter().skip(1),
            );
            if let (false, Some(next)) = (idle(at(&cycle)), step(at(&cycle))) {
                cycle.push(next);
            }
        }
        if cycle.len() == 1 {
            cycle.extend(self.edges(entry).map(|(next, _)| next).find(|next| is_member(*next)));
        }
        cycle.extend(self.walk(at(&cycle), |node| node == entry, is_member).iter().skip(1));
        cycle
    }
}

fn bit_of(mover: FairnessClass) -> u32 {
    match mover {
        FairnessClass::Owed(class) => 1 << class,
        FairnessClass::Fault | FairnessClass::Optional => 0,
    }
}

#[cfg(test)]
mod tests;
