//! The oracle: an independent, brute-force judge of one flow file.
//!
//! It repeats the rules of the protocol on purpose, and shares no code with what it is held against: it was written
//! from the description of the vocabulary alone. Breadth-first over whole worlds, compared exactly.

mod flow;
mod search;

use std::collections::BTreeMap;

use flow::{Conditions, Step, What, parse};
pub(crate) use search::judge;

pub(crate) struct Bounds {
    pub(crate) consumers: u8,
    pub(crate) crashes: u8,
    pub(crate) faults: u8,
}

/// For each property: `None` = holds, `Some(n)` = broken, first shown by a run of n actions.
pub(crate) type Verdicts = BTreeMap<&'static str, Option<usize>>;

pub(crate) const PROPERTIES: [&str; 16] =
    ["S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "S17", "L1", "L2", "L3", "L4"];

const MAX: usize = 4; // consumers; also targets, since each consumer creates at most one

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Status {
    Pending,
    Approved,
    Executed,
    Rejected,
    Expired,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    NotBegun,
    Running,
    Success,
    Refused409,
    RefusedOther,
    RefusedPreflight,
    Unknown,
    Killed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Look {
    No,
    Found,
    Missing,
}

/// One consumer: at most one promotion, and the deploys that it launched in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Promotion {
    phase: Phase,
    at: u8,     // index of the next step; flow length = about to answer
    look: Look, // between the two actions of a read-then-write
    digest: u8, // see `source`
    target: Option<u8>,
    wrote: bool,
    consumed: bool,
    began_on_approved: bool,   // the status at its first action was approved
    began_after_approve: bool, // the operator had approved before its first action
    deploying: bool,
    ticket: u8, // the number of the lease that it took last, 0 = none
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Job {
    None,
    Ready,
    Leased,
    Running,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct World {
    status: Status,
    clock_passed: bool,
    drifted: bool,
    operator_approved: bool,
    crashes_left: u8,
    faults_left: u8,
    promotions: [Promotion; MAX],
    targets: u8, // how many were created
    building: [bool; MAX],
    events: u8,   // executed events, 2 = several
    launches: u8, // that take effect, 2 = several
    job: Job,
    job_launched: bool,
    job_digest: u8,
    job_owner: u8,
    tickets: u8, // how often the lease was taken
    leased: bool,
}

const APPROVED_DIGEST: u8 = 0;
const DRIFTED_DIGEST: u8 = 1;
const FOREIGN_DIGEST: u8 = 2;

/// Who moves. Fairness is owed to everybody but `WORLD`.
const WORLD: u32 = 0;
const WORKER: u32 = 1;
const JOB_DEPLOY: u32 = 2;
const LEASE: u32 = 4;
fn promotion_bit(i: usize) -> u32 {
    1 << (4 + i)
}
fn deploy_bit(i: usize) -> u32 {
    1 << (16 + i)
}

/// Violations seen on the transition itself.
const B_S4: u8 = 1;
const B_S5: u8 = 2;
const B_S6: u8 = 4;
const B_S9: u8 = 8;
const B_S17: u8 = 16;
const ON_TRANSITIONS: [(&str, u8); 5] =
    [("S4", B_S4), ("S5", B_S5), ("S6", B_S6), ("S9", B_S9), ("S17", B_S17)];

struct Move {
    to: World,
    who: u32,
    broke: u8,
}

struct Judge {
    flow: Vec<Step>,
    bounds: Bounds,
}

impl Judge {
    fn initial(&self) -> World {
        let nobody = Promotion {
            phase: Phase::NotBegun,
            at: 0,
            look: Look::No,
            digest: 0,
            target: None,
            wrote: false,
            consumed: false,
            began_on_approved: false,
            began_after_approve: false,
            deploying: false,
            ticket: 0,
        };
        World {
            status: Status::Pending,
            clock_passed: false,
            drifted: false,
            operator_approved: false,
            crashes_left: self.bounds.crashes,
            faults_left: self.bounds.faults,
            promotions: [nobody; MAX],
            targets: 0,
            building: [false; MAX],
            events: 0,
            launches: 0,
            job: Job::None,
            job_launched: false,
            job_digest: 0,
            job_owner: 0,
            tickets: 0,
            leased: false,
        }
    }

    fn consumers(&self) -> usize {
        self.bounds.consumers as usize
    }

    fn foreign(&self, i: usize) -> bool {
        self.consumers() >= 2 && i == self.consumers() - 1
    }

    /// The digest that consumer i would read now.
    fn source(&self, w: &World, i: usize) -> u8 {
        match (self.foreign(i), w.drifted) {
            (true, _) => FOREIGN_DIGEST,
            (false, true) => DRIFTED_DIGEST,
            (false, false) => APPROVED_DIGEST,
        }
    }

    /// Every move from w; with `harm`, also faults and crashes.
    fn moves(&self, w: &World, harm: bool) -> Vec<Move> {
        let mut out = Vec::new();
        let mut push = |to: World, who: u32, broke: u8| out.push(Move { to, who, broke });

        if w.status == Status::Pending {
            if w.clock_passed {
                push(World { status: Status::Expired, ..*w }, WORLD, 0);
            } else {
                let to = World { status: Status::Approved, operator_approved: true, ..*w };
                push(to, WORLD, 0);
            }
            push(World { status: Status::Rejected, ..*w }, WORLD, 0);
        }
        if !w.clock_passed {
            push(World { clock_passed: true, ..*w }, WORLD, 0);
        }
        if !w.drifted && w.operator_approved {
            push(World { drifted: true, ..*w }, WORLD, 0);
        }

        match w.job {
            Job::Ready => push(World { job: Job::Leased, ..*w }, WORKER, 0),
            Job::Leased => {
                let mut to = World { job: Job::Running, job_launched: true, ..*w };
                if !w.job_launched {
                    to.launches = (w.launches + 1).min(2);
                }
                push(to, WORKER, launch_breaks(w, w.job_digest));
            }
            Job::Running => {
                let mut to = World { job: Job::Done, ..*w };
                settle(&mut to, w.promotions[w.job_owner as usize].target);
                push(to, JOB_DEPLOY, 0);
            }
            Job::None | Job::Done => {}
        }
        for i in 0..self.consumers() {
            if w.promotions[i].deploying {
                let mut to = *w;
                to.promotions[i].deploying = false;
                settle(&mut to, w.promotions[i].target);
                push(to, deploy_bit(i), 0);
            }
        }

        if w.leased {
            push(World { leased: false, ..*w }, LEASE, 0);
        }

        let killable = w.promotions.iter().any(|p| p.phase == Phase::Running || p.deploying);
        let held = matches!(w.job, Job::Leased | Job::Running);
        if harm && w.crashes_left > 0 && (killable || held) {
            let mut to = World { crashes_left: w.crashes_left - 1, ..*w };
            for i in 0..MAX {
                if to.promotions[i].phase == Phase::Running {
                    end(&mut to, i, Phase::Killed);
                }
                to.promotions[i].deploying = false;
            }
            if held {
                to.job = Job::Ready;
            }
            push(to, WORLD, 0);
        }

        for i in 0..self.consumers() {
            let who = match w.promotions[i].phase {
                Phase::NotBegun => WORLD, // need never begin
                Phase::Running => promotion_bit(i),
                _ => continue,
            };
            self.promote(w, i, harm, &mut |to, broke| out.push(Move { to, who, broke }));
        }
        out
    }

    /// The next action of consumer i, in every way it may go.
    fn promote(&self, before: &World, i: usize, harm: bool, push: &mut dyn FnMut(World, u8)) {
        let mut w = *before;
        if w.promotions[i].phase == Phase::NotBegun {
            w.promotions[i].phase = Phase::Running;
            w.promotions[i].digest = self.source(&w, i);
            w.promotions[i].began_on_approved = w.status == Status::Approved;
            w.promotions[i].began_after_approve = w.operator_approved;
        }
        let w = w;
        let fault = harm && w.faults_left > 0;
        let hurt = World { faults_left: w.faults_left.saturating_sub(1), ..w };
        let ended = |mut w: World, phase: Phase| {
            end(&mut w, i, phase);
            w
        };
        let advanced = |mut w: World| {
            w.promotions[i].at += 1;
            w.promotions[i].look = Look::No;
            w
        };
        let looked = |mut w: World, look: Look| {
            w.promotions[i].look = look;
            w
        };

        let Some(step) = self.flow.get(w.promotions[i].at as usize) else {
            push(ended(w, Phase::Success), 0);
            return;
        };
        match step {
            Step::Validate(checks) => {
                let mut to = w;
                to.promotions[i].digest = self.source(&w, i);
                match refused(&to, i, *checks) {
                    Some(phase) => push(ended(to, phase), 0),
                    None => push(advanced(to), 0),
                }
                if fault {
                    push(ended(hurt, Phase::RefusedOther), 0);
                }
            }
            Step::Check { refuses } => {
                let mut to = w;
                to.promotions[i].digest = self.source(&w, i);
                push(advanced(to), 0);
                if *refuses {
                    push(ended(w, Phase::RefusedPreflight), 0);
                }
                if fault {
                    push(ended(hurt, Phase::RefusedPreflight), 0);
                }
            }
            Step::Lease => {
                let taken = |w: World| {
                    let mut to = World { leased: true, tickets: w.tickets + 1, ..w };
                    to.promotions[i].ticket = to.tickets;
                    to
                };
                // Whoever finds it taken waits, which is no move.
                if !w.leased {
                    push(advanced(taken(w)), 0);
                }
                if fault {
                    push(ended(hurt, Phase::RefusedOther), 0);
                    if !w.leased {
                        push(ended(taken(hurt), Phase::RefusedOther), 0);
                    }
                }
            }
            Step::Write { what, two_actions, refuses, best_effort } => {
                let failed = |w: World| {
                    if *best_effort { advanced(w) } else { ended(w, Phase::RefusedPreflight) }
                };
                if *refuses {
                    push(failed(w), 0);
                }
                if fault {
                    push(failed(hurt), 0);
                }
                let seen = if w.targets > 0 { Look::Found } else { Look::Missing };
                let look = w.promotions[i].look;
                if *two_actions && look == Look::No {
                    push(looked(w, seen), 0);
                } else {
                    let trusted = if *two_actions { look } else { seen };
                    push(advanced(written(w, i, *what, trusted)), 0);
                    if fault {
                        push(failed(written(hurt, i, *what, trusted)), 0); // the answer is lost
                    }
                }
            }
            Step::Consume { guards, two_actions } => {
                if fault {
                    push(ended(hurt, Phase::RefusedOther), 0);
                }
                let acting = *two_actions && w.promotions[i].look != Look::No;
                if !acting && let Some(phase) = refused(&w, i, *guards) {
                    push(ended(w, phase), 0);
                } else if *two_actions && !acting {
                    push(looked(w, Look::Found), 0);
                } else {
                    let (to, broke) = consumed(w, i);
                    push(advanced(to), broke);
                    if fault {
                        push(ended(consumed(hurt, i).0, Phase::Unknown), broke);
                    }
                }
            }
            Step::Audit => {
                push(advanced(audited(w)), 0);
                if fault {
                    push(advanced(hurt), 0); // swallowed
                }
            }
            Step::Enqueue => {
                push(advanced(enqueued(w, i)), 0);
                if fault {
                    push(ended(hurt, Phase::RefusedOther), 0);
                    push(ended(enqueued(hurt, i), Phase::Unknown), 0);
                }
            }
            Step::Launch => {
                let mut to = w;
                to.promotions[i].deploying = true;
                to.launches = (w.launches + 1).min(2);
                push(advanced(to), launch_breaks(&w, w.promotions[i].digest));
            }
            Step::Atomic(members) => {
                if fault {
                    push(ended(hurt, Phase::RefusedOther), 0);
                }
                let (mut to, mut broke) = (w, 0);
                for member in members {
                    match member {
                        Step::Consume { guards, .. } => {
                            if let Some(phase) = refused(&to, i, *guards) {
                                push(ended(w, phase), 0);
                                return; // nothing is applied
                            }
                            let (next, b) = consumed(to, i);
                            to = next;
                            broke |= b;
                        }
                        Step::Write { what, refuses, .. } => {
                            if *refuses {
                                push(ended(w, Phase::RefusedPreflight), 0);
                            }
                            let seen = if to.targets > 0 { Look::Found } else { Look::Missing };
                            to = written(to, i, *what, seen);
                        }
                        Step::Audit => to = audited(to),
                        Step::Enqueue => to = enqueued(to, i),
                        _ => panic!("not a member of a group"),
                    }
                }
                push(advanced(to), broke);
                if fault {
                    let lost = World { faults_left: to.faults_left - 1, ..to };
                    push(ended(lost, Phase::Unknown), broke);
                }
            }
        }
    }

    /// Would one fresh promotion of what was approved, alone, unhurt and unrefused, succeed?
    fn probe_succeeds(&self, w: &World) -> bool {
        let mut status = w.status;
        let mut passes = |step: &Step| match step {
            Step::Validate(c) => !(c.status && status != Status::Approved || c.expiry && w.clock_passed),
            Step::Consume { guards: c, .. } => {
                let ok = !(c.status && status != Status::Approved || c.expiry && w.clock_passed);
                status = Status::Executed;
                ok
            }
            _ => true,
        };
        self.flow.iter().all(|step| match step {
            Step::Atomic(members) => members.iter().all(&mut passes),
            step => passes(step),
        })
    }

    /// The properties that are judged on a state, and that this one breaks.
    fn broken_in(&self, w: &World) -> Vec<&'static str> {
        let mut broken = Vec::new();
        let ps = &w.promotions[..self.consumers()];
        let count = |f: &dyn Fn(&Promotion) -> bool| ps.iter().filter(|p| f(p)).count();
        let successes = count(&|p| p.phase == Phase::Success);
        let preflight = |p: &Promotion| p.phase == Phase::RefusedPreflight;
        let known_refusal =
            |p: &Promotion| preflight(p) || matches!(p.phase, Phase::Refused409 | Phase::RefusedOther);
        let ended = |p: &Promotion| !matches!(p.phase, Phase::NotBegun | Phase::Running);
        let quiet = count(&|p| p.phase == Phase::Running || p.deploying) == 0
            && matches!(w.job, Job::None | Job::Done);

        if count(&|p| preflight(p) && p.consumed) > 0 {
            broken.push("S1");
        }
        if successes > 1 || count(&|p| p.consumed) > 1 || w.launches > 1 {
            broken.push("S2");
        }
        // A rejection and an expired row are out by `began_after_approve`.
        let clean = w.faults_left == self.bounds.faults
            && w.crashes_left == self.bounds.crashes
            && !w.clock_passed
            && !w.drifted
            && count(&preflight) == 0
            && (0..ps.len())
                .all(|i| ps[i].phase == Phase::NotBegun || ps[i].began_after_approve && !self.foreign(i));
        if clean {
            let neither = |p: &Promotion| ended(p) && !matches!(p.phase, Phase::Success | Phase::Refused409);
            let nobody_won = quiet && successes == 0 && count(&ended) > 0;
            if successes > 1 || count(&neither) > 0 || nobody_won {
                broken.push("S3");
            }
        }
        if count(&|p| known_refusal(p) && p.wrote) > 0 {
            broken.push("S7");
        }
        if quiet && w.events != u8::from(w.status == Status::Executed) {
            broken.push("S8");
        }
        if w.targets > 1 {
            broken.push("S11");
        }
        if !w.clock_passed && !self.probe_succeeds(w) {
            let owed = (0..ps.len()).any(|i| {
                let others_consumed = (0..ps.len()).any(|j| j != i && ps[j].consumed);
                preflight(&ps[i]) && ps[i].began_on_approved && !others_consumed
            });
            if owed {
                broken.push("L3");
            }
            if w.status == Status::Approved {
                broken.push("L4");
            }
        }
        broken
    }
}

fn end(w: &mut World, i: usize, phase: Phase) {
    let p = &mut w.promotions[i];
    (p.phase, p.at, p.look, p.digest, p.ticket) = (phase, 0, Look::No, 0, 0); // only history is kept
}

/// How a validate's checks or a consume's guards refuse, if they do.
fn refused(w: &World, i: usize, c: Conditions) -> Option<Phase> {
    if c.status && w.status != Status::Approved {
        Some(Phase::Refused409)
    } else if c.expiry && w.clock_passed {
        Some(Phase::RefusedOther) // 410
    } else if c.digest && w.promotions[i].digest != APPROVED_DIGEST
        || c.lease && w.promotions[i].ticket != w.tickets
    {
        Some(Phase::Refused409)
    } else {
        None
    }
}

fn written(mut w: World, i: usize, what: What, seen: Look) -> World {
    w.promotions[i].wrote = true;
    if what == What::Target {
        let t = if seen == Look::Missing { w.targets } else { 0 };
        w.targets = w.targets.max(t + 1);
        w.building[t as usize] = true;
        w.promotions[i].target = Some(t);
    }
    w
}

fn consumed(mut w: World, i: usize) -> (World, u8) {
    let mut broke = 0;
    if !matches!(w.status, Status::Approved | Status::Executed) {
        broke |= B_S4;
    }
    if matches!(w.status, Status::Rejected | Status::Expired) {
        broke |= B_S9;
    }
    if w.clock_passed {
        broke |= B_S5;
    }
    w.status = Status::Executed;
    w.promotions[i].consumed = true;
    (w, broke)
}

fn audited(mut w: World) -> World {
    w.events = (w.events + 1).min(2);
    w
}

fn enqueued(mut w: World, i: usize) -> World {
    if w.job == Job::None {
        (w.job, w.job_digest, w.job_owner) = (Job::Ready, w.promotions[i].digest, i as u8);
    }
    w
}

fn launch_breaks(w: &World, digest: u8) -> u8 {
    let stranger = if digest != APPROVED_DIGEST { B_S6 } else { 0 };
    stranger | if w.status != Status::Executed { B_S17 } else { 0 }
}

fn settle(w: &mut World, target: Option<u8>) {
    w.building[target.unwrap_or(0) as usize] = false;
}
