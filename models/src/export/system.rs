//! The exported system: variables, guarded commands and properties, found in the table of a walk.
//!
//! A row of the table becomes a case of a rule: rows of one action that change the same variables in the same way
//! share a rule, whose guard is the shortest that was found. No rule is written here.

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::{
    claims::{Claim, Named, Promise, violation},
    cover::{Bits, Cube, Literal, Matrix},
    vars::{ANOTHER, Kind, Names, Scope, Seat, Split, Var},
    walk::{Broadcast, Walk},
};
use crate::{
    model::{Action, Model},
    properties::Property,
};

type Map<K, V> = HashMap<K, V, FixedState>;

/// The change of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Update {
    Same,
    Increment,
    Decrement,
    Set(u8),
}

/// A guarded command.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// In words.
    pub(super) label: String,
    /// Any of these conditions.
    pub(super) guard: Vec<Cube>,
    /// The variables that change.
    pub(super) updates: Vec<(usize, Update)>,
    pub(super) broadcast: Broadcast,
}

/// A condition on a state.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    /// On the world.
    World(Vec<Cube>),
    /// True of the world and at least one participant.
    Some(Vec<Cube>),
}

/// A flow within its bounds.
pub(super) struct System {
    pub(super) vars: Vec<Var>,
    /// The values of each variable that occur.
    pub(super) domains: Vec<Vec<u8>>,
    pub(super) seats: Vec<Seat>,
    /// The first state: the world's variables, then those of each participant.
    pub(super) world: Vec<u8>,
    pub(super) participants: Vec<Vec<u8>>,
    pub(super) world_rules: Vec<Rule>,
    pub(super) participant_rules: Vec<Rule>,
    /// The changes of each participant by a crash, and by the first event that S3 leaves out.
    pub(super) killed: Vec<Rule>,
    pub(super) unclean: Vec<Rule>,
    /// True if a crash kills something.
    pub(super) may_crash: Option<Condition>,
    pub(super) under_way: Option<Condition>,
    /// The violation of each property.
    pub(super) violations: Vec<(Property, Claim)>,
    /// The properties that some state violates, as the model judges.
    pub(super) violated: Vec<Property>,
    pub(super) states: usize,
}

impl System {
    /// The number of the world's variables: they come first.
    pub(super) fn world_vars(&self) -> usize {
        self.vars.iter().filter(|var| var.scope == Scope::World).count()
    }
}

impl System {
    /// The names of the values of its variables.
    pub(super) fn value_names(&self) -> Vec<&'static Names> {
        let mut all: Vec<&'static Names> = Vec::new();
        for var in &self.vars {
            if let Kind::Number(Some(names)) = var.kind
                && !all.contains(&names)
            {
                all.push(names);
            }
        }
        all
    }
}

/// The table in terms of the variables that vary.
struct Table<'w> {
    walk: &'w Walk,
    vars: Vec<Var>,
    worlds: Vec<Vec<u8>>,
    participants: Vec<Vec<u8>>,
}

impl Table<'_> {
    fn pair(&self, world: u32, participant: u32) -> Vec<u8> {
        [self.worlds[world as usize].as_slice(), &self.participants[participant as usize]].concat()
    }

    fn world_vars(&self) -> usize {
        self.vars.iter().filter(|var| var.scope == Scope::World).count()
    }

    fn is_unclean(&self, world: u32) -> bool {
        let clean = self.vars.iter().position(|var| var.scope == Scope::World && var.name == "clean");
        clean.is_some_and(|clean| self.worlds[world as usize][clean] == 0)
    }
}

/// Rows that become one rule.
struct Group {
    broadcast: Broadcast,
    /// Something that S3 leaves out had happened before each row: then there is nothing left to forget.
    is_unclean: bool,
    updates: Vec<Update>,
    /// For each variable the value that it has after every row, if there is one.
    after: Vec<Option<u8>>,
    rows: Vec<usize>,
}

/// One row for [`rules`].
struct Case {
    label: String,
    broadcast: Broadcast,
    is_unclean: bool,
    row: usize,
    before: Vec<u8>,
    after: Vec<u8>,
}

