//! The walk: visits every state within the bounds by [`Model::moves`], and tabulates what each participant and the
//! world may do.
//!
//! The explorer and the walk share the model only. Invariants, checked on every edge: the moves of a participant
//! depend on the world and on its own variables, and leave the others as they are, other than by a crash or by the first
//! event that S3 leaves out. A flow of which this is not true is refused.

use std::ops::ControlFlow;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, hash_map::Entry};

use super::{
    Refused,
    vars::{ANOTHER, Reader, Seat, Var, seen_by},
};
use crate::{
    explorer::Explorable,
    model::{Action, Model},
    properties::Set,
    world::{Packed, State},
};

type Map<K, V> = HashMap<K, V, FixedState>;

/// Values by number, each once.
#[derive(Default)]
pub(super) struct Interned {
    pub(super) all: Vec<Vec<u8>>,
    numbers: Map<Vec<u8>, u32>,
}

impl Interned {
    pub(super) fn number(&mut self, value: Vec<u8>) -> u32 {
        let next = self.all.len() as u32;
        match self.numbers.entry(value) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                self.all.push(vacant.key().clone());
                *vacant.insert(next)
            }
        }
    }
}

/// The effect of a move on the participants other than its mover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Broadcast {
    /// Nothing.
    None,
    /// The kinds of their refusals are no longer told apart.
    Unclean,
    /// Those that run are killed.
    Crash,
}

/// One move: of whom, in which world, and what it does.
pub(super) struct Row {
    /// The action, with the attempts of the participant counted from 0.
    pub(super) action: Action,
    /// The participant's variables before and after; none: the world moves.
    pub(super) participant: Option<(u32, u32)>,
    /// The world before and after, as the mover sees it.
    pub(super) world: (u32, u32),
    pub(super) broadcast: Broadcast,
    /// In words.
    pub(super) label: String,
}

/// Everything that was seen.
pub(super) struct Walk {
    pub(super) seats: Vec<Seat>,
    pub(super) world_vars: Vec<Var>,
    pub(super) participant_vars: Vec<Var>,
    /// Worlds as a participant, or as no participant, sees them.
    pub(super) worlds: Interned,
    pub(super) participants: Interned,
    pub(super) rows: Vec<Row>,
    /// The participant after a crash, and after the first event that S3 leaves out.
    pub(super) killed: Map<u32, u32>,
    pub(super) unclean: Map<u32, u32>,
    /// Each state's world as the world sees it.
    pub(super) world_of: Vec<u32>,
    /// Each state's participants: the world as it sees it, and its variables.
    pub(super) pairs_of: Vec<u32>,
    pub(super) pairs: Vec<(u32, u32)>,
    pub(super) violated: Vec<Set>,
    pub(super) under_way: Vec<bool>,
    /// True where a crash was possible; none where no crash is left.
    pub(super) may_crash: Vec<Option<bool>>,
    /// The first state, as numbers.
    pub(super) initial: super::vars::Split,
}

impl Walk {
    pub(super) fn states(&self) -> usize {
        self.world_of.len()
    }
}

struct Walker<'m> {
    model: &'m Model,
    reader: Reader,
    pointers: Vec<usize>,
    states: Vec<Packed>,
    known: Map<Packed, u32>,
    /// Worlds with their pointers as they are, and for each the numbers of what is seen of it.
    absolute: Interned,
    seen: Vec<u32>,
    absolute_of: Vec<u32>,
    pair_numbers: Map<(u32, u32), u32>,
    row_numbers: Map<(Option<u32>, u32, Action), u32>,
    walk: Walk,
}

