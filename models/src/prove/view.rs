//! Views: a context, which is what all attempts share together with the participants that it names, and at most one other participant.
//!
//! A participant is a caller with its one or two attempts, a stranger or a scanner, with the keys and jobs that are
//! its own. A context names those that the world refers to (the holder of the lease, the last to take it, the last
//! writers) and the first that have an effect and are not over, as many as there are uses. A participant that does
//! nothing more and shows nothing more is left out; one that has not begun is always there.

use std::{
    cell::RefCell,
    hash::{BuildHasher, Hash, Hasher},
    rc::Rc,
};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::sight::Sight;
use crate::{
    model::{Cast, Model, Role},
    properties::{PromotionState, Property, Set},
    world::{Attempt, Job, JobStatus, Lease, MAX_ATTEMPTS, State, Violated, World},
};

/// An order of participants: any will do that is the same in every run.
const ORDER: FixedState = FixedState::with_seed(0);

const ACTS: usize = countersign::protocol::Flow::MAX_ACTS;

/// The kinds of participants: those of one kind are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Class {
    /// Asks for what was approved.
    Caller,
    /// Asks for another payload.
    Foreign,
    /// Another owner's caller.
    OtherTenant,
    /// A link scanner.
    Scanner,
    /// Over, and as good as any other.
    Done,
}

/// One participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Participant {
    pub(super) class: Class,
    pub(super) attempts: [Attempt; 2],
    /// The bits of its keys, and its jobs, where they are its own.
    keyed: [u8; ACTS],
    jobs: [[Job; 2]; ACTS],
}

impl Hash for Participant {
    /// Hashes what differs between most participants, in few words, for a map that compares them as a whole.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for one in &self.attempts {
            let bytes = [
                one.stage as u8,
                one.cursor,
                one.held as u8,
                one.target.map_or(0, |target| target + 1),
                one.seen,
                one.uses | one.answers << 2 | one.stored_answers << 5,
                one.ending.map_or(0, |stage| stage as u8 + 1),
                u8::from(one.created) | u8::from(one.is_fenced) << 1 | u8::from(one.holds_lease) << 2,
            ];
            let flags = [
                one.is_retrying,
                one.repeats,
                one.is_excused,
                one.began_on_usable,
                one.is_owed,
                one.is_forgotten,
                one.has_event,
                one.wrote,
                one.has_marker,
                one.is_stored,
            ];
            let flags = flags.iter().fold(0, |bits, flag| bits << 1 | u64::from(*flag));
            let acts = one.acted.iter().zip(&one.deploys);
            let acts = acts.fold(flags, |bits, (count, deploy)| {
                bits << 3 | u64::from(*count) << 1 | u64::from(deploy.runs)
            });
            hasher.write_u64(u64::from_le_bytes(bytes));
            hasher.write_u64(acts ^ one.undoable << 32 ^ (one.stored_held as u64) << 62);
        }
        let jobs = self.jobs.iter().flatten().fold(0, |bits, job| bits << 3 | job.status as u64);
        hasher.write_u64(jobs << 8 | self.class as u64);
    }
}

impl Participant {
    fn waiting(class: Class) -> Self {
        Self { class, attempts: Default::default(), keyed: [0; ACTS], jobs: Default::default() }
    }

    /// One that does nothing more.
    pub(super) fn done(attempt: Attempt) -> Self {
        Self { attempts: [attempt, Attempt::default()], ..Self::waiting(Class::Done) }
    }

    /// Attempts that succeeded and do not repeat an earlier outcome.
    fn successes(&self) -> u8 {
        self.attempts.iter().filter(|one| one.stage.is_success() && !one.repeats).count() as u8
    }

    fn has_used(&self) -> bool {
        self.attempts.iter().any(|one| one.uses > 0)
    }

    fn has_only_acted(&self) -> bool {
        !self.has_used() && self.attempts.iter().any(Attempt::has_effect)
    }

    /// True if it has neither moves nor retries left.
    fn is_over(&self, retries: bool) -> bool {
        let [first, retry] = &self.attempts;
        let rests = |one: &Attempt| {
            one.stage != PromotionState::Running && one.ending.is_none() && !one.is_deploying()
        };
        let open = self.jobs.iter().flatten().any(Job::is_open);
        let may_retry = retries
            && matches!(self.class, Class::Caller | Class::Foreign)
            && retry.stage == PromotionState::Waiting
            && !matches!(first.stage, PromotionState::Waiting | PromotionState::Succeeded);
        first.stage != PromotionState::Waiting && rests(first) && rests(retry) && !open && !may_retry
    }
}

