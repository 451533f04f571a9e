//! The table for any number of participants: every world with every participant that may meet it, until none is new.
//!
//! A move of one participant takes every other one of the same world along. More participants meet here than in a run:
//! the table has every row that some run needs, and rows that none does. Crashes and faults are never used up.

use std::ops::ControlFlow;

use countersign::protocol::{Flow, Method, Retry, StepAction, Via};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet, hash_map::Entry};

use super::{
    Refused,
    vars::{Kind, Reader},
    walk::{Broadcast, Interned, Row, Walk, nameless},
};
use crate::{
    model::{Action, Cast, Model, Role},
    world::{Attempt, State, World},
};

type Map<K, V> = HashMap<K, V, FixedState>;
type Set<T> = HashSet<T, FixedState>;

/// A class of participants, by its index in [`Closure::models`], and the attempts of one of it.
type Participant = (usize, [Attempt; 2]);

/// Values by number, each once.
struct Numbered<T> {
    all: Vec<T>,
    numbers: Map<T, u32>,
}

impl<T: Copy + Eq + std::hash::Hash> Numbered<T> {
    fn new() -> Self {
        Self { all: Vec::new(), numbers: Map::default() }
    }

    fn number(&mut self, value: T) -> u32 {
        let next = self.all.len() as u32;
        match self.numbers.entry(value) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                self.all.push(value);
                *vacant.insert(next)
            }
        }
    }
}

/// The participants that may meet a world, and the worlds to which its moves take them.
#[derive(Default)]
struct Node {
    members: Vec<u32>,
    known: Set<u32>,
    edges: Vec<(u32, Broadcast)>,
    known_edges: Set<(u32, Broadcast)>,
}

struct Closure {
    models: Vec<Model>,
    worlds: Numbered<World>,
    participants: Numbered<Participant>,
    nodes: Vec<Node>,
    queue: Vec<(u32, u32)>,
    rows: Vec<Row>,
    killed: Map<u32, u32>,
    unclean: Map<u32, u32>,
}