pub(super) fn varying(all: &[Vec<u8>], vars: &[Var]) -> Vec<usize> {
    let varies = |var: &usize| all.iter().any(|values| values[*var] != all[0][*var]);
    (0..vars.len()).filter(varies).collect()
}

pub(super) fn project(all: &[Vec<u8>], columns: &[usize]) -> Vec<Vec<u8>> {
    all.iter().map(|values| columns.iter().map(|column| values[*column]).collect()).collect()
}

pub(super) fn system(model: &Model, walk: &Walk) -> System {
    let promise = Promise { uses: model.flow().object().uses };
    let world_columns = varying(&walk.worlds.all, &walk.world_vars);
    let participant_columns = varying(&walk.participants.all, &walk.participant_vars);
    let of = |vars: &[Var], columns: &[usize]| {
        columns.iter().map(|column| vars[*column].clone()).collect::<Vec<_>>()
    };
    let table = Table {
        walk,
        vars: [of(&walk.world_vars, &world_columns), of(&walk.participant_vars, &participant_columns)]
            .concat(),
        worlds: project(&walk.worlds.all, &world_columns),
        participants: project(&walk.participants.all, &participant_columns),
    };
    let Split { world, participants } = &walk.initial;
    let mut domains: Vec<Vec<u8>> = vec![Vec::new(); table.vars.len()];
    let world_vars = table.world_vars();
    for (offset, all) in [(0, &table.worlds), (world_vars, &table.participants)] {
        for values in all {
            for (var, value) in values.iter().enumerate() {
                if !domains[offset + var].contains(value) {
                    domains[offset + var].push(*value);
                }
            }
        }
    }
    domains.iter_mut().for_each(|domain| domain.sort_unstable());
    let states: Vec<usize> = (0..walk.states()).collect();
    let under_way = table.condition(&states, &|state| walk.under_way[state]);
    let may_crash: Vec<usize> =
        states.iter().copied().filter(|state| walk.may_crash[*state].is_some()).collect();
    let mut system = System {
        domains,
        seats: walk.seats.clone(),
        world: project(std::slice::from_ref(world), &world_columns).remove(0),
        participants: project(participants, &participant_columns),
        world_rules: table.world_rules(),
        participant_rules: table.participant_rules(),
        killed: table.broadcast(walk.killed.iter()),
        unclean: table.broadcast(walk.unclean.iter()),
        may_crash: table.condition(&may_crash, &|state| walk.may_crash[state] == Some(true)),
        under_way,
        violations: Vec::new(),
        violated: Vec::new(),
        states: walk.states(),
        vars: table.vars.clone(),
    };
    let constants = constants(walk, &world_columns, &participant_columns);
    let named = Named { vars: &table.vars, constants: &constants };
    for property in Property::MODELLED.iter().filter(|property| model.applies(**property)) {
        let Some(claim) = violation(*property, &named, promise) else { continue };
        if walk.violated.iter().any(|violated| violated & property.bit() != 0) {
            system.violated.push(*property);
        }
        system.violations.push((*property, claim));
    }
    system
}

/// The variables that never vary, with their values.
fn constants(walk: &Walk, world: &[usize], participant: &[usize]) -> Vec<(Var, u8)> {
    let of = |vars: &[Var], varying: &[usize], values: &[u8]| {
        let constant = (0..vars.len()).filter(|var| !varying.contains(var));
        constant.map(|var| (vars[var].clone(), values[var])).collect::<Vec<_>>()
    };
    let mut constants = of(&walk.world_vars, world, &walk.worlds.all[0]);
    constants.extend(of(&walk.participant_vars, participant, &walk.participants.all[0]));
    constants
}

