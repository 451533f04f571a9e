//! The order that is shipped for twins keeps what the one for stacks keeps.

use std::ops::ControlFlow;

use countersign::protocol::{Flow, Member, Refusal, StepAction, Write};
use countersign_models::{
    model::{Bounds, Model},
    properties::Property,
    prove::{AnyNumber, Limits, prove},
};

#[test]
fn the_order_for_twins_keeps_every_property_for_any_number_of_callers() {
    for flow in [Flow::atomic_commit_for_twins(), Flow::atomic_commit_lease_for_twins()] {
        let model = Model::new(flow.clone(), Bounds::default());
        // Promises that no approval makes (a retry under a key, a quorum, …) do not apply.
        let promised: Vec<Property> =
            Property::MODELLED.iter().copied().filter(|property| model.applies(*property)).collect();
        let wanted = promised.iter().fold(0, |set, property| set | property.bit());
        let proof = prove(&flow, wanted, Limits::default(), &mut |_| ControlFlow::Continue(()));
        for property in promised {
            assert!(matches!(proof.of(property), AnyNumber::Proved), "{property}: {:?}", proof.of(property));
        }
        assert_eq!(wanted.count_ones(), 19);
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