/// What all attempts share, and who is named. The world's attempts are those of the named ones, in order, after the
/// blank caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) world: World,
    pub(super) named: Vec<Participant>,
    /// Attempts that have succeeded, up to one more than the uses.
    pub(super) successes: u8,
}

impl Hash for Context {
    /// As a participant's.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let world = &self.world;
        let (holder, known) = match world.lease {
            Lease::Held { by, known } => (by + 1, known),
            Lease::Free => (0, false),
        };
        let bytes = [
            world.status as u8,
            world.uses << 4 | world.applied,
            world.executed_events << 4 | world.decisions,
            world.presses.counted << 4 | world.presses.people,
            holder,
            world.lease_last.map_or(0, |last| last + 1),
            world.last_user.map_or(0, |last| last + 1) << 4 | self.successes,
            world.created() << 4 | world.vault_writer.map_or(0, |last| last + 1),
        ];
        let flags = [
            known,
            world.approved,
            world.was_revoked,
            world.window_passed,
            world.drifted,
            world.target_drifted,
            world.vault_written,
            world.clean,
            world.fence_shared,
            world.lease_shared,
            world.presses.requester,
            world.presses.scanner,
        ];
        let flags = flags.iter().fold(0, |bits, flag| bits << 1 | u64::from(*flag));
        let acts = world.effects.iter().zip(&world.keyed).zip(&world.jobs);
        let acts = acts.fold(flags, |bits, ((effects, keyed), jobs)| {
            bits << 9 | u64::from(*effects) << 5 | u64::from(*keyed & 1) << 4 | jobs[0].status as u64
        });
        hasher.write_u64(u64::from_le_bytes(bytes));
        hasher.write_u64(acts);
        let targets = world.targets.iter().zip(&world.writers);
        hasher.write_u64(targets.fold(0, |bits, (target, writer)| {
            bits << 6 | (*target as u64) << 4 | u64::from(writer.map_or(0, |last| last + 1) & 15)
        }));
        self.named.hash(hasher);
    }
}

/// A context and its other participants.
pub(super) struct Parts {
    pub(super) context: Context,
    pub(super) others: Vec<Participant>,
    /// A participant was left out, or the world's flags were forgotten: what the whole state shows is not all in the
    /// views.
    pub(super) lossy: bool,
}

/// The attempts of a participant in a state: its class, the first index, and how many.
pub(super) type Seat = (Class, u8, u8);

/// The attempts of each participant in a state.
pub(super) struct Seating {
    pub(super) model: Model,
    /// The first one is the blank caller, for the fresh attempt of L3 and L4.
    pub(super) seats: Vec<Seat>,
}

/// More participants than a state has room for.
#[derive(Debug)]
pub(super) struct NoRoom;

/// States as views.
pub(super) struct Abstraction {
    base: Model,
    pub(super) sight: Sight,
    /// A context names participants that have used the object or acted.
    pub(super) names_users: bool,
    own_keys: bool,
    uses: u8,
    seatings: RefCell<HashMap<Vec<Class>, Rc<Seating>, FixedState>>,
}

impl Abstraction {
    pub(super) fn new(base: Model, wanted: Set, names_users: bool) -> Self {
        let sight = Sight::new(&base, wanted, names_users);
        let uses = base.flow().object().uses;
        Self { sight, names_users, own_keys: uses > 1, uses, base, seatings: RefCell::default() }
    }

    /// The classes that take part.
    pub(super) fn classes(&self) -> Vec<Class> {
        let object = self.base.flow().object();
        let scans = self.base.flow().endpoint().method == countersign::protocol::Method::Get;
        [
            (Class::Caller, true),
            (Class::Foreign, object.bound),
            (Class::OtherTenant, object.owner),
            (Class::Scanner, scans),
        ]
        .into_iter()
        .filter_map(|(class, is)| (is && self.sight.class(class) == class).then_some(class))
        .collect()
    }

    /// True if a refund under a shared key may change other participants.
    pub(super) fn reaches_others(&self) -> bool {
        use countersign::protocol::{StepAction, Via};
        let is_keyed_call = |action: &StepAction| matches!(action, StepAction::Act(act) if matches!(act.via, Via::Call { key: true }));
        self.uses == 1
            && self.sight.acted
            && self.base.flow().steps().iter().any(|step| step.is_undone() && is_keyed_call(&step.action))
    }

