//! The ledger of one approval: what is known of it, from what the store really has, in the words that the properties are about.

use std::{
    hash::BuildHasher,
    sync::{Mutex, PoisonError},
};

use countersign::{
    protocol::{Digest, Status, Timestamp},
    store::{AuditKind, JobState, StackStatus, memory::Records},
};
use uuid::Uuid;

use super::platform::{Changed, Deed};
use crate::properties::{Beyond, Facts, Inevitable, PromotionFacts, Property, Stage};

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
    pub(super) expires_at: Timestamp,
    pub(super) status: Status,
    pub(super) approved: bool,
    pub(super) drifted: bool,
    pub(super) clean: bool,
    pub(super) window_passed: bool,
    pub(super) job: Option<JobState>,
    pub(super) promotions: Vec<PromotionFacts>,
    pub(super) beyond: Beyond,
    pub(super) under_way: bool,
    /// How many requests for it are under way.
    pub(super) requests: usize,
    /// What it was judged by last.
    judged: Option<Packed>,
    decisions: u8,
    executions: u8,
    executed_events: u8,
    executed_unapproved: bool,
    executed_late: bool,
    final_left: bool,
    targets_created: u8,
    building: u8,
    vault_written: bool,
    wrote_other: bool,
    unkeyed_launches: u8,
    launched_keyed: bool,
    launched_other: bool,
    launched_unexecuted: bool,
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
            expires_at,
            status: Status::Pending,
            approved: false,
            drifted: false,
            clean: true,
            window_passed: false,
            job: None,
            promotions: Vec::new(),
            beyond: Beyond::default(),
            under_way: false,
            requests: 0,
            judged: None,
            decisions: 0,
            executions: 0,
            executed_events: 0,
            executed_unapproved: false,
            executed_late: false,
            final_left: false,
            targets_created: 0,
            building: 0,
            vault_written: false,
            wrote_other: false,
            unkeyed_launches: 0,
            launched_keyed: false,
            launched_other: false,
            launched_unexecuted: false,
        }
    }

    /// A transaction about this approval has changed something, at this time of the store's clock.
    pub(super) fn changed(&mut self, changed: Changed, now: Timestamp) {
        if changed.consumed > 0 {
            self.executed_unapproved |= !matches!(self.status, Status::Approved | Status::Executed);
            self.executed_late |= self.expires_at <= now;
            self.executions = self.executions.saturating_add(changed.consumed).min(2);
        }
        self.vault_written |= changed.vault;
        self.wrote_other |= changed.other_services;
    }

    /// Something was launched for it.
    pub(super) fn launched(&mut self, deed: &Deed) {
        let Some(launch) = &deed.launched else { return };
        match launch.key {
            Some(_) => self.launched_keyed = true,
            None => self.unkeyed_launches = (self.unkeyed_launches + 1).min(2),
        }
        self.launched_other |= launch.digest != self.digest;
        self.beyond.other_services |= self.wrote_other;
        self.launched_unexecuted |= self.status != Status::Executed;
    }

    /// Its status, as the store has it now.
    pub(super) fn stands(&mut self, status: Status) {
        self.final_left |= self.status.is_final() && status != self.status;
        self.approved |= status == Status::Approved;
        self.status = status;
    }

    /// What time it is, by the store's clock.
    pub(super) fn time_is(&mut self, now: Timestamp) {
        let had_passed = self.window_passed;
        self.window_passed = self.expires_at <= now;
        self.clean &= had_passed || !self.window_passed;
    }

    /// An event about it was written.
    pub(super) fn event(&mut self, kind: AuditKind) {
        match kind {
            AuditKind::Requested => {}
            AuditKind::Approved | AuditKind::Rejected | AuditKind::Expired => {
                self.decisions = (self.decisions + 1).min(2);
            }
            AuditKind::Executed => self.executed_events = (self.executed_events + 1).min(2),
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
        self.targets_created = created;
        self.building = building;
        self.beyond.cap_passed |= records.stacks.len() > cap;
        self.job = records.job_state(self.id);
    }

    /// Its launch job has yet to be done.
    pub(super) fn job_is_open(&self) -> bool {
        matches!(self.job, Some(JobState::Ready | JobState::Leased { .. }))
    }

    pub(super) fn has_targets(&self) -> bool {
        self.targets_created > 0
    }

    /// A promotion has ended. What no longer matters is forgotten, as in the model.
    pub(super) fn ended(&mut self, promotion: usize, stage: Stage) {
        let one = &mut self.promotions[promotion];
        let kept = *one;
        *one = PromotionFacts { stage, foreign: kept.foreign, ..PromotionFacts::default() };
        one.wrote = stage.is_refused() && kept.wrote;
        if stage == Stage::PreflightRefused {
            one.consumed = kept.consumed;
            one.began_on_approved = kept.began_on_approved;
        }
        self.clean &= stage != Stage::PreflightRefused;
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            status: self.status,
            window_passed: self.window_passed,
            drifted: self.drifted,
            executions: self.executions,
            executed_unapproved: self.executed_unapproved,
            executed_late: self.executed_late,
            final_left: self.final_left,
            decisions: self.decisions,
            executed_events: self.executed_events,
            targets_created: self.targets_created,
            vault_written: self.vault_written,
            building: self.building,
            launches: self.unkeyed_launches + u8::from(self.launched_keyed),
            launched_other: self.launched_other,
            launched_unexecuted: self.launched_unexecuted,
            under_way: self.under_way,
            clean: self.clean,
            promotions: &self.promotions,
            beyond: self.beyond,
        }
    }

    /// The safety properties that are broken now, and the properties that are put to the test, as sets of bits.
    /// Liveness is judged when the schedule is over.
    pub(super) fn judge(&mut self, known: Found, judged: &Judged) -> Found {
        // What is as it was when it was judged last has nothing new to show.
        let packed = packed(&self.facts());
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
#[derive(Debug)]
pub(super) struct Judged(Mutex<Vec<Option<(Packed, Found)>>>);

impl Default for Judged {
    fn default() -> Self {
        Self(Mutex::new(vec![None; Self::PLACES]))
    }
}

impl Judged {
    const PLACES: usize = 1 << 10;

    /// What these facts show: what was found in them when they were there before, or what the properties say.
    fn found<'a>(&self, packed: Option<Packed>, facts: impl FnOnce() -> Facts<'a>) -> Found {
        let judge = || {
            let facts = facts();
            Found {
                broken: Property::violated(&facts, u32::MAX),
                witnessed: Property::witnessed(&facts, u32::MAX),
            }
        };
        let Some(packed) = packed else { return judge() };
        let place = foldhash::fast::FixedState::default().hash_one(packed) as usize % Self::PLACES;
        let kept = &mut self.0.lock().unwrap_or_else(PoisonError::into_inner)[place];
        match kept {
            Some((known, found)) if *known == packed => *found,
            _ => kept.insert((packed, judge())).1,
        }
    }
}

