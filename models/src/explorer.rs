//! The exact explorer: breadth-first, storing every state and edge. Its counterexamples are shortest.
//!
//! It explores any [`stateright::Model`] that also reports the findings of its states ([`Explorable`]); stateright's
//! own checker can run on the same model, and both must agree on the number of states.
//!
//! Invariants: states are compared in full, never by a fingerprint alone; the result does not depend on the number of
//! threads; a truncated exploration is reported as such.

mod calmest;

use std::{
    hash::{BuildHasher, Hash},
    ops::ControlFlow,
};

use foldhash::fast::FixedState;
use hashbrown::{HashTable, hash_table::Entry};
use rayon::prelude::*;

/// Fairness class of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FairnessClass {
    /// Faults and crashes: they stop at some time, and liveness is judged from there.
    Fault,
    /// A move that need never be made.
    Optional,
    /// A move that is made eventually if it stays enabled: its class, below [`FairnessClass::CLASSES`].
    Owed(u8),
}

impl FairnessClass {
    /// The number of fairness classes there can be.
    pub const CLASSES: u8 = 32;
    const FAULT: u8 = u8::MAX;
    const OPTIONAL: u8 = u8::MAX - 1;

    fn packed(self) -> u8 {
        match self {
            Self::Fault => Self::FAULT,
            Self::Optional => Self::OPTIONAL,
            Self::Owed(class) => class,
        }
    }

    fn unpacked(byte: u8) -> Self {
        match byte {
            Self::FAULT => Self::Fault,
            Self::OPTIONAL => Self::Optional,
            class => Self::Owed(class),
        }
    }
}

/// Findings of one state: a bit for each property.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Violated.
    pub broken: u32,
    /// Exercised.
    pub exercised: u32,
    /// The inevitable properties still pending: a bit for each.
    pub pending: u8,
}

/// A model whose states can be judged and packed, and whose moves have a mover.
pub trait Explorable: stateright::Model + Sync {
    /// Stored form of a state: two states are equal if and only if their packed forms are.
    type Packed: Copy + Eq + Hash + Send + Sync;
    /// Packs a state.
    fn pack(&self, state: &Self::State) -> Self::Packed;
    /// The state that [`pack`](Self::pack) packed.
    fn unpack(&self, packed: &Self::Packed) -> Self::State;
    /// Findings of this state.
    fn judge(&self, state: &Self::State) -> Findings;
    /// The faults and crashes in any run to this state: of two counterexamples, the one with fewer is shown.
    fn faults(&self, state: &Self::State) -> u32;
    /// Complexity of a run to this state for its reader: of equally short runs the cheapest is shown.
    fn cost(&self, state: &Self::State) -> u32;
    /// The caller that makes the move, for counting switches between callers: an index below 15; `None` for the world.
    fn caller(&self, _: &Self::Action) -> Option<u8> {
        None
    }
    /// Fairness class of this move.
    fn mover(&self, state: &Self::State, action: &Self::Action) -> FairnessClass;
}

/// Limits of an exploration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// States. Looked at between blocks, so that a run may go somewhat beyond.
    pub max_states: usize,
    /// Actions from the initial state.
    pub max_depth: usize,
    /// Bytes that states and edges take, as far as they are counted by [`Explored::bytes`].
    pub max_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_states: usize::MAX, max_depth: usize::MAX, max_bytes: usize::MAX }
    }
}

/// Why an exploration ended before it was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutOff {
    /// [`Limits::max_states`].
    States,
    /// [`Limits::max_depth`].
    Depth,
    /// [`Limits::max_bytes`].
    Memory,
    /// The progress callback stopped it.
    Stopped,
}

/// Progress of an exploration.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Unique states so far.
    pub states: usize,
    /// Edges so far.
    pub edges: usize,
    /// The level that is being explored, in actions from the initial state.
    pub depth: usize,
    /// Memory that is held, in bytes.
    pub bytes: usize,
}

/// Names a state of one exploration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u32);