    fn width(&self, class: Class) -> u8 {
        1 + u8::from(self.sight.callers && matches!(class, Class::Caller | Class::Foreign))
    }

    fn seating(&self, classes: Vec<Class>) -> Result<Rc<Seating>, NoRoom> {
        if let Some(known) = self.seatings.borrow().get(&classes) {
            return Ok(Rc::clone(known));
        }
        let mut seats = Vec::new();
        let mut cast = Vec::new();
        for class in std::iter::once(Class::Caller).chain(classes.iter().copied()) {
            let role = match class {
                Class::Caller | Class::Done => Role::Caller { index: 0, foreign: false },
                Class::Foreign => Role::Caller { index: 0, foreign: true },
                Class::OtherTenant => Role::OtherTenant,
                Class::Scanner => Role::Scanner,
            };
            let (first, width) = (cast.len() as u8, self.width(class));
            cast.push(Cast { role, retry_of: None });
            if width == 2 {
                cast.push(Cast { role, retry_of: Some(first) });
            }
            seats.push((class, first, width));
        }
        if cast.len() > MAX_ATTEMPTS {
            return Err(NoRoom);
        }
        let seating = Rc::new(Seating { model: self.base.seated(cast), seats });
        self.seatings.borrow_mut().insert(classes, Rc::clone(&seating));
        Ok(seating)
    }

    /// The state in which these are the only participants.
    pub(super) fn state(
        &self,
        context: &Context,
        others: &[Participant],
    ) -> Result<(Rc<Seating>, State), NoRoom> {
        let all = || context.named.iter().chain(others);
        let seating = self.seating(all().map(|one| one.class).collect())?;
        let mut state = State { world: context.world, attempts: Default::default() };
        for (one, &(_, first, width)) in all().zip(&seating.seats[1..]) {
            for offset in 0..usize::from(width) {
                let index = usize::from(first) + offset;
                state.attempts[index] = one.attempts[offset];
                if self.own_keys {
                    for act in 0..ACTS {
                        state.world.jobs[act][index] = one.jobs[act][offset];
                        state.world.keyed[act] |= u16::from(one.keyed[act] >> offset & 1) << index;
                    }
                }
            }
        }
        Ok((seating, state))
    }

    /// A participant that has not begun.
    pub(super) fn waiting(&self, class: Class) -> Participant {
        Participant::waiting(class)
    }

    /// The initial context.
    pub(super) fn initial(&self) -> Context {
        let mut world = self.base.initial().world;
        self.sight.forget(&mut world, 0);
        Context { world, named: Vec::new(), successes: 0 }
    }

    fn participant(&self, state: &State, (class, first, width): Seat) -> Participant {
        let mut one = Participant::waiting(class);
        for offset in 0..usize::from(width) {
            let index = usize::from(first) + offset;
            one.attempts[offset] = state.attempts[index];
            if self.own_keys {
                for act in 0..ACTS {
                    one.keyed[act] |= ((state.world.keyed[act] >> index & 1) as u8) << offset;
                    one.jobs[act][offset] = state.world.jobs[act][index];
                }
            }
        }
        one
    }

    /// True if this participant has used the object or acted.
    pub(super) fn has_effect(&self, state: &State, seat: Seat) -> bool {
        let one = self.participant(state, seat);
        one.has_used() || one.has_only_acted()
    }

    /// The successes that are seen in a state.
    fn seen_successes(&self, state: &State, seats: &[Seat]) -> u8 {
        seats.iter().map(|seat| self.participant(state, *seat).successes()).sum()
    }

