//! The properties that are judged on a state: what an attempt's end and the things that lie about say together.

mod solo;

use crate::{
    flow::{Action, Via},
    properties::{Broken, Property::*},
    world::{Attempt, Code, Judge, Kin, Kind, Phase, Status, World},
};

impl Judge {
    /// The violations of this state.
    pub(crate) fn broken_in(&self, world: &World) -> Broken {
        let mut broken = Broken::default();
        let quiet = self.nothing_under_way(world);
        self.count_uses(world, &mut broken);
        self.judge_refusals(world, &mut broken);
        self.judge_retries(world, &mut broken);
        self.judge_losers(world, quiet, &mut broken);
        // "as many executed events (net of releases) as the stored count of uses, judged when nothing is under way"
        broken.add_if(quiet && world.events != world.count as i8, S8);
        broken.add_if(world.targets.count_ones() > 1, S11);
        self.judge_fresh_attempts(world, &mut broken);
        broken
    }

    /// S2: applied swaps net of undos; successes that repeat no earlier outcome; effects of each act.
    fn count_uses(&self, world: &World, broken: &mut Broken) {
        let uses = self.flow.object.uses;
        let too_many = first_successes(world) > uses
            || world.net_uses() > uses
            || world.effects.iter().any(|&effects| effects > uses);
        broken.add_if(too_many, S2);
        // "S17 forbids more effects than uses (applied swaps net of undos)": chosen for one use, too, at every state, so
        // that an effect which outlives its use counts. With one use acts are per object, and a second effect is S2's.
        let net = world.net_uses();
        let unused = |effects: u8| if uses == 1 { effects > 0 && net == 0 } else { effects > net };
        broken.add_if(world.effects.iter().any(|&effects| unused(effects)), S17);
    }

    fn judge_refusals(&self, world: &World, broken: &mut Broken) {
        for (i, attempt) in world.attempts.iter().enumerate() {
            let Some(refusal) = attempt.refusal() else { continue };
            // "which refusals S1 judges: all but plain and unknown ones. S7: all but unknown ones"
            let judged_by_s1 = matches!(refusal.kind, Kind::Preflight | Kind::Conflict);
            broken.add_if(judged_by_s1 && attempt.swaps > 0, S1);
            let trace = attempt.writes > 0 || attempt.acts != [0; 3];
            broken.add_if(refusal.kind != Kind::Unknown && trace, S7);
            // "a refusal, other than by an injected fault or a stranger's"
            let burns = refusal.code != Code::Fault && self.roles[i].kin != Kin::OtherTenant;
            let unburned = attempt.began_usable && attempt.swaps == 0 && self.usable(world);
            broken.add_if(burns && unburned, S21);
        }
    }

    /// S13: a retry that is owed its first outcome ends in success, and in no second effect.
    fn judge_retries(&self, world: &World, broken: &mut Broken) {
        for (i, retry) in world.attempts.iter().enumerate() {
            let (true, Some(first)) = (retry.owed_same_outcome, self.roles[i].retry_of) else { continue };
            let first = &world.attempts[first as usize];
            let refused =
                retry.refusal().is_some_and(|refusal| !matches!(refusal.code, Code::Fault | Code::Passing));
            let both = |of: &dyn Fn(&Attempt) -> u8| of(first) > 0 && of(retry) > 0;
            let second_effect =
                both(&|attempt| attempt.swaps) || (0..3).any(|act| both(&|attempt| attempt.acts[act]));
            broken.add_if(refused || second_effect, S13);
        }
    }

