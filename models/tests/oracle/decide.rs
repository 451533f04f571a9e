//! Moves of people, the clock, the source, other deploys and the worker.

use crate::{
    moves::Move,
    properties::{Broken, Property::*},
    world::{JobState, Judge, Status, World},
};

const APPROVED: u8 = 1;
const REJECTED: u8 = 2;
const EXPIRED: u8 = 4;

#[derive(Clone, Copy, PartialEq)]
enum Person {
    /// An approver who has not pressed yet; there is always one left when it matters.
    NewApprover,
    /// Someone whose yes counts already.
    Repeated,
    Requester,
    /// A link scanner, as an approver who has not pressed.
    Scanner,
}

impl Judge {
    pub(crate) fn decisions(&self, world: &World, out: &mut Vec<Move>) {
        if self.flow.object.approvers > 0 {
            for person in [Person::NewApprover, Person::Repeated, Person::Requester, Person::Scanner] {
                self.press(world, person, out);
            }
            if world.status == Status::Pending {
                // Opened too late.
                if world.clock_passed {
                    self.refuse_object(world, Status::Expired, out);
                }
                self.refuse_object(world, Status::Rejected, out);
            }
        }
        if self.flow.object.revocable && world.status == Status::Approved {
            let to = World { status: Status::Revoked, was_revoked: true, ..world.clone() };
            self.emit(world, to, false, Broken::default(), out);
        }
    }

    /// Rejects or expires. S10: "of approve, reject, expire exactly one wins"; a pending status may come back, written
    /// by a consume that had read it.
    fn refuse_object(&self, world: &World, status: Status, out: &mut Vec<Move>) {
        let mut to = World { status, ..world.clone() };
        to.decided |= if status == Status::Expired { EXPIRED } else { REJECTED };
        let mut broke = Broken::default();
        broke.add_if(to.decided.count_ones() > 1, S10);
        self.emit(world, to, false, broke, out);
    }

    /// "each press is one compare-and-swap under `decision.guards`, and nothing else stops it"
    fn press(&self, world: &World, person: Person, out: &mut Vec<Move>) {
        let (guards, approvers) = (&self.flow.decision, self.flow.object.approvers);
        let there = match person {
            Person::NewApprover => true,
            Person::Repeated => world.yes > 0,
            Person::Requester => !world.requester_said_yes,
            Person::Scanner => guards.get && !world.scanner_pressed,
        };
        let refused = guards.status && world.status != Status::Pending
            || guards.expiry && world.clock_passed
            || guards.distinct && person == Person::Repeated
            || guards.not_requester && person == Person::Requester;
        if !there || refused {
            return;
        }
        let (mut to, mut broke) = (world.clone(), Broken::default());
        to.yes = (world.yes + 1).min(approvers);
        match person {
            Person::NewApprover => to.approvers_said_yes = (world.approvers_said_yes + 1).min(approvers),
            Person::Repeated => {}
            Person::Requester => to.requester_said_yes = true,
            Person::Scanner => {
                to.scanner_pressed = true;
                // "a press that counts violates S15 even if it is not the last one needed"
                broke.add(S15);
            }
        }
        if to.yes == approvers {
            to.status = Status::Approved;
            to.was_usable = true;
            // "a person who counts, unless `separate`"
            let requester = to.requester_said_yes && !self.flow.object.separate;
            broke.add_if(to.approvers_said_yes + u8::from(requester) < approvers, S18);
            broke.add_if(to.requester_said_yes, S19);
            to.decided |= APPROVED;
            broke.add_if(to.decided.count_ones() > 1, S10);
        }
        if to != *world {
            self.emit(world, to, false, broke, out);
        }
    }

    pub(crate) fn surroundings(&self, world: &World, out: &mut Vec<Move>) {
        let object = &self.flow.object;
        let nothing = Broken::default();
        if object.expires && !world.clock_passed {
            self.emit(world, World { clock_passed: true, ..world.clone() }, false, nothing, out);
        }
        // "drift of source and target: once, while approved, used-up or revoked"
        if matches!(world.status, Status::Approved | Status::Used | Status::Revoked) {
            if object.bound && !world.source_drifted {
                self.emit(world, World { source_drifted: true, ..world.clone() }, false, nothing, out);
            }
            if object.target_bound && !world.target_drifted {
                self.emit(world, World { target_drifted: true, ..world.clone() }, false, nothing, out);
            }
        }
        if self.lease_may_run_out(world) {
            self.emit(world, World { lease: None, ..world.clone() }, true, nothing, out);
        }
        for (index, row) in world.keys.iter().enumerate() {
            if row.marker.is_some_and(|marker| marker.expires) {
                let mut to = world.clone();
                to.keys[index].marker = None;
                self.emit(world, to, true, nothing, out);
            }
        }
    }

    /// "`expires`: may run out at any time; `renewed`: runs out only after its holder's death" (which frees it at
    /// once); of a lease whose answer was lost: "released by expiry only; `renewed` does not help".
    pub(crate) fn lease_may_run_out(&self, world: &World) -> bool {
        world.lease.is_some_and(|held| {
            let lease = self.lease_of(held);
            lease.expires && !(lease.renewed && held.known)
        })
    }

    /// The worker leases a job, launches it under its key; and deploys end.
    pub(crate) fn deploys(&self, world: &World, out: &mut Vec<Move>) {
        for (index, job) in world.jobs.iter().enumerate() {
            let (mut to, mut broke) = (world.clone(), Broken::default());
            let mut next = *job;
            match job.state {
                JobState::Ready => next.state = JobState::Leased,
                JobState::Leased => {
                    next.state = JobState::Running;
                    next.launched = true;
                    if !job.launched {
                        to.effects[job.act as usize] += 1;
                    }
                    broke.add_if(job.digest != 0, S6);
                }
                JobState::Running => {
                    next.state = JobState::Done;
                    settle(&mut to, job.target);
                }
                JobState::Done => continue,
            }
            to.jobs[index] = next;
            to.jobs.sort_unstable();
            self.emit(world, to, true, broke, out);
        }
        for (index, target) in world.deploys.iter().enumerate() {
            if index > 0 && world.deploys[index - 1] == *target {
                continue; // the same move as of the one before
            }
            let mut to = world.clone();
            to.deploys.remove(index);
            settle(&mut to, *target);
            self.emit(world, to, true, Broken::default(), out);
        }
    }
}

/// "A deploy settles the target that its launch knew, else the environment's first."
fn settle(world: &mut World, known: Option<u8>) {
    if let Some(slot) = known.or(world.first_target()) {
        world.building &= !(1 << slot);
    }
}