/// Seeded, so that a run can be made again.
const HASHER: FixedState = FixedState::with_seed(0);
/// Fixed, so that nothing depends on the number of threads.
const SHARDS: usize = 16;
const SHARD_BITS: u32 = SHARDS.trailing_zeros();
/// More states than this are not numbered, so that no shard runs out of ids.
const MOST_STATES: usize = 1 << 31;
/// States that one task expands at a time.
const CHUNK: usize = 512;
/// Chunks between two looks at the limits.
const BLOCK: usize = 64;

impl Id {
    const NONE: Self = Self(u32::MAX);

    fn new(shard: usize, local: usize) -> Self {
        assert!(local < 1 << (u32::BITS - SHARD_BITS), "more states than there are ids");
        Self((local as u32) << SHARD_BITS | shard as u32)
    }

    pub(crate) fn shard(self) -> usize {
        self.0 as usize % SHARDS
    }

    pub(crate) fn local(self) -> usize {
        (self.0 >> SHARD_BITS) as usize
    }
}

struct Shard<S> {
    states: Vec<S>,
    table: HashTable<u32>,
    parents: Vec<Id>,
    pending: Vec<u8>,
    /// End of each expanded state's edges.
    ends: Vec<u32>,
    targets: Vec<Id>,
    movers: Vec<u8>,
    /// Start of each level.
    levels: Vec<u32>,
    /// For each property the first state that violates it: faults and crashes, level, cost, place.
    first_broken: [Option<(u32, usize, u32, u32)>; 32],
    exercised: u32,
}

impl<S> Default for Shard<S> {
    fn default() -> Self {
        Self {
            states: Vec::new(),
            table: HashTable::new(),
            parents: Vec::new(),
            pending: Vec::new(),
            ends: Vec::new(),
            targets: Vec::new(),
            movers: Vec::new(),
            levels: Vec::new(),
            first_broken: [None; 32],
            exercised: 0,
        }
    }
}

/// The graph as far as it was explored.
pub struct Explored<S> {
    shards: Vec<Shard<S>>,
    depth: usize,
    cut_off: Option<CutOff>,
}

/// The successors of some states of one shard.
struct Expanded<S> {
    degrees: Vec<u32>,
    /// For each edge the shard of its target, and its mover.
    routes: Vec<(u8, u8)>,
    buckets: [Vec<Arrival<S>>; SHARDS],
}

struct Arrival<S> {
    packed: S,
    hash: u64,
    parent: Id,
}

