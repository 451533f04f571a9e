//! A flow: the order in which one endpoint does its work, as data.
//!
//! Invariants: exactly one consume, and under the `lease` guard only after a lease; at most 64 steps, and at most 64
//! members in a group; no empty group. A flow that exists has them all: [`Flow::new`] is the only way to make one.

use std::fmt;

use super::refusal::Refusal;

/// What a [`Do::Validate`] step looks at. The default looks at nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Checks {
    /// The approval belongs to the caller's team.
    pub owner: bool,
    /// It is approved.
    pub status: bool,
    /// Kind, from and to are those of the request.
    pub binding: bool,
    /// Its window is open.
    pub expiry: bool,
    /// What would run is what was approved.
    pub digest: bool,
}

impl Checks {
    /// Everything.
    pub const ALL: Self = Self { owner: true, status: true, binding: true, expiry: true, digest: true };
}

/// What a consume compares before it swaps. The default compares nothing: an unconditional update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Guards {
    /// The approval is approved.
    pub status: bool,
    /// Its window is open, by the clock of whoever executes the swap.
    pub expiry: bool,
    /// The digest that the promotion holds is the approved one.
    pub digest: bool,
    /// Nobody has taken the approval's lease since the promotion did.
    pub lease: bool,
}

impl Guards {
    /// Everything that holds of any promotion: all but the lease, which only a flow that takes one can be held to.
    pub const ALL: Self = Self { status: true, expiry: true, digest: true, lease: false };
}

/// Whether a change looks first and trusts what it saw, or looks and changes in one atomic action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum How {
    /// One atomic action.
    #[default]
    AtOnce,
    /// Two: a look, and later a write that trusts it. Check-then-act.
    ReadThenWrite,
}

/// What a write changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// The target: created, or updated if there is one; its status becomes `building`.
    Target,
    /// The vault of the target's environment.
    Vault,
}

/// What one step does. Each is one atomic action, or two where it says [`How::ReadThenWrite`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Do {
    /// Reads the approval and applies `checks`.
    Validate {
        /// What it looks at.
        checks: Checks,
    },
    /// Reads something outside; nothing changes.
    Check {
        /// What it may answer by its own judgement.
        refusals: Vec<Refusal>,
    },
    /// Takes the approval's lease when nobody has it, or waits for it. It spares those who wait their preflight, and
    /// protects nothing: a holder may be slow, and its lease run out.
    Lease,
    /// Changes the target or the vault.
    Write {
        /// Which of the two.
        what: What,
        /// For the target: how it finds out whether there is one.
        how: How,
        /// A failure is logged, and the flow goes on.
        best_effort: bool,
        /// What it may answer by its own judgement.
        refusals: Vec<Refusal>,
    },
    /// Makes the approval executed if `guards` hold.
    Consume {
        /// What it compares.
        guards: Guards,
        /// Whether comparing and swapping are one action.
        how: How,
    },
    /// Writes the executed event. A failure is swallowed: the event is lost and the flow goes on.
    Audit,
    /// Writes the launch job to the outbox, keyed by the approval; a second one changes nothing.
    Enqueue,
    /// Starts the deploy from this process, in memory, without a key.
    Launch,
    /// Does all of its members in one transaction, or nothing.
    Atomic(Vec<Member>),
}

/// What may stand inside a group ([`Do::Atomic`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Member {
    /// As [`Do::Consume`].
    Consume {
        /// What it compares.
        guards: Guards,
    },
    /// As [`Do::Write`].
    Write {
        /// Target or vault.
        what: What,
        /// What it may answer by its own judgement; the group is not applied then.
        refusals: Vec<Refusal>,
    },
    /// As [`Do::Audit`], but it cannot be lost alone.
    Audit,
    /// As [`Do::Enqueue`].
    Enqueue,
}

/// One step of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// What the flow's author calls it. Need not be unique.
    pub name: Option<String>,
    /// What it does.
    pub action: Do,
}

impl From<Do> for Step {
    fn from(action: Do) -> Self {
        Self { name: None, action }
    }
}

