//! The common part of the languages: conditions and numbers as text.

use super::{
    claims::{Claim, Number},
    cover::{Cube, Literal},
    system::{Condition, System, Update},
    vars::{ANOTHER, Kind, NO_ATTEMPT, OWN_FIRST, OWN_RETRY, Scope, Var},
};

/// The syntax in which the languages differ.
pub(super) trait Language {
    const AND: &'static str;
    const OR: &'static str;
    const NOT: &'static str;
    const EQUAL: &'static str;
    const DIFFERENT: &'static str;
    const TRUE: &'static str;
    const FALSE: &'static str;
    /// A variable of a participant.
    fn of(var: &str, participant: &str) -> String;
    /// 1 if this is true, else 0.
    fn as_number(condition: &str) -> String;
}

/// The name of a value.
pub(super) fn value(var: &Var, value: u8) -> String {
    match var.kind {
        Kind::Number(Some(names)) => match names.values.get(usize::from(value)) {
            Some(name) => format!("{}_{name}", names.prefix),
            None => value.to_string(),
        },
        _ => value.to_string(),
    }
}

/// A pointer's value, in the eyes of a participant.
pub(super) fn pointed(value: u8, me: &str) -> String {
    match value {
        OWN_FIRST => format!("first({me})"),
        OWN_RETRY => format!("retry({me})"),
        _ => "no_attempt".to_owned(),
    }
}

/// Conditions of one system, in one language. `me` is the participant.
pub(super) struct Text<'s, L> {
    pub(super) system: &'s System,
    pub(super) language: std::marker::PhantomData<L>,
}