/// The table of `flow`, at most `most` rows. `watch` is called with the number of rows every now and then, and may stop
/// it.
pub(super) fn closure(
    flow: Flow,
    most: usize,
    watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Walk, Refused> {
    let object = flow.object();
    let is_shared = |action: &StepAction| matches!(action, StepAction::Act(act) if matches!(act.via, Via::Call { key: true }));
    if flow.steps().iter().any(|step| step.is_undone() && is_shared(&step.action)) {
        return Err(Refused::Depends(
            "the undo of a call under a key takes the effect back for every caller".to_owned(),
        ));
    }
    if object.uses > 1 {
        return Err(Refused::Depends(
            "the object may be used more than once, so that every use has rows of its own".to_owned(),
        ));
    }
    let retries = flow.endpoint().retry != Retry::None;
    let roles = [
        (Role::Caller { index: 0, foreign: false }, true, retries),
        (Role::Caller { index: 0, foreign: true }, object.bound, retries),
        (Role::OtherTenant, object.owner, false),
        (Role::Scanner, flow.endpoint().method == Method::Get, false),
    ];
    let base = Model::unseated(flow);
    let models = roles.into_iter().filter(|(_, takes_part, _)| *takes_part).map(|(role, _, retries)| {
        let retry = retries.then_some(Cast { role, retry_of: Some(0) });
        base.seated(std::iter::once(Cast { role, retry_of: None }).chain(retry).collect())
    });
    let mut closure = Closure {
        models: models.collect(),
        worlds: Numbered::new(),
        participants: Numbered::new(),
        nodes: Vec::new(),
        queue: Vec::new(),
        rows: Vec::new(),
        killed: Map::default(),
        unclean: Map::default(),
    };
    let initial = base.initial();
    closure.node(initial.world)?;
    let mut turns = 0_usize;
    while let Some((world, participant)) = closure.queue.pop() {
        closure.expand(world, participant)?;
        turns += 1;
        if closure.rows.len() > most {
            return Err(Refused::TooMany(most));
        }
        if turns.is_multiple_of(256) && watch(closure.rows.len()).is_break() {
            return Err(Refused::Stopped);
        }
    }
    Ok(closure.table(&initial))
}

impl Closure {
    /// The number of this world; a new one is met by participants that have not begun.
    fn node(&mut self, world: World) -> Result<u32, Refused> {
        // Neither is ever used up.
        let world = World { crashes_left: 1, faults_left: 1, ..world };
        let refers = world.last_user.is_some()
            || world.lease_last.is_some()
            || world.vault_writer.is_some()
            || world.writers.iter().any(Option::is_some)
            || world.lease != Default::default();
        if refers {
            return Err(Refused::Depends(
                "the world refers to an attempt (a lease, or what an undo restores)".to_owned(),
            ));
        }
        let number = self.worlds.number(world);
        if number as usize == self.nodes.len() {
            self.nodes.push(Node::default());
            for class in 0..self.models.len() {
                let waiting = self.participants.number((class, Default::default()));
                self.meet(number, waiting);
            }
            self.move_world(number)?;
        }
        Ok(number)
    }

    fn meet(&mut self, world: u32, participant: u32) {
        // By hand: a chain of worlds may be long.
        let mut open = vec![(world, participant)];
        while let Some((world, participant)) = open.pop() {
            let node = &mut self.nodes[world as usize];
            if !node.known.insert(participant) {
                continue;
            }
            node.members.push(participant);
            self.queue.push((world, participant));
            let edges = node.edges.clone();
            for (to, broadcast) in edges {
                open.push((to, self.seen(participant, broadcast)));
            }
        }
    }

    /// A move that other participants see.
    fn edge(&mut self, from: u32, to: u32, broadcast: Broadcast) {
        let node = &mut self.nodes[from as usize];
        if node.known_edges.insert((to, broadcast)) {
            node.edges.push((to, broadcast));
            for member in node.members.clone() {
                let after = self.seen(member, broadcast);
                self.meet(to, after);
            }
        }
    }

    fn state(&self, world: World, (_, attempts): Participant) -> State {
        let mut state = State { world, attempts: Default::default() };
        state.attempts[..2].copy_from_slice(&attempts);
        state
    }

    /// The participant after a move of another one.
    fn seen(&mut self, participant: u32, broadcast: Broadcast) -> u32 {
        let (known, action) = match broadcast {
            Broadcast::None => return participant,
            // A lease that is not held ends: nothing changes but what is no longer told apart.
            Broadcast::Unclean => (&self.unclean, Action::LeaseEnds),
            Broadcast::Crash => (&self.killed, Action::Crash),
        };
        if let Some(known) = known.get(&participant) {
            return *known;
        }
        let (class, attempts) = self.participants.all[participant as usize];
        let world = World { clean: false, ..self.worlds.all[0] };
        let state = self.state(world, (class, attempts));
        let after = self.models[class].apply(&state, action).unwrap_or(state);
        let after = self.participants.number((class, [after.attempts[0], after.attempts[1]]));
        let map = if broadcast == Broadcast::Crash { &mut self.killed } else { &mut self.unclean };
        map.insert(participant, after);
        after
    }

    fn broadcast(action: Action, before: &World, after: &World) -> Broadcast {
        match action {
            Action::Crash => Broadcast::Crash,
            _ if before.clean && !after.clean => Broadcast::Unclean,
            _ => Broadcast::None,
        }
    }

    /// The moves that no participant makes. A crash may kill a participant that is not here.
    fn move_world(&mut self, number: u32) -> Result<(), Refused> {
        let world = self.worlds.all[number as usize];
        let state = self.state(world, (0, Default::default()));
        let mut actions = Vec::new();
        self.models[0].candidates(&state, &mut actions);
        actions.retain(|action| !is_own(*action) && *action != Action::Crash);
        actions.push(Action::Crash);
        for action in actions {
            let Some(next) = self.models[0].apply(&state, action) else { continue };
            let label = nameless(&self.models[0].narrate(&state, action).to_string());
            let broadcast = Self::broadcast(action, &world, &next.world);
            let to = self.node(next.world)?;
            self.edge(number, to, broadcast);
            self.rows.push(Row { action, participant: None, world: (number, to), broadcast, label });
        }
        Ok(())
    }

    fn expand(&mut self, number: u32, participant: u32) -> Result<(), Refused> {
        let world = self.worlds.all[number as usize];
        let (class, attempts) = self.participants.all[participant as usize];
        let state = self.state(world, (class, attempts));
        let mut actions = Vec::new();
        self.models[class].candidates(&state, &mut actions);
        for action in actions.into_iter().filter(|action| is_own(*action)) {
            let Some(next) = self.models[class].apply(&state, action) else { continue };
            let label = nameless(&self.models[class].narrate(&state, action).to_string());
            let broadcast = Self::broadcast(action, &world, &next.world);
            let to = self.node(next.world)?;
            let after = self.participants.number((class, [next.attempts[0], next.attempts[1]]));
            self.meet(to, after);
            self.edge(number, to, broadcast);
            let participant = Some((participant, after));
            self.rows.push(Row { action, participant, world: (number, to), broadcast, label });
        }
        Ok(())
    }

    /// The table as a walk whose states are a world and one participant.
    fn table(self, initial: &State) -> Walk {
        let readers: Vec<Reader> = self.models.iter().map(Reader::new).collect();
        // A class with a retry has the variables of one.
        let widest = readers.iter().position(|reader| reader.seats[0].has_retry).unwrap_or(0);
        let (world_vars, participant_vars) = readers[widest].names(initial);
        debug_assert!(participant_vars.iter().all(|var| var.kind != Kind::Pointer));
        let mut worlds = Interned::default();
        let world_numbers: Vec<u32> = self
            .worlds
            .all
            .iter()
            .map(|world| worlds.number(readers[0].read(&self.state(*world, (0, Default::default()))).world))
            .collect();
        let mut participants = Interned::default();
        let participant_numbers: Vec<u32> = self
            .participants
            .all
            .iter()
            .map(|one| {
                let split = readers[one.0].read(&self.state(initial.world, *one));
                participants.number(split.participants.into_iter().next().unwrap_or_default())
            })
            .collect();
        let of = |map: &Map<u32, u32>| {
            map.iter()
                .map(|(before, after)| {
                    (participant_numbers[*before as usize], participant_numbers[*after as usize])
                })
                .collect()
        };
        let world = |number: u32| world_numbers[number as usize];
        let one = |number: u32| participant_numbers[number as usize];
        let mut walk = Walk {
            seats: vec![readers[0].seats[0]],
            world_vars,
            participant_vars,
            rows: Vec::new(),
            killed: of(&self.killed),
            unclean: of(&self.unclean),
            world_of: Vec::new(),
            pairs_of: Vec::new(),
            pairs: Vec::new(),
            violated: Vec::new(),
            under_way: Vec::new(),
            may_crash: Vec::new(),
            initial: readers[0].read(initial),
            worlds,
            participants,
        };
        walk.initial.participants = self
            .models
            .iter()
            .zip(&readers)
            .flat_map(|(_, reader)| {
                reader.read(&self.state(initial.world, (0, Default::default()))).participants
            })
            .collect();
        for (number, node) in (0..).zip(&self.nodes) {
            for member in &node.members {
                let (class, _) = self.participants.all[*member as usize];
                let state =
                    self.state(self.worlds.all[number as usize], self.participants.all[*member as usize]);
                if !state.world.clean {
                    walk.unclean.entry(one(*member)).or_insert_with(|| one(*member));
                }
                walk.pairs_of.push(walk.pairs.len() as u32);
                walk.pairs.push((world(number), one(*member)));
                walk.world_of.push(world(number));
                walk.violated.push(0);
                walk.under_way.push(self.models[class].with_facts(&state, |facts| facts.under_way));
                walk.may_crash.push(None);
            }
        }
        walk.rows = self
            .rows
            .into_iter()
            .map(|row| Row {
                participant: row.participant.map(|(before, after)| (one(before), one(after))),
                world: (world(row.world.0), world(row.world.1)),
                ..row
            })
            .collect();
        walk
    }
}

/// True of the moves that a participant makes.
fn is_own(action: Action) -> bool {
    matches!(action, Action::Promotion { .. } | Action::DeployEnds { .. } | Action::MarkerEnds { .. })
}
