//! The model: the real [`Promotion`] in a small world, with every interleaving, crash and fault that the bounds allow.
//!
//! Nothing here judges a request: validate, consume and the order of the steps are the protocol's, and so is the
//! table of transitions. What is here is who may move when, and what a store does with a commit.

mod actions;
mod fairness;
mod fresh;
mod narrate;
mod stateright_model;
mod store;

use countersign::protocol::{
    Approval, Binding, Checkpoint, Digest, Effect, Environment, Event, Flow, IllegalTransition, Kind, Member,
    Op, Promotion, Refusal, Request, Status, Target, Timestamp, Window, flow::Do, transition,
};
use uuid::Uuid;

pub(crate) use actions::stage;
pub use actions::{Action, Outcome};
pub(crate) use narrate::deed;
pub use narrate::{Actor, Scene};

use crate::{
    properties::{Beyond, Facts, PromotionFacts, Property, Stage},
    world::{Consumer, MAX_CONSUMERS, Payload, State, TargetStatus, World},
};

/// How much of the world is explored. Verdicts hold within these bounds and say nothing beyond them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Promotions that may begin; from two on the last one asks for another stack. At most [`MAX_CONSUMERS`].
    pub consumers: u8,
    /// Crashes that may happen.
    pub crashes: u8,
    /// Faults that may be injected.
    pub faults: u8,
}

impl Bounds {
    /// The most crashes, and the most faults.
    pub const MAX_BUDGET: u8 = 15;

    /// Whether these are as large as `other` in every respect.
    pub fn reach(self, other: Self) -> bool {
        self.consumers >= other.consumers && self.crashes >= other.crashes && self.faults >= other.faults
    }
}

impl Default for Bounds {
    /// 3 consumers, 1 crash, 1 fault: what a flow file's expectations are about.
    fn default() -> Self {
        Self { consumers: 3, crashes: 1, faults: 1 }
    }
}

/// The table of transitions that the world applies: the protocol's, but for a mutant in a test.
pub type Transitions = fn(Status, Event, Window) -> Result<Status, IllegalTransition>;

/// One flow in the world.
#[derive(Clone, Debug)]
pub struct Model {
    flow: Flow,
    bounds: Bounds,
    transitions: Transitions,
    /// What was approved, and what the foreign consumer asks for.
    requests: [Request; 2],
    /// The approval's row, by its status.
    approvals: [Approval; 5],
    /// The flow's atomic actions, by cursor.
    lines: Vec<Line>,
    /// Whether a fresh promotion succeeds: by status, window passed, target there, lease held.
    fresh: [[[[bool; 2]; 2]; 2]; 5],
    /// Whether a lease that is held is released or runs out.
    leases_end: bool,
}

/// What can become of one atomic action of the flow, found by asking the promotion for its effect there.
#[derive(Clone, Debug)]
struct Line {
    /// The index of its step, none for the answer.
    step: Option<usize>,
    /// The first refusal that it may answer by its own judgement.
    refusal: Option<Refusal>,
    /// It may fail before anything changed.
    may_fail: bool,
    /// It may be applied and its answer lost.
    may_lose_answer: bool,
    /// It consumes.
    consumes: bool,
    /// It writes the target, or looks for it in order to write.
    writes_target: bool,
    /// It comes after a lease: whoever is here has taken one.
    is_leased: bool,
}

