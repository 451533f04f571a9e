//! The counterexample that is shown: of the shortest runs one with the fewest switches between callers.

use std::hash::Hash;

use hashbrown::HashMap;

use super::{Explorable, Explored, HASHER, Id, SHARDS, Shard};

type Index<K> = HashMap<K, u32, foldhash::fast::FixedState>;

/// Number of callers that are distinguished, and none.
const LAST: usize = 16;
const NONE: usize = LAST - 1;
const UNREACHED: u32 = u32::MAX;

/// The fewest switches to a state, by the caller that moved last, and where they come from.
#[derive(Clone, Copy)]
struct Best {
    switches: [u32; LAST],
    from: [(u32, u8); LAST],
}

impl Best {
    const START: Self = Self { switches: [UNREACHED; LAST], from: [(0, 0); LAST] };
}

impl<S: Copy + Eq + Hash + Send + Sync> Explored<S> {
    /// A run to a state that violates the property of this bit: fewest faults and crashes, then fewest actions, then
    /// fewest switches between callers, then least [`cost`](Explorable::cost).
    pub fn calmest_violation<M: Explorable<Packed = S>>(&self, model: &M, bit: usize) -> Option<Vec<Id>> {
        let first = self.first_broken(bit)?;
        let faults = model.faults(&model.unpack(self.packed(first)));
        let is_violation = |id: &Id| {
            let state = model.unpack(self.packed(*id));
            model.faults(&state) == faults && model.judge(&state).broken >> bit & 1 == 1
        };
        let violations: Vec<Id> = self.at_depth(self.depth_of(first)).filter(is_violation).collect();
        Some(self.calmest(model, &violations))
    }

    /// A shortest way from an initial state to one of `ends`, which are all equally far: fewest switches first.
    pub fn calmest<M: Explorable<Packed = S>>(&self, model: &M, ends: &[Id]) -> Vec<Id> {
        let Some(&first) = ends.first() else { return Vec::new() };
        let layers = self.ways_to(ends, self.depth_of(first));
        // A search that was cut off may not have the edges that lead there.
        if layers.iter().any(Vec::is_empty) {
            return self.path_to(first);
        }
        let mut bests: Vec<Vec<Best>> = layers.iter().map(|layer| vec![Best::START; layer.len()]).collect();
        for best in &mut bests[0] {
            best.switches[NONE] = 0;
        }
        let mut actions = Vec::new();
        for depth in 0..layers.len() - 1 {
            let (before, after) = bests.split_at_mut(depth + 1);
            let (before, after) = (&before[depth], &mut after[0]);
            let mut places: Index<S> = HashMap::with_hasher(HASHER);
            places.extend((0..).zip(&layers[depth + 1]).map(|(place, id)| (*self.packed(*id), place)));
            for (place, id) in layers[depth].iter().enumerate() {
                let state = model.unpack(self.packed(*id));
                model.actions(&state, &mut actions);
                for action in actions.drain(..) {
                    let caller = model.caller(&action);
                    let Some(next) = model.next_state(&state, action) else { continue };
                    let Some(next) = places.get(&model.pack(&next)) else { continue };
                    relax(&before[place], place as u32, caller, &mut after[*next as usize]);
                }
            }
        }
        let end = |(place, id): (usize, &Id)| {
            let best = &bests[layers.len() - 1][place];
            let last = (0..LAST).min_by_key(|last| best.switches[*last]).unwrap_or(NONE);
            let cost = model.cost(&model.unpack(self.packed(*id)));
            (best.switches[last], cost, *id, place, last)
        };
        let Some((.., mut place, mut last)) = layers[layers.len() - 1].iter().enumerate().map(end).min()
        else {
            return Vec::new();
        };
        let mut path = Vec::with_capacity(layers.len());
        for depth in (0..layers.len()).rev() {
            path.push(layers[depth][place]);
            let (from, by) = bests[depth][place].from[last];
            (place, last) = (from as usize, usize::from(by));
        }
        path.reverse();
        path
    }

    /// For each depth the states on shortest ways to `ends`.
    fn ways_to(&self, ends: &[Id], depth: usize) -> Vec<Vec<Id>> {
        let mut layers = vec![ends.to_vec()];
        for depth in (0..depth).rev() {
            let mut wanted: HashMap<Id, (), foldhash::fast::FixedState> = HashMap::with_hasher(HASHER);
            wanted.extend(layers[layers.len() - 1].iter().map(|id| (*id, ())));
            let leads = |id: &Id| self.successors(*id).any(|(next, _)| wanted.contains_key(&next));
            layers.push(self.at_depth(depth).filter(leads).collect());
        }
        layers.reverse();
        layers
    }

    /// The states at this distance from the start.
    fn at_depth(&self, depth: usize) -> impl Iterator<Item = Id> {
        let locals = move |shard: &Shard<S>| {
            let begin = |depth: usize| shard.levels.get(depth).map_or(shard.states.len(), |at| *at as usize);
            begin(depth)..begin(depth + 1)
        };
        (0..SHARDS).flat_map(move |index| locals(&self.shards[index]).map(move |local| Id::new(index, local)))
    }
}

/// Goes on from `before` by a move of this caller.
fn relax(before: &Best, place: u32, caller: Option<u8>, after: &mut Best) {
    for last in (0..LAST).filter(|last| before.switches[*last] != UNREACHED) {
        let next = caller.map_or(last, usize::from);
        let switched = last != NONE && next != last;
        let switches = before.switches[last] + u32::from(switched);
        if (switches, place, last as u8) < (after.switches[next], after.from[next].0, after.from[next].1) {
            after.switches[next] = switches;
            after.from[next] = (place, last as u8);
        }
    }
}
