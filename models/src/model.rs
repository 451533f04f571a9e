//! The model: the real [`Promotion`] in a small world, with every interleaving, crash and fault that the bounds allow.
//!
//! The rules of a request are the protocol's: validate, consume, the order of the steps, errors and undo, and the table
//! of transitions. This module adds the enabled moves of each participant, and the effect of a commit on a store.

mod actions;
mod attempts;
mod facts;
mod fairness;
mod fresh;
mod keys;
mod narrate;
mod people;
mod reason;
mod setup;
mod stateright_model;
mod store;
mod undo;

use countersign::protocol::{
    Approval, Effect, Event, Flow, IllegalTransition, Position, Promotion, Request, Status, Step, Target,
    Timestamp, Validity, transition,
};
use uuid::Uuid;

pub(crate) use actions::stage;
pub use actions::{Action, StepOutcome};
pub(crate) use narrate::deed;
pub use narrate::{Actor, NarratedEvent};
pub use people::Press;

use crate::{
    properties::Set,
    world::{Attempt, Layout, MAX_ATTEMPTS, Payload, State, World},
};
use setup::ActionProfile;

/// Bounds of the explored world. Verdicts hold within these bounds only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Callers. With two or more the last one asks for another payload, if the object is bound. At most
    /// [`MAX_CONSUMERS`](crate::world::MAX_CONSUMERS).
    pub consumers: u8,
    /// Crashes that may happen.
    pub crashes: u8,
    /// Faults that may be injected.
    pub faults: u8,
}

impl Bounds {
    /// The most crashes, and the most faults.
    pub const MAX_BUDGET: u8 = 15;

    /// True if these bounds are at least `other` in every respect.
    pub fn reach(self, other: Self) -> bool {
        self.consumers >= other.consumers && self.crashes >= other.crashes && self.faults >= other.faults
    }
}

impl Default for Bounds {
    /// 3 callers, 1 crash, 1 fault: what a flow file's expectations are about.
    fn default() -> Self {
        Self { consumers: 3, crashes: 1, faults: 1 }
    }
}

/// The table of transitions that the world applies: the protocol's, but for a mutant in a test.
pub type Transitions = fn(Status, Event, Validity) -> Result<Status, IllegalTransition>;

/// One flow in the world.
#[derive(Clone, Debug)]
pub struct Model {
    flow: Flow,
    bounds: Bounds,
    transitions: Transitions,
    /// The request of a proper caller, and that of a stranger.
    requests: [Request; 2],
    /// The object's row, by its status.
    approvals: [Approval; 6],
    /// The flow's atomic actions, by cursor.
    profiles: Vec<ActionProfile>,
    /// The fields that states have.
    layout: Layout,
    /// The maker of each attempt.
    cast: Vec<Cast>,
    /// Memo: outcomes of fresh attempts, by the facts on which they depend.
    fresh: fresh::Known,
    /// The properties that apply: a bit for each.
    applied: Set,
    /// A held lease is released or expires.
    leases_end: bool,
}

/// The maker of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    /// The role.
    pub role: Role,
    /// For the retry of a caller the index of the first attempt.
    pub retry_of: Option<u8>,
}

/// The role in which an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A proper caller, counted from 0.
    Caller {
        /// Which one.
        index: u8,
        /// Requests another payload.
        foreign: bool,
    },
    /// Another owner's caller who knows the id.
    OtherTenant,
    /// A link scanner.
    Scanner,
}

/// The fencing number of the lease that was taken last, and that of every earlier one.
const LATEST_FENCE: u64 = 2;
const EARLIER_FENCE: u64 = 1;

const EXPIRES_AT: Timestamp = Timestamp(1);

/// The clock as the model knows it: before or after the end of the window.
fn clock(window_passed: bool) -> Timestamp {
    Timestamp(u64::from(window_passed))
}

fn target_id(index: u8) -> Uuid {
    Uuid::from_u128(u128::from(index))
}

