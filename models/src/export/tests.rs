//! The exported rules, carried out here: they reach as many states as the model, and a broken export does not.

use std::ops::ControlFlow;

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use super::{
    claims::Shown,
    cover::{Cube, Literal},
    system::{self, Condition, Rule, System, Update},
    vars::{ANOTHER, Kind, NO_ATTEMPT, OWN_FIRST, OWN_RETRY},
    walk::{Broadcast, Walk, walk},
};
use crate::{
    explorer::{self, explore},
    flows::{BUILT_IN, BuiltIn, CASES},
    model::{Bounds, Model},
    properties::Property,
};

const SMALL: Bounds = Bounds { consumers: 2, crashes: 1, faults: 1 };

fn model(name: &str, bounds: Bounds) -> Model {
    Model::new(BuiltIn::find(name).expect("a built-in flow").subject().flow, bounds)
}

fn walked(model: &Model) -> Walk {
    walk(model, usize::MAX, &mut |_| ControlFlow::Continue(())).expect("it can be exported")
}

/// A state of the exported system; pointers hold attempts from 1, two of each participant.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Exported {
    world: Vec<u8>,
    participants: Vec<Vec<u8>>,
}

/// The rules, carried out.
struct Run<'s> {
    system: &'s System,
    world_vars: usize,
}

impl Run<'_> {
    fn value(&self, state: &Exported, var: usize, me: Option<usize>) -> u8 {
        match var.checked_sub(self.world_vars) {
            Some(own) => state.participants[me.expect("a participant")][own],
            None if self.system.vars[var].kind == Kind::Pointer => {
                let own = me.map(|me| 2 * me as u8);
                match state.world[var] {
                    0 => NO_ATTEMPT,
                    attempt if own.is_some_and(|own| attempt == own + 1) => OWN_FIRST,
                    attempt if own.is_some_and(|own| attempt == own + 2) => OWN_RETRY,
                    _ => ANOTHER,
                }
            }
            None => state.world[var],
        }
    }

    fn is(&self, state: &Exported, cube: &Cube, me: Option<usize>) -> bool {
        cube.iter().all(|Literal { var, values }| values.contains(&self.value(state, *var, me)))
    }

    fn any(&self, state: &Exported, cubes: &[Cube], me: Option<usize>) -> bool {
        cubes.iter().any(|cube| self.is(state, cube, me))
    }

    fn holds(&self, state: &Exported, condition: &Option<Condition>) -> bool {
        match condition {
            None => false,
            Some(Condition::World(cubes)) => self.any(state, cubes, None),
            Some(Condition::Some(cubes)) => {
                (0..state.participants.len()).any(|me| self.any(state, cubes, Some(me)))
            }
        }
    }

    fn update(&self, before: &Exported, after: &mut Exported, rule: &Rule, me: Option<usize>) {
        for (var, update) in &rule.updates {
            let known = self.value(before, *var, me);
            let is_pointer = self.system.vars[*var].kind == Kind::Pointer;
            let value = match (update, me) {
                (Update::Same, _) => known,
                (Update::Increment, _) => known + 1,
                (Update::Decrement, _) => known - 1,
                (Update::Set(OWN_FIRST | OWN_RETRY), None) if is_pointer => panic!("the world is no attempt"),
                (Update::Set(to), Some(me)) if is_pointer && *to != NO_ATTEMPT => 2 * me as u8 + to,
                (Update::Set(to), _) => *to,
            };
            match var.checked_sub(self.world_vars) {
                Some(own) => after.participants[me.expect("a participant")][own] = value,
                None => after.world[*var] = value,
            }
        }
    }

    fn broadcast(&self, before: &Exported, after: &mut Exported, rule: &Rule, me: Option<usize>) {
        let rules = match rule.broadcast {
            Broadcast::None => return,
            Broadcast::Unclean => &self.system.unclean,
            Broadcast::Crash => &self.system.killed,
        };
        for other in (0..before.participants.len()).filter(|other| Some(*other) != me) {
            for rule in rules.iter().filter(|rule| self.any(before, &rule.guard, Some(other))) {
                self.update(before, after, rule, Some(other));
            }
        }
    }

    fn successors(&self, state: &Exported) -> Vec<Exported> {
        let everyone = (0..state.participants.len()).map(Some);
        let of = |rules, me| (rules, me);
        let movers = everyone
            .map(|me| of(&self.system.participant_rules, me))
            .chain(std::iter::once(of(&self.system.world_rules, None)));
        let mut all = Vec::new();
        for (rules, me) in movers {
            for rule in rules.iter().filter(|rule| self.any(state, &rule.guard, me)) {
                if rule.broadcast == Broadcast::Crash && !self.holds(state, &self.system.may_crash) {
                    continue;
                }
                let mut next = state.clone();
                self.update(state, &mut next, rule, me);
                self.broadcast(state, &mut next, rule, me);
                all.push(next);
            }
        }
        all
    }

    /// The states, up to `most`, and the properties that some state violates.
    fn explore(&self, most: usize) -> (usize, Vec<Property>) {
        let initial =
            Exported { world: self.system.world.clone(), participants: self.system.participants.clone() };
        let mut known: HashSet<Exported, FixedState> = HashSet::default();
        known.insert(initial.clone());
        let mut queue = vec![initial];
        let mut violated = Vec::new();
        while let Some(state) = queue.pop() {
            let shown = Shown {
                world: &state.world,
                participants: state.participants.iter().map(Vec::as_slice).collect(),
                under_way: self.holds(&state, &self.system.under_way),
            };
            for (property, claim) in &self.system.violations {
                if !violated.contains(property) && shown.is(claim, None) {
                    violated.push(*property);
                }
            }
            for next in self.successors(&state) {
                if known.len() <= most && known.insert(next.clone()) {
                    queue.push(next);
                }
            }
        }
        violated.sort_unstable();
        (known.len(), violated)
    }
}