/// All that the properties look at, in a form that is quickly compared.
type Packed = (u64, u128);

/// Different facts are packed differently; none when there is too much to be packed.
fn packed(facts: &Facts<'_>) -> Option<Packed> {
    // All of them by name: a fact that is added is missed here first.
    let Facts {
        status,
        window_passed,
        drifted,
        executions,
        executed_unapproved,
        executed_late,
        final_left,
        decisions,
        executed_events,
        targets_created,
        vault_written,
        building,
        launches,
        launched_other,
        launched_unexecuted,
        under_way,
        clean,
        promotions,
        beyond,
    } = *facts;
    let Beyond {
        other_services,
        cap_passed,
        stranger_asked,
        stranger_told,
        retried,
        retry_differs,
        stale_worker_tried,
        stale_worker_acted,
        looked_at,
        moved_by_a_look,
        searched,
        token_found,
    } = beyond;
    const MOST: usize = 10;
    if promotions.len() > MOST {
        return None;
    }
    let bits = |flags: &[bool]| flags.iter().fold(0, |bits, flag| bits << 1 | u64::from(*flag));
    let counts = u64::from_le_bytes([
        executions,
        decisions,
        executed_events,
        targets_created,
        building,
        launches,
        status as u8,
        promotions.len() as u8,
    ]);
    let flags = bits(&[
        window_passed,
        drifted,
        executed_unapproved,
        executed_late,
        final_left,
        vault_written,
        launched_other,
        launched_unexecuted,
        under_way,
        clean,
        other_services,
        cap_passed,
        stranger_asked,
        stranger_told,
        retried,
        retry_differs,
        stale_worker_tried,
        stale_worker_acted,
        looked_at,
        moved_by_a_look,
        searched,
        token_found,
    ]);
    let mut all = u128::from(flags);
    for one in promotions {
        let PromotionFacts {
            stage,
            foreign,
            began_on_approved,
            consumed,
            wrote,
            at_consume,
            at_contended_write,
        } = *one;
        let one = bits(&[foreign, began_on_approved, consumed, wrote, at_consume, at_contended_write]);
        all = all << 9 | u128::from(one << 3 | stage as u64);
    }
    Some((counts, all))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promotion_is_packed_unlike_any_flag() {
        let blank = || {
            let (nobody, nothing) = (Uuid::nil(), Digest([0; 32]));
            let ledger = Ledger::new(nobody, nobody, 0, [nobody; 2], nothing, Timestamp(0));
            Ledger { clean: false, ..ledger }
        };
        let mut seen = vec![packed(&blank().facts())];
        for promotions in 1..=3 {
            let mut ledger = blank();
            ledger.promotions = vec![PromotionFacts::default(); promotions];
            seen.push(packed(&ledger.facts()));
        }
        let mut asked = blank();
        asked.beyond.stranger_asked = true;
        seen.push(packed(&asked.facts()));
        let mut cap = blank();
        cap.beyond.cap_passed = true;
        seen.push(packed(&cap.facts()));
        for (place, one) in seen.iter().enumerate() {
            assert!(one.is_some() && !seen[..place].contains(one), "{place}");
        }
    }
}
