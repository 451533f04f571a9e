//! The model of a flow: its atomic actions, the participants, and the fields of a state.

use countersign::protocol::{
    Approval, Atomicity, Change, Digest, Effect, Flow, Member, Method, OnError, OnHeld, Position, Promotion,
    Refusal, Request, Retry, Status, StepAction, Storage, Via, WriteTarget,
};
use uuid::Uuid;

use super::{Bounds, Cast, EXPIRES_AT, Model, Role, Transitions, fresh};
use crate::{
    properties::{Property, starts_deploys, writes_anything, writes_target},
    world::{Layout, MAX_CONSUMERS, Payload},
};

/// Possible outcomes of one atomic action of the flow, found by querying the machine for its effect.
#[derive(Clone, Debug)]
pub(super) struct ActionProfile {
    /// The index of its step, none for the answer.
    pub(super) step: Option<usize>,
    /// The first refusal that it may answer by its own judgement.
    pub(super) refusal: Option<Refusal>,
    /// May fail before anything changed.
    pub(super) may_fail: bool,
    /// May be applied with a lost reply.
    pub(super) may_lose_answer: bool,
    /// Consumes.
    pub(super) consumes: bool,
    /// Writes the target, or looks it up for a write.
    pub(super) writes_target: bool,
    /// Waits for the lease.
    pub(super) waits: bool,
}

pub(super) fn model(flow: Flow, bounds: Bounds, transitions: Transitions) -> Model {
    let cast = cast(&flow, bounds);
    with_cast(flow, bounds, transitions, cast)
}

pub(super) fn of_callers(flow: Flow, bounds: Bounds, transitions: Transitions) -> Model {
    let mut cast = cast(&flow, bounds);
    cast.retain(|one| matches!(one.role, Role::Caller { .. }) && one.retry_of.is_none());
    with_cast(flow, bounds, transitions, cast)
}

pub(super) fn of_callers_who_retry(flow: Flow, bounds: Bounds, transitions: Transitions) -> Model {
    let mut cast = cast(&flow, bounds);
    cast.retain(|one| matches!(one.role, Role::Caller { .. }));
    with_cast(flow, bounds, transitions, cast)
}

fn with_cast(flow: Flow, bounds: Bounds, transitions: Transitions, cast: Vec<Cast>) -> Model {
    assert!(usize::from(bounds.consumers) <= MAX_CONSUMERS, "at most {MAX_CONSUMERS} callers");
    assert!(bounds.crashes.max(bounds.faults) <= Bounds::MAX_BUDGET, "a budget beyond the most");
    let (id, team) = (Uuid::from_u128(1), Uuid::from_u128(2));
    // Another payload names the same object, owner and environments: only the digest tells them apart. A stranger
    // fails the owner's check and nothing else.
    let request = Request { approval: id, team };
    let other_tenant = Request { team: Uuid::from_u128(3), ..request };
    let approvals = Status::ALL.map(|status| Approval {
        id,
        team,
        requested_by: "dev@example.com".into(),
        digest: Payload::Approved.digest(),
        status,
        expires_at: EXPIRES_AT,
    });
    let profiles = profiles(&flow, &request);
    let layout = layout(&flow, &profiles, &cast);
    let applied = Property::ALL.iter().filter(|one| one.applies(&flow)).fold(0, |set, one| set | one.bit());
    Model {
        flow,
        bounds,
        transitions,
        requests: [request, other_tenant],
        approvals,
        profiles,
        layout,
        cast,
        fresh: fresh::Known::default(),
        applied,
        leases_end: true,
    }
}

pub(super) fn cast(flow: &Flow, bounds: Bounds) -> Vec<Cast> {
    let mut cast: Vec<Cast> = Vec::new();
    for index in 0..bounds.consumers {
        let foreign = flow.object().bound && bounds.consumers >= 2 && index + 1 == bounds.consumers;
        let role = Role::Caller { index, foreign };
        let first = cast.len() as u8;
        cast.push(Cast { role, retry_of: None });
        if flow.endpoint().retry != Retry::None {
            cast.push(Cast { role, retry_of: Some(first) });
        }
    }
    if flow.object().owner {
        cast.push(Cast { role: Role::OtherTenant, retry_of: None });
    }
    if flow.endpoint().method == Method::Get {
        cast.push(Cast { role: Role::Scanner, retry_of: None });
    }
    cast
}