fn target_index(id: Uuid) -> u8 {
    // Only ids that `target_id` made go round.
    id.as_u128() as u8
}

impl Model {
    /// `flow` in the world, within `bounds`.
    ///
    /// # Panics
    /// When the bounds are beyond [`MAX_CONSUMERS`](crate::world::MAX_CONSUMERS) or [`Bounds::MAX_BUDGET`], or a state does not fit
    /// ([`Model::fits`]).
    pub fn new(flow: Flow, bounds: Bounds) -> Self {
        Self::with_transitions(flow, bounds, transition)
    }

    /// As [`new`](Self::new), with another table of transitions: for tests that show that a wrong one is caught.
    pub fn with_transitions(flow: Flow, bounds: Bounds, transitions: Transitions) -> Self {
        let model = setup::model(flow, bounds, transitions);
        assert!(model.layout.fits(), "a state of this flow does not fit within these bounds");
        model
    }

    /// As [`new`](Self::new), but a lease that was taken stays taken: for tests that show that it is caught.
    pub fn with_endless_leases(flow: Flow, bounds: Bounds) -> Self {
        Self { leases_end: false, ..Self::new(flow, bounds) }
    }

    /// As [`new`](Self::new), with proper callers only, one attempt each: for a rig without strangers, scanners and
    /// retries.
    pub fn of_callers(flow: Flow, bounds: Bounds) -> Self {
        setup::of_callers(flow, bounds, transition)
    }

    /// As [`of_callers`](Self::of_callers), with the retries of the callers.
    pub fn of_callers_who_retry(flow: Flow, bounds: Bounds) -> Self {
        setup::of_callers_who_retry(flow, bounds, transition)
    }

    /// True if a state of this flow fits into its packed form within `bounds`. A flow with dozens of undone steps, for
    /// six callers who retry, does not.
    pub fn fits(flow: &Flow, bounds: Bounds) -> bool {
        setup::model(flow.clone(), bounds, transition).layout.fits()
    }

    /// `flow` with one caller, one crash and one fault, whether or not a state would fit into its packed form: for the
    /// prover, which seats the attempts itself.
    pub(crate) fn unseated(flow: Flow) -> Self {
        setup::model(flow, Bounds { consumers: 1, crashes: 1, faults: 1 }, transition)
    }

    /// The same flow with these attempts.
    pub(crate) fn seated(&self, cast: Vec<Cast>) -> Self {
        let mut seated = Self { cast, ..self.clone() };
        seated.layout.attempts = seated.cast.len();
        if seated.flow.object().uses > 1 {
            seated.layout.slots = seated.cast.len();
        }
        seated
    }

    /// The same flow with this many callers, crashes and faults, whether or not a state would fit into its packed form.
    pub(crate) fn crowded(&self, bounds: Bounds) -> Self {
        let cast = setup::cast(&self.flow, bounds);
        Self { bounds, ..self.seated(cast) }
    }

    /// The most callers that a state has room for.
    pub(crate) fn most_callers(&self) -> u8 {
        let attempts =
            |consumers: &u8| setup::cast(&self.flow, Bounds { consumers: *consumers, ..self.bounds }).len();
        (1..=MAX_ATTEMPTS as u8)
            .take_while(|consumers| attempts(consumers) <= MAX_ATTEMPTS)
            .last()
            .unwrap_or(1)
    }

    /// The properties that apply to the flow.
    pub(crate) fn applied(&self) -> Set {
        self.applied
    }

    /// The fields that states have.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The atomic actions of an attempt in their order, the last one its answer, each with its step.
    pub(crate) fn actions_in_order(&self) -> impl Iterator<Item = (Effect<'_>, Option<&Step>)> {
        (0..).zip(&self.profiles).filter_map(|(cursor, _)| {
            let at = Position { cursor, ..Position::new(Payload::default().digest()) };
            let promotion = Promotion::at_position(&self.flow, &self.requests[0], at);
            Some((promotion.effect()?, promotion.step()))
        })
    }

