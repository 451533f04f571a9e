//! The ledger of one approval: what is known of it, from what the store really has, in the words that the properties are about.

mod packed;

use std::hash::BuildHasher;

use countersign::{
    protocol::{Digest, Status, Timestamp},
    service::Launch,
    store::{AuditKind, JobState, StackStatus, memory::Records},
};
use uuid::Uuid;

use packed::{Packed, Promotions, packed};

use super::platform::Changed;
use crate::{
    fixtures::token_of,
    properties::{Beyond, Facts, Inevitable, PromotionFacts, Property, Stage},
};

/// What is known of one approval.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    pub(super) id: Uuid,
    pub(super) team: Uuid,
    /// Which family of stacks it is about. Approvals of one family have one target.
    pub(super) family: usize,
    /// The stack that it was given for, and the other one of its family.
    pub(super) sources: [Uuid; 2],
    pub(super) digest: Digest,
    /// What its operator has got.
    pub(super) token: Box<str>,
    pub(super) expires_at: Timestamp,
    pub(super) status: Status,
    pub(super) approved: bool,
    pub(super) known: Known,
    pub(super) job: Option<JobState>,
    pub(super) promotions: Promotions,
    /// How many requests for it are under way.
    pub(super) requests: usize,
    /// What it was judged by last.
    judged: Option<Packed>,
}

/// What the properties look at, beside the status and the promotions, and whether something else was written than what
/// was approved. In the order in which it is packed.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Known {
    executions: u8,
    decisions: u8,
    executed_events: u8,
    targets_created: u8,
    building: u8,
    unkeyed_launches: u8,
    launched_keyed: bool,
    launched_other: bool,
    launched_unexecuted: bool,
    pub(super) under_way: bool,
    pub(super) clean: bool,
    pub(super) drifted: bool,
    pub(super) window_passed: bool,
    executed_unapproved: bool,
    executed_late: bool,
    final_left: bool,
    vault_written: bool,
    wrote_other: bool,
    pub(super) beyond: Beyond,
}