fn profiles(flow: &Flow, request: &Request) -> Vec<ActionProfile> {
    let mut profiles: Vec<ActionProfile> = Vec::new();
    for cursor in 0.. {
        let at = Position { cursor, ..Position::new(Digest([0; 32])) };
        let promotion = Promotion::at_position(flow, request, at);
        let step = promotion.step();
        let effect = promotion.effect().expect("a restored promotion has not ended");
        let ops: &[Change] = if let Effect::Commit(commit) = &effect { commit.ops } else { &[] };
        let is_event = step.is_some_and(|step| step.action == StepAction::Audit);
        let waits =
            |action: &StepAction| matches!(action, StepAction::Lease(lease) if lease.on_held == OnHeld::Wait);
        profiles.push(ActionProfile {
            step: step.and_then(|step| flow.steps().iter().position(|other| std::ptr::eq(other, step))),
            // The look of a read-then-write refuses for its step.
            refusal: step.and_then(|step| step.refusals().next().cloned()),
            may_fail: !matches!(effect, Effect::Launch { .. } | Effect::Answer),
            may_lose_answer: matches!(effect, Effect::Lease { .. } | Effect::Call { .. })
                || (!ops.is_empty() && !is_event)
                || (effect == Effect::Answer && flow.endpoint().retry != Retry::None),
            consumes: ops.iter().any(|op| matches!(op, Change::Consume(_))),
            writes_target: matches!(effect, Effect::FindTarget)
                || ops.iter().any(|op| matches!(op, Change::WriteTarget { .. })),
            waits: step.is_some_and(|step| waits(&step.action)),
        });
        if effect == Effect::Answer {
            break;
        }
    }
    profiles
}

fn layout(flow: &Flow, profiles: &[ActionProfile], cast: &[Cast]) -> Layout {
    let object = flow.object();
    let steps = || flow.steps().iter();
    let bits = |wanted: &dyn Fn(&StepAction) -> bool| {
        steps()
            .enumerate()
            .filter(|(_, step)| step.is_undone() && wanted(&step.action))
            .fold(0, |set, (at, _)| set | 1 << at)
    };
    let vias: Vec<Via> = flow.acts().map(|(_, act)| act.via).collect();
    let of_acts = |wanted: &dyn Fn(Via) -> bool| {
        std::array::from_fn(|act| vias.get(act).is_some_and(|via| wanted(*via)))
    };
    let leases = || {
        steps().filter_map(|step| match &step.action {
            StepAction::Lease(lease) => Some(lease),
            _ => None,
        })
    };
    let reads_uses = flow.consume().is_some_and(|consume| consume.atomicity == Atomicity::ReadThenWrite);
    let accepts = flow.consume().is_some_and(|consume| consume.accept_own);
    let retries = flow.endpoint().retry != Retry::None;
    let gives_back = bits(&|action| matches!(action, StepAction::Consume(_))) != 0;
    let in_memory = flow.consume().is_some_and(|consume| consume.storage == Storage::Memory);
    let audits =
        steps().any(|step| step.action == StepAction::Audit || step.members().contains(&Member::Audit));
    Layout {
        attempts: cast.len(),
        cursor_bits: usize::BITS - profiles.len().leading_zeros(),
        is_decided: object.approvers > 0,
        has_uses: true,
        reads_uses,
        reads_status: reads_uses && object.uses > 1,
        is_revocable: object.revocable,
        has_payloads: object.bound,
        writes: writes_anything(flow),
        has_targets: writes_target(flow),
        audits,
        acts: of_acts(&|_| true),
        keyed: of_acts(&|via| matches!(via, Via::Row { unique: true } | Via::Call { key: true })),
        jobs: of_acts(&|via| via == Via::Outbox),
        deploys: of_acts(&|via| via == Via::Memory),
        slots: if object.uses == 1 { 1 } else { cast.len() },
        leases: flow.takes_lease(),
        lease_steps: leases().count() > 1,
        shares_lease: retries && leases().any(|lease| lease.reentrant),
        undone: bits(&|_| true),
        undone_writes: bits(&|action| matches!(action, StepAction::Write(_))),
        retries_steps: steps().any(|step| step.on_error == OnError::Retry),
        retries,
        has_keys: steps().any(|step| {
            matches!(step.action, StepAction::Recall { .. } | StepAction::Remember)
                || step.members().contains(&Member::Remember)
        }),
        tracks_events: audits && (accepts || gives_back),
        tracks_last_user: gives_back && object.uses == 1,
        forgets_uses: in_memory && accepts && retries,
        answers: of_acts(&|via| via == Via::Answer).contains(&true),
        repeats: true,
    }
}

impl Model {
    /// True if acts start deploys: a written target then stays `building` until one ends.
    pub(super) fn has_deploys(&self) -> bool {
        starts_deploys(&self.flow)
    }

    /// True if the write of this step is to the target.
    pub(super) fn writes_target_at(&self, step: usize) -> bool {
        matches!(&self.flow.steps()[step].action, StepAction::Write(write) if write.what == WriteTarget::Target)
    }
}
