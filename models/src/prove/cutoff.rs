//! The cutoff of a flow: how many callers reach every view of its fixpoint.
//!
//! A search over whole states, of which participants that do nothing more are left out, with any number of crashes and
//! faults, and strangers and scanners one at a time. States are taken in the order of the callers that have begun.

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use super::{
    fixpoint::Fixpoint,
    steps::{ModelSteps, Mover, Steps},
    view::{Class, Context, Participant},
};

/// The number of callers that it takes to reach every view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cutoff {
    /// This many reach every view, and fewer do not.
    Callers(u8),
    /// The search ended before: at its limit, or because some view is one that no state has.
    Unknown {
        /// The views that were reached.
        reached: usize,
        /// All views.
        views: usize,
        /// The callers that had begun when it ended.
        callers: u8,
    },
}

impl Cutoff {
    /// The states of a quick search: of each built-in flow of which the cutoff is known, it finds it.
    pub const STATES: usize = 2_000;
    /// The search ends with more callers: each of them makes it slower, and none was seen to reach another view.
    const CALLERS: u8 = 4;

    /// That of two fixpoints of one flow together.
    #[must_use]
    pub(super) fn and(self, other: Self) -> Self {
        use Cutoff::{Callers, Unknown};
        match (self, other) {
            (Callers(one), Callers(other)) => Callers(one.max(other)),
            (Unknown { reached, views, callers }, Unknown { reached: more, views: all, callers: other }) => {
                Unknown { reached: reached + more, views: views + all, callers: callers.max(other) }
            }
            (unknown @ Unknown { .. }, Callers(_)) | (Callers(_), unknown) => unknown,
        }
    }
}

/// A context and its other participants, by their numbers in the fixpoint.
type State = (u32, Vec<u32>);

struct Search<'s> {
    steps: &'s ModelSteps,
    fixpoint: &'s Fixpoint,
    known: HashSet<State, FixedState>,
    reached: HashSet<(u32, Option<u32>), FixedState>,
    /// To be expanded, with as many callers as have begun.
    now: Vec<State>,
    /// With one more.
    next: HashSet<State, FixedState>,
}

/// Searches up to about `max_states` states.
pub(super) fn cutoff(steps: &ModelSteps, fixpoint: &Fixpoint, max_states: usize) -> Cutoff {
    let mut search = Search {
        steps,
        fixpoint,
        known: HashSet::default(),
        reached: HashSet::default(),
        now: Vec::new(),
        next: HashSet::default(),
    };
    let initial = search.numbered(&steps.initial(), &[]);
    initial.into_iter().for_each(|initial| search.reach(initial));
    let mut callers = 0;
    while search.reached.len() < fixpoint.views() {
        if let Some(state) = search.now.pop() {
            let is_full = search.known.len() + search.next.len() > max_states;
            if is_full || search.expand(&state).is_none() {
                break;
            }
        } else if search.next.is_empty() || callers == Cutoff::CALLERS {
            break;
        } else {
            callers += 1;
            std::mem::take(&mut search.next).into_iter().for_each(|state| search.reach(state));
        }
    }
    let (reached, views) = (search.reached.len(), fixpoint.views());
    if reached == views { Cutoff::Callers(callers) } else { Cutoff::Unknown { reached, views, callers } }
}

impl Search<'_> {
    /// None where the participants that the state names are not those that the fixpoint names.
    fn numbered(&self, context: &Context, others: &[Participant]) -> Option<State> {
        let (number, _) = self.fixpoint.numbers_of(context, None)?;
        let others = others.iter().map(|one| {
            let (_, number) = self.fixpoint.numbers_of(context, Some(one))?;
            Some((number?, one.class == Class::Done))
        });
        let mut others: Vec<(u32, bool)> = others.collect::<Option<_>>()?;
        others.sort_unstable();
        // One that does nothing more is as good as many.
        others.dedup_by(|one, other| one == other && one.1);
        let others = others.into_iter().map(|(number, _)| number).collect();
        Some((number, others))
    }

    /// A state that as many callers reach as have begun.
    fn reach(&mut self, state: State) {
        if !self.known.insert(state.clone()) {
            return;
        }
        self.reached.insert((state.0, None));
        self.reached.extend(state.1.iter().map(|one| (state.0, Some(*one))));
        self.now.push(state);
    }

    fn expand(&mut self, (context, others): &State) -> Option<()> {
        let (context, others) = self.fixpoint.values_of(*context, others);
        let is_there = |class: Class| context.named.iter().chain(&others).any(|one| one.class == class);
        let mut movers: Vec<Mover> = (0..others.len()).map(Mover::Other).collect();
        movers.push(Mover::Named);
        for class in self.steps.abstraction.classes() {
            if matches!(class, Class::Caller | Class::Foreign) || !is_there(class) {
                movers.push(Mover::New(class));
            }
        }
        if self.steps.may_crash(&context, &others).ok()? {
            movers.push(Mover::Crash);
        }
        for mover in movers {
            for step in self.steps.steps(&context, &others, mover).ok()? {
                let state = self.numbered(&step.context, &step.others)?;
                if !matches!(mover, Mover::New(Class::Caller | Class::Foreign)) {
                    self.reach(state);
                } else if !self.known.contains(&state) {
                    self.next.insert(state);
                }
            }
        }
        Some(())
    }
}
