//! A state as a list of small numbers: a variable for each field of the world and of each participant.
//!
//! A participant is a caller with its one or two attempts, a stranger or a scanner. A variable that refers to an
//! attempt is a pointer: in a participant's eyes it refers to its first attempt, to its retry, or to another one.

use countersign::protocol::{Flow, Status};

use crate::{
    model::{Cast, Model, Role},
    properties::PromotionState,
    world::{Attempt, Job, Lease, State, World},
};

const ACTS: usize = Flow::MAX_ACTS;

/// Receives the name of each variable, its kind and its value.
type Visit<'v> = dyn FnMut(&dyn Fn() -> String, Kind, u8) + 'v;

/// The values of a pointer, as one participant sees it.
pub(super) const NO_ATTEMPT: u8 = 0;
pub(super) const OWN_FIRST: u8 = 1;
pub(super) const OWN_RETRY: u8 = 2;
pub(super) const ANOTHER: u8 = 3;

/// The owner of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    World,
    Participant,
}

/// The meaning of a variable's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Flag,
    /// A number that an action may count up or down.
    Count,
    /// Anything else; for some there are names.
    Number(Option<&'static Names>),
    /// Refers to an attempt.
    Pointer,
}

/// The names of the values from 0, and what they begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) prefix: &'static str,
    pub(super) values: &'static [&'static str],
}

/// A variable.
#[derive(Clone, Debug)]
pub(super) struct Var {
    pub(super) name: String,
    pub(super) scope: Scope,
    pub(super) kind: Kind,
}

/// The classes of participants.
static CLASSES: Names =
    Names { prefix: "class", values: &["caller", "other_payload", "stranger", "scanner"] };
static STATUSES: Names =
    Names { prefix: "status", values: &["pending", "approved", "rejected", "expired", "used", "revoked"] };
static SEEN: Names = Names {
    prefix: "seen",
    values: &["nothing", "pending", "approved", "rejected", "expired", "used", "revoked"],
};
static STAGES: Names = Names {
    prefix: "stage",
    values: &[
        "waiting",
        "running",
        "succeeded",
        "conflict",
        "refused",
        "preflight_refused",
        "unknown",
        "killed",
        "answer_lost",
        "preflight_conflict",
        "preflight_absent",
        "preflight_invalid",
        "gone",
    ],
};
static PAYLOADS: Names = Names { prefix: "payload", values: &["approved", "changed", "other"] };
static TARGETS: Names = Names { prefix: "target", values: &["absent", "building", "settled"] };
static JOBS: Names = Names { prefix: "job", values: &["absent", "ready", "leased", "deploying", "done"] };
static LEASES: Names = Names { prefix: "lease", values: &["free", "held_unknowingly", "held"] };

/// The attempts of a participant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    pub(super) first: u8,
    pub(super) has_retry: bool,
    pub(super) class: u8,
}

impl Seat {
    pub(super) fn has(self, attempt: u8) -> bool {
        attempt == self.first || (self.has_retry && attempt == self.first + 1)
    }
}

/// The participants of a model.
pub(super) fn seats(model: &Model) -> Vec<Seat> {
    let cast = model.cast();
    let class = |one: &Cast| match one.role {
        Role::Caller { foreign: false, .. } => 0,
        Role::Caller { foreign: true, .. } => 1,
        Role::OtherTenant => 2,
        Role::Scanner => 3,
    };
    let firsts = (0_u8..).zip(cast).filter(|(_, one)| one.retry_of.is_none());
    firsts
        .map(|(first, one)| {
            let has_retry = cast.iter().any(|other| other.retry_of == Some(first));
            Seat { first, has_retry, class: class(one) }
        })
        .collect()
}

/// Reads the variables of a state, in the order in which [`names`] has them.
pub(super) struct Reader {
    pub(super) seats: Vec<Seat>,
    undone: Vec<usize>,
    own_keys: bool,
}

/// A state as numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// The world's; pointers hold the attempt's index plus one.
    pub(super) world: Vec<u8>,
    pub(super) participants: Vec<Vec<u8>>,
}

impl Reader {
    pub(super) fn new(model: &Model) -> Self {
        let undone = model.layout().undone;
        Self {
            seats: seats(model),
            undone: (0..64).filter(|step| undone >> step & 1 == 1).collect(),
            own_keys: model.flow().object().uses > 1,
        }
    }

    pub(super) fn read(&self, state: &State) -> Split {
        let mut world = Vec::with_capacity(96);
        self.world(&state.world, &mut |_, _, value| world.push(value));
        let participants = self.seats.iter().map(|seat| {
            let mut values = Vec::with_capacity(96);
            self.participant(state, *seat, &mut |_, _, value| values.push(value));
            values
        });
        Split { participants: participants.collect(), world }
    }

