//! Brings the observers up to date with what the store really has, and judges.

use countersign::store::Clock;
use uuid::Uuid;

use super::{Attempt, Simulation, Slot};
use crate::simulation::{
    observer::ApprovalObserver,
    platform::{At, Control, Deploy, Late, Message},
};

impl Simulation {
    /// Brings every observer up to date, and judges it.
    pub(super) fn observe(&mut self) {
        self.look();
        self.place_acted();
        for approval in 0..self.observers.len() {
            if let Some(record) = self.platform.store.standing(self.observers[approval].id) {
                self.observers[approval].stands(record.standing.status);
            }
            self.judge(approval);
        }
    }

    /// Reads what the store has of every team.
    fn look(&mut self) {
        let Self { platform, observers, consumers, teams, .. } = self;
        for team in teams {
            platform.store.look(team.id, |records| {
                for event in &records.events[team.events..] {
                    if let Some(observer) =
                        observers.iter_mut().find(|observer| observer.id == event.approval)
                    {
                        observer.event(event.kind);
                    }
                }
                team.events = records.events.len();
                for (index, observer) in
                    observers.iter_mut().enumerate().filter(|(_, one)| one.team == team.id)
                {
                    let had_targets = observer.has_targets();
                    observer.look(records, team.cap);
                    if observer.has_targets() != had_targets {
                        let mine = consumers.iter().filter(|one| usize::from(one.plan.approval) == index);
                        mine.flat_map(|one| &one.attempts).for_each(|attempt| stands(attempt, observer));
                    }
                }
            });
        }
    }

    /// The request that was polled last gets its new place in the observer.
    fn place_acted(&mut self) {
        if let Some((client, duplicate)) = self.acted {
            let consumer = &self.consumers[usize::from(client)];
            let observer = &mut self.observers[usize::from(consumer.plan.approval)];
            stands(&consumer.attempts[usize::from(duplicate)], observer);
        }
    }

    fn judge(&mut self, approval: usize) {
        let Self { platform, observers, tally, .. } = self;
        let observer = &mut observers[approval];
        observer.time_is(platform.clock.now());
        let is_busy = observer.requests > 0 || observer.job_is_open();
        observer.known.under_way = is_busy || is_awaited(&platform.control(), observer.id);
        tally.found = tally.found.and(observer.judge());
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

/// Records the stage of a request in the observer.
fn stands(attempt: &Attempt, observer: &mut ApprovalObserver) {
    if !matches!(attempt.slot, Slot::Running(_)) {
        return;
    }
    let Some(place) = attempt.facts else { return };
    let (at_consume, at_contended_write) = match attempt.at {
        At::Change { consumes, writes_target } => {
            let created = attempt.target.is_some_and(|target| target.created);
            (consumes, writes_target && !created && observer.has_targets())
        }
        At::Elsewhere | At::Deploy => (false, false),
    };
    observer.change(place, |facts| {
        (facts.at_consume, facts.at_contended_write) = (at_consume, at_contended_write);
    });
}