impl Table<'_> {
    fn participant_rules(&self) -> Vec<Rule> {
        let pair_numbers: Map<(u32, u32), usize> =
            self.walk.pairs.iter().enumerate().map(|(number, pair)| (*pair, number)).collect();
        let column =
            |name: &str| self.vars.iter().position(|var| var.scope == Scope::Participant && var.name == name);
        // An attempt's action follows from its position.
        let place = |action: Action| -> Vec<usize> {
            let prefix = match action {
                Action::Promotion { consumer: 0, .. } => "",
                Action::Promotion { .. } => "retry_",
                _ => return Vec::new(),
            };
            ["stage", "at", "ending"].iter().filter_map(|name| column(&format!("{prefix}{name}"))).collect()
        };
        let mut order: Vec<(Action, Vec<u8>)> = Vec::new();
        let mut parts: Map<(Action, Vec<u8>), Vec<usize>> = Map::default();
        for (number, row) in self.walk.rows.iter().enumerate() {
            let Some((before, _)) = row.participant else { continue };
            let values = self.pair(row.world.0, before);
            let key = (row.action, place(row.action).iter().map(|var| values[*var]).collect::<Vec<u8>>());
            parts
                .entry(key.clone())
                .or_insert_with(|| {
                    order.push(key);
                    Vec::new()
                })
                .push(number);
        }
        let mut rules = Vec::new();
        for key in order {
            let columns = place(key.0);
            let is_here = |pair: &&(u32, u32)| {
                let values = self.pair(pair.0, pair.1);
                columns.iter().zip(&key.1).all(|(column, value)| values[*column] == *value)
            };
            let here: Vec<&(u32, u32)> = self.walk.pairs.iter().filter(is_here).collect();
            let rows_of: Map<usize, usize> =
                here.iter().enumerate().map(|(row, pair)| (pair_numbers[*pair], row)).collect();
            let matrix = Matrix::new(here.iter().map(|pair| self.pair(pair.0, pair.1)).collect());
            let cases = parts[&key].iter().map(|number| {
                let row = &self.walk.rows[*number];
                let (before, after) = row.participant.unwrap_or_default();
                Case {
                    label: row.label.clone(),
                    broadcast: row.broadcast,
                    is_unclean: self.is_unclean(row.world.0),
                    row: rows_of[&pair_numbers[&(row.world.0, before)]],
                    before: self.pair(row.world.0, before),
                    after: self.pair(row.world.1, after),
                }
            });
            let fixed: Cube = columns
                .iter()
                .zip(&key.1)
                .map(|(var, value)| Literal { var: *var, values: vec![*value] })
                .collect();
            for mut rule in self.rules(&matrix, cases.collect(), &self.vars) {
                for cube in &mut rule.guard {
                    cube.splice(0..0, fixed.iter().cloned());
                }
                rules.push(rule);
            }
        }
        rules
    }

    fn world_rules(&self) -> Vec<Rule> {
        let mut here: Vec<u32> = self.walk.world_of.clone();
        here.sort_unstable();
        here.dedup();
        let rows_of: Map<u32, usize> = here.iter().enumerate().map(|(row, world)| (*world, row)).collect();
        let matrix = Matrix::new(here.iter().map(|world| self.worlds[*world as usize].clone()).collect());
        let mut order: Vec<Action> = Vec::new();
        let mut parts: Map<Action, Vec<Case>> = Map::default();
        for row in self.walk.rows.iter().filter(|row| row.participant.is_none()) {
            let case = Case {
                label: row.label.clone(),
                broadcast: row.broadcast,
                is_unclean: self.is_unclean(row.world.0),
                row: rows_of[&row.world.0],
                before: self.worlds[row.world.0 as usize].clone(),
                after: self.worlds[row.world.1 as usize].clone(),
            };
            parts
                .entry(row.action)
                .or_insert_with(|| {
                    order.push(row.action);
                    Vec::new()
                })
                .push(case);
        }
        let vars = &self.vars[..self.world_vars()];
        order
            .into_iter()
            .flat_map(|action| self.rules(&matrix, parts.remove(&action).unwrap_or_default(), vars))
            .collect()
    }

    fn broadcast<'a>(&self, map: impl Iterator<Item = (&'a u32, &'a u32)>) -> Vec<Rule> {
        let mut pairs: Vec<(u32, u32)> = map.map(|(before, after)| (*before, *after)).collect();
        pairs.sort_unstable();
        if pairs.is_empty() {
            return Vec::new();
        }
        let values = |participant: u32| self.participants[participant as usize].clone();
        let matrix = Matrix::new(pairs.iter().map(|(before, _)| values(*before)).collect());
        let cases = pairs.iter().enumerate().map(|(row, (before, after))| Case {
            label: String::new(),
            broadcast: Broadcast::None,
            is_unclean: false,
            row,
            before: values(*before),
            after: values(*after),
        });
        let world_vars = self.world_vars();
        let mut rules = self.rules(&matrix, cases.collect(), &self.vars[world_vars..]);
        rules.retain(|rule| !rule.updates.is_empty());
        for rule in &mut rules {
            rule.updates.iter_mut().for_each(|(var, _)| *var += world_vars);
            rule.guard.iter_mut().flatten().for_each(|literal| literal.var += world_vars);
        }
        rules
    }

    /// The rules of the cases of one action; rows of the matrix without a case exclude it.
    fn rules(&self, matrix: &Matrix, cases: Vec<Case>, vars: &[Var]) -> Vec<Rule> {
        let mut order: Vec<String> = Vec::new();
        let mut labelled: Map<String, Vec<Group>> = Map::default();
        for case in cases {
            let updates: Vec<Update> = vars
                .iter()
                .enumerate()
                .map(|(var, about)| match (case.before[var], case.after[var], about.kind) {
                    (before, after, _) if before == after => Update::Same,
                    (before, after, Kind::Count) if after == before + 1 => Update::Increment,
                    (before, after, Kind::Count) if after + 1 == before => Update::Decrement,
                    (_, after, _) => Update::Set(after),
                })
                .collect();
            let groups = labelled.entry(case.label.clone()).or_insert_with(|| {
                order.push(case.label);
                Vec::new()
            });
            let alike = |group: &&mut Group| group.updates == updates && group.broadcast == case.broadcast;
            match groups.iter_mut().find(alike) {
                Some(group) => {
                    group.is_unclean &= case.is_unclean;
                    group.rows.push(case.row);
                    for (known, after) in group.after.iter_mut().zip(&case.after) {
                        *known = known.filter(|known| known == after);
                    }
                }
                None => {
                    let after = case.after.iter().copied().map(Some).collect();
                    let Case { broadcast, is_unclean, row, .. } = case;
                    groups.push(Group { broadcast, is_unclean, updates, after, rows: vec![row] });
                }
            }
        }
        let mut rules = Vec::new();
        for key in order {
            let groups = merged(labelled.remove(&key).unwrap_or_default(), vars);
            for group in groups {
                let mut wanted = Bits::empty(matrix.rows());
                group.rows.iter().for_each(|row| wanted.insert(*row));
                let mut excluded = Bits::empty(matrix.rows());
                (0..matrix.rows()).filter(|row| !wanted.has(*row)).for_each(|row| excluded.insert(row));
                let updates =
                    group.updates.iter().copied().enumerate().filter(|(_, update)| *update != Update::Same);
                rules.push(Rule {
                    label: key.clone(),
                    guard: matrix.cover(&wanted, &excluded),
                    updates: updates.collect(),
                    broadcast: group.broadcast,
                });
            }
        }
        rules
    }

    /// The condition that is true of exactly these states; none if it is in terms of neither the world nor of the world
    /// and one participant.
    fn condition(&self, states: &[usize], is_true: &dyn Fn(usize) -> bool) -> Option<Condition> {
        let seats = self.walk.seats.len();
        let world = |state: usize| std::iter::once(self.walk.world_of[state]).collect::<Vec<u32>>();
        let pairs = |state: usize| self.walk.pairs_of[state * seats..(state + 1) * seats].to_vec();
        let participants = |state: usize| {
            pairs(state).into_iter().map(|pair| self.walk.pairs[pair as usize].1).collect::<Vec<u32>>()
        };
        let world_vars = self.world_vars();
        let worlds = |world: u32| self.worlds[world as usize].clone();
        let alone = |participant: u32| self.participants[participant as usize].clone();
        let both = |pair: u32| {
            let (world, participant) = self.walk.pairs[pair as usize];
            self.pair(world, participant)
        };
        if let Some(cubes) = some(states, is_true, &world, &worlds) {
            return Some(Condition::World(cubes));
        }
        if let Some(mut cubes) = some(states, is_true, &participants, &alone) {
            cubes.iter_mut().flatten().for_each(|literal| literal.var += world_vars);
            return Some(Condition::Some(cubes));
        }
        some(states, is_true, &pairs, &both).map(Condition::Some)
    }
}

