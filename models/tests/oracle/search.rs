//! Every world, by faults and crashes first and then by length; and the fair ways to avoid what should come about.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::BuildHasher,
};

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use petgraph::{
    algo::kosaraju_scc,
    graph::{DiGraph, NodeIndex},
};

use crate::{
    flow::Flow,
    moves::Move,
    properties::{Broken, Property, applies},
    world::{Bounds, Judge, World},
};

/// "faults and crashes first, then length, then switches between callers"
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Cost {
    pub(crate) faults: u8,
    pub(crate) length: u16,
    pub(crate) switches: u16,
}

impl std::fmt::Debug for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{}/{}", self.faults, self.length, self.switches)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    DoesNotApply,
    Holds,
    /// By a best run of this cost.
    Violated(Cost),
}

pub(crate) type Verdicts = BTreeMap<&'static str, Verdict>;

/// The verdicts; `None` when there are more worlds than allowed.
pub(crate) fn judge(flow: &str, bounds: Bounds, max_worlds: usize) -> Option<Verdicts> {
    let judge = Judge::new(Flow::read(flow), bounds);
    let mut best: BTreeMap<Property, Cost> = BTreeMap::new();
    let mut space = Space::explore(&judge, max_worlds)?;
    space.measure(&mut |property, cost| {
        let known = best.entry(property).or_insert(cost);
        *known = cost.min(*known);
    });
    let mut note = |property: Property, cost: Option<Cost>| {
        if let Some(cost) = cost {
            let known = best.entry(property).or_insert(cost);
            *known = cost.min(*known);
        }
    };
    for (act, _) in judge.acts() {
        note(Property::L1, space.avoidable(|world| judge.lacks_effect(world, act)));
    }
    note(Property::L2, space.avoidable(|world| world.building != 0));
    let verdict = |property: Property| match best.get(&property) {
        _ if !applies(&judge.flow, property) => Verdict::DoesNotApply,
        None => Verdict::Holds,
        Some(cost) => Verdict::Violated(*cost),
    };
    Some(Property::ALL.iter().map(|&property| (property.id(), verdict(property))).collect())
}

/// A move between two worlds.
struct Edge {
    to: u32,
    /// Fairness is owed to it.
    owed: bool,
    /// A fault or a crash.
    is_fault: bool,
    by: Option<u8>,
    broke: Broken,
}

/// The worlds that can be reached, and the moves between them.
struct Space {
    worlds: Vec<World>,
    /// By world, what it violates.
    broken: Vec<Broken>,
    /// By world, the best cost of a run to it.
    costs: Vec<Cost>,
    /// By world, the end of its part of `edges`.
    ends: Vec<u32>,
    edges: Vec<Edge>,
}

/// Number of callers that are distinguished, and none.
const LAST: usize = 17;
const NONE: u8 = LAST as u8 - 1;

impl Space {
    fn explore(judge: &Judge, max_worlds: usize) -> Option<Self> {
        let hasher = FixedState::default();
        let hash = |world: &World| hasher.hash_one(world);
        let mut ids: HashTable<(u64, u32)> = HashTable::new();
        let start = judge.initial();
        ids.insert_unique(hash(&start), (hash(&start), 0), |entry| entry.0);
        let mut space = Self {
            worlds: vec![start],
            broken: Vec::new(),
            costs: Vec::new(),
            ends: Vec::new(),
            edges: Vec::new(),
        };
        let mut moves: Vec<Move> = Vec::new();
        while space.ends.len() < space.worlds.len() {
            let world = space.worlds[space.ends.len()].clone();
            space.broken.push(judge.broken_in(&world));
            judge.moves(&world, &mut moves);
            for Move { to, owed, by, broke } in moves.drain(..) {
                let is_fault = to.crashes_left != world.crashes_left || to.faults_left != world.faults_left;
                let code = hash(&to);
                let same = |entry: &(u64, u32)| entry.0 == code && space.worlds[entry.1 as usize] == to;
                let to = match ids.find(code, same) {
                    Some(entry) => entry.1,
                    None => {
                        let new = space.worlds.len() as u32;
                        ids.insert_unique(code, (code, new), |entry| entry.0);
                        space.worlds.push(to);
                        new
                    }
                };
                space.edges.push(Edge { to, owed, is_fault, by, broke });
            }
            space.ends.push(space.edges.len() as u32);
            if space.worlds.len() > max_worlds {
                return None;
            }
        }
        Some(space)
    }