impl Step {
    /// The refusals that the step answers by its own judgement, as opposed to those of the approval's rules.
    pub fn refusals(&self) -> impl Iterator<Item = &Refusal> {
        let (own, members) = match &self.action {
            Do::Check { refusals } | Do::Write { refusals, .. } => (refusals.as_slice(), [].as_slice()),
            Do::Atomic(members) => ([].as_slice(), members.as_slice()),
            Do::Validate { .. } | Do::Lease | Do::Consume { .. } | Do::Audit | Do::Enqueue | Do::Launch => {
                ([].as_slice(), [].as_slice())
            }
        };
        let of_members = members.iter().flat_map(|member| match member {
            Member::Write { refusals, .. } => refusals.as_slice(),
            Member::Consume { .. } | Member::Audit | Member::Enqueue => &[],
        });
        own.iter().chain(of_members)
    }

    /// Whether it belongs to the preflight: a check or a write outside of a group.
    pub fn is_preflight(&self) -> bool {
        matches!(self.action, Do::Check { .. } | Do::Write { .. })
    }

    /// Whether its failure is logged and forgotten.
    pub(super) fn is_best_effort(&self) -> bool {
        matches!(self.action, Do::Write { best_effort: true, .. } | Do::Audit)
    }
}

impl fmt::Display for Step {
    /// Its name, or else what it does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            return f.write_str(name);
        }
        f.write_str(match &self.action {
            Do::Validate { .. } => "validate",
            Do::Check { .. } => "check",
            Do::Lease => "lease",
            Do::Write { what: What::Target, .. } => "write target",
            Do::Write { what: What::Vault, .. } => "write vault",
            Do::Consume { .. } => "consume",
            Do::Audit => "audit",
            Do::Enqueue => "enqueue",
            Do::Launch => "launch",
            Do::Atomic(_) => "commit",
        })
    }
}

/// One change to the store, within a [`Commit`](super::effect::Commit).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Make the approval executed if [`consume`](super::rules::consume) allows it under these guards.
    Consume {
        /// What to compare.
        guards: Guards,
    },
    /// Create the target or update the one that is there; its status becomes `building`.
    WriteTarget {
        /// Trust the earlier look instead of looking again: update what it found, or create another.
        trust_look: bool,
    },
    /// Copy the vault keys, overwriting none.
    WriteVault,
    /// Write the executed event.
    Audit,
    /// Write the launch job, unless the approval has one.
    Enqueue,
}

/// One atomic action of a flow. [`How::ReadThenWrite`] makes two of one step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Line {
    Validate(Checks),
    Check,
    Lease,
    FindTarget,
    ReadApproval(Guards),
    Commit(Vec<Op>),
    Launch,
}

/// Why a list of steps is no flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidFlow {
    /// Nothing is consumed.
    NoConsume,
    /// More than one consume; the index of the second one's step.
    SecondConsume(usize),
    /// More steps than [`Flow::MAX_STEPS`].
    TooManySteps(usize),
    /// A group without members; its index.
    EmptyGroup(usize),
    /// A group of more members than [`Flow::MAX_STEPS`]; its index.
    TooManyMembers(usize),
    /// A consume under the `lease` guard, and no step before it takes the lease; the index of its step.
    GuardWithoutLease(usize),
}

impl fmt::Display for InvalidFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConsume => f.write_str("no step consumes the approval"),
            Self::SecondConsume(_) => f.write_str("a second consume"),
            Self::TooManySteps(found) => {
                write!(f, "{found} steps, and at most {} are allowed", Flow::MAX_STEPS)
            }
            Self::EmptyGroup(_) => f.write_str("an atomic group without members"),
            Self::TooManyMembers(_) => {
                write!(f, "an atomic group of more than {} members", Flow::MAX_STEPS)
            }
            Self::GuardWithoutLease(_) => f.write_str("a guard of a lease that no step before it takes"),
        }
    }
}

impl std::error::Error for InvalidFlow {}

/// The order of the steps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    steps: Vec<Step>,
    /// The atomic actions, each with the index of its step.
    lines: Vec<(Line, u8)>,
}

