//! Conformance: a run in the model's own world takes only steps that are edges of the model's graph.
//!
//! The model goes along as a shadow. Each action of the real thing has to be possible in it, and afterwards all that
//! the properties look at has to be the same on both sides.

use std::fmt;

use countersign::protocol::Flow;

use super::{Action, Simulation, Taken};
use crate::{
    model::{self, Bounds, Model},
    properties::Facts,
    world::{Lease, State},
};

/// The real thing took a step that is no edge of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The action.
    pub action: Action,
    /// The facts that the model predicts, or that the action is impossible.
    pub expected: String,
    /// The actual facts.
    pub found: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, expected, found } = self;
        write!(f, "{action:?} is no edge of the model\nexpected {expected}\nfound {found}")
    }
}

/// The flow's models, for each number of consumers that a schedule may have.
pub(super) struct Shadows([Model; 3]);

impl Shadows {
    pub(super) fn new(flow: &Flow) -> Self {
        let budget = Bounds::MAX_BUDGET;
        Self([1, 2, 3].map(|consumers| {
            Model::of_callers(flow.clone(), Bounds { consumers, crashes: budget, faults: budget })
        }))
    }

    pub(super) fn of(&self, consumers: usize) -> Shadow<'_> {
        Shadow::of(&self.0[consumers - 1])
    }
}

/// The model, in the state that the real thing should be in.
pub(super) struct Shadow<'m> {
    model: &'m Model,
    state: State,
}

impl<'m> Shadow<'m> {
    pub(super) fn of(model: &'m Model) -> Self {
        Self { model, state: model.initial() }
    }

    /// True if the lease is held, in the model.
    pub(super) fn is_leased(&self) -> bool {
        self.state.world.lease != Lease::Free
    }

    /// Goes along.
    ///
    /// # Errors
    /// [`Divergence`] when it cannot.
    pub(super) fn follow(&mut self, taken: &Taken, simulation: &Simulation) -> Result<(), Box<Divergence>> {
        let diverged = |expected: String, found: String| {
            Err(Box::new(Divergence { action: taken.action, expected, found }))
        };
        if let Some(action) = taken.modelled {
            match stateright::Model::next_state(self.model, &self.state, action) {
                Some(next) => self.state = next,
                None => {
                    let found = format!("{:?}", simulation.facts(0));
                    return diverged(format!("no {action:?} in {:?}", self.state), found);
                }
            }
        }
        // A lease that was given back, or has run out meanwhile.
        let ended = self.state.world.lease != Lease::Free && !simulation.is_leased(0);
        if ended
            && let Some(next) =
                stateright::Model::next_state(self.model, &self.state, model::Action::LeaseEnds)
        {
            self.state = next;
        }
        let found = simulation.facts(0);
        self.model.with_facts(&self.state, |expected| {
            let same = comparable(expected) == comparable(&found);
            if same { Ok(()) } else { diverged(format!("{expected:?}"), format!("{found:?}")) }
        })
    }
}

/// The comparable part of both: counts up to two, and the kinds of refusal as long as the model keeps them.
fn comparable(facts: &Facts<'_>) -> String {
    let Facts { executions, decisions, executed_events, targets_created, launches, promotions, .. } = *facts;
    let counts =
        [executions, decisions, executed_events, targets_created, launches].map(|count| count.min(2));
    let promotions: Vec<_> = promotions
        .iter()
        .map(|one| {
            let stage = if facts.clean { one.stage } else { one.stage.merged() };
            (
                stage,
                one.foreign,
                one.began_on_approved,
                one.consumed,
                one.wrote,
                one.at_consume,
                one.at_contended_write,
            )
        })
        .collect();
    let flags = (facts.status, facts.window_passed, facts.drifted, facts.vault_written, facts.building);
    let found = (facts.executed_unapproved, facts.executed_late, facts.final_left, facts.launched_other);
    format!(
        "{counts:?} {flags:?} {found:?} {} {} {} {promotions:?}",
        facts.launched_unexecuted, facts.under_way, facts.clean
    )
}

/// The actions that correspond to an action of the model.
pub(super) fn played(action: model::Action) -> Vec<Action> {
    use super::CallOutcome;
    let worker = Action::Worker { instance: 0, outcome: CallOutcome::Happens };
    match action {
        model::Action::Approve(_) => vec![Action::Approve { approval: 0 }],
        model::Action::Expire => vec![Action::Expire { approval: 0 }],
        model::Action::Reject => vec![Action::Reject { approval: 0 }],
        model::Action::ClockPasses => vec![Action::ClockPasses { approval: 0 }],
        model::Action::SourceChanges => vec![Action::SourceChanges { approval: 0 }],
        model::Action::Promotion { consumer, outcome } => {
            let outcome = match outcome {
                model::StepOutcome::Happens => CallOutcome::Happens,
                model::StepOutcome::Refuses => CallOutcome::Refuses,
                model::StepOutcome::Fails => CallOutcome::FailedBefore,
                model::StepOutcome::LosesAnswer => CallOutcome::AnswerLost,
            };
            vec![Action::Promotion { client: consumer, duplicate: false, outcome }]
        }
        // After a crash it has to run out before it can be leased again.
        model::Action::Lease { .. } => vec![Action::LeasesRunOut, worker],
        model::Action::LaunchJob { .. } => vec![worker],
        model::Action::JobDeployEnds { .. } => {
            vec![Action::DeployEnds { approval: 0, failed: false }, worker]
        }
        model::Action::DeployEnds { consumer, .. } => {
            vec![Action::ProcessDeployEnds { client: consumer, failed: false }]
        }
        model::Action::LeaseEnds => vec![Action::LeasesRunOut],
        // The platform has none of these.
        model::Action::Revoke | model::Action::TargetChanges | model::Action::MarkerEnds { .. } => Vec::new(),
        model::Action::Crash => vec![Action::Crash { instance: 0 }],
    }
}
