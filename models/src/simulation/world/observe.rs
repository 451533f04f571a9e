//! Brings the ledgers up to date with what the store really has, and judges.

use uuid::Uuid;

use super::{Simulation, Slot};
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
    /// A promotion has read something, or has ended.
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
                ledger.job = platform.store.job_state(ledger.id);
                return;
            }
            (Reach::Nothing | Reach::Lease | Reach::Promotion | Reach::Store, _) => {}
        }
        let now = self.now();
        let only = touched.map(|approval| (self.ledgers[approval].team, self.ledgers[approval].sources));
        let seen_by = |ledger: &Ledger| only.is_none_or(|(_, sources)| ledger.sources == sources);
        let Self { platform, ledgers, consumers, teams, .. } = self;
        let control = platform.control();
        let looked_at = |team: &Uuid| reach != Reach::Promotion && only.is_none_or(|(only, _)| only == *team);
        for (team, seen, cap) in teams.iter_mut().filter(|(team, ..)| looked_at(team)) {
            platform.store.look(*team, |records| {
                for event in &records.events[*seen..] {
                    if let Some(ledger) = ledgers.iter_mut().find(|ledger| ledger.id == event.approval) {
                        ledger.event(event.kind);
                    }
                }
                *seen = records.events.len();
                for ledger in ledgers.iter_mut().filter(|ledger| ledger.team == *team && seen_by(ledger)) {
                    ledger.look(records, *cap);
                }
            });
        }
        for (index, ledger) in ledgers.iter_mut().enumerate().filter(|(_, ledger)| seen_by(ledger)) {
            if reach != Reach::Promotion {
                ledger.job = platform.store.job_state(ledger.id);
            }
            let Some(record) = platform.store.standing(ledger.id) else { continue };
            let had_passed = ledger.window_passed;
            ledger.stands(record.standing.status, now);
            ledger.clean &= had_passed || !ledger.window_passed;
            let has_targets = ledger.has_targets();
            let mut running = false;
            for consumer in consumers.iter().filter(|one| usize::from(one.plan.approval) == index) {
                for attempt in &consumer.attempts {
                    if !matches!(attempt.slot, Slot::Running(_)) {
                        continue;
                    }
                    running = true;
                    let Some(facts) = attempt.facts.and_then(|at| ledger.promotions.get_mut(at)) else {
                        continue;
                    };
                    let At::Change { consumes, writes_target } = attempt.at else {
                        (facts.at_consume, facts.at_contended_write) = (false, false);
                        continue;
                    };
                    facts.at_consume = consumes;
                    let created = attempt.target.is_some_and(|target| target.created);
                    facts.at_contended_write = writes_target && !created && has_targets;
                }
            }
            let runs = |deploy: &Deploy| deploy.launch.approval == ledger.id && deploy.ended.is_none();
            let deploys = control.deploys.iter().any(runs);
            let late = control.late.iter().any(|late| match &late.message {
                Message::Commit { approval, .. } => *approval == ledger.id,
                Message::Finish { lease, .. } => lease.approval == ledger.id,
            });
            ledger.under_way = running || deploys || late || ledger.job_is_open();
        }
        drop(control);
        for ledger in self.ledgers.iter().filter(|ledger| seen_by(ledger)) {
            self.found = ledger.judge(self.found);
        }
    }
}