    /// The variables: the world's and a participant's.
    pub(super) fn names(&self, state: &State) -> (Vec<Var>, Vec<Var>) {
        let mut world = Vec::new();
        self.world(&state.world, &mut |name, kind, _| {
            world.push(Var { name: name(), scope: Scope::World, kind });
        });
        let widest = self.seats.iter().max_by_key(|seat| seat.has_retry);
        let mut participant = Vec::new();
        if let Some(seat) = widest {
            self.participant(state, *seat, &mut |name, kind, _| {
                participant.push(Var { name: name(), scope: Scope::Participant, kind });
            });
        }
        (world, participant)
    }

    fn participant(&self, state: &State, seat: Seat, visit: &mut Visit<'_>) {
        visit(&|| "class".to_owned(), Kind::Number(Some(&CLASSES)), seat.class);
        let retry =
            if seat.has_retry { state.attempts[usize::from(seat.first) + 1] } else { Attempt::default() };
        self.attempt("", &state.attempts[usize::from(seat.first)], visit);
        self.attempt("retry_", &retry, visit);
        if self.own_keys {
            for (offset, prefix) in [(0, ""), (1, "retry_")] {
                let slot = usize::from(seat.first) + offset;
                let has = offset == 0 || seat.has_retry;
                for act in 0..ACTS {
                    let job = if has { state.world.jobs[act][slot] } else { Job::default() };
                    Self::job(&format!("{prefix}job{}", act + 1), &job, visit);
                    let keyed = has && state.world.keyed[act] >> slot & 1 == 1;
                    visit(&|| format!("{prefix}key{}", act + 1), Kind::Flag, u8::from(keyed));
                }
            }
        }
    }

    fn job(name: &str, job: &Job, visit: &mut Visit<'_>) {
        visit(&|| name.to_owned(), Kind::Number(Some(&JOBS)), job.status as u8);
        visit(&|| format!("{name}_payload"), Kind::Number(Some(&PAYLOADS)), job.payload as u8);
        visit(&|| format!("{name}_target"), Kind::Number(None), place(job.target));
        visit(&|| format!("{name}_launched"), Kind::Flag, u8::from(job.launched));
    }

    /// The variables that decide most come first: guards are put in terms of the first variables that tell states apart.
    fn world(&self, world: &World, visit: &mut Visit<'_>) {
        let mut number = |name: &str, kind, value| visit(&|| name.to_owned(), kind, value);
        let status = Status::ALL.iter().position(|status| *status == world.status).unwrap_or(0);
        number("crashes_left", Kind::Count, world.crashes_left);
        number("faults_left", Kind::Count, world.faults_left);
        number("status", Kind::Number(Some(&STATUSES)), status as u8);
        number("window_passed", Kind::Flag, u8::from(world.window_passed));
        number("source_changed", Kind::Flag, u8::from(world.drifted));
        number("target_changed", Kind::Flag, u8::from(world.target_drifted));
        number("uses", Kind::Count, world.uses);
        let (lease, by) = match world.lease {
            Lease::Free => (0, None),
            Lease::Held { by, known } => (1 + u8::from(known), Some(by)),
        };
        number("lease", Kind::Number(Some(&LEASES)), lease);
        number("lease_by", Kind::Pointer, place(by));
        number("lease_last", Kind::Pointer, place(world.lease_last));
        number("lease_shared", Kind::Flag, u8::from(world.lease_shared));
        number("fence_shared", Kind::Flag, u8::from(world.fence_shared));
        number("lease_step", Kind::Number(None), world.lease_step);
        number("last_user", Kind::Pointer, place(world.last_user));
        let presses = world.presses;
        number("yes_counted", Kind::Count, presses.counted);
        number("yes_people", Kind::Count, presses.people);
        number("yes_requester", Kind::Flag, u8::from(presses.requester));
        number("scanner_pressed", Kind::Flag, u8::from(presses.scanner));
        for act in 0..ACTS {
            if !self.own_keys {
                Self::job(&format!("job{}", act + 1), &world.jobs[act][0], visit);
                visit(&|| format!("key{}", act + 1), Kind::Flag, (world.keyed[act] & 1) as u8);
            }
        }
        for (target, status) in world.targets.iter().enumerate() {
            visit(&|| format!("target{}", target + 1), Kind::Number(Some(&TARGETS)), *status as u8);
        }
        for (target, writer) in world.writers.iter().enumerate() {
            visit(&|| format!("target{}_writer", target + 1), Kind::Pointer, place(*writer));
        }
        let mut number = |name: &str, kind, value| visit(&|| name.to_owned(), kind, value);
        number("vault_written", Kind::Flag, u8::from(world.vault_written));
        number("vault_writer", Kind::Pointer, place(world.vault_writer));
        number("ever_usable", Kind::Flag, u8::from(world.approved));
        number("ever_revoked", Kind::Flag, u8::from(world.was_revoked));
        number("clean", Kind::Flag, u8::from(world.clean));
        number("swaps", Kind::Count, world.applied);
        number("events", Kind::Count, world.executed_events);
        for act in 0..ACTS {
            number(&format!("effects{}", act + 1), Kind::Count, world.effects[act]);
        }
        for (bit, name) in ["approve_won", "reject_won", "expire_won"].into_iter().enumerate() {
            number(name, Kind::Flag, world.decisions >> bit & 1);
        }
        let violated = world.violated;
        for (name, flag) in [
            ("used_unapproved", violated.used_unapproved),
            ("used_late", violated.used_late),
            ("used_revoked", violated.used_revoked),
            ("used_stale", violated.used_stale),
            ("final_left", violated.final_left),
            ("acted_other", violated.acted_other),
            ("stranger_got_in", violated.other_tenant),
            ("scanner_got_in", violated.scanner),
            ("retry_differed", violated.retry),
            ("too_few_approved", violated.too_few),
            ("requester_approved", violated.requester),
            ("not_burnt", violated.not_burnt),
        ] {
            number(name, Kind::Flag, u8::from(flag));
        }
    }

