//! The world that a flow runs in, as one small value: the approval, the target, the outbox, the deploys, and every consumer.
//!
//! The rules are the protocol's; what is here is only the store that they are applied to.

mod packed;

use std::hash::{Hash, Hasher};

use countersign::protocol::{Digest, Status};

pub use packed::Packed;

use crate::properties::Stage;

/// The most consumers that a state has room for.
pub const MAX_CONSUMERS: usize = 6;

/// What a promotion would launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payload {
    /// What was approved.
    #[default]
    Approved,
    /// The same source, changed since.
    Drifted,
    /// Another stack.
    Foreign,
}

impl Payload {
    /// Its digest.
    pub fn digest(self) -> Digest {
        Digest([self as u8; 32])
    }

    /// The payload of a digest that [`digest`](Self::digest) made.
    pub fn of(digest: Digest) -> Self {
        [Self::Approved, Self::Drifted, Self::Foreign][usize::from(digest.0[0])]
    }
}

/// A target that may exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetStatus {
    /// Not created.
    #[default]
    Absent,
    /// Written; its deploy has not ended.
    Building,
    /// Healthy or failed.
    Settled,
}

/// Where the launch job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobStatus {
    /// Never written.
    #[default]
    Absent,
    /// In the outbox.
    Ready,
    /// Leased by the worker.
    Leased,
    /// Its deploy runs.
    Running,
    /// Its deploy has ended.
    Done,
}

/// The launch job, keyed by the approval: there is at most one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// Where it is.
    pub status: JobStatus,
    /// What it launches.
    pub payload: Payload,
    /// The target of whoever wrote it.
    pub target: Option<u8>,
    /// It has been launched. A repeat is the same launch.
    pub launched: bool,
}

/// Everything outside of the promotions. Counts saturate at 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct World {
    /// The approval's status.
    pub status: Status,
    /// The operator has approved it.
    pub approved: bool,
    /// The clock has passed `expires_at`.
    pub window_passed: bool,
    /// The source has changed since the approval.
    pub drifted: bool,
    /// How often it became executed.
    pub executions: u8,
    /// How many of approve, reject and expire won.
    pub decisions: u8,
    /// How many executed events there are.
    pub executed_events: u8,
    /// How many launches without a key took effect.
    pub unkeyed_launches: u8,
    /// The targets, in the order in which they were created.
    pub targets: [TargetStatus; MAX_CONSUMERS],
    /// A vault key was written.
    pub vault_written: bool,
    /// The outbox.
    pub job: Job,
    /// Somebody has the approval's lease, or had it when it died.
    pub lease_held: bool,
    /// The promotion that took the lease last, while it runs: whoever took it before is fenced.
    pub lease_last: Option<u8>,
    /// S4 was broken.
    pub executed_unapproved: bool,
    /// S5 was broken.
    pub executed_late: bool,
    /// S9 was broken.
    pub final_left: bool,
    /// S6 was broken.
    pub launched_other: bool,
    /// S17 was broken.
    pub launched_unexecuted: bool,
    /// Nothing has happened that S3 leaves out.
    pub clean: bool,
    /// The crashes that may still happen.
    pub crashes_left: u8,
    /// The faults that may still be injected.
    pub faults_left: u8,
}

impl World {
    /// A pending approval and nothing else.
    pub fn new(crashes_left: u8, faults_left: u8) -> Self {
        Self {
            status: Status::Pending,
            approved: false,
            window_passed: false,
            drifted: false,
            executions: 0,
            decisions: 0,
            executed_events: 0,
            unkeyed_launches: 0,
            targets: [TargetStatus::Absent; MAX_CONSUMERS],
            vault_written: false,
            job: Job::default(),
            lease_held: false,
            lease_last: None,
            executed_unapproved: false,
            executed_late: false,
            final_left: false,
            launched_other: false,
            launched_unexecuted: false,
            clean: true,
            crashes_left,
            faults_left,
        }
    }

    /// How many targets there are.
    pub fn created(&self) -> u8 {
        self.targets.iter().filter(|target| **target != TargetStatus::Absent).count() as u8
    }

    /// Launches that took effect; all under the approval's key are one.
    pub fn launches(&self) -> u8 {
        self.unkeyed_launches + u8::from(self.job.launched)
    }

    /// Moves the approval, and remembers what can be held against it.
    pub fn move_to(&mut self, status: Status) {
        self.final_left |= self.status.is_final() && self.status != status;
        self.status = status;
    }

