//! L3 and L4: one attempt alone, from a state in which everyone else stands still.

use crate::{
    properties::{Broken, Property::*},
    world::{Attempt, Judge, KeyRow, Kin, Kind, Phase, Status, World},
};

/// Outcome of an attempt that runs alone.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Alone {
    Succeeds,
    Fails,
    /// The attempt meets a live holder's lease that does not expire.
    NotJudged,
}

impl Judge {
    pub(super) fn judge_fresh_attempts(&self, world: &World, broken: &mut Broken) {
        // "if no other attempt used it and it is still valid"
        let still_valid = !world.clock_passed && world.status != Status::Revoked;
        let owed_l3 = still_valid
            && world.attempts.iter().enumerate().any(|(i, attempt)| {
                let others_used = || (0..world.attempts.len()).any(|j| j != i && world.attempts[j].swaps > 0);
                attempt.began_usable
                    && attempt.refusal().is_some_and(|refusal| refusal.kind == Kind::Preflight)
                    && !others_used()
            });
        let usable = self.usable(world);
        if (owed_l3 || usable) && self.fresh_attempt(world) == Alone::Fails {
            broken.add_if(owed_l3, L3);
            broken.add_if(usable, L4);
        }
        if usable && !broken.has(L4) {
            broken.add_if(self.a_retry_fails(world), L4);
        }
    }

    /// "a new caller with a new key"
    fn fresh_attempt(&self, world: &World) -> Alone {
        let mut world = world.clone();
        let i = world.attempts.len();
        world.attempts.push(Attempt::NOT_BEGUN);
        self.alone(world, i)
    }

    /// "so does the retry, under its key, of a caller whose attempt has ended or died": "only with `retry = "key"`,
    /// for callers who ask for what was approved and have a retry left, while the object is usable".
    fn a_retry_fails(&self, world: &World) -> bool {
        self.flow.retry == crate::flow::Retry::Key
            && (0..world.attempts.len()).any(|i| {
                let role = self.roles[i];
                let Some(first) = role.retry_of else { return false };
                let first = &world.attempts[first as usize];
                matches!(role.kin, Kin::Caller(_))
                    && !role.other_payload
                    && world.attempts[i].phase == Phase::NotBegun
                    && first.has_ended()
                    && !matches!(first.phase, Phase::Success { received: true, .. })
                    && self.alone(world.clone(), i) == Alone::Fails
            })
    }

    /// "without faults and drift; everyone else stands still; leases and markers that expire have; no own refusals"
    fn alone(&self, mut world: World, i: usize) -> Alone {
        (world.source_drifted, world.target_drifted) = (false, false);
        if self.lease_may_run_out(&world) {
            world.lease = None;
        }
        for row in &mut world.keys {
            *row = KeyRow { marker: row.marker.filter(|marker| !marker.expires), ..*row };
        }
        let mut moves = Vec::new();
        loop {
            if let Some(held) = world.lease
                && self.refuses_or_waits(&world, i)
            {
                if self.holder_lives_besides(&world, i) {
                    return Alone::NotJudged;
                }
                // The attempt waits for its own lease, which expires.
                if held.holders & 1 << i != 0 && self.lease_may_run_out(&world) {
                    world.lease = None;
                }
            }
            moves.clear();
            self.attempt_moves(&world, i, false, &mut moves);
            let Some(only) = moves.pop() else { return Alone::Fails };
            assert!(moves.is_empty(), "alone and without faults there is one way to go");
            world = only.to;
            match world.attempts[i].phase {
                Phase::Success { .. } => return Alone::Succeeds,
                Phase::Undoing(_) | Phase::Refused(_) => return Alone::Fails,
                Phase::Running => {}
                Phase::NotBegun | Phase::Killed => unreachable!("it has begun, and there is no crash"),
            }
        }
    }

    /// The attempt stands at a lease that it does not get.
    fn refuses_or_waits(&self, world: &World, i: usize) -> bool {
        use crate::{flow::Action, steps::Done};
        let Some(step) = self.flow.steps.get(world.attempts[i].at as usize) else { return false };
        matches!(step.action, Action::Lease(_))
            && matches!(self.perform(world, i, step).done, Done::Waits | Done::Refused(_))
    }

    fn holder_lives_besides(&self, world: &World, i: usize) -> bool {
        let held = world.lease.expect("it is held");
        held.holders & !(1 << i) != 0 && self.holder_lives(world, held)
    }
}
