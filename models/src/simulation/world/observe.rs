//! Brings the ledgers up to date with what the store really has, and judges.

use uuid::Uuid;

use super::{Attempt, Simulation, Slot};
use crate::simulation::{
    ledger::Ledger,
    platform::{At, Deploy, Message},
};

/// How far what was done reaches: no need to look at more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nothing that a property looks at: a worker that waits.
    Nothing,
    /// A lease got longer.
    Lease,
    /// A promotion has read something, or has ended; or something was launched.
    Promotion,
    /// Whatever the store has.
    Store,
}

impl Simulation {
    /// Looks at what the store has, brings the ledgers up to date, and judges: those of one approval's family, or all.
    pub(super) fn observe(&mut self, touched: Option<usize>, reach: Reach) {
        match (reach, touched) {
            (Reach::Lease, Some(approval)) => {
                let Self { platform, ledgers, .. } = self;
                let ledger = &mut ledgers[approval];
                let (team, id) = (ledger.team, ledger.id);
                ledger.job = platform.store.look(team, |records| records.job_state(id)).flatten();
                return;
            }
            (Reach::Nothing | Reach::Lease | Reach::Promotion | Reach::Store, _) => {}
        }
        let now = self.now();
        let only = touched.map(|approval| (self.ledgers[approval].team, self.ledgers[approval].family));
        let Self { platform, ledgers, consumers, teams, judged, .. } = self;
        let looks = reach != Reach::Promotion;
        // What changes nothing in the store is no other approval's business.
        let alone = touched.filter(|_| !looks).map(|approval| ledgers[approval].id);
        let seen_by = |ledger: &Ledger| {
            alone.is_none_or(|id| ledger.id == id) && only.is_none_or(|(_, family)| ledger.family == family)
        };
        let looked_at = |team: &Uuid| looks && only.is_none_or(|(only, _)| only == *team);
        for (team, seen, cap) in teams.iter_mut().filter(|(team, ..)| looked_at(team)) {
            platform.store.look(*team, |records| {
                for event in &records.events[*seen..] {
                    if let Some(ledger) = ledgers.iter_mut().find(|ledger| ledger.id == event.approval) {
                        ledger.event(event.kind);
                    }
                }
                *seen = records.events.len();
                for (index, ledger) in ledgers.iter_mut().enumerate() {
                    if ledger.team != *team || !seen_by(ledger) {
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
        if let Some((client, duplicate)) = self.acted {
            let consumer = &consumers[usize::from(client)];
            let ledger = &mut ledgers[usize::from(consumer.plan.approval)];
            stands(&consumer.attempts[usize::from(duplicate)], ledger);
        }
        let control = platform.control();
        for ledger in ledgers.iter_mut().filter(|ledger| seen_by(ledger)) {
            if looks {
                let Some(record) = platform.store.standing(ledger.id) else { continue };
                ledger.stands(record.standing.status);
            }
            ledger.time_is(now);
            let runs = |deploy: &Deploy| deploy.launch.approval == ledger.id && deploy.ended.is_none();
            let late = || {
                control.late.iter().any(|late| match &late.message {
                    Message::Commit { approval, .. } => *approval == ledger.id,
                    Message::Finish { lease, .. } => lease.approval == ledger.id,
                })
            };
            ledger.under_way =
                ledger.requests > 0 || ledger.job_is_open() || control.deploys.iter().any(runs) || late();
            self.found = ledger.judge(self.found, judged);
        }
    }
}

/// Where a request stands, for its place in the ledger.
fn stands(attempt: &Attempt, ledger: &mut Ledger) {
    if !matches!(attempt.slot, Slot::Running(_)) {
        return;
    }
    let has_targets = ledger.has_targets();
    let Some(facts) = attempt.facts.and_then(|at| ledger.promotions.get_mut(at)) else { return };
    let At::Change { consumes, writes_target } = attempt.at else {
        (facts.at_consume, facts.at_contended_write) = (false, false);
        return;
    };
    facts.at_consume = consumes;
    let created = attempt.target.is_some_and(|target| target.created);
    facts.at_contended_write = writes_target && !created && has_targets;
}
