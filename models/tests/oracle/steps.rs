//! The effect of each step without a fault.

use crate::{
    flow::{Act, Action, Conditions, Consume, Lease, Step, Via, WriteTarget},
    properties::{Broken, Property::*},
    world::{
        Attempt, Code, Effect, HeldLease, Job, JobState, Judge, Key, Kin, Kind, Look, Marker, Refusal,
        Replaced, Status, Stored, World,
    },
};

/// Result of a step's action.
pub(crate) enum Done {
    /// The lease is held: it waits, which is no move.
    Waits,
    /// The first half of a read-then-write.
    Halfway(World),
    Through(World, Broken),
    /// A stored outcome was found: the attempt goes on to its answer.
    Found(World),
    /// A conflict that `on_conflict = "continue"` ignores.
    NoRows,
    Refused(Refusal),
}

pub(crate) struct Performed {
    pub(crate) done: Done,
    /// One of the step's own refusals may come instead.
    pub(crate) may_refuse: bool,
}

fn conflict(code: Code) -> Refusal {
    Refusal { kind: Kind::Conflict, code }
}

impl Judge {
    pub(crate) fn perform(&self, world: &World, i: usize, step: &Step) -> Performed {
        if let Action::Group(members) = &step.action {
            return self.group(world, i, members);
        }
        let mut to = world.clone();
        let through = |to: World| Done::Through(to, Broken::default());
        let done = match &step.action {
            Action::Validate { checks, accept_own } => {
                to.attempts[i].digest = self.source(world, i);
                let own = *accept_own && self.own_use(world, i).is_some();
                match self.unmet(&to, i, *checks, own) {
                    Some(code) => Done::Refused(Refusal { kind: Kind::Preflight, code }),
                    None => through(to),
                }
            }
            Action::Check => {
                to.attempts[i].digest = self.source(world, i);
                through(to)
            }
            Action::Recall { claim } => self.recall(to, i, *claim),
            Action::Lease(lease) => self.lease(to, i, lease),
            Action::Write(what) => {
                let look = world.attempts[i].look;
                if step.two_actions && look == Look::No {
                    let found = *what == WriteTarget::Vault || world.first_target().is_some();
                    to.attempts[i].look = if found { Look::Found } else { Look::Missing };
                    Done::Halfway(to)
                } else {
                    let broke = self.write(&mut to, i, *what, look, step.undo);
                    Done::Through(to, broke)
                }
            }
            Action::Consume(consume) => self.consume_step(to, i, step, consume),
            Action::Act(act) => match self.act(&mut to, i, act) {
                Err(code) => Done::Refused(conflict(code)),
                Ok(broke) => Done::Through(to, broke),
            },
            Action::Audit => {
                let broke = self.audit(&mut to, i);
                Done::Through(to, broke)
            }
            Action::Remember => {
                self.remember(&mut to, i);
                through(to)
            }
            Action::Group(_) => unreachable!("handled above"),
        };
        Performed { done, may_refuse: step.refuses }
    }

    /// All members in one transaction: "judged on the committed state", "the first conflicting member decides; a
    /// member's own refusal is possible only if those before it did not conflict".
    fn group(&self, world: &World, i: usize, members: &[Step]) -> Performed {
        let (mut to, mut broke) = (world.clone(), Broken::default());
        let mut may_refuse = false;
        // The use of acts and events before the consume is the one committed with them.
        for member in members {
            if let Action::Consume(consume) = &member.action {
                let own = consume.accept_own && self.own_use(world, i).is_some();
                if self.unmet(world, i, consume.guards, own).is_none() {
                    if own {
                        self.recognise(&mut to, i);
                    } else {
                        to.attempts[i].use_of = Some(i as u8);
                    }
                }
            }
        }
        for member in members {
            may_refuse |= member.refuses;
            let result = match &member.action {
                Action::Consume(consume) => match self.consume(&mut to, i, consume) {
                    Err(_) if consume.continues_on_conflict => Ok(Broken::default()),
                    result => result,
                },
                Action::Write(what) => Ok(self.write(&mut to, i, *what, Look::No, false)),
                Action::Audit => Ok(self.audit(&mut to, i)),
                Action::Remember => {
                    self.remember(&mut to, i);
                    Ok(Broken::default())
                }
                Action::Act(act) => self.act(&mut to, i, act),
                other => unreachable!("{other:?} is no member"),
            };
            match result {
                Ok(also) => broke.join(also),
                Err(code) => return Performed { done: Done::Refused(conflict(code)), may_refuse },
            }
        }
        Performed { done: Done::Through(to, broke), may_refuse }
    }