/// Cubes that are true of at least one part of each state that `is_true` names, and of no part of any other one.
fn some(
    states: &[usize],
    is_true: &dyn Fn(usize) -> bool,
    parts: &dyn Fn(usize) -> Vec<u32>,
    values: &dyn Fn(u32) -> Vec<u8>,
) -> Option<Vec<Cube>> {
    let mut excluded: HashSet<u32, FixedState> = HashSet::default();
    for state in states.iter().filter(|state| !is_true(**state)) {
        excluded.extend(parts(*state));
    }
    let mut wanted: HashSet<u32, FixedState> = HashSet::default();
    for state in states.iter().filter(|state| is_true(**state)) {
        let parts = parts(*state);
        let mut is_some = false;
        for part in parts.into_iter().filter(|part| !excluded.contains(part)) {
            is_some = true;
            wanted.insert(part);
        }
        if !is_some {
            return None;
        }
    }
    let mut all: Vec<(Vec<u8>, bool)> = excluded.iter().map(|part| (values(*part), false)).collect();
    all.extend(wanted.iter().map(|part| (values(*part), true)));
    all.sort_unstable();
    all.dedup();
    let (mut is_wanted, mut is_excluded) = (Bits::empty(all.len()), Bits::empty(all.len()));
    for (row, (_, is)) in all.iter().enumerate() {
        if *is { is_wanted.insert(row) } else { is_excluded.insert(row) }
    }
    if all.is_empty() || is_wanted.is_empty() {
        return Some(Vec::new());
    }
    Some(Matrix::new(all.into_iter().map(|(values, _)| values).collect()).cover(&is_wanted, &is_excluded))
}

