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
    properties::{Property, applies},
    world::{Bounds, Judge, World},
};

/// "faults and crashes first, then length"
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Cost {
    pub(crate) harms: u8,
    pub(crate) length: u16,
}

impl std::fmt::Debug for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{}", self.harms, self.length)
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

/// The verdicts; none when there are more worlds than allowed.
pub(crate) fn judge(flow: &str, bounds: Bounds, max_worlds: usize) -> Option<Verdicts> {
    let judge = Judge::new(Flow::read(flow), bounds);
    let mut best: BTreeMap<Property, Cost> = BTreeMap::new();
    let space = Space::explore(&judge, max_worlds, &mut |property, cost| {
        let known = best.entry(property).or_insert(cost);
        *known = cost.min(*known);
    })?;
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

/// The worlds that can be reached, and the moves between them that no fault or crash makes.
struct Space {
    worlds: Vec<World>,
    costs: Vec<Cost>,
    /// By world, its part of `successors`.
    ranges: Vec<(u32, u32)>,
    /// The world that a move leads to; the highest bit: fairness is owed to the move.
    successors: Vec<u32>,
}

const OWED: u32 = 1 << 31;
const UNSEEN: (u32, u32) = (u32::MAX, u32::MAX);

impl Space {
    fn explore(judge: &Judge, max_worlds: usize, violated: &mut dyn FnMut(Property, Cost)) -> Option<Self> {
        let hasher = FixedState::default();
        let hash = |world: &World| hasher.hash_one(world);
        let mut ids: HashTable<(u64, u32)> = HashTable::new();
        let start = judge.initial();
        ids.insert_unique(hash(&start), (hash(&start), 0), |entry| entry.0);
        let (mut worlds, mut costs) = (vec![start], vec![Cost { harms: 0, length: 0 }]);
        let mut ranges: Vec<(u32, u32)> = vec![UNSEEN];
        let mut successors = Vec::new();
        // The worlds of one number of harms are finished, by length, before those of the next. A world that a harm
        // led to may turn out to be nearer by another way: it is opened again, and counts when it is met first.
        let mut open: BTreeMap<Cost, Vec<u32>> = BTreeMap::from([(costs[0], vec![0])]);
        let mut moves: Vec<Move> = Vec::new();
        let budget = judge.bounds.crashes + judge.bounds.faults;
        while let Some((cost, level)) = open.pop_first() {
            for id in level {
                if costs[id as usize] != cost || ranges[id as usize] != UNSEEN {
                    continue;
                }
                let world = worlds[id as usize].clone();
                let broken = judge.broken_in(&world);
                Property::ALL.iter().filter(|&&p| broken.has(p)).for_each(|&p| violated(p, cost));
                moves.clear();
                judge.moves(&world, &mut moves);
                let first = successors.len() as u32;
                for Move { to, owed, broke } in moves.drain(..) {
                    let harms = budget - to.crashes_left - to.faults_left;
                    let next = Cost { harms, length: cost.length + 1 };
                    Property::ALL.iter().filter(|&&p| broke.has(p)).for_each(|&p| violated(p, next));
                    let code = hash(&to);
                    let known = ids.find(code, |entry| entry.0 == code && worlds[entry.1 as usize] == to);
                    let to_id = match known {
                        Some(entry) => {
                            let id = entry.1;
                            if next < costs[id as usize] {
                                costs[id as usize] = next;
                                open.entry(next).or_default().push(id);
                            }
                            id
                        }
                        None => {
                            let new = worlds.len() as u32;
                            ids.insert_unique(code, (code, new), |entry| entry.0);
                            worlds.push(to);
                            costs.push(next);
                            ranges.push(UNSEEN);
                            open.entry(next).or_default().push(new);
                            new
                        }
                    };
                    if harms == cost.harms {
                        successors.push(to_id | if owed { OWED } else { 0 });
                    }
                }
                ranges[id as usize] = (first, successors.len() as u32);
            }
            if worlds.len() > max_worlds {
                return None;
            }
        }
        Some(Self { worlds, costs, ranges, successors })
    }

    fn moves_of(&self, id: usize) -> impl Iterator<Item = (usize, bool)> {
        let (from, to) = self.ranges[id];
        self.successors[from as usize..to as usize]
            .iter()
            .map(|&next| ((next & !OWED) as usize, next & OWED != 0))
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