/// The fencing number of whoever took the lease last, and that of everybody before: nobody asks by how much.
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
    /// When the bounds are beyond [`MAX_CONSUMERS`] or [`Bounds::MAX_BUDGET`].
    pub fn new(flow: Flow, bounds: Bounds) -> Self {
        Self::with_transitions(flow, bounds, transition)
    }

    /// As [`new`](Self::new), with another table of transitions: for tests that show that a wrong one is caught.
    pub fn with_transitions(flow: Flow, bounds: Bounds, transitions: Transitions) -> Self {
        assert!(usize::from(bounds.consumers) <= MAX_CONSUMERS, "at most {MAX_CONSUMERS} consumers");
        assert!(bounds.crashes.max(bounds.faults) <= Bounds::MAX_BUDGET, "a budget beyond the most");
        let environment = |name| Environment::parse(name).expect("a legal name");
        let binding =
            Binding { kind: Kind::Stack, from: environment("staging"), to: environment("production") };
        let (id, team) = (Uuid::from_u128(1), Uuid::from_u128(2));
        // The foreign one names the same approval, team and environments: only the digest tells them apart.
        let request = Request { approval: id, team, binding: binding.clone() };
        let approvals = Status::ALL.map(|status| Approval {
            id,
            team,
            requested_by: "dev@example.com".into(),
            binding: binding.clone(),
            digest: Payload::Approved.digest(),
            status,
            expires_at: EXPIRES_AT,
        });
        let lines = lines(&flow, &request);
        let requests = [request.clone(), request];
        let fresh = Default::default();
        let mut model =
            Self { flow, bounds, transitions, requests, approvals, lines, fresh, leases_end: true };
        model.fresh = model.try_fresh_promotions();
        model
    }

    /// As [`new`](Self::new), but a lease that was taken stays taken: for tests that show that it is caught.
    pub fn with_endless_leases(flow: Flow, bounds: Bounds) -> Self {
        let mut model = Self { leases_end: false, ..Self::new(flow, bounds) };
        model.fresh = model.try_fresh_promotions();
        model
    }

    /// The flow.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// The bounds.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Whether this consumer asks for another stack.
    pub fn is_foreign(&self, consumer: u8) -> bool {
        self.bounds.consumers >= 2 && consumer == self.bounds.consumers - 1
    }

    /// Where everything begins: a pending approval.
    pub fn initial(&self) -> State {
        State {
            world: World::new(self.bounds.crashes, self.bounds.faults),
            consumers: [Consumer::default(); MAX_CONSUMERS],
        }
    }

    /// Whether this state shows `property` broken.
    pub fn violates(&self, property: Property, state: &State) -> bool {
        self.with_facts(state, |facts| property.is_violated(facts, || self.fresh_succeeds(state)))
    }

    /// Whether this state puts `property` to the test.
    pub fn witnesses(&self, property: Property, state: &State) -> bool {
        self.with_facts(state, |facts| property.is_witnessed(facts))
    }

    /// Lets `judge` look at what is known in this state.
    pub fn with_facts<T>(&self, state: &State, judge: impl FnOnce(&Facts<'_>) -> T) -> T {
        let world = &state.world;
        let mut promotions = [PromotionFacts::default(); MAX_CONSUMERS];
        for (index, (facts, one)) in promotions.iter_mut().zip(&state.consumers).enumerate() {
            let running = one.stage == Stage::Running;
            let may_act = running || one.stage == Stage::Waiting;
            let line = &self.lines[usize::from(one.cursor)];
            *facts = PromotionFacts {
                stage: one.stage,
                foreign: self.is_foreign(index as u8),
                began_on_approved: one.began_on_approved,
                consumed: one.consumed,
                wrote: one.wrote,
                at_consume: may_act && line.consumes,
                at_contended_write: running
                    && line.writes_target
                    && !one.created
                    && world.targets[0] != TargetStatus::Absent,
            };
        }
        let building = world
            .targets
            .iter()
            .rev()
            .fold(0, |bits, target| bits << 1 | u8::from(*target == TargetStatus::Building));
        judge(&Facts {
            status: world.status,
            window_passed: world.window_passed,
            drifted: world.drifted,
            executions: world.executions,
            executed_unapproved: world.executed_unapproved,
            executed_late: world.executed_late,
            final_left: world.final_left,
            decisions: world.decisions,
            executed_events: world.executed_events,
            targets_created: world.created(),
            vault_written: world.vault_written,
            building,
            launches: world.launches(),
            launched_other: world.launched_other,
            launched_unexecuted: world.launched_unexecuted,
            under_way: state.under_way(),
            clean: world.clean,
            promotions: &promotions[..usize::from(self.bounds.consumers)],
            beyond: Beyond::default(),
        })
    }

    /// What this consumer would launch now.
    fn source(&self, world: &World, consumer: u8) -> Payload {
        match (self.is_foreign(consumer), world.drifted) {
            (true, _) => Payload::Foreign,
            (false, true) => Payload::Drifted,
            (false, false) => Payload::Approved,
        }
    }

    fn request(&self, consumer: u8) -> &Request {
        &self.requests[usize::from(self.is_foreign(consumer))]
    }

    /// What this consumer's promotion remembers.
    fn checkpoint(&self, world: &World, one: &Consumer, consumer: u8) -> Checkpoint {
        let fence = if world.lease_last == Some(consumer) { LATEST_FENCE } else { EARLIER_FENCE };
        Checkpoint {
            cursor: one.cursor,
            digest: one.held.digest(),
            target: one.target.map(|target| Target { id: target_id(target), created: one.created }),
            fence: self.lines[usize::from(one.cursor)].is_leased.then_some(fence),
        }
    }
}

fn lines(flow: &Flow, request: &Request) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut is_leased = false;
    for cursor in 0.. {
        let at = Checkpoint { cursor, digest: Digest([0; 32]), target: None, fence: None };
        let promotion = Promotion::restore(flow, request, at);
        let step = promotion.step();
        let effect = promotion.effect().expect("a restored promotion has not ended");
        let ops: &[Op] = if let Effect::Commit(commit) = &effect { commit.ops } else { &[] };
        lines.push(Line {
            step: step.and_then(|step| flow.steps().iter().position(|other| std::ptr::eq(other, step))),
            refusal: step.and_then(|step| step.refusals().next().cloned()),
            may_fail: !matches!(effect, Effect::Launch { .. } | Effect::Answer),
            may_lose_answer: matches!(effect, Effect::Lease { .. })
                || (!ops.is_empty() && step.is_some_and(|step| step.action != Do::Audit)),
            consumes: ops.iter().any(|op| matches!(op, Op::Consume { .. })),
            writes_target: matches!(effect, Effect::FindTarget)
                || ops.iter().any(|op| matches!(op, Op::WriteTarget { .. })),
            is_leased,
        });
        is_leased |= matches!(effect, Effect::Lease { .. });
        if effect == Effect::Answer {
            break;
        }
    }
    lines
}

/// Whether this member of a group may refuse by its own judgement.
fn refuses(member: &Member) -> bool {
    matches!(member, Member::Write { refusals, .. } if !refusals.is_empty())
}

/// The number of its lease is known from who took it last.
fn remember(one: &mut Consumer, at: Checkpoint) {
    one.cursor = at.cursor;
    one.held = Payload::of(at.digest);
    one.target = at.target.map(|target| target_index(target.id));
    one.created = at.target.is_some_and(|target| target.created);
}