/// Walks through the states of `model`, at most `max_states`. `watch` is called with the number of states every now and
/// then, and may stop it.
pub(super) fn walk(
    model: &Model,
    max_states: usize,
    watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Walk, Refused> {
    let reader = Reader::new(model);
    let initial = model.initial();
    let (world_vars, participant_vars) = reader.names(&initial);
    let pointers =
        (0..world_vars.len()).filter(|var| world_vars[*var].kind == super::vars::Kind::Pointer).collect();
    let walk = Walk {
        seats: reader.seats.clone(),
        world_vars,
        participant_vars,
        worlds: Interned::default(),
        participants: Interned::default(),
        rows: Vec::new(),
        killed: Map::default(),
        unclean: Map::default(),
        world_of: Vec::new(),
        pairs_of: Vec::new(),
        pairs: Vec::new(),
        violated: Vec::new(),
        under_way: Vec::new(),
        may_crash: Vec::new(),
        initial: reader.read(&initial),
    };
    let mut walker = Walker {
        model,
        reader,
        pointers,
        states: Vec::new(),
        known: Map::default(),
        absolute: Interned::default(),
        seen: Vec::new(),
        absolute_of: Vec::new(),
        pair_numbers: Map::default(),
        row_numbers: Map::default(),
        walk,
    };
    walker.visit(&initial);
    let mut next = 0;
    while next < walker.states.len() {
        if walker.states.len() > max_states {
            return Err(Refused::TooMany(max_states));
        }
        if next.is_multiple_of(4096) && watch(walker.states.len()).is_break() {
            return Err(Refused::Stopped);
        }
        walker.expand(next)?;
        next += 1;
    }
    Ok(walker.walk)
}

impl Walker<'_> {
    fn visit(&mut self, state: &State) -> usize {
        let number = self.states.len() as u32;
        match self.known.entry(self.model.pack(state)) {
            Entry::Occupied(known) => return *known.get() as usize,
            Entry::Vacant(vacant) => {
                self.states.push(*vacant.key());
                vacant.insert(number);
            }
        }
        let split = self.reader.read(state);
        let seats = self.walk.seats.len();
        let world = split.world;
        let absolute = self.absolute.number(world);
        if absolute as usize * (seats + 1) == self.seen.len() {
            let world = &self.absolute.all[absolute as usize];
            let eyes = std::iter::once(None).chain(self.walk.seats.iter().copied().map(Some));
            for seat in eyes {
                self.seen.push(self.walk.worlds.number(seen_by(world, &self.pointers, seat)));
            }
        }
        let seen = absolute as usize * (seats + 1);
        self.absolute_of.push(absolute);
        self.walk.world_of.push(self.seen[seen]);
        for (index, values) in split.participants.into_iter().enumerate() {
            let participant = self.walk.participants.number(values);
            let pair = (self.seen[seen + 1 + index], participant);
            let next = self.walk.pairs.len() as u32;
            let number = *self.pair_numbers.entry(pair).or_insert(next);
            if number == next {
                self.walk.pairs.push(pair);
            }
            self.walk.pairs_of.push(number);
            if !state.world.clean {
                // Forgotten already.
                self.walk.unclean.entry(participant).or_insert(participant);
            }
        }
        self.walk.violated.push(self.model.judge(state).broken);
        self.walk.under_way.push(self.model.with_facts(state, |facts| facts.under_way));
        number as usize
    }

    fn expand(&mut self, from: usize) -> Result<(), Refused> {
        let state = self.model.unpack(&self.states[from]);
        let mut crashes = false;
        let moves: Vec<(State, Action)> = self.model.moves(&state).collect();
        for (next, action) in moves {
            let to = self.visit(&next);
            crashes |= action == Action::Crash;
            self.edge(&state, &next, action, from, to)?;
        }
        self.walk.may_crash.push((state.world.crashes_left > 0).then_some(crashes));
        Ok(())
    }

    /// Stores the row of this edge, or compares it with the known one.
    fn edge(
        &mut self,
        state: &State,
        next: &State,
        action: Action,
        from: usize,
        to: usize,
    ) -> Result<(), Refused> {
        let seats = self.walk.seats.len();
        let broadcast = match action {
            Action::Crash => Broadcast::Crash,
            _ if state.world.clean && !next.world.clean => Broadcast::Unclean,
            _ => Broadcast::None,
        };
        let mover = self.mover(action);
        let depends =
            |what: &str| Err(Refused::Depends(format!("{what}, in: {}", self.model.narrate(state, action))));
        let pair =
            |walk: &Walk, state: usize, seat: usize| walk.pairs[walk.pairs_of[state * seats + seat] as usize];
        for seat in (0..seats).filter(|seat| Some(*seat) != mover) {
            let (before, after) = (pair(&self.walk, from, seat).1, pair(&self.walk, to, seat).1);
            let known = match broadcast {
                Broadcast::None => before,
                Broadcast::Unclean => *self.walk.unclean.entry(before).or_insert(after),
                Broadcast::Crash => *self.walk.killed.entry(before).or_insert(after),
            };
            if known != after {
                return depends("a move changes another participant");
            }
        }
        let (before, after) = (self.absolute_of[from], self.absolute_of[to]);
        let eye =
            |absolute: u32| self.seen[absolute as usize * (seats + 1) + mover.map_or(0, |seat| seat + 1)];
        let world = (eye(before), eye(after));
        for pointer in &self.pointers {
            let of = |absolute: u32| self.absolute.all[absolute as usize][*pointer];
            let stays = self.walk.worlds.all[world.1 as usize][*pointer] == ANOTHER;
            if stays && of(before) != of(after) {
                return depends("a move makes the world refer to another participant");
            }
        }
        let participant = mover.map(|seat| (pair(&self.walk, from, seat).1, pair(&self.walk, to, seat).1));
        let action = relative(action, mover.map(|seat| self.walk.seats[seat].first));
        let key = (participant.map(|(before, _)| before), world.0, action);
        let number = self.walk.rows.len() as u32;
        match self.row_numbers.entry(key) {
            Entry::Occupied(known) => {
                let known = &self.walk.rows[*known.get() as usize];
                if (known.participant, known.world, known.broadcast) != (participant, world, broadcast) {
                    return depends("a move depends on another participant");
                }
            }
            Entry::Vacant(vacant) => {
                vacant.insert(number);
                let label = self.model.narrate(state, by_original(action, self, mover)).to_string();
                self.walk.rows.push(Row { action, participant, world, broadcast, label: nameless(&label) });
            }
        }
        Ok(())
    }

    /// The participant whose variables an action may change.
    fn mover(&self, action: Action) -> Option<usize> {
        let own_keys = self.model.flow().object().uses > 1;
        let attempt = match action {
            Action::Promotion { consumer, .. }
            | Action::DeployEnds { consumer, .. }
            | Action::MarkerEnds { consumer } => consumer,
            Action::Lease { slot, .. }
            | Action::LaunchJob { slot, .. }
            | Action::JobDeployEnds { slot, .. }
                if own_keys =>
            {
                slot
            }
            _ => return None,
        };
        self.walk.seats.iter().position(|seat| seat.has(attempt))
    }
}