impl Flow {
    /// The most steps that a flow, and the most members that a group may have.
    pub const MAX_STEPS: usize = 64;

    /// Makes a flow of `steps`.
    ///
    /// # Errors
    /// [`InvalidFlow`] when an invariant of this module does not hold.
    pub fn new(steps: Vec<Step>) -> Result<Self, InvalidFlow> {
        if steps.len() > Self::MAX_STEPS {
            return Err(InvalidFlow::TooManySteps(steps.len()));
        }
        let mut consumes = 0;
        let mut leased = false;
        let mut lines = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            consumes += match &step.action {
                Do::Atomic(members) if members.is_empty() => return Err(InvalidFlow::EmptyGroup(index)),
                Do::Atomic(members) if members.len() > Self::MAX_STEPS => {
                    return Err(InvalidFlow::TooManyMembers(index));
                }
                Do::Atomic(members) => {
                    members.iter().filter(|member| matches!(member, Member::Consume { .. })).count()
                }
                Do::Consume { .. } => 1,
                Do::Validate { .. }
                | Do::Check { .. }
                | Do::Lease
                | Do::Write { .. }
                | Do::Audit
                | Do::Enqueue
                | Do::Launch => 0,
            };
            leased |= step.action == Do::Lease;
            if !leased && is_guarded_by_lease(&step.action) {
                return Err(InvalidFlow::GuardWithoutLease(index));
            }
            if consumes > 1 {
                return Err(InvalidFlow::SecondConsume(index));
            }
            // At most 64 steps, so that the index fits.
            lines.extend(lines_of(&step.action).into_iter().map(|line| (line, index as u8)));
        }
        if consumes == 0 {
            return Err(InvalidFlow::NoConsume);
        }
        Ok(Self { steps, lines })
    }

    /// The order that this crate ships: validate, plan, commit everything at once, and let a worker launch.
    pub fn atomic_commit() -> Self {
        Self::one_commit(false, Self::refusals_for_stacks())
    }

    /// The same order for resources: there is at most one twin in an environment, and a provisioner that may fail.
    pub fn atomic_commit_for_twins() -> Self {
        Self::one_commit(false, Self::refusals_for_twins())
    }

    /// [`atomic_commit`](Self::atomic_commit) for many who want the same approval: one after another plans, the others
    /// wait for the lease. What protects the approval is the same commit, which refuses whoever's lease was taken since.
    pub fn atomic_commit_lease() -> Self {
        Self::one_commit(true, Self::refusals_for_stacks())
    }

    /// The same order for resources.
    pub fn atomic_commit_lease_for_twins() -> Self {
        Self::one_commit(true, Self::refusals_for_twins())
    }

    fn refusals_for_stacks() -> (Vec<Refusal>, Vec<Refusal>) {
        let plan = vec![
            Refusal::FETCH_FAILED,
            Refusal::NO_SERVICES,
            Refusal::MISSING_IMAGE_REF,
            Refusal::LOOKUP_FAILED,
            Refusal::ENV_LOAD_FAILED,
            Refusal::VAULT_REF_FAILED,
        ];
        (plan, vec![Refusal::DEPLOYMENT_LIMIT_REACHED])
    }

    fn refusals_for_twins() -> (Vec<Refusal>, Vec<Refusal>) {
        let plan = vec![Refusal::LOOKUP_FAILED, Refusal::TWIN_EXISTS];
        (plan, vec![Refusal::TWIN_EXISTS, Refusal::PROVISION_FAILED])
    }

    /// `refusals` are those of the plan, and those of the target's write.
    fn one_commit(leased: bool, refusals: (Vec<Refusal>, Vec<Refusal>)) -> Self {
        let (plan, write) = refusals;
        let named = |name: &str, action| Step { name: Some(name.to_owned()), action };
        let validate = || Step::from(Do::Validate { checks: Checks::ALL });
        let mut steps = vec![validate()];
        if leased {
            // Whoever is given the lease after a winner is told so here, and plans nothing.
            steps.extend([Do::Lease.into(), validate()]);
        }
        steps.extend([
            named("plan", Do::Check { refusals: plan }),
            named(
                "commit",
                Do::Atomic(vec![
                    Member::Consume { guards: Guards { lease: leased, ..Guards::ALL } },
                    Member::Write { what: What::Target, refusals: write },
                    Member::Write { what: What::Vault, refusals: Vec::new() },
                    Member::Audit,
                    Member::Enqueue,
                ]),
            ),
        ]);
        match Self::new(steps) {
            Ok(flow) => flow,
            Err(invalid) => unreachable!("the order above has every invariant: {invalid}"),
        }
    }

    /// The steps, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The line at `cursor`, with its step; none when the flow is through.
    pub(super) fn line(&self, cursor: u8) -> Option<(&Line, &Step)> {
        let (line, step) = self.lines.get(usize::from(cursor))?;
        Some((line, &self.steps[usize::from(*step)]))
    }

    /// Whether a step takes the approval's lease.
    pub fn takes_lease(&self) -> bool {
        self.steps.iter().any(|step| step.action == Do::Lease)
    }

    /// Whether the consume is the last thing that happens: once it has, nothing is left to do but to answer.
    ///
    /// Only then is an executed approval a promotion that has succeeded, and its outcome can be given again.
    pub fn ends_with_consume(&self) -> bool {
        let consumes = |op: &Op| matches!(op, Op::Consume { .. });
        matches!(self.lines.last(), Some((Line::Commit(ops), _)) if ops.iter().any(consumes))
    }

    /// The first line of the step after that of `cursor`.
    pub(super) fn after_step(&self, cursor: u8) -> u8 {
        let cursor = usize::from(cursor);
        let same = self.lines[cursor..].iter().take_while(|(_, step)| *step == self.lines[cursor].1).count();
        // At most 64 steps of two lines each.
        (cursor + same) as u8
    }
}