    fn judge_losers(&self, world: &World, quiet: bool, broken: &mut Broken) {
        let undisturbed = world.faults_left == self.bounds.faults
            && world.crashes_left == self.bounds.crashes
            && !world.clock_passed
            && !world.source_drifted
            && !world.target_drifted
            && !world.was_revoked
            && !matches!(world.status, Status::Rejected | Status::Expired);
        let began: Vec<_> =
            (0..world.attempts.len()).filter(|&i| world.attempts[i].phase != Phase::NotBegun).collect();
        let proper = began.iter().all(|&i| {
            let (role, attempt) = (self.roles[i], &world.attempts[i]);
            let own_refusal = match attempt.phase {
                Phase::Undoing(refusal) | Phase::Refused(refusal) => refusal.code == Code::Own,
                _ => false,
            };
            matches!(role.kin, Kin::Caller(_))
                && role.retry_of.is_none()
                && !role.other_payload
                && attempt.began_after_usable
                && !own_refusal
        });
        if !undisturbed || !proper {
            return;
        }
        let succeeded = |i: usize| matches!(world.attempts[i].phase, Phase::Success { .. });
        let got_409 = |i: usize| {
            let refusal = world.attempts[i].refusal();
            refusal.is_some_and(|refusal| matches!(refusal.code, Code::Conflict | Code::Passing))
        };
        let successes = began.iter().filter(|&&i| succeeded(i)).count();
        let owed = began.len().min(self.flow.object.uses as usize);
        let neither = |i: usize| !succeeded(i) && !got_409(i);
        let wrong_end = began.iter().any(|&i| neither(i) && (quiet || world.attempts[i].has_ended()));
        broken.add_if(successes > owed || wrong_end || quiet && successes < owed, S3);
    }

    /// "no attempt that can move, no job that is not done, no deploy, no waiting for a lease that will end, no owed
    /// retry"
    fn nothing_under_way(&self, world: &World) -> bool {
        let attempts_rest = (0..world.attempts.len()).all(|i| {
            let attempt = &world.attempts[i];
            match attempt.phase {
                Phase::Undoing(_) => false,
                Phase::Running => self.waits_for_ever(world, i),
                Phase::NotBegun => !self.roles[i].retry_of.is_some_and(|first| {
                    matches!(world.attempts[first as usize].phase, Phase::Success { received: false, .. })
                }),
                Phase::Success { .. } | Phase::Refused(_) | Phase::Killed => true,
            }
        });
        attempts_rest
            && world.deploys.is_empty()
            && world.jobs.iter().all(|job| job.state == crate::world::JobState::Done)
    }

    /// The attempt waits for a lease that is held and does not expire.
    fn waits_for_ever(&self, world: &World, i: usize) -> bool {
        let Some(step) = self.flow.steps.get(world.attempts[i].at as usize) else { return false };
        matches!(step.action, Action::Lease(_))
            && matches!(self.perform(world, i, step).done, crate::steps::Done::Waits)
            && !self.lease_may_run_out(world)
    }

    /// L1, for one act: its effects are still missing.
    pub(crate) fn lacks_effect(&self, world: &World, act: usize) -> bool {
        let object = &self.flow.object;
        let used = if object.burns() {
            // "L1 is owed only to attempts that succeeded"
            let succeeded = |user: usize| {
                world.attempts.iter().any(|attempt| {
                    matches!(attempt.phase, Phase::Success { .. }) && attempt.use_of == Some(user as u8)
                })
            };
            let uses = world.attempts.iter().enumerate();
            uses.filter(|(user, _)| succeeded(*user)).map(|(_, attempt)| attempt.swaps).sum()
        } else {
            world.net_uses()
        };
        // "L1 asks for as many effects of each act as uses"; with one use, acts are per object.
        let owed = if object.uses == 1 { used.min(1) } else { used };
        world.effects[act] < owed
    }

    /// The acts of this kind that count for L1.
    pub(crate) fn acts(&self) -> impl Iterator<Item = (usize, Via)> {
        self.flow.acts.iter().map(|act| (act.number, act.via))
    }
}

/// "successes, other than those that repeat an earlier outcome"
fn first_successes(world: &World) -> u8 {
    let first = |attempt: &&Attempt| matches!(attempt.phase, Phase::Success { repeat: false, .. });
    world.attempts.iter().filter(first).count() as u8
}
