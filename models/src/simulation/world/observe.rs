//! Brings the ledgers up to date with what the store really has, and judges.

use countersign::store::{Clock, memory::Records};
use uuid::Uuid;

use super::{Attempt, Simulation, Slot};
use crate::simulation::{
    ledger::Ledger,
    platform::{At, Control, Deploy, Late, Message},
};

/// How far what was done reaches: no need to look at more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nothing that a property looks at: a worker that waits, or launches what is launched.
    Nothing,
    /// A job was leased, or its lease got longer: no property looks at that by itself.
    Lease,
    /// Beside the store: a promotion has read something or has ended, a request was sent again, something was launched
    /// or its deploy has ended, time has passed.
    Beside,
    /// Whatever the store has.
    Store,
}

impl Simulation {
    /// Brings the ledgers up to date, as far as they were reached, and judges: what is beside the store is one approval's
    /// business, what is in it that of the approval's family. Without one it is everybody's.
    pub(super) fn observe(&mut self, touched: Option<usize>, reach: Reach) {
        match (reach, touched) {
            (Reach::Nothing, _) => {}
            (Reach::Lease, Some(approval)) => {
                let ledger = &mut self.ledgers[approval];
                let job = |records: Records<'_>| records.job_state(ledger.id);
                ledger.job = self.platform.store.look(ledger.team, job).flatten();
            }
            // What changes nothing in the store is no other approval's business.
            (Reach::Beside, Some(approval)) => {
                self.place_acted();
                self.judge(approval);
            }
            (Reach::Beside, None) => {
                self.place_acted();
                (0..self.ledgers.len()).for_each(|approval| self.judge(approval));
            }
            (Reach::Lease | Reach::Store, _) => {
                let only = touched.map(|approval| &self.ledgers[approval]);
                let only = only.map(|ledger| (ledger.team, ledger.family));
                self.look(only);
                self.place_acted();
                for approval in 0..self.ledgers.len() {
                    let ledger = &mut self.ledgers[approval];
                    if only.is_none_or(|(_, family)| ledger.family == family)
                        && let Some(record) = self.platform.store.standing(ledger.id)
                    {
                        ledger.stands(record.standing.status);
                        self.judge(approval);
                    }
                }
            }
        }
    }

    /// Looks at what the store has of one family, or of all.
    fn look(&mut self, only: Option<(Uuid, usize)>) {
        let Self { platform, ledgers, consumers, teams, .. } = self;
        for (team, seen, cap) in teams.iter_mut() {
            if only.is_some_and(|(only, _)| only != *team) {
                continue;
            }
            platform.store.look(*team, |records| {
                for event in &records.events[*seen..] {
                    if let Some(ledger) = ledgers.iter_mut().find(|ledger| ledger.id == event.approval) {
                        ledger.event(event.kind);
                    }
                }
                *seen = records.events.len();
                for (index, ledger) in ledgers.iter_mut().enumerate() {
                    let is_meant = match only {
                        Some((_, family)) => ledger.family == family,
                        None => ledger.team == *team,
                    };
                    if !is_meant {
                        continue;
                    }
                    let had_targets = ledger.has_targets();
                    ledger.look(records, *cap);
                    if ledger.has_targets() != had_targets {
                        let mine = consumers.iter().filter(|one| usize::from(one.plan.approval) == index);
                        mine.flat_map(|one| &one.attempts).for_each(|attempt| stands(attempt, ledger));
                    }
                }
            });
        }
    }

    /// The request that was polled last gets its new place in the ledger.
    fn place_acted(&mut self) {
        if let Some((client, duplicate)) = self.acted {
            let consumer = &self.consumers[usize::from(client)];
            let ledger = &mut self.ledgers[usize::from(consumer.plan.approval)];
            stands(&consumer.attempts[usize::from(duplicate)], ledger);
        }
    }

    fn judge(&mut self, approval: usize) {
        let Self { platform, ledgers, judged, found, .. } = self;
        let ledger = &mut ledgers[approval];
        ledger.time_is(platform.clock.now());
        let under_way =
            ledger.requests > 0 || ledger.job_is_open() || is_awaited(&platform.control(), ledger.id);
        // As in the ledger: not written unless it changes.
        if under_way != ledger.known.under_way {
            ledger.known.under_way = under_way;
        }
        *found = ledger.judge(*found, judged);
    }
}

/// Whether a deploy runs for this approval, or a message about it has yet to arrive.
fn is_awaited(control: &Control, approval: Uuid) -> bool {
    let runs = |deploy: &Deploy| deploy.launch.approval == approval && deploy.ended.is_none();
    let is_about = |late: &Late| match &late.message {
        Message::Commit { approval: about, .. } => *about == approval,
        Message::Finish { lease, .. } => lease.approval == approval,
    };
    control.deploys.iter().any(runs) || control.late.iter().any(is_about)
}

/// Where a request stands, for its place in the ledger.
fn stands(attempt: &Attempt, ledger: &mut Ledger) {
    if !matches!(attempt.slot, Slot::Running(_)) {
        return;
    }
    let Some(place) = attempt.facts else { return };
    let (at_consume, at_contended_write) = match attempt.at {
        At::Change { consumes, writes_target } => {
            let created = attempt.target.is_some_and(|target| target.created);
            (consumes, writes_target && !created && ledger.has_targets())
        }
        At::Elsewhere | At::Deploy => (false, false),
    };
    ledger.promotions.change(place, |facts| {
        (facts.at_consume, facts.at_contended_write) = (at_consume, at_contended_write);
    });
}
