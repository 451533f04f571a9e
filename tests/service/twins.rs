//! The order that is shipped for twins keeps what the one for stacks keeps.

use std::ops::ControlFlow;

use countersign::protocol::{Flow, Member, Refusal, StepAction, Write};
use countersign_models::{
    explorer::Limits,
    model::{Bounds, Model},
    properties::Property,
    verdict::{Expectations, Verdict, verify},
};

#[test]
fn the_order_for_twins_keeps_every_property() {
    let bounds = Bounds { consumers: 2, crashes: 1, faults: 1 };
    for flow in [Flow::atomic_commit_for_twins(), Flow::atomic_commit_lease_for_twins()] {
        let model = Model::new(flow, bounds);
        let report =
            verify(&model, &Expectations::default(), Limits::default(), &mut |_| ControlFlow::Continue(()));
        for property in Property::MODELLED {
            // Promises that no approval makes (a retry under a key, a quorum, …) do not apply.
            let verdict = &report.of(*property).verdict;
            assert!(matches!(verdict, Verdict::Holds | Verdict::DoesNotApply), "{property}: {verdict:?}");
        }
    }
}

#[test]
fn concurrent_looks_create_at_most_one_twin() {
    // The commit judges it, not only the plan before.
    let flow = Flow::atomic_commit_for_twins();
    let in_commit = flow.steps().iter().any(|step| match &step.action {
        StepAction::Atomic(members) => members.iter().any(|member| match member {
            Member::Write(Write { refusals, .. }) => refusals.contains(&Refusal::TWIN_EXISTS),
            Member::Consume(_) | Member::Audit | Member::Act(_) | Member::Remember => false,
        }),
        _ => false,
    });
    assert!(in_commit && flow.recalls());
}