/// Whether it consumes under the `lease` guard.
fn is_guarded_by_lease(action: &Do) -> bool {
    match action {
        Do::Consume { guards, .. } => guards.lease,
        Do::Atomic(members) => {
            members.iter().any(|member| matches!(member, Member::Consume { guards } if guards.lease))
        }
        Do::Validate { .. }
        | Do::Check { .. }
        | Do::Lease
        | Do::Write { .. }
        | Do::Audit
        | Do::Enqueue
        | Do::Launch => false,
    }
}

fn lines_of(action: &Do) -> Vec<Line> {
    let op = |op| Line::Commit(vec![op]);
    match action {
        Do::Validate { checks } => vec![Line::Validate(*checks)],
        Do::Check { .. } => vec![Line::Check],
        Do::Lease => vec![Line::Lease],
        Do::Write { what: What::Target, how: How::ReadThenWrite, .. } => {
            vec![Line::FindTarget, op(Op::WriteTarget { trust_look: true })]
        }
        Do::Write { what: What::Target, how: How::AtOnce, .. } => {
            vec![op(Op::WriteTarget { trust_look: false })]
        }
        Do::Write { what: What::Vault, .. } => vec![op(Op::WriteVault)],
        // The guards are judged at the look; the write trusts it.
        Do::Consume { guards, how: How::ReadThenWrite } => {
            vec![Line::ReadApproval(*guards), op(Op::Consume { guards: Guards::default() })]
        }
        Do::Consume { guards, how: How::AtOnce } => vec![op(Op::Consume { guards: *guards })],
        Do::Audit => vec![op(Op::Audit)],
        Do::Enqueue => vec![op(Op::Enqueue)],
        Do::Launch => vec![Line::Launch],
        Do::Atomic(members) => vec![Line::Commit(
            members
                .iter()
                .map(|member| match member {
                    Member::Consume { guards } => Op::Consume { guards: *guards },
                    Member::Write { what: What::Target, .. } => Op::WriteTarget { trust_look: false },
                    Member::Write { what: What::Vault, .. } => Op::WriteVault,
                    Member::Audit => Op::Audit,
                    Member::Enqueue => Op::Enqueue,
                })
                .collect(),
        )],
    }
}

#[cfg(test)]
mod tests;