/// The action with the attempts of its mover counted from `first`.
fn shifted(action: Action, shift: impl Fn(u8) -> u8) -> Action {
    match action {
        Action::Promotion { consumer, outcome } => Action::Promotion { consumer: shift(consumer), outcome },
        Action::DeployEnds { consumer, act } => Action::DeployEnds { consumer: shift(consumer), act },
        Action::MarkerEnds { consumer } => Action::MarkerEnds { consumer: shift(consumer) },
        Action::Lease { act, slot } => Action::Lease { act, slot: shift(slot) },
        Action::LaunchJob { act, slot } => Action::LaunchJob { act, slot: shift(slot) },
        Action::JobDeployEnds { act, slot } => Action::JobDeployEnds { act, slot: shift(slot) },
        other => other,
    }
}

fn relative(action: Action, first: Option<u8>) -> Action {
    first.map_or(action, |first| shifted(action, |attempt| attempt - first))
}

fn by_original(action: Action, walker: &Walker<'_>, mover: Option<usize>) -> Action {
    mover.map_or(action, |seat| shifted(action, |attempt| attempt + walker.walk.seats[seat].first))
}

/// Says the same of any caller.
pub(super) fn nameless(label: &str) -> String {
    let (of, rest) = label.split_once("caller ").unwrap_or(("", label));
    let rest = rest.trim_start_matches(|letter: char| letter.is_ascii_digit()).trim_start();
    let rest = rest.strip_prefix("(another payload) ").unwrap_or(rest);
    match label.contains("caller ") {
        true => format!("{of}caller {rest}"),
        false => ["stranger ", "scanner "]
            .iter()
            .find_map(|role| label.strip_prefix(role))
            .map_or(label.to_owned(), |rest| format!("caller {rest}")),
    }
}
