//! The constrained Horn clauses, for z3's Spacer or another solver, for any number of participants.
//!
//! One relation, `Meets`, holds a world, two counters, and one participant. It has to be closed under the moves of that
//! participant, of any other one of the same world, and of the world. A solver that finds such a relation without a
//! violation in it has proved the property for every number of participants. The counters are exact: the attempts that
//! have succeeded, and those that run and have used the object or acted. Two participants that both have done so meet
//! only where the second counter is at least two.

use std::fmt::Write as _;

use super::{
    claims::{Claim, Number},
    cover::{Cube, Literal},
    system::{Condition, Rule, System, Update},
    text::value,
    vars::{Kind, Scope, Var},
    walk::Broadcast,
};
use crate::properties::{PromotionState, Property};

/// The participant that moves, and another one.
const MOVER: &str = "m_";
const OTHER: &str = "o_";
const COUNTERS: [&str; 2] = ["successes", "holding"];

struct Smt<'s> {
    system: &'s System,
    world_vars: usize,
}

/// The whole file. Each property is asserted, checked and taken back.
pub(super) fn file(system: &System, about: &str) -> String {
    let smt = Smt { system, world_vars: system.world_vars() };
    let mut file = String::new();
    for line in about.lines() {
        let _ = writeln!(file, "{}", format!("; {line}").trim_end());
    }
    file.push_str(";\n; Run it: z3 FILE. For each property \"sat\" means: it holds for any number of participants, crashes and faults, and\n");
    file.push_str("; the relation that follows is the invariant. \"unsat\" means: not proved, because a participant of the relation may\n");
    file.push_str(
        "; meet others that it meets in no run, or because the property is violated.\n\n(set-logic HORN)\n",
    );
    for names in system.value_names() {
        for (index, name) in names.values.iter().enumerate() {
            let _ = writeln!(file, "(define-fun {}_{name} () Int {index})", names.prefix);
        }
    }
    let sorts: Vec<&str> = (0..smt.world_vars).map(|var| sort(&system.vars[var])).collect();
    let own: Vec<&str> = system.vars[smt.world_vars..].iter().map(sort).collect();
    let columns: Vec<&str> = system.vars.iter().map(|var| var.name.as_str()).collect();
    let _ = writeln!(
        file,
        "\n; {}, successes, holding, {}\n(declare-fun Meets ({} Int Int {}) Bool)\n",
        columns[..smt.world_vars].join(", "),
        columns[smt.world_vars..].join(", "),
        sorts.join(" "),
        own.join(" "),
    );
    smt.counters(&mut file);
    for (name, rules) in [("killed", &system.killed), ("forgotten", &system.unclean)] {
        smt.broadcast(name, rules, &mut file);
    }
    for participant in &system.participants {
        let world: Vec<String> =
            system.world.iter().enumerate().map(|(var, value)| smt.value(var, *value)).collect();
        let own: Vec<String> = participant
            .iter()
            .enumerate()
            .map(|(var, value)| smt.value(smt.world_vars + var, *value))
            .collect();
        let _ = writeln!(
            file,
            "; A participant that has not begun.\n(assert (Meets {} 0 0 {}))",
            world.join(" "),
            own.join(" ")
        );
    }
    file.push('\n');
    system.participant_rules.iter().for_each(|rule| smt.participant_rule(rule, &mut file));
    system.world_rules.iter().for_each(|rule| smt.world_rule(rule, &mut file));
    for (property, claim) in &system.violations {
        smt.property(*property, claim, &mut file);
    }
    file
}

fn sort(var: &Var) -> &'static str {
    if var.kind == Kind::Flag { "Bool" } else { "Int" }
}

fn and(all: Vec<String>) -> String {
    match all.len() {
        0 => "true".to_owned(),
        1 => all.concat(),
        _ => format!("(and {})", all.join(" ")),
    }
}