    fn edges_of(&self, id: usize) -> &[Edge] {
        let from = if id == 0 { 0 } else { self.ends[id - 1] as usize };
        &self.edges[from..self.ends[id] as usize]
    }

    /// Finds the best cost of each world, and of each violation: from world to world by cost, where the cost of going on
    /// depends on the caller that moved last.
    fn measure(&mut self, violated: &mut dyn FnMut(Property, Cost)) {
        const FAR: Cost = Cost { faults: u8::MAX, length: u16::MAX, switches: u16::MAX };
        let start = Cost { faults: 0, length: 0, switches: 0 };
        let mut best = vec![FAR; self.worlds.len() * LAST];
        let mut costs = vec![FAR; self.worlds.len()];
        best[usize::from(NONE)] = start;
        let mut open: BTreeMap<Cost, Vec<(u32, u8)>> = BTreeMap::from([(start, vec![(0, NONE)])]);
        while let Some((cost, reached)) = open.pop_first() {
            for (id, last) in reached {
                let world = id as usize;
                if best[world * LAST + usize::from(last)] != cost {
                    continue;
                }
                costs[world] = cost.min(costs[world]);
                let broken = self.broken[world];
                Property::ALL.iter().filter(|&&p| broken.has(p)).for_each(|&p| violated(p, cost));
                for edge in self.edges_of(world) {
                    let switches = edge.by.is_some_and(|by| last != NONE && by != last);
                    let next = Cost {
                        faults: cost.faults + u8::from(edge.is_fault),
                        length: cost.length + 1,
                        switches: cost.switches + u16::from(switches),
                    };
                    Property::ALL.iter().filter(|&&p| edge.broke.has(p)).for_each(|&p| violated(p, next));
                    let last = edge.by.unwrap_or(last);
                    let known = &mut best[edge.to as usize * LAST + usize::from(last)];
                    if next < *known {
                        *known = next;
                        open.entry(next).or_default().push((edge.to, last));
                    }
                }
            }
        }
        self.costs = costs;
    }

    /// The moves that are neither fault nor crash, and whether fairness is owed to them.
    fn moves_of(&self, id: usize) -> impl Iterator<Item = (usize, bool)> {
        self.edges_of(id).iter().filter(|edge| !edge.is_fault).map(|edge| (edge.to as usize, edge.owed))
    }

    /// The best cost of a state from which some fair path without harm stays bad for ever.
    ///
    /// Such a path ends up in one strongly connected component of the bad states. Only decisions can be taken back
    /// (revoked, approved again), and fairness is not owed to them; nor do they make anything possible or impossible
    /// to which it is owed. So a path that stays in a component is fair if nothing is owed there.
    fn avoidable(&self, bad: impl Fn(&World) -> bool) -> Option<Cost> {
        let bad: Vec<bool> = self.worlds.iter().map(bad).collect();
        if !bad.contains(&true) {
            return None;
        }
        let mut graph = DiGraph::<(), ()>::with_capacity(bad.len(), 0);
        for _ in &bad {
            graph.add_node(());
        }
        for from in (0..bad.len()).filter(|&id| bad[id]) {
            for (to, _) in self.moves_of(from).filter(|&(to, _)| bad[to]) {
                graph.add_edge(NodeIndex::new(from), NodeIndex::new(to), ());
            }
        }
        let mut avoids = vec![false; bad.len()];
        // Each component comes after those that it leads to.
        for component in kosaraju_scc(&graph) {
            let members: BTreeSet<usize> = component.iter().map(|node| node.index()).collect();
            if members.iter().any(|&id| !bad[id]) {
                continue;
            }
            let owed = |id: usize| self.moves_of(id).any(|(_, owed)| owed);
            let anything_owed = members.iter().any(|&id| owed(id));
            assert!(
                members.iter().all(|&id| owed(id) == anything_owed),
                "decisions make owed moves possible"
            );
            let stays_in = |id: usize| self.moves_of(id).any(|(to, owed)| owed && members.contains(&to));
            assert!(!members.iter().any(|&id| stays_in(id)), "an owed move can be taken back");
            let leads_on = members.iter().any(|&id| self.moves_of(id).any(|(to, _)| avoids[to]));
            if !anything_owed || leads_on {
                members.iter().for_each(|&id| avoids[id] = true);
            }
        }
        (0..bad.len()).filter(|&id| avoids[id]).map(|id| self.costs[id]).min()
    }
}
