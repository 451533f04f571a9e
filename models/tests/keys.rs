//! The orders that the library ships, for requests under a key: they keep every promise, S13 among them, and only with
//! each of the steps that answer a repeated request.

use std::ops::ControlFlow;

use countersign::protocol::{Flow, Member, Step, StepAction};
use countersign_models::{
    explorer::Limits,
    flows::{BuiltIn, KEYED},
    model::{Bounds, Model},
    properties::Property,
    prove::{self, AnyNumber, prove},
    verdict::{Expectations, Report, Verdict, verify},
};
use stateright::{Checker, Model as _};

/// With two attempts for a caller, two callers have millions of states.
const ONE_CALLER: Bounds = Bounds { consumers: 1, crashes: 1, faults: 1 };

/// Unique states and edges with one caller. A change of the model changes them, and has to say so here.
const COUNTS: [(&str, usize, usize); 2] =
    [("atomic-commit-keyed", 35_840, 147_879), ("atomic-commit-lease-keyed", 81_204, 408_322)];

fn keyed(name: &str) -> Flow {
    BuiltIn::find(name).expect("a built-in flow").subject().flow
}

fn judged(flow: Flow) -> Report {
    let model = Model::new(flow, ONE_CALLER);
    verify(&model, &Expectations::default(), Limits::default(), &mut |_| ControlFlow::Continue(()))
}

#[test]
fn the_shipped_orders_keep_every_promise_and_repeat_the_outcome() {
    assert_eq!(
        COUNTS.map(|(name, ..)| name).as_slice(),
        KEYED.iter().map(|flow| flow.name).collect::<Vec<_>>()
    );
    for (name, states, edges) in COUNTS {
        let report = judged(keyed(name));
        assert_eq!((report.states, report.edges, report.cut_off), (states, edges, None), "{name}");
        for one in &report.judgements {
            let holds = matches!(one.verdict, Verdict::Holds | Verdict::DoesNotApply);
            assert!(holds, "{name} {}: {:?}", one.property, one.verdict);
            // S3 needs a loser.
            let is_exercised = one.exercised || one.verdict == Verdict::DoesNotApply;
            assert_eq!(is_exercised, one.property != Property::S3, "{name} {}", one.property);
        }
        assert_eq!(report.of(Property::S13).verdict, Verdict::Holds, "{name}");
        for threads in [1, 2] {
            let checker = Model::new(keyed(name), ONE_CALLER).checker().threads(threads).spawn_bfs().join();
            assert_eq!(checker.unique_state_count(), states, "{name}, stateright's, {threads} threads");
        }
    }
}

#[test]
fn the_shipped_order_is_proved_for_any_number_of_callers() {
    let flow = keyed("atomic-commit-keyed");
    let all = Property::MODELLED.iter().fold(0, |set, one| set | one.bit());
    let proof = prove(&flow, all, prove::Limits::default(), &mut |_| ControlFlow::Continue(()));
    for property in Property::MODELLED.iter().filter(|property| property.applies(&flow)) {
        assert_eq!(proof.of(*property), AnyNumber::Proved, "{property}");
    }
}

/// The shipped order with other steps.
fn changed(change: impl FnOnce(&mut Vec<Step>)) -> Flow {
    let flow = keyed("atomic-commit-keyed");
    let mut steps = flow.steps().to_vec();
    change(&mut steps);
    Flow::new(flow.object().clone(), flow.decision(), flow.endpoint(), steps).expect("a flow")
}

fn forget(steps: &mut [Step]) {
    for step in steps {
        if let StepAction::Atomic(members) = &mut step.action {
            members.retain(|member| *member != Member::Remember);
        }
    }
}

#[test]
fn an_outcome_that_is_not_stored_with_the_use_breaks_s13() {
    let never = changed(|steps| forget(steps));
    let later = changed(|steps| {
        forget(steps);
        steps.push(StepAction::Remember.into());
    });
    let unread = changed(|steps| steps.retain(|step| !matches!(step.action, StepAction::Recall { .. })));
    for (flow, what) in [(never, "never stored"), (later, "stored after the commit"), (unread, "never read")]
    {
        let verdict = judged(flow).of(Property::S13).verdict.clone();
        assert!(matches!(verdict, Verdict::Violated(_)), "{what}: {verdict:?}");
    }
}