    /// The first condition that is not met, in the order owner, status, binding, expiry, digest, target, lease.
    /// `own`: "status and expiry count as met".
    fn unmet(&self, world: &World, i: usize, conditions: Conditions, own: bool) -> Option<Code> {
        let c = conditions;
        if c.owner && self.roles[i].kin == Kin::OtherTenant {
            Some(Code::NotFound)
        } else if c.status && world.status != Status::Approved && !own {
            Some(Code::Conflict)
        } else if c.expiry && world.clock_passed && !own {
            Some(Code::Gone)
        } else if c.digest && world.attempts[i].digest != 0
            || c.target && world.target_drifted
            || c.lease && world.fence & 1 << i == 0
        {
            Some(Code::Conflict)
        } else {
            None
        }
    }

    /// The attempt of the same caller whose use the store knows: "a use that is not undone (revoked does not)".
    fn own_use(&self, world: &World, i: usize) -> Option<u8> {
        let own = world.users & self.roles[i].same_caller;
        match own {
            0 => None,
            _ if world.status == Status::Revoked => None,
            _ if own & 1 << i != 0 => Some(i as u8),
            _ => Some(own.trailing_zeros() as u8),
        }
    }

    fn recognise(&self, world: &mut World, i: usize) {
        let user = self.own_use(world, i).expect("there is one");
        let attempt = &mut world.attempts[i];
        attempt.use_of = Some(user);
        attempt.repeat |= user as usize != i;
    }

    fn consume_step(&self, mut to: World, i: usize, step: &Step, consume: &Consume) -> Done {
        let refused =
            |code| if consume.continues_on_conflict { Done::NoRows } else { Done::Refused(conflict(code)) };
        if step.two_actions {
            match to.attempts[i].look {
                Look::No => {
                    let own = consume.accept_own && self.own_use(&to, i).is_some();
                    if let Some(code) = self.unmet(&to, i, consume.guards, own) {
                        return refused(code);
                    }
                    if own {
                        // "using it again changes nothing": there is no write.
                        self.recognise(&mut to, i);
                        return Done::Halfway(self.advance(to, i, true));
                    }
                    to.attempts[i].look = Look::Object { count: to.count, status: to.status };
                    Done::Halfway(to)
                }
                Look::Object { count, status } => {
                    let broke = self.swap(&mut to, i, count, status);
                    Done::Through(to, broke)
                }
                look => unreachable!("{look:?}"),
            }
        } else {
            match self.consume(&mut to, i, consume) {
                Ok(broke) => Done::Through(to, broke),
                Err(code) => refused(code),
            }
        }
    }

    fn consume(&self, world: &mut World, i: usize, consume: &Consume) -> Result<Broken, Code> {
        let own = consume.accept_own && self.own_use(world, i).is_some();
        if let Some(code) = self.unmet(world, i, consume.guards, own) {
            return Err(code);
        }
        if own {
            // "using it again changes nothing"
            self.recognise(world, i);
            return Ok(Broken::default());
        }
        let (count, status) = (world.count, world.status);
        Ok(self.swap(world, i, count, status))
    }

    /// The swap that counts: "used-up when the stored count reaches `uses`; otherwise unchanged"; a
    /// read-then-write goes by what it saw.
    fn swap(&self, world: &mut World, i: usize, seen_count: u8, seen_status: Status) -> Broken {
        let object = &self.flow.object;
        let mut broke = self.by_outsider(i);
        let from_approved = matches!(world.status, Status::Approved | Status::Used);
        broke.add_if(!from_approved, S4);
        broke.add_if(world.clock_passed, S5);
        broke.add_if(world.was_revoked, S20);
        broke.add_if(world.target_drifted, S22);
        world.count = seen_count + 1;
        world.status = if world.count >= object.uses { Status::Used } else { seen_status };
        world.users |= 1 << i;
        world.used_by = Some(i as u8);
        let attempt = &mut world.attempts[i];
        attempt.swaps += 1;
        attempt.use_of = Some(i as u8);
        broke
    }

