//! All moves of a world, and the crash among them.

use crate::{
    flow::{Action, Lease},
    properties::{Broken, Property::*},
    world::{HeldLease, JobState, Judge, Phase, Status, World},
};

pub(crate) struct Move {
    pub(crate) to: World,
    /// Fairness is owed to it.
    pub(crate) owed: bool,
    /// The caller whose attempt moves.
    pub(crate) by: Option<u8>,
    /// Violations by the move itself.
    pub(crate) broke: Broken,
}

impl Judge {
    /// Every move, faults and crashes included.
    pub(crate) fn moves(&self, world: &World, out: &mut Vec<Move>) {
        self.decisions(world, out);
        self.surroundings(world, out);
        self.deploys(world, out);
        for attempt in 0..world.attempts.len() {
            let first = out.len();
            self.attempt_moves(world, attempt, true, out);
            let caller = self.roles[attempt].same_caller.trailing_zeros() as u8;
            out[first..].iter_mut().for_each(|one| one.by = Some(caller));
        }
        self.crash(world, out);
    }

    /// Adds a move that is no undo of a use: it must not leave a final status (S9).
    pub(crate) fn emit(&self, from: &World, to: World, owed: bool, mut broke: Broken, out: &mut Vec<Move>) {
        broke.add_if(from.status.is_final() && to.status != from.status, S9);
        out.push(Move { to, owed, by: None, broke });
    }

    pub(crate) fn lease_of(&self, held: HeldLease) -> &Lease {
        match &self.flow.steps[held.step as usize].action {
            Action::Lease(lease) => lease,
            other => unreachable!("{other:?} took a lease"),
        }
    }

    /// "A crash kills the process between two actions."
    fn crash(&self, world: &World, out: &mut Vec<Move>) {
        if world.crashes_left == 0 {
            return;
        }
        let mut to = world.clone();
        for (index, attempt) in world.attempts.iter().enumerate() {
            if attempt.is_live() {
                to.attempts[index].phase = Phase::Killed;
                self.keep_history(&mut to, index);
            }
        }
        to.deploys.clear();
        if let Some(held) = to.lease
            && held.known
            && self.lease_of(held).renewed
        {
            to.lease = None;
        }
        if self.flow.stores_in_memory() {
            (to.count, to.users, to.used_by) = (0, 0, None);
            if to.status == Status::Used {
                to.status = Status::Approved;
            }
        }
        for job in &mut to.jobs {
            if matches!(job.state, JobState::Leased | JobState::Running) {
                job.state = JobState::Ready;
            }
        }
        to.jobs.sort_unstable();
        // Otherwise no process is running.
        if to != *world {
            to.crashes_left -= 1;
            self.emit(world, to, false, Broken::default(), out);
        }
    }
}