    /// The parts of `next`, the state after a move from `before`. Of the participants with an effect those at the seats `named`
    /// may be named, the first ones while there is room.
    pub(super) fn split(
        &self,
        seats: &[Seat],
        before: Option<(&State, u8)>,
        next: &State,
        named: &[usize],
    ) -> Parts {
        let mut world = next.world;
        self.sight.forget_references(&mut world);
        let mut lossy = world.violated != Violated::default();
        let mut successes = 0;
        if self.sight.successes {
            let (earlier, count) =
                before.map_or((0, 0), |(before, count)| (self.seen_successes(before, seats), count));
            let more = self.seen_successes(next, seats).saturating_sub(earlier);
            successes = (count + more).min(self.uses + 1);
        }
        // Who is referred to. That a participant that is over wrote last is the same as that none did.
        let may_undo = |by: u8| {
            let one = &next.attempts[usize::from(by)];
            one.stage == PromotionState::Running || one.ending.is_some()
        };
        for writer in world.writers.iter_mut().chain([&mut world.vault_writer, &mut world.last_user]) {
            *writer = writer.filter(|by| may_undo(*by));
        }
        let holder = match world.lease {
            Lease::Held { by, .. } => Some(by),
            Lease::Free => None,
        };
        let referred: Vec<u8> = [holder, world.lease_last, world.vault_writer, world.last_user]
            .into_iter()
            .chain(world.writers)
            .flatten()
            .collect();
        let seat_of = |attempt: u8| {
            seats.iter().position(|(_, first, width)| (*first..first + width).contains(&attempt))
        };
        let mut order: Vec<usize> = Vec::new();
        for seat in referred.iter().filter_map(|attempt| seat_of(*attempt)) {
            if !order.contains(&seat) {
                order.push(seat);
            }
        }
        let mut parts: Vec<(usize, Participant)> = Vec::new();
        for (seat, place) in seats.iter().enumerate().skip(1) {
            let mut one = self.participant(next, *place);
            if one.attempts[0].stage == PromotionState::Waiting && !order.contains(&seat) {
                continue;
            }
            if self.sight.leaves_out_recalled && one.attempts[0].repeats {
                lossy = true;
                continue;
            }
            one.attempts.iter_mut().for_each(|one| self.sight.forget_of(one));
            if self.own_keys {
                // First, since a participant with an open job is not over.
                one.jobs.iter_mut().flatten().for_each(|job| self.sight.forget_of_job(job));
            }
            lossy |= self.sight.forget_end_of(&mut one);
            if one.class == Class::Done || one.is_over(self.sight.callers) {
                lossy = true;
                one = match self.sight.remains(&one) {
                    Some(rest) => rest,
                    None if order.contains(&seat) => {
                        Participant::done(Attempt { stage: PromotionState::Killed, ..Attempt::default() })
                    }
                    None => continue,
                };
            }
            parts.push((seat, one));
        }
        let users = self.users(&parts, &order, named);
        order.extend(users);
        let find = |seat: &usize| parts.iter().find(|(other, _)| other == seat).map(|(_, one)| *one);
        let members: Vec<Participant> = order.iter().filter_map(find).collect();
        let others = parts.iter().filter(|(seat, _)| !order.contains(seat)).map(|(_, one)| *one).collect();
        let last_uses = world.last_user.map_or(0, |last| next.attempts[usize::from(last)].uses);
        self.renumber(&mut world, seats, &order, &members);
        if self.own_keys {
            world.keyed = [0; ACTS];
            world
                .jobs
                .iter_mut()
                .flatten()
                .for_each(|job| *job = Job { status: JobStatus::Absent, ..Job::default() });
        }
        self.sight.forget(&mut world, last_uses);
        Parts { context: Context { world, named: members, successes }, others, lossy }
    }

    /// The seats of the first that have an effect and are not over, besides those that are referred to: as many that
    /// have used the object as there are uses, and as many that have only acted.
    fn users(&self, parts: &[(usize, Participant)], order: &[usize], named: &[usize]) -> Vec<usize> {
        let mut users: Vec<(usize, &Participant)> = Vec::new();
        if !self.names_users {
            return Vec::new();
        }
        let rank = |seat: usize| named.iter().position(|other| *other == seat);
        for has_effect in [Participant::has_used, Participant::has_only_acted] {
            let all = || parts.iter().filter(|(_, one)| one.class != Class::Done && has_effect(one));
            let referred = all().filter(|(seat, _)| order.contains(seat)).count();
            let mut others: Vec<(usize, &Participant)> = all()
                .filter(|(seat, _)| !order.contains(seat) && rank(*seat).is_some())
                .map(|(seat, one)| (*seat, one))
                .collect();
            others.sort_by_key(|(seat, _)| rank(*seat));
            others.truncate(usize::from(self.uses).saturating_sub(referred));
            users.extend(others);
        }
        // One order for those that are alike.
        users.sort_by_key(|(_, one)| ORDER.hash_one(one));
        users.into_iter().map(|(seat, _)| seat).collect()
    }

