//! The properties that the oracle judges, sets of them, and where each applies.

use crate::flow::{Action, Flow, Retry, Step};

macro_rules! properties {
    ($($name:ident),*) => {
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub(crate) enum Property { $($name),* }

        impl Property {
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            pub(crate) fn id(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }
        }
    };
}

// S14, S16 and S23 are about worker leases, tokens and several approvals, which the world of the model does not have.
properties!(
    S1, S2, S3, S4, S5, S6, S7, S8, S9, S10, S11, S12, S13, S15, S17, S18, S19, S20, S21, S22, L1, L2, L3, L4
);

/// A set of properties: those that something violates.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Broken(u32);

impl Broken {
    pub(crate) fn add(&mut self, property: Property) {
        self.0 |= 1 << property as u32;
    }

    pub(crate) fn add_if(&mut self, condition: bool, property: Property) {
        if condition {
            self.add(property);
        }
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) fn has(self, property: Property) -> bool {
        self.0 & 1 << property as u32 != 0
    }
}

/// The column "off when" of `[object]`, and the paragraph under it.
pub(crate) fn applies(flow: &Flow, property: Property) -> bool {
    use Property::*;
    let object = &flow.object;
    match property {
        S2 | S3 | L4 => true,
        // Chosen on both sides: a final status that nothing reaches is never left, …
        S9 => object.approvers > 0 || object.revocable || has_consume(flow),
        S4 | S10 | S18 => object.approvers > 0,
        S19 => object.separate,
        S5 => object.expires,
        S20 => object.revocable,
        S6 => object.bound,
        S22 => object.target_bound,
        S12 => object.owner,
        S8 => object.audited,
        S1 => !object.burns(),
        // … and without a preflight nothing is refused by it.
        L3 => !object.burns() && flow.steps.iter().any(may_be_preflight),
        S21 => object.burns(),
        S7 => flow.writes() || !flow.acts.is_empty(),
        S11 => flow.writes_target(),
        L2 => flow.writes_target() && flow.deploys(),
        S13 => flow.retry != Retry::None,
        S15 => flow.get || flow.decision.get,
        // "without acts: S17 and L1 do not apply". Nor is L1 about anything where nothing uses the object.
        S17 => !flow.acts.is_empty(),
        L1 => !flow.acts.is_empty() && has_consume(flow),
    }
}

fn has_consume(flow: &Flow) -> bool {
    let consumes = |step: &Step| matches!(step.action, Action::Consume(_));
    flow.steps.iter().any(|step| match &step.action {
        Action::Group(members) => members.iter().any(consumes),
        _ => consumes(step),
    })
}

/// True if a refusal of this step may be preflight: any of some steps, and any step's own.
fn may_be_preflight(step: &Step) -> bool {
    match &step.action {
        Action::Validate { .. } | Action::Check | Action::Write(_) => true,
        Action::Group(members) => members.iter().any(|member| member.refuses),
        _ => step.refuses,
    }
}