/// The effect of both on other participants, if it is the same.
fn joint_broadcast(one: &Group, other: &Group) -> Option<Broadcast> {
    let forgets = |group: &Group| {
        group.broadcast == Broadcast::Unclean || (group.broadcast == Broadcast::None && group.is_unclean)
    };
    match (one.broadcast, other.broadcast) {
        (one, other) if one == other => Some(one),
        _ => (forgets(one) && forgets(other)).then_some(Broadcast::Unclean),
    }
}

/// Merges groups whose changes can be put as one: a variable that one group leaves as it is and another sets, where it
/// has that value after every row of both.
fn merged(mut groups: Vec<Group>, vars: &[Var]) -> Vec<Group> {
    groups.sort_by_key(|group| std::cmp::Reverse(group.rows.len()));
    let mut merged: Vec<Group> = Vec::new();
    'groups: for group in groups {
        for known in &mut merged {
            let Some(broadcast) = joint_broadcast(known, &group) else { continue };
            let joint: Option<Vec<Update>> = (0..vars.len())
                .map(|var| match (known.updates[var], group.updates[var]) {
                    (one, other) if one == other => Some(one),
                    _ => match (known.after[var], group.after[var]) {
                        (Some(one), Some(other))
                            if one == other && (vars[var].kind != Kind::Pointer || one != ANOTHER) =>
                        {
                            Some(Update::Set(one))
                        }
                        _ => None,
                    },
                })
                .collect();
            if let Some(updates) = joint {
                known.updates = updates;
                known.broadcast = broadcast;
                known.is_unclean &= group.is_unclean;
                known.rows.extend(&group.rows);
                for (known, other) in known.after.iter_mut().zip(&group.after) {
                    *known = known.filter(|known| Some(*known) == *other);
                }
                continue 'groups;
            }
        }
        merged.push(group);
    }
    merged
}
