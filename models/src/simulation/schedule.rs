//! A schedule: a scenario and the actions that are taken in it, drawn from a seed or played from a list.

use std::sync::Arc;

use countersign::protocol::Flow;

use super::{
    Action, CallOutcome, Fault, Found, Mutant, Scenario, Simulation, Swarm, Taken, faults::JUMP_MS,
    swarm::Size, world::Ending,
};
use crate::simulation::conformance::{Divergence, Shadow, Shadows};

/// A scenario, and its actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The participants.
    pub scenario: Scenario,
    /// The actions in order. Those that are impossible at their turn are left out.
    pub actions: Vec<Action>,
}

/// Result of playing a schedule.
#[derive(Clone, Debug)]
pub struct Played {
    /// Findings, liveness included.
    pub found: Found,
    /// Properties violated when the liveness phase began, or pending then and never reached.
    pub by_then: u32,
    /// The actions taken, without the liveness phase.
    pub taken: Vec<Action>,
}

/// Plays the actions in their order, and then heals.
pub fn play(flow: &Arc<Flow>, schedule: &Schedule, mutant: Option<Mutant>) -> Played {
    let mut simulation = begin(flow, &schedule.scenario, mutant, &schedule.actions);
    let taken = schedule.actions.iter().filter_map(|action| Some(simulation.take(*action)?.action)).collect();
    let before = simulation.found().broken;
    simulation.liveness_phase();
    let found = simulation.found();
    Played { found, by_then: before | (found.broken & simulation.owed()), taken }
}

/// The scenario at its start, ready for these actions.
pub(super) fn begin(
    flow: &Arc<Flow>,
    scenario: &Scenario,
    mutant: Option<Mutant>,
    actions: &[Action],
) -> Simulation {
    let simulation = Simulation::new(Arc::clone(flow), scenario, mutant);
    let stale = |action: &Action| matches!(action, Action::Promotion { outcome: CallOutcome::StaleRead, .. });
    if actions.iter().any(stale) { simulation.with_stale_reads() } else { simulation }
}

/// Result of one seed.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    pub(super) scenario: Scenario,
    pub(super) size: Size,
    pub(super) taken: Vec<Taken>,
    /// The actions of the liveness phase.
    pub(super) liveness_actions: Vec<Action>,
    pub(super) found: Found,
    pub(super) endings: [u32; Ending::ALL.len()],
    pub(super) divergence: Option<Box<Divergence>>,
}

/// Draws a schedule from the seed while it is played, heals, and judges.
pub(super) fn draw(
    flow: &Arc<Flow>,
    mutant: Option<Mutant>,
    seed: u64,
    shadows: &Shadows,
    watch: &mut dyn FnMut(&Taken, &Simulation),
) -> Drawn {
    let mut swarm = Swarm::of(seed);
    let mut simulation = Simulation::new(Arc::clone(flow), &swarm.scenario, mutant);
    let mut scratch = Vec::with_capacity(32);
    if swarm.has(Fault::StaleRead) {
        simulation = simulation.with_stale_reads();
    }
    let mut shadow = (swarm.size == Size::Modelled).then(|| shadows.shadow(swarm.scenario.clients.len()));
    let mut divergence = None;
    let mut taken = Vec::with_capacity(32);
    let (mut faults, mut crashes) = (0, 0);
    // An impossible action costs a draw too, so that the loop terminates.
    for _ in 0..2 * swarm.actions {
        if taken.len() as u32 >= swarm.actions {
            break;
        }
        let may_fault = faults < swarm.most_faults;
        let may_crash = may_fault && crashes < swarm.most_crashes;
        let Some(action) = next(&mut swarm, &simulation, &mut scratch, may_fault, may_crash) else { break };
        let Some(done) = simulation.take(action) else { continue };
        faults += u32::from(done.fault.is_some_and(is_budgeted));
        crashes += u32::from(done.fault == Some(Fault::Crash));
        watch(&done, &simulation);
        taken.push(done);
        if let (Some(shadow), None) = (&mut shadow, &divergence) {
            divergence = shadow.follow(&done, &simulation).err();
        }
    }
    simulation.liveness_phase();
    Drawn {
        scenario: swarm.scenario,
        size: swarm.size,
        taken,
        liveness_actions: simulation.liveness_actions().to_vec(),
        found: simulation.found(),
        endings: simulation.endings(),
        divergence,
    }
}

/// Kinds that are not drawn separately are free.
fn is_budgeted(fault: Fault) -> bool {
    !matches!(fault, Fault::Skew | Fault::PausedWorker | Fault::FailedDeploy | Fault::SlowDeploy)
}

fn next(
    swarm: &mut Swarm,
    simulation: &Simulation,
    scratch: &mut Vec<Action>,
    may_fault: bool,
    may_crash: bool,
) -> Option<Action> {
    simulation.ordinary(scratch);
    // Without pending actions the schedule may be over.
    if scratch.is_empty() && !simulation.leases_are_held() && swarm.dice.one_in(2) {
        return None;
    }
    let is_rare = swarm.dice.one_in(swarm.rare_odds) || scratch.is_empty();
    if is_rare && may_fault && swarm.has(Fault::ClockJump) && swarm.dice.one_in(16) {
        return Some(Action::ClockJumps { ms: i64::from(swarm.dice.below(JUMP_MS as u32 * 2)) - JUMP_MS });
    }
    if is_rare {
        simulation.rare(scratch);
        scratch.retain(|action| match action {
            Action::Crash { .. } => may_crash && swarm.has(Fault::Crash),
            Action::Duplicate { .. } => may_fault && swarm.has(Fault::DuplicatedRequest),
            Action::Retry { .. } => may_fault && swarm.has(Fault::RetriedRequest),
            _ => true,
        });
        return swarm.dice.pick(scratch);
    }
    let action = swarm.dice.pick(scratch)?;
    Some(match action {
        Action::Promotion { client, duplicate, .. } => {
            Action::Promotion { client, duplicate, outcome: outcome(swarm, may_fault) }
        }
        Action::Worker { instance, .. } => {
            Action::Worker { instance, outcome: worker_outcome(swarm, may_fault) }
        }
        Action::DeployEnds { approval, .. } => Action::DeployEnds { approval, failed: fails(swarm) },
        Action::ProcessDeployEnds { client, .. } => {
            Action::ProcessDeployEnds { client, failed: fails(swarm) }
        }
        other => other,
    })
}

fn fails(swarm: &mut Swarm) -> bool {
    swarm.has(Fault::FailedDeploy) && swarm.dice.one_in(swarm.failed_deploy_odds)
}

fn outcome(swarm: &mut Swarm, may_fault: bool) -> CallOutcome {
    if may_fault && !swarm.outcomes.is_empty() && swarm.dice.one_in(swarm.fault_odds) {
        return swarm.dice.pick(&swarm.outcomes).unwrap_or_default();
    }
    if swarm.dice.one_in(swarm.refusal_odds) { CallOutcome::Refuses } else { CallOutcome::Happens }
}

/// In the model a worker's effects have no faults.
fn worker_outcome(swarm: &mut Swarm, may_fault: bool) -> CallOutcome {
    if swarm.size == Size::Modelled {
        return CallOutcome::Happens;
    }
    match outcome(swarm, may_fault) {
        CallOutcome::Refuses | CallOutcome::StaleRead => CallOutcome::Happens,
        other => other,
    }
}

impl Shadows {
    fn shadow(&self, consumers: usize) -> Shadow<'_> {
        self.of(consumers)
    }
}