fn or(all: Vec<String>) -> String {
    match all.len() {
        0 => "false".to_owned(),
        1 => all.concat(),
        _ => format!("(or {})", all.join(" ")),
    }
}

impl Smt<'_> {
    fn name(&self, var: usize, of: &str) -> String {
        let about = &self.system.vars[var];
        if about.scope == Scope::World { about.name.clone() } else { format!("{of}{}", about.name) }
    }

    fn value(&self, var: usize, of: u8) -> String {
        let about = &self.system.vars[var];
        match about.kind {
            Kind::Flag => (of != 0).to_string(),
            _ => value(about, of),
        }
    }

    fn is(&self, var: usize, values: &[u8], of: &str) -> String {
        let name = self.name(var, of);
        if self.system.vars[var].kind == Kind::Flag {
            return match values {
                [0] => format!("(not {name})"),
                [1] => name,
                _ => "true".to_owned(),
            };
        }
        let others: Vec<u8> =
            self.system.domains[var].iter().copied().filter(|other| !values.contains(other)).collect();
        let equal = |to: &u8| format!("(= {name} {})", self.value(var, *to));
        if others.len() < values.len() {
            and(others.iter().map(|to| format!("(not {})", equal(to))).collect())
        } else {
            or(values.iter().map(equal).collect())
        }
    }

    fn cubes(&self, cubes: &[Cube], of: &str) -> String {
        let cube =
            |cube: &Cube| and(cube.iter().map(|Literal { var, values }| self.is(*var, values, of)).collect());
        or(cubes.iter().map(cube).collect())
    }

    /// The world's arguments of the relation after a rule.
    fn world_after(&self, rule: &Rule) -> Vec<String> {
        (0..self.world_vars).map(|var| self.after(rule, var, "")).collect()
    }

    fn after(&self, rule: &Rule, var: usize, of: &str) -> String {
        let name = self.name(var, of);
        match rule.updates.iter().find(|(other, _)| *other == var).map(|(_, update)| *update) {
            None | Some(Update::Same) => name,
            Some(Update::Increment) => format!("(+ {name} 1)"),
            Some(Update::Decrement) => format!("(- {name} 1)"),
            Some(Update::Set(to)) => self.value(var, to),
        }
    }

    fn own(&self, of: &str) -> Vec<String> {
        (self.world_vars..self.system.vars.len()).map(|var| self.name(var, of)).collect()
    }

    fn relation(&self, world: &[String], [successes, holding]: [&str; 2], own: &[String]) -> String {
        format!("(Meets {} {successes} {holding} {})", world.join(" "), own.join(" "))
    }

    fn here(&self, of: &str) -> String {
        let world: Vec<String> = (0..self.world_vars).map(|var| self.name(var, "")).collect();
        self.relation(&world, COUNTERS, &self.own(of))
    }

    fn clause(&self, who: &[&str], mut premises: Vec<String>, conclusion: &str, file: &mut String) {
        let hold: Vec<String> =
            who.iter().map(|of| format!("(holds_effect {})", self.own(of).join(" "))).collect();
        premises.push(format!("(<= (+ 0 {}) holding)", hold.join(" ")));
        let mut bound: Vec<String> = (0..self.world_vars)
            .map(|var| format!("({} {})", self.name(var, ""), sort(&self.system.vars[var])))
            .collect();
        bound.extend(COUNTERS.map(|counter| format!("({counter} Int)")));
        for of in who {
            bound.extend(
                (self.world_vars..self.system.vars.len())
                    .map(|var| format!("({} {})", self.name(var, of), sort(&self.system.vars[var]))),
            );
        }
        let _ = writeln!(
            file,
            "(assert (forall ({})\n    (=> {}\n        {conclusion})))",
            bound.join(" "),
            and(premises)
        );
    }

    /// The attempts of a participant that have succeeded, other than by repeating an earlier outcome; and those that run
    /// and have an effect.
    fn counters(&self, file: &mut String) {
        let find = |name: String| {
            (self.world_vars..self.system.vars.len()).find(|var| self.system.vars[*var].name == name)
        };
        let parameters: Vec<String> = (self.world_vars..self.system.vars.len())
            .map(|var| format!("({} {})", self.name(var, ""), sort(&self.system.vars[var])))
            .collect();
        let stage = |prefix: &str, wanted: &dyn Fn(PromotionState) -> bool| {
            let var = find(format!("{prefix}stage"))?;
            let is = |value: &u8| wanted(PromotionState::ALL[usize::from(*value)]);
            Some(self.is(var, &self.system.domains[var].iter().copied().filter(is).collect::<Vec<u8>>(), ""))
        };
        let some = |name: String| find(name).map(|var| format!("(not {})", self.is(var, &[0], "")));
        let count = |of: &dyn Fn(&str) -> Option<String>| {
            let parts: Vec<String> = ["", "retry_"]
                .iter()
                .filter_map(|prefix| Some(format!("(ite {} 1 0)", of(prefix)?)))
                .collect();
            format!("(+ 0 {})", parts.join(" "))
        };
        let succeeded = count(&|prefix| {
            let repeats = find(format!("{prefix}repeats")).map(|var| self.is(var, &[0], ""));
            let stage = stage(prefix, &PromotionState::is_success)?;
            Some(and(std::iter::once(stage).chain(repeats).collect()))
        });
        let holding = count(&|prefix| {
            let stage = stage(prefix, &|stage| stage == PromotionState::Running)?;
            let effects = ["used", "acted1", "acted2", "acted3"].map(|name| some(format!("{prefix}{name}")));
            Some(and(vec![stage, or(effects.into_iter().flatten().collect())]))
        });
        let parameters = parameters.join(" ");
        let _ = writeln!(file, "(define-fun succeeded ({parameters}) Int {succeeded})");
        let _ = writeln!(file, "(define-fun holds_effect ({parameters}) Int {holding})\n");
    }

    fn touched(rules: &[Rule]) -> Vec<usize> {
        let mut vars: Vec<usize> =
            rules.iter().flat_map(|rule| rule.updates.iter().map(|(var, _)| *var)).collect();
        vars.sort_unstable();
        vars.dedup();
        vars
    }

    fn broadcast(&self, name: &str, rules: &[Rule], file: &mut String) {
        for var in Self::touched(rules) {
            let parameters: Vec<String> = (self.world_vars..self.system.vars.len())
                .map(|var| format!("({} {})", self.name(var, ""), sort(&self.system.vars[var])))
                .collect();
            let chain = rules.iter().rev().fold(self.name(var, ""), |rest, rule| {
                format!("(ite {} {} {rest})", self.cubes(&rule.guard, ""), self.after(rule, var, ""))
            });
            let _ = writeln!(
                file,
                "(define-fun {name}_{} ({}) {} {chain})",
                self.system.vars[var].name,
                parameters.join(" "),
                sort(&self.system.vars[var]),
            );
        }
    }

    /// The other participant after a rule.
    fn other_after(&self, rule: &Rule) -> Vec<String> {
        let (name, rules): (_, &[Rule]) = match rule.broadcast {
            Broadcast::None => return self.own(OTHER),
            Broadcast::Unclean => ("forgotten", &self.system.unclean),
            Broadcast::Crash => ("killed", &self.system.killed),
        };
        let touched = Self::touched(rules);
        let arguments = self.own(OTHER).join(" ");
        (self.world_vars..self.system.vars.len())
            .map(|var| match touched.contains(&var) {
                true => format!("({name}_{} {arguments})", self.system.vars[var].name),
                false => self.name(var, OTHER),
            })
            .collect()
    }

    fn participant_rule(&self, rule: &Rule, file: &mut String) {
        let _ = writeln!(file, "; {}", rule.label);
        let after: Vec<String> =
            (self.world_vars..self.system.vars.len()).map(|var| self.after(rule, var, MOVER)).collect();
        let counted =
            |counter: &str, function: &str| match rule.updates.iter().any(|(var, _)| *var >= self.world_vars)
            {
                true => format!(
                    "(+ {counter} (- ({function} {}) ({function} {})))",
                    after.join(" "),
                    self.own(MOVER).join(" "),
                ),
                false => counter.to_owned(),
            };
        let counters = [counted(COUNTERS[0], "succeeded"), counted(COUNTERS[1], "holds_effect")];
        let counters = [counters[0].as_str(), &counters[1]];
        let world = self.world_after(rule);
        let guard = self.cubes(&rule.guard, MOVER);
        self.clause(
            &[MOVER],
            vec![self.here(MOVER), guard.clone()],
            &self.relation(&world, counters, &after),
            file,
        );
        self.clause(
            &[MOVER, OTHER],
            vec![self.here(MOVER), self.here(OTHER), guard],
            &self.relation(&world, counters, &self.other_after(rule)),
            file,
        );
    }

    fn world_rule(&self, rule: &Rule, file: &mut String) {
        let _ = writeln!(file, "; {}", rule.label);
        let world = self.world_after(rule);
        // A crash kills every attempt that runs.
        let counters = if rule.broadcast == Broadcast::Crash { [COUNTERS[0], "0"] } else { COUNTERS };
        self.clause(
            &[OTHER],
            vec![self.here(OTHER), self.cubes(&rule.guard, "")],
            &self.relation(&world, counters, &self.other_after(rule)),
            file,
        );
    }

    fn property(&self, property: Property, claim: &Claim, file: &mut String) {
        let _ = writeln!(file, "\n; {}\n(push)", property.title());
        let violated = self.claim(claim);
        self.clause(&[MOVER], vec![self.here(MOVER), violated], "false", file);
        let _ = writeln!(file, "(echo \"{property}\")\n(check-sat)\n(get-model)\n(pop)");
    }

    /// The claim in terms of the world and one participant.
    fn claim(&self, claim: &Claim) -> String {
        match claim {
            Claim::Constant(is) => is.to_string(),
            Claim::Is(var, values) => {
                let domain = &self.system.domains[*var];
                let values: Vec<u8> = values.iter().copied().filter(|value| domain.contains(value)).collect();
                if values.is_empty() { "false".to_owned() } else { self.is(*var, &values, MOVER) }
            }
            Claim::All(claims) => and(claims.iter().map(|claim| self.claim(claim)).collect()),
            Claim::Any(claims) => or(claims.iter().map(|claim| self.claim(claim)).collect()),
            Claim::Not(claim) => format!("(not {})", self.claim(claim)),
            Claim::Some(claim) => self.claim(claim),
            // Some participant of the relation: where none is under way, this one is not.
            Claim::UnderWay => match &self.system.under_way {
                None => "false".to_owned(),
                Some(Condition::World(cubes) | Condition::Some(cubes)) => self.cubes(cubes, MOVER),
            },
            Claim::Less(one, other) => format!("(< {} {})", self.number(one), self.number(other)),
            Claim::Equal(one, other) => format!("(= {} {})", self.number(one), self.number(other)),
        }
    }

    fn number(&self, number: &Number) -> String {
        let sum = |parts: Vec<String>| format!("(+ 0 {})", parts.join(" "));
        match number {
            Number::Constant(value) => value.to_string(),
            Number::Var(var) if self.system.vars[*var].kind == Kind::Flag => {
                format!("(ite {} 1 0)", self.name(*var, ""))
            }
            Number::Var(var) => self.name(*var, ""),
            Number::World(claims) | Number::Participants(claims) => {
                sum(claims.iter().map(|claim| format!("(ite {} 1 0)", self.claim(claim))).collect())
            }
            Number::Successes(_) => "successes".to_owned(),
            Number::Sum(numbers) => sum(numbers.iter().map(|number| self.number(number)).collect()),
        }
    }
}
