//! What the store and the outside answer to an effect, as the action's outcome will have it.

use countersign::protocol::{Commit, Effect, Fences, Op, Reply, Status, Target, consume, flow::Do};

use super::{LATEST_FENCE, Model, Outcome, clock, refuses, target_id, target_index};
use crate::world::{Consumer, JobStatus, Payload, TargetStatus, World};

impl Model {
    /// Does what the effect asks, on `world` and on what is remembered of the consumer. None when the outcome is
    /// not possible here: nothing can be lost of a commit that is refused, and a lease that somebody has is waited for.
    ///
    /// When the answer says that nothing changed, the caller's copies may have: it discards them with the state.
    pub(super) fn reply<'m>(
        &'m self,
        effect: Effect<'m>,
        world: &mut World,
        one: &mut Consumer,
        consumer: u8,
        outcome: Outcome,
    ) -> Option<Reply<'m>> {
        let source = self.source(world, consumer).digest();
        match outcome {
            Outcome::Fails => return Some(Reply::Failed),
            Outcome::Refuses => return self.refuse(effect, world, one),
            Outcome::Happens | Outcome::LosesAnswer => {}
        }
        Some(match effect {
            Effect::Validate { .. } | Effect::ReadApproval { .. } => Reply::Approval {
                approval: Some(&self.approvals[world.status as usize]),
                digest: source,
                fence: LATEST_FENCE,
                now: clock(world.window_passed),
            },
            Effect::Check => Reply::Read { digest: source },
            Effect::Lease { .. } if world.lease_held => return None,
            Effect::Lease { .. } => {
                world.lease_held = true;
                world.lease_last = Some(consumer);
                match outcome {
                    Outcome::LosesAnswer => Reply::Lost,
                    Outcome::Happens | Outcome::Refuses | Outcome::Fails => {
                        Reply::Leased { fence: LATEST_FENCE }
                    }
                }
            }
            Effect::FindTarget => {
                Reply::Target((world.targets[0] != TargetStatus::Absent).then(|| target_id(0)))
            }
            Effect::Commit(commit) => {
                let (mut new_world, mut new_one) = (*world, *one);
                let reply = self.commit(commit, &mut new_world, &mut new_one);
                let applied = matches!(reply, Reply::Committed { .. });
                if applied {
                    (*world, *one) = (new_world, new_one);
                }
                match outcome {
                    Outcome::LosesAnswer if applied => Reply::Lost,
                    Outcome::LosesAnswer => return None,
                    Outcome::Happens | Outcome::Refuses | Outcome::Fails => reply,
                }
            }
            Effect::Launch { digest, .. } => {
                world.unkeyed_launches = (world.unkeyed_launches + 1).min(2);
                world.launch(Payload::of(digest));
                one.deploying = true;
                Reply::Done
            }
            Effect::Answer => Reply::Done,
        })
    }

    /// The step refuses by its own judgement; within a group only a write does, if what stands before it goes well.
    fn refuse<'m>(&'m self, effect: Effect<'m>, world: &World, one: &Consumer) -> Option<Reply<'m>> {
        let line = &self.lines[usize::from(one.cursor)];
        if let (Effect::Commit(commit), Some(step)) = (effect, line.step)
            && let Do::Atomic(members) = &self.flow.steps()[step].action
        {
            let before = members.iter().position(refuses)?;
            let earlier = Commit { ops: &commit.ops[..before], ..commit };
            if let Reply::NotConsumed(_) = self.commit(earlier, &mut world.clone(), &mut one.clone()) {
                return None;
            }
        }
        line.refusal.clone().map(Reply::Refused)
    }

    /// One transaction. Where it is refused the copies that it worked on are good for nothing.
    fn commit(&self, commit: Commit<'_>, world: &mut World, one: &mut Consumer) -> Reply<'static> {
        let mut written = None;
        let mut enqueued = false;
        for op in commit.ops {
            match op {
                Op::Consume { guards } => {
                    let row = self.approvals[world.status as usize].standing();
                    let fences = Fences { held: commit.fence, latest: LATEST_FENCE };
                    let now = clock(world.window_passed);
                    if let Err(refusal) = consume(row, fences, *guards, commit.digest, now) {
                        return Reply::NotConsumed(refusal);
                    }
                    world.executed_unapproved |= !matches!(world.status, Status::Approved | Status::Executed);
                    world.executed_late |= world.window_passed;
                    world.executions = (world.executions + 1).min(2);
                    world.move_to(Status::Executed);
                    one.consumed = true;
                }
                Op::WriteTarget { trust_look } => {
                    let there = (world.targets[0] != TargetStatus::Absent).then_some(0);
                    let found =
                        if *trust_look { commit.target.map(|target| target_index(target.id)) } else { there };
                    let target = found.unwrap_or_else(|| world.created());
                    let created = world.targets[usize::from(target)] == TargetStatus::Absent
                        || written.is_some_and(|earlier: Target| {
                            earlier.created && earlier.id == target_id(target)
                        })
                        || commit.target.is_some_and(|known| known.created && known.id == target_id(target));
                    world.targets[usize::from(target)] = TargetStatus::Building;
                    one.wrote = true;
                    written = Some(Target { id: target_id(target), created });
                }
                Op::WriteVault => {
                    world.vault_written = true;
                    one.wrote = true;
                }
                Op::Audit => world.executed_events = (world.executed_events + 1).min(2),
                Op::Enqueue if world.job.status == JobStatus::Absent => {
                    world.job.status = JobStatus::Ready;
                    world.job.payload = Payload::of(commit.digest);
                    enqueued = true;
                }
                Op::Enqueue => {}
            }
        }
        // A transaction has no order from outside: the job knows the target that it is written with.
        if enqueued {
            world.job.target = written.or(commit.target).map(|target| target_index(target.id));
        }
        Reply::Committed { target: written }
    }
}