    /// Lets the world refer to the named participants at their new seats.
    fn renumber(&self, world: &mut World, seats: &[Seat], order: &[usize], members: &[Participant]) {
        let mut next = self.width(Class::Caller);
        let mut firsts = Vec::new();
        for one in members {
            firsts.push(next);
            next += self.width(one.class);
        }
        let moved = |attempt: u8| {
            let (place, &seat) = order
                .iter()
                .enumerate()
                .find(|(_, seat)| {
                    let (_, first, width) = seats[**seat];
                    (first..first + width).contains(&attempt)
                })
                .unwrap_or_else(|| unreachable!("every participant referred to is named"));
            // One that is over has one attempt left.
            let offset = (attempt - seats[seat].1).min(self.width(members[place].class) - 1);
            firsts[place] + offset
        };
        if let Lease::Held { by, .. } = &mut world.lease {
            *by = moved(*by);
        }
        let named = [&mut world.lease_last, &mut world.vault_writer, &mut world.last_user];
        for one in world.writers.iter_mut().chain(named).flatten() {
            *one = moved(*one);
        }
    }

    /// The seats of a state of a model that has no blank caller.
    pub(super) fn seats_of(&self, model: &Model) -> Vec<Seat> {
        let mut seats = vec![(Class::Caller, u8::MAX, 0)];
        for (index, one) in (0..).zip(model.cast()) {
            let class = match one.role {
                Role::Caller { foreign: false, .. } => Class::Caller,
                Role::Caller { foreign: true, .. } => Class::Foreign,
                Role::OtherTenant => Class::OtherTenant,
                Role::Scanner => Class::Scanner,
            };
            let class = self.sight.class(class);
            match one.retry_of.filter(|_| self.sight.callers) {
                None => seats.push((class, index, 1)),
                Some(_) => seats.last_mut().iter_mut().for_each(|(.., width)| *width = 2),
            }
        }
        seats
    }

    /// The properties of `wanted` violated in this state, after `successes` successful attempts in all.
    pub(super) fn violated(
        &self,
        context: &Context,
        others: &[Participant],
        wanted: Set,
    ) -> Result<Set, NoRoom> {
        let mut all = others.to_vec();
        self.add_successes(&mut all, context);
        let (seating, state) = self.state(context, &all)?;
        Ok(judge(&seating.model, &state, wanted))
    }

    /// The successful participants that were left out, as far as they are counted.
    fn add_successes(&self, others: &mut Vec<Participant>, context: &Context) {
        let seen: u8 = context.named.iter().chain(others.iter()).map(Participant::successes).sum();
        let success = Participant::done(Attempt { stage: PromotionState::Succeeded, ..Attempt::default() });
        others.extend((seen..context.successes).map(|_| success));
    }
}

/// The properties of `wanted` violated in this state. L1 and L2: pending, without an enabled owed move.
pub(super) fn judge(model: &Model, state: &State, wanted: Set) -> Set {
    use crate::{
        explorer::{Explorable, FairnessClass},
        properties::Inevitable,
    };
    if wanted == 0 {
        return 0;
    }
    let (violated, pending) = model.with_facts(state, |facts| {
        let is_violated = |one: &&Property| {
            wanted & one.bit() != 0
                && model.applies(**one)
                && one.is_violated(facts, || model.fresh_succeeds(state))
        };
        let is_pending = |one: &&Inevitable| wanted & one.property().bit() != 0 && one.is_pending(facts);
        (
            Property::MODELLED.iter().filter(is_violated).fold(0, |set, one| set | one.bit()),
            Inevitable::ALL.iter().filter(is_pending).fold(0, |set, one| set | one.property().bit()),
        )
    });
    // Where L1 is owed to several uses of attempts that succeeded, a view does not have them all: it is asked for each use.
    let acts = model.flow().acts().count();
    let is_missing = model.flow().object().uses > 1
        && model.counts_uses_of_successes()
        && state.world.effects[..acts].iter().any(|count| *count < state.world.applied);
    let pending = pending | if is_missing { wanted & Property::L1.bit() } else { 0 };
    let stays = || {
        !model.moves(state).any(|(_, action)| matches!(model.mover(state, &action), FairnessClass::Owed(_)))
    };
    if pending != 0 && stays() { violated | pending } else { violated }
}