    /// The flow.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// The bounds.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The maker of each attempt.
    pub fn cast(&self) -> &[Cast] {
        &self.cast
    }

    fn attempts(&self) -> u8 {
        // At most `MAX_ATTEMPTS`.
        self.cast.len() as u8
    }

    fn role(&self, attempt: u8) -> Role {
        self.cast[usize::from(attempt)].role
    }

    /// True if this attempt requests another payload.
    pub fn is_foreign(&self, attempt: u8) -> bool {
        matches!(self.role(attempt), Role::Caller { foreign: true, .. })
    }

    /// The other attempt of the same caller, where callers retry.
    fn sibling(&self, attempt: u8) -> Option<u8> {
        let retry =
            (0..self.attempts()).find(|other| self.cast[usize::from(*other)].retry_of == Some(attempt));
        self.cast[usize::from(attempt)].retry_of.or(retry)
    }

    /// The initial state: a pending object, or an issued one.
    pub fn initial(&self) -> State {
        State {
            world: World::new(self.flow.object().approvers == 0, self.bounds.crashes, self.bounds.faults),
            attempts: [Attempt::default(); MAX_ATTEMPTS],
        }
    }

    /// The current payload of this attempt.
    fn source(&self, world: &World, attempt: u8) -> Payload {
        match (self.is_foreign(attempt), world.drifted) {
            (true, _) => Payload::Foreign,
            (false, true) => Payload::Drifted,
            (false, false) => Payload::Approved,
        }
    }

    fn request(&self, attempt: u8) -> &Request {
        &self.requests[usize::from(self.role(attempt) == Role::OtherTenant)]
    }

    /// The key of what this attempt does, where there are keys: that of the object with one use, else that of the use.
    ///
    /// Settled: with `uses = 1` keys, jobs and unique rows are per object. Otherwise they are per use, and an act of an
    /// attempt without a use is keyed by the attempt.
    fn slot(&self, state: &State, attempt: u8) -> usize {
        if self.flow.object().uses == 1 { 0 } else { usize::from(self.owner_of_use(state, attempt)) }
    }

    /// The attempt whose use this one continues: itself, or the attempt that it accepted.
    fn owner_of_use(&self, state: &State, attempt: u8) -> u8 {
        let one = &state.attempts[usize::from(attempt)];
        match self.sibling(attempt) {
            Some(other) if one.repeats && one.uses == 0 && state.attempts[usize::from(other)].uses > 0 => {
                other
            }
            _ => attempt,
        }
    }

    /// The checkpoint of this attempt's machine.
    fn checkpoint(&self, world: &World, one: &Attempt, attempt: u8) -> Position {
        let fence = if self.is_latest(world, attempt) { LATEST_FENCE } else { EARLIER_FENCE };
        Position {
            cursor: one.cursor,
            target: one.target.map(|target| Target { id: target_id(target), created: one.created }),
            fence: one.is_fenced.then_some(fence),
            leased_by: one.holds_lease.then(|| self.lease_step(world)),
            is_retrying: one.is_retrying,
            uses_seen: one.seen,
            repeats: one.repeats,
            undoable: one.undoable,
            ending: one.ending.map(actions::ending),
            ..Position::new(one.held.digest())
        }
    }
}

/// Keeps what the machine remembers. The number of its lease is known from who took it last.
fn remember(one: &mut Attempt, at: Position) {
    one.cursor = at.cursor;
    one.held = Payload::of(at.digest);
    one.target = at.target.map(|target| target_index(target.id));
    one.created = at.target.is_some_and(|target| target.created);
    one.is_fenced = at.fence.is_some();
    one.holds_lease = at.leased_by.is_some();
    one.is_retrying = at.is_retrying;
    one.seen = at.uses_seen;
    one.repeats = at.repeats;
    one.undoable = at.undoable;
    one.ending = at.ending.map(|ending| crate::world::stage_of(ending.kind, ending.status));
}