    /// A consumer's promotion is over: nothing asks any more for the number of its lease. The lease itself stays taken.
    pub fn forget_lease_of(&mut self, consumer: u8) {
        if self.lease_last == Some(consumer) {
            self.lease_last = None;
        }
    }

    /// Something is launched.
    pub fn launch(&mut self, payload: Payload) {
        self.launched_other |= payload != Payload::Approved;
        self.launched_unexecuted |= self.status != Status::Executed;
    }

    /// A deploy ends: its target, or else the first one there is, settles.
    pub fn settle(&mut self, target: Option<u8>) {
        let target = &mut self.targets[usize::from(target.unwrap_or(0))];
        if *target == TargetStatus::Building {
            *target = TargetStatus::Settled;
        }
    }
}

/// One consumer and its one promotion. What no longer matters after its end is forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consumer {
    /// Where the promotion is.
    pub stage: Stage,
    /// The promotion's next atomic action.
    pub cursor: u8,
    /// The digest that it holds.
    pub held: Payload,
    /// The target that it, or its deploy, knows of.
    pub target: Option<u8>,
    /// It created that target.
    pub created: bool,
    /// Its deploy runs.
    pub deploying: bool,
    /// The approval was approved when it began.
    pub began_on_approved: bool,
    /// Its consume took effect.
    pub consumed: bool,
    /// It wrote target or vault.
    pub wrote: bool,
}

impl Consumer {
    /// Ends the promotion and forgets what nothing asks for any more, so that states that differ in nothing
    /// else are one.
    pub fn end(&mut self, stage: Stage) {
        let kept = *self;
        *self = Self { stage, deploying: kept.deploying, ..Self::default() };
        if kept.deploying {
            self.target = kept.target;
        }
        if stage.is_refused() {
            self.wrote = kept.wrote;
        }
        if stage == Stage::PreflightRefused {
            self.consumed = kept.consumed;
            self.began_on_approved = kept.began_on_approved;
        }
    }

    /// Ends the deploy.
    pub fn end_deploy(&mut self) {
        self.deploying = false;
        if self.stage != Stage::Running {
            self.target = None;
        }
    }
}

/// One state of the model.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The world.
    pub world: World,
    /// The consumers; those beyond the bound never begin.
    pub consumers: [Consumer; MAX_CONSUMERS],
}

impl State {
    /// Whether a promotion, a job or a deploy is under way.
    pub fn under_way(&self) -> bool {
        let job = matches!(self.world.job.status, JobStatus::Ready | JobStatus::Leased | JobStatus::Running);
        job || self.consumers.iter().any(|one| one.stage == Stage::Running || one.deploying)
    }
}

impl Hash for State {
    /// Hashes the packed form: three words instead of seventy fields.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.pack().hash(hasher);
    }
}

impl std::fmt::Debug for State {
    /// For people: one line for the world, one for each consumer that has begun.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let world = &self.world;
        write!(f, "approval {}", world.status)?;
        write!(f, ", window {}", if world.window_passed { "passed" } else { "open" })?;
        if world.drifted {
            f.write_str(", source changed")?;
        }
        write!(f, ", executed events {}", world.executed_events)?;
        for (index, target) in world.targets.iter().enumerate() {
            if *target != TargetStatus::Absent {
                write!(f, ", target {} {target:?}", index + 1)?;
            }
        }
        if world.job.status != JobStatus::Absent {
            write!(f, ", job {:?}", world.job.status)?;
        }
        if world.lease_held {
            f.write_str(", lease held")?;
        }
        write!(f, ", launches {}", world.launches())?;
        write!(f, "; left: {} crashes, {} faults", world.crashes_left, world.faults_left)?;
        for (index, one) in self.consumers.iter().enumerate().filter(|(_, one)| one.stage != Stage::Waiting) {
            write!(f, "\nconsumer {}: {:?}", index + 1, one.stage)?;
            if one.stage == Stage::Running {
                write!(f, ", next action {}, holds {:?}", one.cursor + 1, one.held)?;
                if world.lease_last == Some(index as u8) {
                    f.write_str(", leased last")?;
                }
            }
            for (is, what) in
                [(one.deploying, "deploy running"), (one.consumed, "consumed"), (one.wrote, "wrote")]
            {
                if is {
                    write!(f, ", {what}")?;
                }
            }
        }
        Ok(())
    }
}
