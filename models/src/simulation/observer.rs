//! The observer of one approval: facts in the vocabulary of the properties, derived from the store's actual state.

use countersign::{
    protocol::{Digest, Status, Timestamp},
    service::Launch,
    store::{AuditKind, JobState, StackStatus, memory::Records},
};
use uuid::Uuid;

use super::platform::Changed;
use crate::{
    fixtures::token_of,
    properties::{ExtraFacts, Facts, Inevitable, More, PromotionFacts, PromotionState, Property},
};

/// Facts of one approval.
#[derive(Clone, Debug)]
pub(super) struct ApprovalObserver {
    pub(super) id: Uuid,
    pub(super) team: Uuid,
    /// The stack that it was given for, and the other one of its family.
    pub(super) sources: [Uuid; 2],
    pub(super) digest: Digest,
    /// The token in the operator's link.
    pub(super) token: Box<str>,
    pub(super) expires_at: Timestamp,
    pub(super) status: Status,
    pub(super) approved: bool,
    pub(super) known: Known,
    pub(super) job: Option<JobState>,
    /// The target of its job.
    pub(super) job_target: Option<Uuid>,
    /// In the order in which they began.
    promotions: Vec<PromotionFacts>,
    /// Number of running requests.
    pub(super) requests: usize,
}

/// The facts of the properties, except for the status and the promotions, and whether a write differed from the
/// approved payload.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    executions: u8,
    decisions: u8,
    executed_events: u8,
    targets_created: u8,
    building: u8,
    unkeyed_launches: u8,
    launched_keyed: bool,
    launched_other: bool,
    pub(super) under_way: bool,
    pub(super) clean: bool,
    pub(super) drifted: bool,
    pub(super) window_passed: bool,
    executed_unapproved: bool,
    executed_late: bool,
    final_left: bool,
    vault_written: bool,
    wrote_other: bool,
    pub(super) extra: ExtraFacts,
}

impl ApprovalObserver {
    pub(super) fn new(
        id: Uuid,
        team: Uuid,
        sources: [Uuid; 2],
        digest: Digest,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            id,
            team,
            sources,
            digest,
            token: token_of(id).into(),
            expires_at,
            status: Status::Pending,
            approved: false,
            known: Known { clean: true, ..Known::default() },
            job: None,
            job_target: None,
            promotions: Vec::new(),
            requests: 0,
        }
    }

    /// A transaction changed this approval at this time of the store's clock.
    pub(super) fn changed(&mut self, changed: Changed, now: Timestamp) {
        if changed.consumed > 0 {
            self.known.executed_unapproved |= !matches!(self.status, Status::Approved | Status::Executed);
            self.known.executed_late |= self.expires_at <= now;
            self.known.executions = self.known.executions.saturating_add(changed.consumed);
        }
        self.known.vault_written |= changed.vault;
        self.known.wrote_other |= changed.other_services;
    }

    /// This was launched for it.
    pub(super) fn launched(&mut self, launch: &Launch) {
        match launch.key {
            Some(_) => self.known.launched_keyed = true,
            None => self.known.unkeyed_launches = self.known.unkeyed_launches.saturating_add(1),
        }
        self.known.launched_other |= launch.digest != self.digest;
        self.known.extra.other_services |= self.known.wrote_other;
    }

    /// Its status, as the store has it now.
    pub(super) fn stands(&mut self, status: Status) {
        self.known.final_left |= status != self.status && self.status.is_final();
        self.approved |= status == Status::Approved;
        self.status = status;
    }

    /// Updates the time, by the store's clock.
    pub(super) fn time_is(&mut self, now: Timestamp) {
        self.known.window_passed = self.expires_at <= now;
        self.known.clean &= !self.known.window_passed;
    }

    /// An event about it was written.
    pub(super) fn event(&mut self, kind: AuditKind) {
        match kind {
            AuditKind::Requested | AuditKind::Revoked | AuditKind::RejectedLate => {}
            AuditKind::Approved | AuditKind::Rejected | AuditKind::Expired => {
                self.known.decisions = (self.known.decisions + 1).min(2);
            }
            AuditKind::Executed => {
                self.known.executed_events = self.known.executed_events.saturating_add(1);
            }
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
        (self.known.targets_created, self.known.building) = (created, building);
        self.known.extra.cap_passed |= records.stacks.len() > cap;
        let job = records.job(self.id);
        self.job = job.map(|job| job.state);
        self.job_target = job.and_then(|job| job.target);
    }

    /// Its launch job is not done.
    pub(super) fn job_is_open(&self) -> bool {
        matches!(self.job, Some(JobState::Ready | JobState::Leased { .. }))
    }

    pub(super) fn has_targets(&self) -> bool {
        self.known.targets_created > 0
    }

    /// One more promotion begins. Its index.
    pub(super) fn add(&mut self, facts: PromotionFacts) -> usize {
        self.promotions.push(facts);
        self.promotions.len() - 1
    }

    /// Changes the facts of a promotion; a no-op for an unknown index.
    pub(super) fn change(&mut self, promotion: usize, change: impl FnOnce(&mut PromotionFacts)) {
        if let Some(facts) = self.promotions.get_mut(promotion) {
            change(facts);
        }
    }

    /// A promotion has ended. What no longer matters is forgotten, as in the model.
    pub(super) fn ended(&mut self, promotion: usize, stage: PromotionState) {
        self.change(promotion, |one| {
            let kept = *one;
            *one = PromotionFacts { stage, foreign: kept.foreign, ..PromotionFacts::default() };
            one.wrote = stage.is_refused() && kept.wrote;
            one.consumed = stage.is_refused() && kept.consumed;
            if stage.is_judged_by_s1() {
                one.began_on_approved = kept.began_on_approved;
            }
        });
        self.known.clean &= stage != PromotionState::PreflightRefused;
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        let known = &self.known;
        let launches = known.unkeyed_launches.saturating_add(u8::from(known.launched_keyed));
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
            launches,
            launched_other: known.launched_other,
            launched_unexecuted: launches > known.executions,
            under_way: known.under_way,
            clean: known.clean,
            promotions: &self.promotions,
            extra: known.extra,
            more: More::default(),
        }
    }

    /// The safety properties that are violated now, and the properties that are exercised, as sets of bits. Liveness is
    /// judged when the schedule is over.
    pub(super) fn judge(&self) -> Found {
        let facts = self.facts();
        Found {
            broken: Property::violated(&facts, u32::MAX),
            exercised: Property::exercised(&facts, u32::MAX),
        }
    }

    /// The inevitable properties still pending after all work has ended.
    pub(super) fn overdue(&self) -> u32 {
        let facts = self.facts();
        let pending = Inevitable::ALL.into_iter().filter(|inevitable| inevitable.is_pending(&facts));
        pending.fold(0, |bits, inevitable| bits | 1 << inevitable.property() as u32)
    }

    /// Those of L3 and L4 which promise that one fresh promotion would succeed now.
    pub(super) fn promised(&self) -> u32 {
        let facts = self.facts();
        let promised =
            [Property::L3, Property::L4].into_iter().filter(|one| one.is_violated(&facts, || false));
        promised.fold(0, |bits, property| bits | 1 << property as u32)
    }
}

/// Sets of properties, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Broken.
    pub broken: u32,
    /// Exercised.
    pub exercised: u32,
}

impl Found {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { broken: self.broken | other.broken, exercised: self.exercised | other.exercised }
    }

    /// The properties that are broken.
    pub fn broken(self) -> impl Iterator<Item = Property> {
        Property::ALL.iter().copied().filter(move |property| self.broken >> *property as u32 & 1 == 1)
    }
}