/// Explores `model`, on the current rayon pool. `watch` is called after each block of states and may stop it.
pub fn explore<M: Explorable>(
    model: &M,
    limits: Limits,
    watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Explored<M::Packed> {
    let mut explored =
        Explored { shards: (0..SHARDS).map(|_| Shard::default()).collect(), depth: 0, cut_off: None };
    for state in model.init_states() {
        let packed = model.pack(&state);
        let hash = HASHER.hash_one(packed);
        let shard = shard_of(hash);
        explored.shards[shard].insert(model, shard, Arrival { packed, hash, parent: Id::NONE });
    }
    loop {
        let frontier: Vec<(usize, usize, usize)> = explored
            .shards
            .iter()
            .enumerate()
            .flat_map(|(index, shard)| {
                let (from, to) = (shard.ends.len(), shard.states.len());
                (from..to).step_by(CHUNK).map(move |start| (index, start, to.min(start + CHUNK)))
            })
            .collect();
        for shard in &mut explored.shards {
            shard.levels.push(shard.ends.len() as u32);
        }
        if frontier.is_empty() {
            return explored;
        }
        if explored.depth == limits.max_depth {
            explored.cut_off = Some(CutOff::Depth);
            return explored;
        }
        for block in frontier.chunks(BLOCK) {
            explored.expand(model, block);
            let progress = explored.progress();
            explored.cut_off = match () {
                () if progress.states > limits.max_states.min(MOST_STATES) => Some(CutOff::States),
                () if progress.bytes > limits.max_bytes => Some(CutOff::Memory),
                () if watch(progress).is_break() => Some(CutOff::Stopped),
                () => None,
            };
            if explored.cut_off.is_some() {
                return explored;
            }
        }
        explored.depth += 1;
    }
}

fn shard_of(hash: u64) -> usize {
    // The table takes the low bits for its slots and the top seven for its tags.
    (hash >> 40) as usize % SHARDS
}

impl<S: Copy + Eq + Hash + Send + Sync> Explored<S> {
    fn expand<M: Explorable<Packed = S>>(&mut self, model: &M, block: &[(usize, usize, usize)]) {
        let shards = &self.shards;
        let expanded: Vec<Expanded<S>> = block
            .par_iter()
            .map(|&(shard, from, to)| expand_chunk(model, &shards[shard], shard, from, to))
            .collect();
        let arrived: Vec<Vec<Vec<Id>>> = self
            .shards
            .par_iter_mut()
            .enumerate()
            .map(|(index, shard)| {
                let chunks = expanded.iter().map(|chunk| &chunk.buckets[index]);
                chunks
                    .map(|bucket| bucket.iter().map(|arrival| shard.insert(model, index, *arrival)).collect())
                    .collect()
            })
            .collect();
        for (chunk, (&(shard, ..), expanded)) in block.iter().zip(&expanded).enumerate() {
            let shard = &mut self.shards[shard];
            let mut taken = [0; SHARDS];
            for &(to, mover) in &expanded.routes {
                let to = usize::from(to);
                shard.targets.push(arrived[to][chunk][taken[to]]);
                shard.movers.push(mover);
                taken[to] += 1;
            }
            let mut end = shard.ends.last().copied().unwrap_or(0);
            for degree in &expanded.degrees {
                end += degree;
                shard.ends.push(end);
            }
        }
    }

    fn progress(&self) -> Progress {
        Progress { states: self.states(), edges: self.edges(), depth: self.depth, bytes: self.bytes() }
    }

    /// The number of unique states.
    pub fn states(&self) -> usize {
        self.shards.iter().map(|shard| shard.states.len()).sum()
    }

    /// The number of edges: one for each action that is possible in a state.
    pub fn edges(&self) -> usize {
        self.shards.iter().map(|shard| shard.targets.len()).sum()
    }

    /// The number of actions to the farthest state.
    pub fn depth(&self) -> usize {
        self.depth.saturating_sub(1)
    }

    /// Why it ended early; `None` when every state was visited.
    pub fn cut_off(&self) -> Option<CutOff> {
        self.cut_off
    }

    /// The memory that states, edges and tables hold, in bytes.
    pub fn bytes(&self) -> usize {
        let of = |shard: &Shard<S>| {
            shard.states.capacity() * size_of::<S>()
                + shard.table.allocation_size()
                + shard.parents.capacity() * size_of::<Id>()
                + shard.pending.capacity()
                + shard.ends.capacity() * size_of::<u32>()
                + shard.targets.capacity() * size_of::<Id>()
                + shard.movers.capacity()
        };
        self.shards.iter().map(of).sum()
    }

    /// The properties that some state puts to the test, a bit for each.
    pub fn exercised(&self) -> u32 {
        self.shards.iter().fold(0, |bits, shard| bits | shard.exercised)
    }

    /// A state that violates the property of this bit: fewest faults and crashes first, then fewest actions.
    pub fn first_broken(&self, bit: usize) -> Option<Id> {
        let firsts = self.shards.iter().enumerate().filter_map(|(index, shard)| {
            let (faults, level, cost, local) = shard.first_broken[bit]?;
            Some((faults, level, cost, Id::new(index, local as usize)))
        });
        firsts.min().map(|(.., id)| id)
    }

    /// The state of this id, packed.
    pub fn packed(&self, id: Id) -> &S {
        &self.shards[id.shard()].states[id.local()]
    }

    /// Every state's id.
    pub fn ids(&self) -> impl Iterator<Item = Id> {
        self.shards
            .iter()
            .enumerate()
            .flat_map(|(index, shard)| (0..shard.states.len()).map(move |local| Id::new(index, local)))
    }

    /// The inevitable properties pending in this state.
    pub fn pending(&self, id: Id) -> u8 {
        self.shards[id.shard()].pending[id.local()]
    }

    /// The number of actions from the start.
    pub fn depth_of(&self, id: Id) -> usize {
        let levels = &self.shards[id.shard()].levels;
        levels.partition_point(|&begin| begin as usize <= id.local()).saturating_sub(1)
    }

    /// The edges that leave this state; `None` where a cut-off came before it was expanded.
    pub fn successors(&self, id: Id) -> impl Iterator<Item = (Id, FairnessClass)> {
        let shard = &self.shards[id.shard()];
        let end = |local: usize| shard.ends.get(local).map_or(shard.targets.len(), |&end| end as usize);
        let begin = if id.local() == 0 { 0 } else { end(id.local() - 1) };
        let edges = begin..end(id.local());
        edges.map(|edge| (shard.targets[edge], FairnessClass::unpacked(shard.movers[edge])))
    }

    /// A shortest way from an initial state to this one, both included.
    pub fn path_to(&self, id: Id) -> Vec<Id> {
        let parent = |id: &Id| {
            let parent = self.shards[id.shard()].parents[id.local()];
            (parent != Id::NONE).then_some(parent)
        };
        let mut path: Vec<Id> = std::iter::successors(Some(id), parent).collect();
        path.reverse();
        path
    }
}

impl<S: Copy + Eq + Hash> Shard<S> {
    fn insert<M: Explorable<Packed = S>>(&mut self, model: &M, index: usize, arrival: Arrival<S>) -> Id {
        let states = &self.states;
        let same = |&local: &u32| states[local as usize] == arrival.packed;
        let rehash = |&local: &u32| HASHER.hash_one(states[local as usize]);
        match self.table.entry(arrival.hash, same, rehash) {
            Entry::Occupied(known) => Id::new(index, *known.get() as usize),
            Entry::Vacant(vacant) => {
                let id = Id::new(index, states.len());
                vacant.insert(id.local() as u32);
                let state = model.unpack(&arrival.packed);
                let findings = model.judge(&state);
                self.states.push(arrival.packed);
                self.parents.push(arrival.parent);
                self.pending.push(findings.pending);
                self.exercised |= findings.exercised;
                let mut broken = findings.broken;
                while broken != 0 {
                    let first = &mut self.first_broken[broken.trailing_zeros() as usize];
                    let this =
                        (model.faults(&state), self.levels.len(), model.cost(&state), id.local() as u32);
                    *first = Some(first.map_or(this, |first| first.min(this)));
                    broken &= broken - 1;
                }
                id
            }
        }
    }
}

impl<S: Copy> Clone for Arrival<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Copy> Copy for Arrival<S> {}

fn expand_chunk<M: Explorable>(
    model: &M,
    shard: &Shard<M::Packed>,
    index: usize,
    from: usize,
    to: usize,
) -> Expanded<M::Packed> {
    let mut expanded = Expanded {
        degrees: Vec::with_capacity(to - from),
        routes: Vec::new(),
        buckets: std::array::from_fn(|_| Vec::new()),
    };
    let mut actions = Vec::new();
    for (local, packed) in (from..to).zip(&shard.states[from..to]) {
        let state = &model.unpack(packed);
        model.actions(state, &mut actions);
        let before = expanded.routes.len();
        for action in actions.drain(..) {
            let mover = model.mover(state, &action).packed();
            let Some(next) = model.next_state(state, action) else { continue };
            let packed = model.pack(&next);
            let hash = HASHER.hash_one(packed);
            let to = shard_of(hash);
            expanded.routes.push((to as u8, mover));
            let parent = Id::new(index, local);
            expanded.buckets[to].push(Arrival { packed, hash, parent });
        }
        expanded.degrees.push((expanded.routes.len() - before) as u32);
    }
    expanded
}
