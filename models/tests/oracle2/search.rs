//! Every world, by faults and crashes first and then by length; and the fair ways to avoid what should come about.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, Hash, Hasher},
};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

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
        let hash = |world: &World| {
            let mut state = hasher.build_hasher();
            world.hash(&mut state);
            state.finish()
        };
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
    /// No move can be taken back without harm (asserted: there is no cycle), so every path comes to rest; it is fair
    /// if no move that fairness is owed to is possible where it rests.
    fn avoidable(&self, bad: impl Fn(&World) -> bool) -> Option<Cost> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Avoids,
            Arrives,
        }
        let bad: Vec<bool> = self.worlds.iter().map(bad).collect();
        let mut marks = vec![Mark::New; bad.len()];
        for root in 0..bad.len() {
            if !bad[root] || marks[root] != Mark::New {
                continue;
            }
            let mut path = vec![root];
            while let Some(&at) = path.last() {
                if marks[at] == Mark::New {
                    marks[at] = Mark::Open;
                    for (next, _) in self.moves_of(at).filter(|&(next, _)| bad[next]) {
                        match marks[next] {
                            Mark::New => path.push(next),
                            Mark::Open => panic!("a cycle of moves without harm"),
                            Mark::Avoids | Mark::Arrives => {}
                        }
                    }
                    continue;
                }
                path.pop();
                if marks[at] == Mark::Open {
                    let may_rest = self.moves_of(at).all(|(_, owed)| !owed);
                    let leads_on =
                        self.moves_of(at).any(|(next, _)| bad[next] && marks[next] == Mark::Avoids);
                    marks[at] = if may_rest || leads_on { Mark::Avoids } else { Mark::Arrives };
                }
            }
        }
        (0..bad.len()).filter(|&id| marks[id] == Mark::Avoids).map(|id| self.costs[id]).min()
    }
}