impl<L: Language> Text<'_, L> {
    pub(super) fn name(&self, var: usize, me: &str) -> String {
        let var = &self.system.vars[var];
        if var.scope == Scope::World { var.name.clone() } else { L::of(&var.name, me) }
    }

    fn is(&self, var: usize, values: &[u8], me: &str) -> String {
        let name = self.name(var, me);
        let about = &self.system.vars[var];
        if about.kind == Kind::Pointer {
            return self.points(&name, values, me);
        }
        let others: Vec<u8> =
            self.system.domains[var].iter().copied().filter(|other| !values.contains(other)).collect();
        let one = |is: &str, values: u8| format!("{name} {is} {}", value(about, values));
        match (values, others.as_slice()) {
            ([only], _) => one(L::EQUAL, *only),
            (_, [only]) => one(L::DIFFERENT, *only),
            (values, others) if others.len() < values.len() => {
                let all: Vec<String> = others.iter().map(|value| one(L::DIFFERENT, *value)).collect();
                joined(&all, L::AND)
            }
            (values, _) => {
                let any: Vec<String> = values.iter().map(|value| one(L::EQUAL, *value)).collect();
                format!("({})", joined(&any, L::OR))
            }
        }
    }

    fn points(&self, name: &str, values: &[u8], me: &str) -> String {
        let all = if me.is_empty() {
            vec![NO_ATTEMPT, ANOTHER]
        } else {
            vec![NO_ATTEMPT, OWN_FIRST, OWN_RETRY, ANOTHER]
        };
        let is = |is: &str, value: u8| format!("{name} {is} {}", pointed(value, me));
        if values.contains(&ANOTHER) {
            let others: Vec<String> = all
                .iter()
                .filter(|value| !values.contains(value))
                .map(|value| is(L::DIFFERENT, *value))
                .collect();
            return joined(&others, L::AND);
        }
        let any: Vec<String> = values.iter().map(|value| is(L::EQUAL, *value)).collect();
        if any.len() == 1 { any.concat() } else { format!("({})", joined(&any, L::OR)) }
    }

    fn cube(&self, cube: &Cube, me: &str) -> String {
        let literals: Vec<String> = cube
            .iter()
            .map(|Literal { var, values }| self.is(*var, values, me))
            .filter(|one| !one.is_empty())
            .collect();
        if literals.is_empty() { L::TRUE.to_owned() } else { joined(&literals, L::AND) }
    }

    /// Any of these cubes.
    pub(super) fn cubes(&self, cubes: &[Cube], me: &str) -> String {
        match cubes {
            [] => L::FALSE.to_owned(),
            [one] => self.cube(one, me),
            cubes => {
                let any: Vec<String> =
                    cubes.iter().map(|cube| format!("({})", self.cube(cube, me))).collect();
                joined(&any, L::OR)
            }
        }
    }

    pub(super) fn condition(&self, condition: &Condition) -> String {
        match condition {
            Condition::World(cubes) => self.cubes(cubes, ""),
            Condition::Some(cubes) => {
                let any: Vec<String> =
                    self.participants().map(|one| format!("({})", self.cubes(cubes, &one))).collect();
                joined(&any, L::OR)
            }
        }
    }

    fn participants(&self) -> impl Iterator<Item = String> {
        (0..self.system.seats.len()).map(|one| one.to_string())
    }

    pub(super) fn claim(&self, claim: &Claim, me: &str) -> String {
        let each = |claims: &[Claim], with: &str| {
            let all: Vec<String> = claims.iter().map(|claim| self.claim(claim, me)).collect();
            format!("({})", joined(&all, with))
        };
        match claim {
            Claim::Constant(true) => L::TRUE.to_owned(),
            Claim::Constant(false) => L::FALSE.to_owned(),
            Claim::Is(var, values) => {
                let domain = &self.system.domains[*var];
                let values: Vec<u8> = values.iter().copied().filter(|value| domain.contains(value)).collect();
                if values.is_empty() { L::FALSE.to_owned() } else { self.is(*var, &values, me) }
            }
            Claim::All(claims) => each(claims, L::AND),
            Claim::Any(claims) => each(claims, L::OR),
            Claim::Not(claim) => format!("{}({})", L::NOT, self.claim(claim, me)),
            Claim::Some(claim) => {
                let any: Vec<String> =
                    self.participants().map(|one| format!("({})", self.claim(claim, &one))).collect();
                format!("({})", joined(&any, L::OR))
            }
            Claim::UnderWay => "under_way".to_owned(),
            Claim::Less(one, other) => format!("{} < {}", self.number(one), self.number(other)),
            Claim::Equal(one, other) => format!("{} {} {}", self.number(one), L::EQUAL, self.number(other)),
        }
    }

    fn number(&self, number: &Number) -> String {
        let sum = |all: Vec<String>| match all.as_slice() {
            [] => "0".to_owned(),
            [one] => one.clone(),
            all => format!("({})", joined(all, "+")),
        };
        match number {
            Number::Constant(value) => value.to_string(),
            Number::Var(var) => self.name(*var, ""),
            Number::World(claims) => {
                sum(claims.iter().map(|one| L::as_number(&self.claim(one, ""))).collect())
            }
            Number::Participants(claims) | Number::Successes(claims) => sum(self
                .participants()
                .flat_map(|me| {
                    claims.iter().map(|one| L::as_number(&self.claim(one, &me))).collect::<Vec<_>>()
                })
                .collect()),
            Number::Sum(numbers) => sum(numbers.iter().map(|number| self.number(number)).collect()),
        }
    }

    /// The value that an update gives to a variable.
    pub(super) fn updated(&self, var: usize, update: Update, me: &str) -> String {
        let about = &self.system.vars[var];
        match update {
            Update::Same => self.name(var, me),
            Update::Increment => format!("{} + 1", self.name(var, me)),
            Update::Decrement => format!("{} - 1", self.name(var, me)),
            Update::Set(to) if about.kind == Kind::Pointer => pointed(to, me),
            Update::Set(to) => value(about, to),
        }
    }
}

/// The participants, by number.
pub(super) fn who(system: &System) -> String {
    let names = ["a caller", "a caller with another payload", "a stranger", "a scanner"];
    let who: Vec<String> = (0_usize..)
        .zip(&system.seats)
        .map(|(index, seat)| format!("{index} {}", names[usize::from(seat.class)]))
        .collect::<Vec<_>>();
    who.join(", ")
}

fn joined(all: &[String], with: &str) -> String {
    all.join(&format!(" {with} "))
}