fn explored(system: &System, most: usize) -> (usize, Vec<Property>) {
    Run { system, world_vars: system.world_vars() }.explore(most)
}

/// The explorer's count of states, and the exported properties that some state violates.
fn expected(model: &Model) -> (usize, Vec<Property>) {
    let explored = explore(model, explorer::Limits::default(), &mut |_| ControlFlow::Continue(()));
    let mut broken: Vec<Property> = Property::MODELLED
        .iter()
        .copied()
        .filter(|one| one.kind() == crate::properties::Kind::Safety)
        .filter(|one| explored.first_broken(one.bit().trailing_zeros() as usize).is_some())
        .collect();
    broken.sort_unstable();
    (explored.states(), broken)
}

#[test]
fn the_rules_reach_the_states_of_the_model_and_violate_the_same_properties() {
    for flow in BUILT_IN {
        let model = model(flow.name, SMALL);
        let system = system::system(&model, &walked(&model));
        assert_eq!(explored(&system, usize::MAX), expected(&model), "{}", flow.name);
    }
}

#[test]
fn the_rules_of_the_public_cases_reach_the_states_of_the_model() {
    let mut refused = Vec::new();
    for flow in CASES.iter().flat_map(|case| [case.bug(), case.fix()]) {
        let model = model(flow.name, Bounds { consumers: 2, crashes: 0, faults: 1 });
        match walk(&model, usize::MAX, &mut |_| ControlFlow::Continue(())) {
            Ok(walk) => {
                let system = system::system(&model, &walk);
                assert_eq!(explored(&system, usize::MAX), expected(&model), "{}", flow.name);
            }
            Err(why) => refused.push((flow.name, why.to_string())),
        }
    }
    assert_eq!(refused, []);
}

#[test]
fn the_claims_say_of_each_state_what_the_model_judges() {
    for flow in BUILT_IN {
        let model = model(flow.name, SMALL);
        let walk = walked(&model);
        let system = system::system(&model, &walk);
        let worlds = system::project(&walk.worlds.all, &system::varying(&walk.worlds.all, &walk.world_vars));
        let columns = system::varying(&walk.participants.all, &walk.participant_vars);
        let participants = system::project(&walk.participants.all, &columns);
        let seats = walk.seats.len();
        for state in 0..walk.states() {
            let pairs = &walk.pairs_of[state * seats..(state + 1) * seats];
            let shown = Shown {
                world: &worlds[walk.world_of[state] as usize],
                participants: pairs
                    .iter()
                    .map(|pair| participants[walk.pairs[*pair as usize].1 as usize].as_slice())
                    .collect(),
                under_way: walk.under_way[state],
            };
            for (property, claim) in &system.violations {
                let is_violated = walk.violated[state] & property.bit() != 0;
                assert_eq!(shown.is(claim, None), is_violated, "{} {property}", flow.name);
            }
        }
    }
}