impl Ledger {
    pub(super) fn new(
        id: Uuid,
        team: Uuid,
        family: usize,
        sources: [Uuid; 2],
        digest: Digest,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            id,
            team,
            family,
            sources,
            digest,
            token: token_of(id).into(),
            expires_at,
            status: Status::Pending,
            approved: false,
            known: Known { clean: true, ..Known::default() },
            job: None,
            promotions: Promotions::default(),
            requests: 0,
            judged: None,
        }
    }

    /// Is judged the next time, whatever it was judged by last.
    pub(super) fn forget_judgement(&mut self) {
        self.judged = None;
    }

    /// Knows what another one of this approval knows that has no promotions.
    pub(super) fn set_back(&mut self, original: &Self) {
        debug_assert_eq!(self.id, original.id, "it is about the same approval");
        // All of it by name: what is added is missed here first. The first ones never change.
        let Self {
            id: _,
            team: _,
            family: _,
            sources: _,
            digest: _,
            token: _,
            expires_at: _,
            status,
            approved,
            known,
            job,
            promotions,
            requests,
            judged,
        } = self;
        (*status, *approved, *known) = (original.status, original.approved, original.known);
        (*job, *requests, *judged) = (original.job, original.requests, original.judged);
        promotions.clear();
    }

    /// A transaction about this approval has changed something, at this time of the store's clock.
    pub(super) fn changed(&mut self, changed: Changed, now: Timestamp) {
        if changed.consumed > 0 {
            self.known.executed_unapproved |= !matches!(self.status, Status::Approved | Status::Executed);
            self.known.executed_late |= self.expires_at <= now;
            self.known.executions = self.known.executions.saturating_add(changed.consumed).min(2);
        }
        self.known.vault_written |= changed.vault;
        self.known.wrote_other |= changed.other_services;
    }

    /// This was launched for it.
    pub(super) fn launched(&mut self, launch: &Launch) {
        match launch.key {
            Some(_) => self.known.launched_keyed = true,
            None => self.known.unkeyed_launches = (self.known.unkeyed_launches + 1).min(2),
        }
        self.known.launched_other |= launch.digest != self.digest;
        self.known.beyond.other_services |= self.known.wrote_other;
        self.known.launched_unexecuted |= self.status != Status::Executed;
    }

    // Here and below: what has not changed is not written, since what was just written byte by byte is slow to be packed.

    /// Its status, as the store has it now.
    pub(super) fn stands(&mut self, status: Status) {
        if status != self.status {
            self.known.final_left |= self.status.is_final();
            self.approved |= status == Status::Approved;
            self.status = status;
        }
    }

    /// What time it is, by the store's clock.
    pub(super) fn time_is(&mut self, now: Timestamp) {
        let passed = self.expires_at <= now;
        if passed != self.known.window_passed {
            self.known.window_passed = passed;
            self.known.clean &= !passed;
        }
    }

    /// An event about it was written.
    pub(super) fn event(&mut self, kind: AuditKind) {
        match kind {
            AuditKind::Requested => {}
            AuditKind::Approved | AuditKind::Rejected | AuditKind::Expired => {
                self.known.decisions = (self.known.decisions + 1).min(2);
            }
            AuditKind::Executed => self.known.executed_events = (self.known.executed_events + 1).min(2),
        }
    }

    /// Its team's stacks and its job, as the store has them now. `cap` is what the plan has room for.
    pub(super) fn look(&mut self, records: Records<'_>, cap: usize) {
        let (mut created, mut building) = (0, 0);
        for stack in records.stacks {
            // A target is a stack that a promotion has made of one of the two; these are in the other environment.
            let mine = stack.parent.is_some_and(|parent| self.sources.contains(&parent));
            if mine && !self.sources.contains(&stack.id) {
                if stack.status == StackStatus::Building && created < 8 {
                    building |= 1 << created;
                }
                created += 1;
            }
        }
        if (created, building) != (self.known.targets_created, self.known.building) {
            (self.known.targets_created, self.known.building) = (created, building);
        }
        if records.stacks.len() > cap {
            self.known.beyond.cap_passed = true;
        }
        self.job = records.job_state(self.id);
    }

    /// Its launch job has yet to be done.
    pub(super) fn job_is_open(&self) -> bool {
        matches!(self.job, Some(JobState::Ready | JobState::Leased { .. }))
    }

    pub(super) fn has_targets(&self) -> bool {
        self.known.targets_created > 0
    }

    /// A promotion has ended. What no longer matters is forgotten, as in the model.
    pub(super) fn ended(&mut self, promotion: usize, stage: Stage) {
        self.promotions.change(promotion, |one| {
            let kept = *one;
            *one = PromotionFacts { stage, foreign: kept.foreign, ..PromotionFacts::default() };
            one.wrote = stage.is_refused() && kept.wrote;
            if stage == Stage::PreflightRefused {
                one.consumed = kept.consumed;
                one.began_on_approved = kept.began_on_approved;
            }
        });
        self.known.clean &= stage != Stage::PreflightRefused;
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        let known = &self.known;
        Facts {
            status: self.status,
            window_passed: known.window_passed,
            drifted: known.drifted,
            executions: known.executions,
            executed_unapproved: known.executed_unapproved,
            executed_late: known.executed_late,
            final_left: known.final_left,
            decisions: known.decisions,
            executed_events: known.executed_events,
            targets_created: known.targets_created,
            vault_written: known.vault_written,
            building: known.building,
            launches: known.unkeyed_launches + u8::from(known.launched_keyed),
            launched_other: known.launched_other,
            launched_unexecuted: known.launched_unexecuted,
            under_way: known.under_way,
            clean: known.clean,
            promotions: self.promotions.all(),
            beyond: known.beyond,
        }
    }

    /// The safety properties that are broken now, and the properties that are put to the test, as sets of bits.
    /// Liveness is judged when the schedule is over.
    pub(super) fn judge(&mut self, known: Found, judged: &mut Judged) -> Found {
        // What is as it was when it was judged last has nothing new to show.
        let packed = packed(self.status, &self.known, &self.promotions);
        if packed.is_some() && packed == self.judged {
            return known;
        }
        self.judged = packed;
        known.and(judged.found(packed, || self.facts()))
    }

    /// What has yet to come about, though nothing is under way any more.
    pub(super) fn overdue(&self) -> u32 {
        let facts = self.facts();
        let pending = Inevitable::ALL.into_iter().filter(|inevitable| inevitable.is_pending(&facts));
        pending.fold(0, |bits, inevitable| bits | 1 << inevitable.property() as u32)
    }

    /// Of L3 and L4, those that promise that one fresh promotion would succeed now.
    pub(super) fn promised(&self) -> u32 {
        let facts = self.facts();
        let promised =
            [Property::L3, Property::L4].into_iter().filter(|one| one.is_violated(&facts, || false));
        promised.fold(0, |bits, property| bits | 1 << property as u32)
    }
}

/// What was found in the facts that were judged lately, in this schedule or in one before: schedules are much alike.
/// By default nothing is remembered.
#[derive(Debug, Default)]
pub(super) struct Judged(Vec<Judgement>);

/// Two to a cache line, which is what looking one up costs.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Judgement {
    of: Packed,
    found: Found,
}

impl Judged {
    const PLACES: usize = 1 << 14;
    /// Nothing is packed like this: no count is that large.
    const NOTHING: Judgement =
        Judgement { of: (u64::MAX, u64::MAX, u64::MAX), found: Found { broken: 0, witnessed: 0 } };

    /// For what many schedules have in common.
    pub(super) fn make_room(&mut self) {
        self.0.resize(Self::PLACES, Self::NOTHING);
    }

    /// What these facts show: what was found in them when they were there before, or what the properties say.
    fn found<'a>(&mut self, packed: Option<Packed>, facts: impl FnOnce() -> Facts<'a>) -> Found {
        let judge = || {
            let facts = facts();
            Found {
                broken: Property::violated(&facts, u32::MAX),
                witnessed: Property::witnessed(&facts, u32::MAX),
            }
        };
        let Some(packed) = packed else { return judge() };
        let place = foldhash::fast::FixedState::default().hash_one(packed) as usize % Self::PLACES;
        match self.0.get_mut(place) {
            Some(kept) if kept.of == packed => kept.found,
            Some(kept) => {
                *kept = Judgement { of: packed, found: judge() };
                kept.found
            }
            None => judge(),
        }
    }
}

/// Sets of properties, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Broken.
    pub broken: u32,
    /// Put to the test.
    pub witnessed: u32,
}

impl Found {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { broken: self.broken | other.broken, witnessed: self.witnessed | other.witnessed }
    }

    /// The properties that are broken.
    pub fn broken(self) -> impl Iterator<Item = Property> {
        Property::ALL.iter().copied().filter(move |property| self.broken >> *property as u32 & 1 == 1)
    }
}
