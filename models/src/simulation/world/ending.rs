//! Outcomes of requests, for the coverage of a campaign.

use crate::properties::PromotionState;

/// Outcome of a request, for the coverage of a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// 200 or 202.
    Succeeded,
    /// 200 or 202 again, under the same key.
    Replayed,
    /// 409 by the approval's rules.
    Conflict,
    /// Any other refusal by the approval's rules.
    Refused,
    /// Refused by the preflight.
    PreflightRefused,
    /// CallOutcome unknown.
    Unknown,
    /// Its process died.
    Killed,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Succeeded,
        Self::Replayed,
        Self::Conflict,
        Self::Refused,
        Self::PreflightRefused,
        Self::Unknown,
        Self::Killed,
    ];

    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Replayed => "same outcome again",
            Self::Conflict => "409",
            Self::Refused => "refused otherwise",
            Self::PreflightRefused => "preflight refusal",
            Self::Unknown => "outcome unknown",
            Self::Killed => "killed",
        }
    }

    pub(in crate::simulation) fn of(stage: PromotionState, replayed: bool) -> Self {
        match stage {
            PromotionState::Succeeded if replayed => Self::Replayed,
            PromotionState::Succeeded | PromotionState::AnswerLost => Self::Succeeded,
            PromotionState::Conflict | PromotionState::PreflightConflict => Self::Conflict,
            PromotionState::PreflightRefused => Self::PreflightRefused,
            PromotionState::Unknown => Self::Unknown,
            PromotionState::Killed => Self::Killed,
            PromotionState::Refused
            | PromotionState::Gone
            | PromotionState::PreflightAbsent
            | PromotionState::PreflightInvalid
            | PromotionState::Waiting
            | PromotionState::Running => Self::Refused,
        }
    }
}
