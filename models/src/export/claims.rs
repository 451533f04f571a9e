//! The safety properties as conditions on the exported variables.
//!
//! They are stated here a second time, so that another tool judges them by itself; [`claims`] of every state of a walk are
//! held against the model's own judgement. L1 to L4 ask what is possible from a state, and are not exported.

use super::vars::{Scope, Var};
use crate::{
    properties::{PromotionState, Property},
    world::MAX_TARGETS,
};

/// A number that a state shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Constant(u8),
    /// A variable of the world.
    Var(usize),
    /// The conditions on the world that are true.
    World(Vec<Claim>),
    /// The conditions on a participant that are true, added up over all participants.
    Participants(Vec<Claim>),
    /// The attempts that have succeeded, other than by repeating an earlier outcome: those of these conditions.
    Successes(Vec<Claim>),
    Sum(Vec<Number>),
}

/// A condition on a state, or on a participant of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Constant(bool),
    /// A variable is one of these values.
    Is(usize, Vec<u8>),
    All(Vec<Claim>),
    Any(Vec<Claim>),
    Not(Box<Claim>),
    /// True of at least one participant.
    Some(Box<Claim>),
    /// Something is under way: an attempt, a job, a deploy or an owed retry.
    UnderWay,
    Less(Number, Number),
    Equal(Number, Number),
}

/// The promises of a flow that the claims ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    pub(super) uses: u8,
}

/// Finds variables by name; one that never varies is its constant.
pub(super) struct Named<'v> {
    pub(super) vars: &'v [Var],
    /// The variables that never vary, with their values.
    pub(super) constants: &'v [(Var, u8)],
}

impl Named<'_> {
    fn find(&self, scope: Scope, name: &str) -> Result<usize, u8> {
        let is_it = |var: &Var| var.scope == scope && var.name == name;
        match self.vars.iter().position(is_it) {
            Some(var) => Ok(var),
            None => Err(self.constants.iter().find(|(var, _)| is_it(var)).map_or(0, |(_, value)| *value)),
        }
    }

    fn number(&self, name: &str) -> Number {
        self.find(Scope::World, name).map_or_else(Number::Constant, Number::Var)
    }

    fn is(&self, scope: Scope, name: &str, values: &[u8]) -> Claim {
        match self.find(scope, name) {
            Ok(var) => Claim::Is(var, values.to_vec()),
            Err(constant) => Claim::Constant(values.contains(&constant)),
        }
    }

    fn flag(&self, name: &str) -> Claim {
        self.is(Scope::World, name, &[1])
    }

    fn some_number(&self, scope: Scope, name: &str) -> Claim {
        let none = self.is(scope, name, &[0]);
        not(none)
    }

    /// The condition of either attempt of a participant.
    fn attempts(&self, of: impl Fn(&str) -> Claim) -> Vec<Claim> {
        ["", "retry_"].map(of).into_iter().collect()
    }

    fn stage(&self, prefix: &str, wanted: impl Fn(PromotionState) -> bool) -> Claim {
        let values: Vec<u8> = (0..)
            .zip(PromotionState::ALL)
            .filter_map(|(value, stage)| wanted(stage).then_some(value))
            .collect();
        self.is(Scope::Participant, &format!("{prefix}stage"), &values)
    }
}

fn not(claim: Claim) -> Claim {
    match claim {
        Claim::Constant(is) => Claim::Constant(!is),
        Claim::Not(claim) => *claim,
        claim => Claim::Not(Box::new(claim)),
    }
}

fn all(claims: Vec<Claim>) -> Claim {
    let mut claims = claims;
    if claims.contains(&Claim::Constant(false)) {
        return Claim::Constant(false);
    }
    claims.retain(|claim| *claim != Claim::Constant(true));
    match claims.len() {
        0 => Claim::Constant(true),
        1 => claims.remove(0),
        _ => Claim::All(claims),
    }
}

fn any(claims: Vec<Claim>) -> Claim {
    not(all(claims.into_iter().map(not).collect())).simple()
}

impl Claim {
    /// "Not all of those that are not" as "any of those".
    fn simple(self) -> Self {
        match self {
            Self::Not(inner) => match *inner {
                Self::All(claims) => Self::Any(claims.into_iter().map(not).collect()),
                other => not(other),
            },
            other => other,
        }
    }
}

fn some(claims: Vec<Claim>) -> Claim {
    match any(claims) {
        Claim::Constant(false) => Claim::Constant(false),
        claim => Claim::Some(Box::new(claim)),
    }
}

