//! The moves of the model, on views: what the fixpoint, its mutants and the checker of certificates are built on.

use std::rc::Rc;

use super::view::{Abstraction, Class, Context, NoRoom, Participant, Parts, Seating, judge};
use crate::{
    model::{Action, Model},
    properties::{Property, Set},
    world::State,
};

/// The participant that moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mover {
    /// The world's, those of the named participants, and the beginnings of new ones.
    Context,
    /// As `Context`, without beginnings.
    Named,
    /// The beginnings of a new participant.
    New(Class),
    /// The other participant with this index.
    Other(usize),
    /// The crash, if it may happen.
    Crash,
}

/// The result of a move.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) context: Context,
    pub(super) others: Vec<Participant>,
    /// Violations in the state that its views no longer show.
    pub(super) violated: Set,
}

/// The state of a view.
struct Whole {
    seating: Rc<Seating>,
    state: State,
    /// The number of those that its context names, in the first seats.
    named: usize,
    /// The number of others that are not new.
    others: usize,
    successes: u8,
}

/// States as views, and their moves.
pub(super) trait Steps {
    /// The properties that are asked for.
    fn wanted(&self) -> Set;
    /// The initial context.
    fn initial(&self) -> Context;
    /// Every move of `mover` in the state of these participants.
    fn steps(&self, context: &Context, others: &[Participant], mover: Mover) -> Result<Vec<Step>, NoRoom>;
    /// Violations in this view.
    fn violated(&self, context: &Context, others: &[Participant]) -> Result<Set, NoRoom>;
    /// True if a crash kills a part of this state.
    fn may_crash(&self, context: &Context, others: &[Participant]) -> Result<bool, NoRoom>;
    /// A move of one participant may change others that are neither named nor hit by a crash.
    fn reaches_others(&self) -> bool;
}

/// The model's own.
pub(super) struct ModelSteps {
    pub(super) abstraction: Abstraction,
    wanted: Set,
    /// Properties judged on whole states, where a participant is left out.
    lossy: Set,
    /// Properties judged on views. The others are facts of a move.
    of_views: Set,
}

impl ModelSteps {
    pub(super) fn new(base: Model, wanted: Set, names_users: bool) -> Self {
        use Property::{L1, L2, L3, L4, S1, S2, S3, S7, S8, S10, S11, S17};
        let among = |these: &[Property]| these.iter().fold(0, |set, one| set | wanted & one.bit());
        let only_of_views = among(&[L1, L2, L3, L4, S3, S8]);
        Self {
            abstraction: Abstraction::new(base, wanted, names_users),
            wanted,
            lossy: wanted & !only_of_views,
            of_views: only_of_views | among(&[S1, S2, S7, S10, S11, S17]),
        }
    }
}

impl Steps for ModelSteps {
    fn wanted(&self) -> Set {
        self.wanted
    }

    fn initial(&self) -> Context {
        self.abstraction.initial()
    }

    fn steps(&self, context: &Context, others: &[Participant], mover: Mover) -> Result<Vec<Step>, NoRoom> {
        let classes = match mover {
            Mover::Context => self.abstraction.classes(),
            Mover::New(class) => vec![class],
            Mover::Named | Mover::Other(_) | Mover::Crash => Vec::new(),
        };
        let mut steps = Vec::new();
        for from in self.with_new(context, others, &classes)? {
            self.moves_of(&from, mover, |parts, next| steps.push(self.step(parts, &from, next)));
        }
        Ok(steps)
    }

    fn violated(&self, context: &Context, others: &[Participant]) -> Result<Set, NoRoom> {
        if self.of_views == 0 {
            return Ok(0);
        }
        self.abstraction.violated(context, others, self.of_views)
    }

    fn reaches_others(&self) -> bool {
        self.abstraction.reaches_others()
    }

    fn may_crash(&self, context: &Context, others: &[Participant]) -> Result<bool, NoRoom> {
        let (seating, state): (_, State) = self.abstraction.state(context, others)?;
        let mut actions = Vec::new();
        seating.model.candidates(&state, &mut actions);
        Ok(actions.contains(&Action::Crash))
    }
}

