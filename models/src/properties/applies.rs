//! The flows that each property applies to: `[object]` promises, and some promises need a step to be about.

use countersign::protocol::{FailedAttempt, Flow, Member, Method, Retry, StepAction, Via, WriteTarget};

use super::Property;

impl Property {
    /// True if the property applies to `flow`. Otherwise it is neither held nor violated, and needs no expectation.
    pub fn applies(self, flow: &Flow) -> bool {
        let object = flow.object();
        let acts = flow.acts().count() > 0;
        match self {
            Self::S2 | Self::S3 | Self::S14 | Self::S16 | Self::L4 => true,
            // A final status that nothing reaches is never left.
            Self::S9 => object.approvers > 0 || object.revocable || flow.consume().is_some(),
            Self::S1 => object.failed_attempt == FailedAttempt::Keep,
            // Without a preflight nothing is refused by it.
            Self::L3 => object.failed_attempt == FailedAttempt::Keep && has_preflight(flow),
            Self::S4 | Self::S10 | Self::S18 => object.approvers > 0,
            Self::S5 => object.expires,
            Self::S6 => object.bound,
            Self::S7 => acts || writes(flow, |_| true),
            Self::S8 => object.audited,
            Self::S11 => writes(flow, |what| what == WriteTarget::Target),
            Self::S12 => object.owner,
            Self::S13 => flow.endpoint().retry != Retry::None,
            Self::S15 => {
                flow.endpoint().method == Method::Get
                    || (object.approvers > 0 && flow.decision().method == Method::Get)
            }
            Self::S17 => acts,
            Self::S19 => object.separate && object.approvers > 0,
            Self::S20 => object.revocable,
            Self::S21 => object.failed_attempt == FailedAttempt::Burn,
            Self::S22 => object.target_bound,
            // Deploys that a request starts in its own process have no order.
            Self::S23 => writes_target(flow) && flow.acts().any(|(_, act)| act.via == Via::Outbox),
            Self::L1 => acts && flow.consume().is_some(),
            Self::L2 => writes(flow, |what| what == WriteTarget::Target) && starts_deploys(flow),
        }
    }
}

/// True if a step can refuse as preflight.
fn has_preflight(flow: &Flow) -> bool {
    flow.steps().iter().any(|step| step.is_preflight() || step.refusals().next().is_some())
}

fn writes(flow: &Flow, wanted: impl Fn(WriteTarget) -> bool) -> bool {
    flow.steps().iter().any(|step| match &step.action {
        StepAction::Write(write) => wanted(write.what),
        StepAction::Atomic(members) => {
            members.iter().any(|member| matches!(member, Member::Write(write) if wanted(write.what)))
        }
        _ => false,
    })
}

/// True if an act starts deploys: only those via memory and the outbox do.
pub(crate) fn starts_deploys(flow: &Flow) -> bool {
    flow.acts().any(|(_, act)| matches!(act.via, Via::Memory | Via::Outbox))
}

/// True if a step writes the target.
pub(crate) fn writes_target(flow: &Flow) -> bool {
    writes(flow, |what| what == WriteTarget::Target)
}

/// True if a step writes anything.
pub(crate) fn writes_anything(flow: &Flow) -> bool {
    writes(flow, |_| true)
}
