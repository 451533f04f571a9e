//! How long the model's shortest runs are, and how long they are when they are played here.

use std::{collections::BTreeMap, ops::ControlFlow, ops::RangeInclusive};

use countersign::protocol::Flow;

use crate::{
    explorer::Limits,
    model::{Action, Bounds, Model},
    properties::Property,
    verdict::{Expectations, Verdict, verify},
};

/// The model's shortest run that breaks a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortest {
    /// Its actions in the model.
    pub actions: usize,
    /// Its actions here: what is one action in one of the two can be two in the other.
    pub here: RangeInclusive<usize>,
}

impl Shortest {
    /// Of each property that the flow breaks in the model at the default bounds.
    pub fn of(flow: &Flow) -> BTreeMap<Property, Self> {
        // Whoever ends gives its lease back in the same action, which is two there.
        let given_back = if flow.takes_lease() { Bounds::default().consumers.into() } else { 0 };
        let model = Model::new(flow.clone(), Bounds::default());
        let go_on = &mut |_| ControlFlow::Continue(());
        let report = verify(&model, &Expectations::default(), Limits::default(), go_on);
        let shortest = report.judgements.iter().filter_map(|one| match &one.verdict {
            Verdict::Broken(run) => {
                // A job's deploy ends, and its worker notices: here these are two.
                let noticed = run
                    .actions
                    .iter()
                    .filter(|action| matches!(action, Action::JobDeployEnds { .. }))
                    .count();
                let actions = run.actions.len();
                Some((
                    one.property,
                    Self { actions, here: actions - given_back.min(actions)..=actions + noticed },
                ))
            }
            Verdict::Holds | Verdict::DoesNotApply | Verdict::Unknown => None,
        });
        shortest.collect()
    }
}