impl ModelSteps {
    /// The state of these participants with new ones of all `classes`; or, where there is no room for all, one for each class.
    fn with_new(
        &self,
        context: &Context,
        others: &[Participant],
        classes: &[Class],
    ) -> Result<Vec<Whole>, NoRoom> {
        let of = |classes: &[Class]| {
            let mut all = others.to_vec();
            all.extend(classes.iter().map(|class| self.abstraction.waiting(*class)));
            let (seating, state) = self.abstraction.state(context, &all)?;
            let named = context.named.len();
            Ok(Whole { seating, state, named, others: others.len(), successes: context.successes })
        };
        match of(classes) {
            Err(NoRoom) if classes.len() > 1 => classes.iter().map(|class| of(&[*class])).collect(),
            whole => Ok(vec![whole?]),
        }
    }

    fn step(&self, parts: Parts, from: &Whole, next: &State) -> Step {
        let violated = if parts.lossy { judge(&from.seating.model, next, self.lossy) } else { 0 };
        Step { context: parts.context, others: parts.others, violated }
    }

    /// Makes the moves of `mover` in a state in which the first seats are those of the named participants.
    fn moves_of(&self, from: &Whole, mover: Mover, found: impl FnMut(Parts, &State)) {
        let named = from.named;
        let is_named = |seat: usize| (1..=named).contains(&seat);
        let is_new = |seat: usize| seat > named + from.others;
        let mut actions = Vec::new();
        from.seating.model.candidates(&from.state, &mut actions);
        if mover == Mover::Crash && !actions.contains(&Action::Crash) {
            // Another participant, which is not seen here, is killed.
            actions.push(Action::Crash);
        }
        let wanted = |action: &Action, by: Option<usize>| match (mover, by) {
            (_, None) if *action == Action::Crash => mover == Mover::Crash,
            (_, None) => matches!(mover, Mover::Context | Mover::Named),
            (Mover::Context, Some(seat)) => is_named(seat) || is_new(seat),
            (Mover::Named, Some(seat)) => is_named(seat),
            (Mover::New(_), Some(seat)) => is_new(seat),
            (Mover::Other(index), Some(seat)) => seat == 1 + named + index,
            (Mover::Crash, Some(_)) => false,
        };
        self.make(from, actions, wanted, found);
    }

    /// Makes the moves that are `wanted`, which is asked with the seat of the participant that moves. A crash and the world's moves
    /// have none.
    fn make(
        &self,
        from: &Whole,
        actions: Vec<Action>,
        wanted: impl Fn(&Action, Option<usize>) -> bool,
        mut found: impl FnMut(Parts, &State),
    ) {
        let Seating { model, seats } = &*from.seating;
        let seat_of = |attempt: u8| {
            seats.iter().position(|(_, first, width)| (*first..first + width).contains(&attempt))
        };
        let own_keys = model.flow().object().uses > 1;
        for action in actions {
            let by = action.attempt(own_keys).and_then(seat_of);
            if !wanted(&action, by) {
                continue;
            }
            let Some(next) = model.apply(&from.state, action) else { continue };
            if self.abstraction.sight.clean_only && !next.world.clean {
                continue;
            }
            // Those that were named stay named; the participant that moves is, while there is room. Another one is not: it would be
            // in another context than the rest of the state.
            let names: Vec<usize> = (1..=from.named).chain(by).collect();
            let before = Some((&from.state, from.successes));
            found(self.abstraction.split(seats, before, &next, &names), &next);
        }
    }
}

impl ModelSteps {
    /// True if `has` contains every view of this state of `model`, for some choice of named participants.
    pub(super) fn is_covered(
        &self,
        model: &Model,
        state: &State,
        has: impl Fn(&Context, Option<&Participant>) -> bool,
    ) -> bool {
        let seats = self.abstraction.seats_of(model);
        let may_be_named = |seat: &usize| self.abstraction.has_effect(state, seats[*seat]);
        let names_users = self.abstraction.names_users;
        let candidates: Vec<usize> = (1..seats.len()).filter(|_| names_users).filter(may_be_named).collect();
        (0..1_u32 << candidates.len()).any(|choice| {
            let named = candidates.iter().enumerate().filter(|(at, _)| choice >> at & 1 == 1);
            let named: Vec<usize> = named.map(|(_, seat)| *seat).collect();
            let parts = self.abstraction.split(&seats, None, state, &named);
            has(&parts.context, None) && parts.others.iter().all(|one| has(&parts.context, Some(one)))
        })
    }

    /// The state of these participants, for people.
    pub(super) fn show(&self, context: &Context, others: &[Participant]) -> String {
        match self.abstraction.state(context, others) {
            Ok((_, state)) => format!("{state:?}"),
            Err(NoRoom) => String::new(),
        }
    }
}
