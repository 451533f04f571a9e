//! The simulator's claims: the shipped order survives, everything that is broken on purpose is found, and runs can be repeated.

mod atomic_commit;
mod controls;
mod failures;
mod reports;

use std::{ops::ControlFlow, sync::Arc};

use countersign_models::{
    flows::{BuiltIn, Subject},
    simulation::{Campaign, Mutant, Report, Seeds},
};

fn seeds(from: u64, to: u64) -> Seeds {
    Seeds { from, to, shard: 0, shards: 1 }
}

fn campaign(flow: &str, mutant: Option<Mutant>) -> Campaign {
    let file = BuiltIn::find(flow).expect("it is built in").source;
    campaign_of(flow, file, mutant)
}

fn campaign_of(name: &str, file: &str, mutant: Option<Mutant>) -> Campaign {
    let subject = Subject::read(file.as_bytes()).unwrap_or_else(|problem| panic!("{problem} in\n{file}"));
    Campaign { flow: Arc::new(subject.flow), name: name.to_owned(), flow_file: file.to_owned(), mutant }
}

fn run(campaign: &Campaign, seeds: Seeds) -> Report {
    campaign.run(seeds, &mut |_| ControlFlow::Continue(()))
}

/// Runs until `is_enough` holds of the report so far, or the seeds are used up.
fn run_until(campaign: &Campaign, seeds: Seeds, is_enough: impl Fn(&Report) -> bool) -> Report {
    campaign.run(seeds, &mut |report| {
        if is_enough(report) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
}

fn found(report: &Report) -> Vec<&str> {
    report.findings.keys().map(String::as_str).collect()
}

/// Events that a built-in flow allows and that never happened.
fn missing(report: &Report) -> Vec<String> {
    report.coverage.missing(&BuiltIn::find(&report.flow).expect("it is built in").subject())
}