    fn attempt(&self, prefix: &str, one: &Attempt, visit: &mut Visit<'_>) {
        let mut number = |name: &str, kind, value| visit(&|| format!("{prefix}{name}"), kind, value);
        let stage = |stage: PromotionState| {
            PromotionState::ALL.iter().position(|one| *one == stage).unwrap_or(0) as u8
        };
        number("stage", Kind::Number(Some(&STAGES)), stage(one.stage));
        number("at", Kind::Number(None), one.cursor);
        number("ending", Kind::Number(Some(&STAGES)), one.ending.map_or(0, stage));
        number("holds", Kind::Number(Some(&PAYLOADS)), one.held as u8);
        number("target", Kind::Number(None), place(one.target));
        number("created_target", Kind::Flag, u8::from(one.created));
        number("fenced", Kind::Flag, u8::from(one.is_fenced));
        number("holds_lease", Kind::Flag, u8::from(one.holds_lease));
        number("retries_step", Kind::Flag, u8::from(one.is_retrying));
        number("seen_uses", Kind::Number(None), one.seen);
        let seen = one.seen_status.and_then(|seen| Status::ALL.iter().position(|status| *status == seen));
        number("seen_status", Kind::Number(Some(&SEEN)), seen.map_or(0, |seen| seen as u8 + 1));
        number("repeats", Kind::Flag, u8::from(one.repeats));
        for step in &self.undone {
            number(&format!("undoes{}", step + 1), Kind::Flag, (one.undoable >> step & 1) as u8);
            number(
                &format!("replaced{}", step + 1),
                Kind::Number(Some(&TARGETS)),
                (one.replaced >> (2 * step) & 3) as u8,
            );
        }
        number("marker", Kind::Flag, u8::from(one.has_marker));
        number("stored", Kind::Flag, u8::from(one.is_stored));
        number("answers", Kind::Number(None), one.answers);
        number("stored_answers", Kind::Number(None), one.stored_answers);
        number("stored_payload", Kind::Number(Some(&PAYLOADS)), one.stored_held as u8);
        for act in 0..ACTS {
            number(&format!("deploy{}", act + 1), Kind::Flag, u8::from(one.deploys[act].runs));
            number(&format!("deploy{}_target", act + 1), Kind::Number(None), place(one.deploys[act].target));
        }
        number("used", Kind::Number(None), one.uses);
        number("use_forgotten", Kind::Flag, u8::from(one.is_forgotten));
        number("has_event", Kind::Flag, u8::from(one.has_event));
        number("wrote", Kind::Flag, u8::from(one.wrote));
        for act in 0..ACTS {
            number(&format!("acted{}", act + 1), Kind::Number(None), one.acted[act]);
        }
        number("began_on_usable", Kind::Flag, u8::from(one.began_on_usable));
        number("owed", Kind::Flag, u8::from(one.is_owed));
        number("excused", Kind::Flag, u8::from(one.is_excused));
    }
}

/// An index, none as 0.
fn place(index: Option<u8>) -> u8 {
    index.map_or(0, |index| index + 1)
}

/// The world as this participant sees it; none: as the world does.
pub(super) fn seen_by(world: &[u8], pointers: &[usize], seat: Option<Seat>) -> Vec<u8> {
    let mut seen = world.to_vec();
    for pointer in pointers {
        let value = &mut seen[*pointer];
        *value = match value.checked_sub(1) {
            None => NO_ATTEMPT,
            Some(attempt) => match seat {
                Some(seat) if attempt == seat.first => OWN_FIRST,
                Some(seat) if seat.has(attempt) => OWN_RETRY,
                _ => ANOTHER,
            },
        };
    }
    seen
}
