//! Remarks on a flow file before it is judged: steps that compare what `[object]` does not promise.

use countersign::protocol::{Flow, Member, Step, StepAction};
use countersign_models::{
    properties::Property,
    verdict::{Judgement, Verdict},
};

use crate::judge::Judged;

/// Steps that compare or write something that is not promised, so that no property is about it.
pub(crate) fn unpromised(flow: &Flow) -> Vec<String> {
    let object = flow.object();
    let mut remarks = Vec::new();
    let mut remark = |step: &Step, does: &str, key: &str, property: Property| {
        remarks.push(format!(
            "step `{step}` {does}, and `[object]` has `{key} = false`: {property} is not judged"
        ));
    };
    for step in flow.steps() {
        if let StepAction::Validate { checks, .. } = &step.action {
            if checks.owner && !object.owner {
                remark(step, "checks `owner`", "owner", Property::S12);
            }
            if checks.expiry && !object.expires {
                remark(step, "checks `expiry`", "expires", Property::S5);
            }
        }
        if step.consume().is_some_and(|consume| consume.guards.expiry) && !object.expires {
            remark(step, "compares `expiry`", "expires", Property::S5);
        }
        if !object.audited && (step.action == StepAction::Audit || step.members().contains(&Member::Audit)) {
            remark(step, "audits", "audited", Property::S8);
        }
    }
    if object.approvers > 0 && flow.decision().guards.not_requester && !object.separate {
        remarks.push(format!(
            "the decision compares `not_requester`, and `[object]` has `separate = false`: {} is not judged",
            Property::S19
        ));
    }
    remarks
}

/// A line for a file without `[object]` that violates a promise which is only made by default.
pub(crate) fn by_default(judged: &Judged, told: &[&Judgement]) -> Option<String> {
    const BY_DEFAULT: &[(&str, &[Property])] = &[
        ("an approver", &[Property::S4, Property::S10, Property::S18]),
        ("an expiry", &[Property::S5]),
        ("a bound payload", &[Property::S6]),
        ("an event for each use", &[Property::S8]),
        ("an owner", &[Property::S12]),
    ];
    let is_violated = |property: &Property| {
        told.iter().any(|one| one.property == *property && matches!(one.verdict, Verdict::Violated(_)))
    };
    let matters = BY_DEFAULT.iter().any(|(_, properties)| properties.iter().any(is_violated));
    (!judged.has_object && matters).then(|| {
        let each = BY_DEFAULT.iter().map(|(promise, properties)| {
            let ids: Vec<&str> = properties.iter().map(|one| one.id()).collect();
            format!("{promise} ({})", ids.join(" "))
        });
        format!("no `[object]`: promised by default: {}", each.collect::<Vec<_>>().join(", "))
    })
}