/// The condition under which a state violates the property; none where it is not exported.
pub(super) fn violation(property: Property, named: &Named<'_>, promise: Promise) -> Option<Claim> {
    let most = || Number::Constant(promise.uses);
    let effects = || (1..=3).map(|act| named.number(&format!("effects{act}")));
    let possible = |of: &dyn Fn(&str) -> Claim| {
        named.attempts(of).into_iter().filter(|claim| *claim != Claim::Constant(false)).collect::<Vec<_>>()
    };
    let count = |of: &dyn Fn(&str) -> Claim| Number::Participants(possible(of));
    let repeats = |prefix: &str| named.is(Scope::Participant, &format!("{prefix}repeats"), &[0]);
    let succeeded = || {
        Number::Successes(possible(&|prefix| {
            all(vec![named.stage(prefix, PromotionState::is_success), repeats(prefix)])
        }))
    };
    let used = |prefix: &str| named.some_number(Scope::Participant, &format!("{prefix}used"));
    Some(match property {
        Property::S1 => some(named.attempts(|prefix| {
            all(vec![named.stage(prefix, PromotionState::is_judged_by_s1), used(prefix)])
        })),
        Property::S2 => {
            let mut more = vec![Claim::Less(most(), succeeded()), Claim::Less(most(), named.number("swaps"))];
            more.extend(
                effects()
                    .filter(|one| !matches!(one, Number::Constant(_)))
                    .map(|one| Claim::Less(most(), one)),
            );
            Claim::Any(more)
        }
        Property::S3 => {
            let ended = count(&|prefix| named.stage(prefix, PromotionState::has_ended));
            let running = count(&|prefix| named.stage(prefix, |stage| stage == PromotionState::Running));
            let answered =
                count(&|prefix| named.stage(prefix, |stage| stage.is_success() || stage.is_conflict()));
            // When nothing is under way an attempt that runs waits for ever.
            let over = Number::Sum(vec![ended.clone(), running]);
            let rests = || not(Claim::UnderWay);
            all(vec![
                named.flag("clean"),
                Claim::Any(vec![
                    Claim::Less(answered.clone(), ended),
                    Claim::Less(most(), succeeded()),
                    Claim::All(vec![rests(), Claim::Less(answered, over.clone())]),
                    Claim::All(vec![
                        rests(),
                        Claim::Less(succeeded(), over),
                        Claim::Less(succeeded(), most()),
                    ]),
                ]),
            ])
        }
        Property::S4 => named.flag("used_unapproved"),
        Property::S5 => named.flag("used_late"),
        Property::S6 => named.flag("acted_other"),
        Property::S7 => some(named.attempts(|prefix| {
            let wrote = named.is(Scope::Participant, &format!("{prefix}wrote"), &[1]);
            let acted =
                (1..=3).map(|act| named.some_number(Scope::Participant, &format!("{prefix}acted{act}")));
            all(vec![
                named.stage(prefix, PromotionState::is_refused),
                any(std::iter::once(wrote).chain(acted).collect()),
            ])
        })),
        Property::S8 => {
            all(vec![not(Claim::UnderWay), not(Claim::Equal(named.number("events"), named.number("uses")))])
        }
        Property::S9 => named.flag("final_left"),
        Property::S10 => {
            let decisions = ["approve_won", "reject_won", "expire_won"].map(|name| named.number(name));
            Claim::Less(Number::Constant(1), Number::Sum(decisions.to_vec()))
        }
        Property::S11 => {
            let targets =
                (1..=MAX_TARGETS).map(|target| named.some_number(Scope::World, &format!("target{target}")));
            let created: Vec<Claim> = targets.filter(|claim| *claim != Claim::Constant(false)).collect();
            match created.len() {
                0 | 1 => Claim::Constant(false),
                _ => Claim::Less(Number::Constant(1), Number::World(created)),
            }
        }
        Property::S12 => named.flag("stranger_got_in"),
        Property::S13 => named.flag("retry_differed"),
        Property::S15 => named.flag("scanner_got_in"),
        Property::S17 => any(effects()
            .filter(|one| *one != Number::Constant(0))
            .map(|one| match promise.uses {
                1 => Claim::All(vec![
                    Claim::Less(Number::Constant(0), one),
                    Claim::Equal(named.number("swaps"), Number::Constant(0)),
                ]),
                _ => Claim::Less(named.number("swaps"), one),
            })
            .collect()),
        Property::S18 => named.flag("too_few_approved"),
        Property::S19 => named.flag("requester_approved"),
        Property::S20 => named.flag("used_revoked"),
        Property::S21 => named.flag("not_burnt"),
        Property::S22 => named.flag("used_stale"),
        Property::S14
        | Property::S16
        | Property::S23
        | Property::L1
        | Property::L2
        | Property::L3
        | Property::L4 => return None,
    })
}

/// A state, to judge claims on.
#[cfg(test)]
pub(super) struct Shown<'s> {
    pub(super) world: &'s [u8],
    pub(super) participants: Vec<&'s [u8]>,
    pub(super) under_way: bool,
}

#[cfg(test)]
impl Shown<'_> {
    pub(super) fn is(&self, claim: &Claim, participant: Option<usize>) -> bool {
        match claim {
            Claim::Constant(is) => *is,
            Claim::Is(var, values) => {
                let value = match var.checked_sub(self.world.len()) {
                    None => self.world[*var],
                    Some(var) => self.participants[participant.expect("a participant")][var],
                };
                values.contains(&value)
            }
            Claim::All(claims) => claims.iter().all(|claim| self.is(claim, participant)),
            Claim::Any(claims) => claims.iter().any(|claim| self.is(claim, participant)),
            Claim::Not(claim) => !self.is(claim, participant),
            Claim::Some(claim) => (0..self.participants.len()).any(|one| self.is(claim, Some(one))),
            Claim::UnderWay => self.under_way,
            Claim::Less(one, other) => self.number(one) < self.number(other),
            Claim::Equal(one, other) => self.number(one) == self.number(other),
        }
    }

    fn number(&self, number: &Number) -> usize {
        let count = |claims: &[Claim], one| claims.iter().filter(|claim| self.is(claim, one)).count();
        match number {
            Number::Constant(value) => usize::from(*value),
            Number::Var(var) => usize::from(self.world[*var]),
            Number::World(claims) => count(claims, None),
            Number::Participants(claims) | Number::Successes(claims) => {
                (0..self.participants.len()).map(|one| count(claims, Some(one))).sum()
            }
            Number::Sum(numbers) => numbers.iter().map(|number| self.number(number)).sum(),
        }
    }
}
