//! Everything that the simulator must find: known-bad orders, broken platforms, and the model checker's controls.

use std::{fmt, sync::Arc};

use countersign::service::supports;

use super::{Campaign, Mutant};
use crate::{
    controls::{BEYOND_THE_MODEL, CONTROLS},
    flows::{BUILT_IN, BuiltIn, SHIPPED, Subject},
    properties::Property,
    simulation::walk,
};

/// The defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// A built-in flow's order.
    Flow,
    /// The platform, under the order that the library ships.
    Mutant,
    /// The order of a small flow that is wrong in one way.
    Control,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flow => "flow",
            Self::Mutant => "mutant",
            Self::Control => "control",
        })
    }
}

/// A campaign with an expected finding: of the production driver, or of walks.
#[derive(Clone)]
pub struct KnownBad<C = Campaign> {
    /// Kind of the defect.
    pub bad: Bad,
    /// Name in reports.
    pub name: String,
    /// The campaign.
    pub campaign: C,
    /// Properties that must be violated; of a flow, exactly these.
    pub breaks: Vec<Property>,
}

impl KnownBad {
    /// All that the production driver, which the simulation runs, carries out.
    pub fn all() -> Vec<Self> {
        let flows = BUILT_IN.iter().filter_map(|flow| {
            let expectations = flow.subject().expectations;
            let breaks = [expectations.broken, expectations.broken_in_simulation].concat();
            let campaign = campaign(flow.name, flow.source, None);
            let bad = Self { bad: Bad::Flow, name: flow.name.to_owned(), campaign, breaks };
            Some(bad).filter(|bad| !bad.breaks.is_empty())
        });
        let mutants = Mutant::ALL.iter().filter_map(|mutant| {
            let shipped = BuiltIn::find(SHIPPED)?;
            let campaign = campaign(shipped.name, shipped.source, Some(*mutant));
            let name = mutant.name().to_owned();
            Some(Self { bad: Bad::Mutant, name, campaign, breaks: vec![mutant.breaks()] })
        });
        let controls = CONTROLS.iter().chain(BEYOND_THE_MODEL).map(|control| Self {
            bad: Bad::Control,
            name: control.name.to_owned(),
            campaign: campaign(control.name, &control.file(), None),
            breaks: control.breaks.to_vec(),
        });
        flows.chain(mutants).chain(controls).filter(|bad| supports(&bad.campaign.flow).is_ok()).collect()
    }
}

impl KnownBad<walk::Campaign> {
    /// All flows and controls that the driver does not carry out: the simulator walks the model.
    pub fn walked() -> Vec<Self> {
        let flows = BuiltIn::every().map(|flow| {
            let breaks = flow.subject().expectations.broken;
            (Bad::Flow, flow.name, flow.source.to_owned(), breaks)
        });
        let controls = CONTROLS.iter().chain(BEYOND_THE_MODEL);
        let controls = controls.map(|one| (Bad::Control, one.name, one.file(), one.breaks.to_vec()));
        let walked = |(bad, name, file, breaks): (Bad, &str, String, Vec<Property>)| {
            let flow = subject(name, &file).flow;
            let is_walked = !breaks.is_empty() && supports(&flow).is_err();
            let campaign = walk::Campaign::new(name, flow, &file);
            is_walked.then(|| Self { bad, name: name.to_owned(), campaign, breaks })
        };
        flows.chain(controls).filter_map(walked).collect()
    }
}

fn subject(name: &str, file: &str) -> Subject {
    Subject::read(file.as_bytes())
        .unwrap_or_else(|problem| unreachable!("the file of {name} is tested: {problem}"))
}

fn campaign(name: &str, file: &str, mutant: Option<Mutant>) -> Campaign {
    Campaign {
        flow: Arc::new(subject(name, file).flow),
        name: name.to_owned(),
        flow_file: file.to_owned(),
        mutant,
    }
}