    /// A use or an act by a stranger or a scanner.
    fn by_outsider(&self, i: usize) -> Broken {
        let mut broke = self.changed(i);
        broke.add_if(self.roles[i].kin == Kin::Scanner, S15);
        broke
    }

    /// "For S12 a use, a write, an event, a lease, an act (a job when written) and a success are changes."
    fn changed(&self, i: usize) -> Broken {
        let mut broke = Broken::default();
        broke.add_if(self.roles[i].kin == Kin::OtherTenant, S12);
        broke
    }

    /// "A stored outcome is found before a marker."
    fn recall(&self, mut to: World, i: usize, claim: Option<bool>) -> Done {
        let row = &mut to.keys[self.roles[i].key];
        if let Some(stored) = row.stored {
            let attempt = &mut to.attempts[i];
            attempt.at = self.flow.steps.len() as u8;
            // It "ends with that outcome": the payload is that of the stored answers.
            (attempt.answers, attempt.digest) = (stored.answers, stored.digest);
            attempt.repeat |= stored.by as usize != i;
            // The success that it repeats is that of the stored use.
            attempt.use_of = attempt.use_of.or(Some(stored.by));
            return Done::Found(to);
        }
        if let Some(expires) = claim {
            match row.marker {
                Some(marker) if marker.by as usize != i => {
                    let passes = marker.expires || to.attempts[marker.by as usize].is_live();
                    return Done::Refused(conflict(if passes { Code::Passing } else { Code::Conflict }));
                }
                _ => row.marker = Some(Marker { by: i as u8, expires }),
            }
        }
        Done::Through(to, Broken::default())
    }

    fn remember(&self, world: &mut World, i: usize) {
        let Attempt { answers, digest, .. } = world.attempts[i];
        let row = &mut world.keys[self.roles[i].key];
        row.stored = Some(Stored { by: i as u8, answers, digest });
        row.marker = None;
    }

    fn lease(&self, mut to: World, i: usize, lease: &Lease) -> Done {
        let me = 1 << i;
        match &mut to.lease {
            None => {
                to.lease = Some(HeldLease { holders: me, known: true, step: to.attempts[i].at });
                to.fence = me;
            }
            Some(held) if lease.reentrant && held.holders & self.roles[i].same_caller != 0 => {
                held.holders = if held.known { held.holders | me } else { me };
                held.known = true;
                to.fence |= me;
            }
            Some(held) => {
                let held = *held;
                if !lease.refuses_when_held {
                    return Done::Waits;
                }
                let lives = self.holder_lives(&to, held);
                let passes = lives || self.lease_may_run_out(&to);
                return Done::Refused(conflict(if passes { Code::Passing } else { Code::Conflict }));
            }
        }
        let broke = self.changed(i);
        Done::Through(to, broke)
    }

    pub(crate) fn holder_lives(&self, world: &World, held: HeldLease) -> bool {
        let holds = |(index, attempt): (usize, &crate::world::Attempt)| {
            held.holders & 1 << index != 0 && attempt.is_live()
        };
        world.attempts.iter().enumerate().any(holds)
    }

