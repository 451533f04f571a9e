//! The kinds of move, which a seed weighs and a report counts.

use std::ops::ControlFlow;

use crate::{
    explorer::{Explorable as _, Limits, explore},
    model::{Action, Bounds, Model, Press, Role, StepOutcome},
    properties::PromotionState,
    world::State,
};

macro_rules! kinds {
    ($($kind:ident $name:literal;)+) => {
        /// A kind of move.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Kind { $($kind),+ }

        impl Kind {
            pub(super) const ALL: &[Self] = &[$(Self::$kind),+];

            /// Name in reports.
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),+ }
            }
        }
    };
}

kinds! {
    Request "request";
    OtherPayload "request for another payload";
    Retry "request sent again";
    Stranger "request of a stranger";
    Scanner "request of a scanner";
    Step "next step";
    OwnRefusal "own refusal";
    FailedBefore "failed before";
    AnswerLost "answer lost";
    Crash "crash";
    Approval "approval";
    SecondApproval "approval repeated";
    OwnApproval "approval by the requester";
    ScannedApproval "approval by a scanner";
    Expiry "expiry";
    Rejection "rejection";
    Revocation "revocation";
    WindowPasses "end of the window";
    SourceChanges "changed source";
    TargetChanges "changed target";
    LeaseEnds "end of a lease";
    MarkerEnds "end of a marker";
    Worker "step of the worker";
    DeployEnds "end of a deploy";
}

impl Kind {
    pub(super) fn of(model: &Model, state: &State, action: Action) -> Self {
        match action {
            Action::Promotion { consumer, outcome } => match outcome {
                StepOutcome::Refuses => Self::OwnRefusal,
                StepOutcome::Fails => Self::FailedBefore,
                StepOutcome::LosesAnswer => Self::AnswerLost,
                StepOutcome::Happens
                    if state.attempts[usize::from(consumer)].stage != PromotionState::Waiting =>
                {
                    Self::Step
                }
                StepOutcome::Happens => {
                    let one = model.cast()[usize::from(consumer)];
                    match one.role {
                        _ if one.retry_of.is_some() => Self::Retry,
                        Role::Caller { foreign: false, .. } => Self::Request,
                        Role::Caller { foreign: true, .. } => Self::OtherPayload,
                        Role::OtherTenant => Self::Stranger,
                        Role::Scanner => Self::Scanner,
                    }
                }
            },
            Action::Crash => Self::Crash,
            Action::Approve(Press::Another) => Self::Approval,
            Action::Approve(Press::Again) => Self::SecondApproval,
            Action::Approve(Press::Requester) => Self::OwnApproval,
            Action::Approve(Press::Scanner) => Self::ScannedApproval,
            Action::Expire => Self::Expiry,
            Action::Reject => Self::Rejection,
            Action::Revoke => Self::Revocation,
            Action::ClockPasses => Self::WindowPasses,
            Action::SourceChanges => Self::SourceChanges,
            Action::TargetChanges => Self::TargetChanges,
            Action::LeaseEnds => Self::LeaseEnds,
            Action::MarkerEnds { .. } => Self::MarkerEnds,
            Action::Lease { .. } | Action::LaunchJob { .. } => Self::Worker,
            Action::JobDeployEnds { .. } | Action::DeployEnds { .. } => Self::DeployEnds,
        }
    }

    /// The kinds that this flow has: those of the moves of one caller, and the one that takes two callers. Empty for a
    /// flow that is too large to be explored.
    pub(super) fn possible(model: &Model) -> Vec<Self> {
        /// More states than one caller makes in any built-in flow.
        const MAX_STATES: usize = 50_000;
        let bounds = Bounds { consumers: 1, crashes: 1, faults: 1 };
        if !Model::fits(model.flow(), bounds) {
            return Vec::new();
        }
        let alone = Model::new(model.flow().clone(), bounds);
        let limits = Limits { max_states: MAX_STATES, ..Limits::default() };
        let explored = explore(&alone, limits, &mut |_| ControlFlow::Continue(()));
        let mut possible = [false; Self::ALL.len()];
        possible[Self::OtherPayload as usize] = model.flow().object().bound;
        for id in explored.ids() {
            let state = alone.unpack(explored.packed(id));
            for (_, action) in alone.moves(&state) {
                possible[Self::of(&alone, &state, action) as usize] = true;
            }
        }
        Self::ALL.iter().copied().filter(|kind| possible[*kind as usize]).collect()
    }
}
