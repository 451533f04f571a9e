//! The built-in flows, and the loading of flow files.

mod cases;

use countersign::{
    flow_file::{self, Problem},
    protocol::{Endpoint, Flow, Lease, Member, Retry, Step, StepAction},
};

pub use self::cases::{CASES, Case};
use crate::{properties::Property, verdict::Expectations};

/// A flow that comes with the crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// Its file.
    pub source: &'static str,
}

macro_rules! built_in {
    ($($name:literal),+ $(,)?) => {
        &[$(BuiltIn { name: $name, source: include_str!(concat!("../flows/", $name, ".toml")) }),+]
    };
}

/// The order that the library ships, for requests under a key.
pub const SHIPPED: &str = "atomic-commit-keyed";

/// The orders that the library ships, with the steps that answer a repeated request. With two attempts for each caller a
/// search at the default bounds is too long: they are searched with one caller. Both are proved for any number of callers.
pub const KEYED: &[BuiltIn] = built_in!["atomic-commit-keyed", "atomic-commit-lease-keyed"];

/// The orders of a deployment gate, then other kinds of single-use action. The flows of real bugs are in [`CASES`].
pub const BUILT_IN: &[BuiltIn] = built_in![
    "consume-first",
    "twin-consume-first",
    "consume-last",
    "atomic-commit",
    "atomic-commit-lease",
    "lease-unfenced",
    "coupon-redeem",
    "magic-link",
    "oauth-code",
    "payment-confirm",
];

/// Topic of a built-in flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// An order of a deployment gate's steps.
    Gate,
    /// Another kind of single-use action.
    OtherAction,
    /// A public bug report, or its fix.
    RealBug,
}

/// Number of orders of a deployment gate in [`BUILT_IN`].
const GATE_ORDERS: usize = 6;

/// Content of a flow file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// In one sentence.
    pub about: Option<String>,
    /// False if the file has no `[object]`: then every promise is the default.
    pub has_object: bool,
    /// The promises and the order of the steps.
    pub flow: Flow,
    /// The verdicts that its author expects.
    pub expectations: Expectations,
}

impl Subject {
    /// Reads a flow file.
    ///
    /// # Errors
    /// [`Problem`] with position and cause.
    pub fn read(file: &[u8]) -> Result<Self, Problem> {
        Self::read_in_full(file).map_err(|mut problems| problems.swap_remove(0))
    }

    /// As [`read`](Self::read), with every problem that does not follow from another.
    ///
    /// # Errors
    /// The problems, at least one.
    pub fn read_in_full(file: &[u8]) -> Result<Self, Vec<Problem>> {
        let file = flow_file::parse_in_full(file, Property::IDS)?;
        let properties = |ids: &[String]| ids.iter().filter_map(|id| Property::from_id(id)).collect();
        let expectations = Expectations {
            broken: properties(&file.expect_broken),
            broken_in_simulation: properties(&file.expect_broken_in_simulation),
            vacuous: properties(&file.expect_vacuous),
        };
        Ok(Self { about: file.about, has_object: file.has_object, flow: file.flow, expectations })
    }
}

impl BuiltIn {
    /// Every built-in flow that a search at the default bounds finishes: [`BUILT_IN`], then those of [`CASES`].
    pub fn every() -> impl Iterator<Item = Self> {
        BUILT_IN.iter().chain(CASES.iter().flat_map(|case| case.flows)).copied()
    }

    /// The flow of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::every().chain(KEYED.iter().copied()).find(|flow| flow.name == name)
    }

    /// Topic of the flow.
    pub fn group(self) -> Group {
        match BUILT_IN.iter().position(|flow| *flow == self) {
            Some(0..GATE_ORDERS) => Group::Gate,
            Some(_) => Group::OtherAction,
            None if KEYED.contains(&self) => Group::Gate,
            None => Group::RealBug,
        }
    }

    /// The contents of its file.
    pub fn subject(self) -> Subject {
        Subject::read(self.source.as_bytes())
            .unwrap_or_else(|problem| unreachable!("the file of {} is tested: {problem}", self.name))
    }
}

/// The flow without its steps for keys and without retries: each caller makes one attempt. `None` if nothing else is left.
pub fn without_keys(flow: &Flow) -> Option<Flow> {
    let is_kept = |step: &Step| match &step.action {
        StepAction::Recall { .. } | StepAction::Remember => false,
        StepAction::Atomic(members) => members.iter().any(|member| *member != Member::Remember),
        _ => true,
    };
    let steps = flow.steps();
    // The index of the first kept step from `until` on.
    let moved = |until: usize| steps[..until].iter().filter(|step| is_kept(step)).count();
    let mut kept: Vec<Step> = steps.iter().filter(|step| is_kept(step)).cloned().collect();
    let last = kept.len().checked_sub(1)?;
    for step in &mut kept {
        match &mut step.action {
            StepAction::Atomic(members) => members.retain(|member| *member != Member::Remember),
            StepAction::Lease(Lease { until: Some(until), .. }) => *until = moved(*until).min(last),
            _ => {}
        }
    }
    let endpoint = Endpoint { retry: Retry::None, ..flow.endpoint() };
    Flow::new(flow.object().clone(), flow.decision(), endpoint, kept).ok()
}