    fn write(&self, world: &mut World, i: usize, what: WriteTarget, look: Look, undo: bool) -> Broken {
        let me = Some(i as u8);
        let step = world.attempts[i].at;
        let replaced = match what {
            WriteTarget::Vault => {
                let replaced =
                    Replaced { step, slot: None, existed: true, building: false, writer: world.vault_writer };
                if self.undoes_writes() {
                    world.vault_writer = me;
                }
                replaced
            }
            WriteTarget::Target => {
                let existing = world.first_target().filter(|_| look != Look::Missing);
                let slot = match (existing, look) {
                    (Some(slot), _) => slot,
                    // An update of a target that was removed since the look changes no row.
                    (None, Look::Found) => return Broken::default(),
                    (None, _) => world.targets_created,
                };
                world.targets_created += u8::from(existing.is_none());
                let bit = 1u8.checked_shl(u32::from(slot)).expect("fewer than eight targets");
                let replaced = Replaced {
                    step,
                    slot: Some(slot),
                    existed: existing.is_some(),
                    building: world.building & bit != 0,
                    writer: world.target_writers[slot as usize],
                };
                world.targets |= bit;
                // "in a flow without [an act that deploys], a written target is settled at once"
                if self.flow.deploys() {
                    world.building |= bit;
                }
                if self.undoes_writes() {
                    world.target_writers[slot as usize] = me;
                }
                world.attempts[i].target = Some(slot);
                replaced
            }
        };
        let attempt = &mut world.attempts[i];
        attempt.writes += 1;
        if undo {
            let same = |saved: &&mut Option<Replaced>| saved.is_none_or(|saved| saved.step == step);
            let place = attempt.replaced.iter_mut().find(same).expect("at most two writes with `undo`");
            *place = Some(replaced);
        }
        self.changed(i)
    }

    fn undoes_writes(&self) -> bool {
        self.flow.steps.iter().any(|step| step.undo && matches!(step.action, Action::Write(_)))
    }

    /// With `accept_own`, "`audit` writes no second event for the same use".
    fn audit(&self, world: &mut World, i: usize) -> Broken {
        let event_of = world.attempts[i].use_of.unwrap_or(i as u8) as usize;
        let has_use = world.attempts[i].use_of.is_some();
        if has_use && world.attempts[event_of].audited && self.flow.accepts_own_uses() {
            return Broken::default();
        }
        world.attempts[event_of].audited = true;
        world.events += 1;
        self.changed(i)
    }

    /// "With `uses = 1` they are per object"; otherwise per use, or per attempt without a use.
    pub(crate) fn key(&self, world: &World, i: usize) -> Key {
        match world.attempts[i].use_of {
            _ if self.flow.object.uses == 1 => Key::Object,
            Some(user) => Key::Use(user),
            None => Key::Attempt(i as u8),
        }
    }

    fn act(&self, world: &mut World, i: usize, act: &Act) -> Result<Broken, Code> {
        let number = act.number as u8;
        let key = self.key(world, i);
        let is_it = |effect: &Effect| effect.act == number && effect.key == key;
        match act.via {
            Via::Memory => {
                world.deploys.push(world.attempts[i].target);
                world.deploys.sort_unstable();
            }
            Via::Outbox => {
                if world.jobs.iter().any(|job| job.act == number && job.key == key) {
                    return Ok(Broken::default()); // "written once per object and name"
                }
                let attempt = &mut world.attempts[i];
                let (digest, target) = (attempt.digest, attempt.target);
                attempt.acts[act.number] += 1;
                let state = JobState::Ready;
                world.jobs.push(Job { act: number, key, state, launched: false, digest, target });
                world.jobs.sort_unstable();
                return Ok(self.by_outsider(i));
            }
            Via::Row if act.unique => {
                if world.keyed_effects.iter().any(is_it) {
                    return Err(Code::Conflict);
                }
                world.keyed_effects.push(Effect { act: number, key, by: i as u8 });
                world.keyed_effects.sort_unstable();
            }
            Via::Call if act.key => {
                if world.keyed_effects.iter().any(is_it) {
                    return Ok(Broken::default()); // the other side deduplicates
                }
                world.keyed_effects.push(Effect { act: number, key, by: i as u8 });
                world.keyed_effects.sort_unstable();
            }
            Via::Row | Via::Call => {}
            Via::Answer => {
                world.attempts[i].answers |= 1 << act.number;
                return Ok(Broken::default());
            }
        }
        Ok(self.take_effect(world, i, act.number))
    }

    pub(crate) fn take_effect(&self, world: &mut World, i: usize, act: usize) -> Broken {
        world.effects[act] += 1;
        world.attempts[i].acts[act] += 1;
        let mut broke = self.by_outsider(i);
        broke.add_if(world.attempts[i].digest != 0, S6);
        broke
    }
}
