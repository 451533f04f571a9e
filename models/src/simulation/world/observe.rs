//! Brings the ledgers up to date with what the store really has, and judges.

use countersign::store::Clock;
use uuid::Uuid;

use super::{Attempt, Simulation, Slot};
use crate::simulation::{
    ledger::Ledger,
    platform::{At, Control, Deploy, Late, Message},
};

impl Simulation {
    /// Brings every ledger up to date, and judges it.
    pub(super) fn observe(&mut self) {
        self.look();
        self.place_acted();
        for approval in 0..self.ledgers.len() {
            if let Some(record) = self.platform.store.standing(self.ledgers[approval].id) {
                self.ledgers[approval].stands(record.standing.status);
            }
            self.judge(approval);
        }
    }

    /// Reads what the store has of every team.
    fn look(&mut self) {
        let Self { platform, ledgers, consumers, teams, .. } = self;
        for team in teams {
            platform.store.look(team.id, |records| {
                for event in &records.events[team.events..] {
                    if let Some(ledger) = ledgers.iter_mut().find(|ledger| ledger.id == event.approval) {
                        ledger.event(event.kind);
                    }
                }
                team.events = records.events.len();
                for (index, ledger) in ledgers.iter_mut().enumerate().filter(|(_, one)| one.team == team.id) {
                    let had_targets = ledger.has_targets();
                    ledger.look(records, team.cap);
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
        let Self { platform, ledgers, tally, .. } = self;
        let ledger = &mut ledgers[approval];
        ledger.time_is(platform.clock.now());
        let is_busy = ledger.requests > 0 || ledger.job_is_open();
        ledger.known.under_way = is_busy || is_awaited(&platform.control(), ledger.id);
        tally.found = tally.found.and(ledger.judge());
    }
}

/// True if a deploy runs for this approval, or a message about it is still to arrive.
fn is_awaited(control: &Control, approval: Uuid) -> bool {
    let runs = |deploy: &Deploy| deploy.launch.approval == approval && deploy.ended.is_none();
    let is_about = |late: &Late| match &late.message {
        Message::Commit { approval: about, .. } => *about == approval,
        Message::Finish { lease, .. } => lease.approval == approval,
    };
    control.deploys.iter().any(runs) || control.late.iter().any(is_about)
}

/// Records the stage of a request in the ledger.
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
    ledger.change(place, |facts| {
        (facts.at_consume, facts.at_contended_write) = (at_consume, at_contended_write);
    });
}