/// A broken export: what is wrong, and how it is noticed.
fn noticed(name: &str, breaks: impl Fn(&mut System)) -> String {
    let model = model(name, SMALL);
    let mut system = system::system(&model, &walked(&model));
    let (states, violated) = explored(&system, usize::MAX);
    breaks(&mut system);
    match explored(&system, 2 * states) {
        (other, _) if other != states => "the number of states".to_owned(),
        (_, other) if other != violated => "the verdicts".to_owned(),
        _ => "nothing".to_owned(),
    }
}

fn rule<'r>(rules: &'r mut [Rule], label: &str) -> &'r mut Rule {
    let found = rules.iter().position(|rule| rule.label.contains(label));
    &mut rules[found.unwrap_or_else(|| panic!("no rule is called `{label}`"))]
}

fn without(rule: &mut Rule, var: usize) {
    let before = rule.guard.clone();
    rule.guard.iter_mut().for_each(|cube| cube.retain(|literal| literal.var != var));
    assert_ne!(before, rule.guard, "the guard speaks of it");
}

fn var(system: &System, name: &str) -> usize {
    system.vars.iter().position(|var| var.name == name).expect("a variable")
}

#[test]
fn a_rule_that_is_left_out_is_noticed() {
    let rules = |name: &str| {
        let model = model(name, SMALL);
        system::system(&model, &walked(&model)).participant_rules
    };
    // Each of them in turn.
    let count = rules("magic-link").len();
    for index in 0..count {
        let how = noticed("magic-link", |system| {
            system.participant_rules.remove(index);
        });
        assert_eq!(how, "the number of states", "rule {index}: {}", rules("magic-link")[index].label);
    }
}

#[test]
fn a_guard_that_is_left_out_is_noticed() {
    let how = noticed("atomic-commit", |system| {
        let at = var(system, "at");
        without(rule(&mut system.participant_rules, "caller answers: success"), at);
    });
    assert_eq!(how, "the number of states");
}

#[test]
fn an_update_that_is_left_out_is_noticed() {
    let how = noticed("atomic-commit", |system| {
        let job = var(system, "job1");
        let rule = rule(&mut system.participant_rules, "caller commits (commit): creates target 1");
        rule.updates.retain(|(var, _)| *var != job);
    });
    assert_eq!(how, "the number of states");
}

#[test]
fn a_crash_that_spares_a_participant_is_noticed() {
    assert_eq!(noticed("atomic-commit", |system| system.killed.clear()), "the number of states");
}

#[test]
fn a_refusal_that_is_not_forgotten_is_noticed() {
    assert_eq!(noticed("coupon-redeem", |system| system.unclean.clear()), "the number of states");
}

#[test]
fn a_claim_that_is_never_true_is_noticed() {
    let how = noticed("consume-first", |system| {
        let s1 = system.violations.iter_mut().find(|(property, _)| *property == Property::S1);
        s1.expect("S1 applies").1 = super::claims::Claim::Constant(false);
    });
    assert_eq!(how, "the verdicts");
}

#[test]
fn a_walk_of_too_many_states_says_so() {
    let refused = walk(&model("atomic-commit", SMALL), 10, &mut |_| ControlFlow::Continue(()));
    assert_eq!(refused.err(), Some(super::Refused::TooMany(10)));
}

#[test]
fn every_variable_has_a_name_of_its_own() {
    let walk = walked(&model("atomic-commit", SMALL));
    let mut names: Vec<&str> =
        walk.world_vars.iter().chain(&walk.participant_vars).map(|var| var.name.as_str()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
