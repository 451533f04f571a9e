//! `countersign verify`.

use countersign_models::properties::Property;

use crate::{
    advice,
    any_number::{self, Asked},
    args::{Format, VerifyArgs},
    certify,
    judge::{fit, judge, pool},
    matrix, remarks, report,
};
use countersign_terminal::{BadInput, Exit, input, interrupt, print_error};
use owo_colors::OwoColorize;

pub(crate) fn run(args: &VerifyArgs) -> Result<Exit, BadInput> {
    let flows = input::flows(&args.flows)?;
    let only = args.only.iter().map(|text| input::modelled_property(text)).collect::<Result<Vec<_>, _>>()?;
    let pool = pool(args.run.threads)?;
    let bounds = args.bounds.bounds();
    // Before the first verdict: a later flow that does not fit must not lose earlier results.
    flows.iter().try_for_each(|named| fit(&named.name, &named.subject.flow, bounds))?;
    let fixed = args.fix.as_ref().map(|file| advice::destination(&flows, file.as_deref())).transpose()?;
    if let Some(file) = &args.certificate {
        certify::destination(&flows, file)?;
    }
    for named in flows.iter().filter(|named| named.path.is_some()) {
        for remark in remarks::unpromised(&named.subject.flow) {
            print_error!("{} {}: {remark}", "warning:".yellow().bold(), named.name);
        }
    }
    interrupt::catch();
    let count = flows.len();
    let mut judged = Vec::new();
    // The search for the cutoffs of all built-in flows takes longer than their proofs.
    let asked = Asked { certificate: args.certificate.is_some(), cutoff: !args.flows.is_empty() };
    for named in flows {
        if interrupt::happened() {
            break;
        }
        let mut one = judge(named, &args.bounds, &args.run, &pool)?;
        one.report.judgements.retain(|one| is_asked_for(one.property, &only));
        if !args.bounded && !interrupt::happened() {
            let any_number = any_number::prove(&one, args.run.time, asked);
            for beyond in any_number.violated.iter().filter(|beyond| beyond.is_expected) {
                let judgements = one.report.judgements.iter_mut();
                judgements.filter(|one| one.property == beyond.property).for_each(|one| one.expected = true);
            }
            one.any_number = Some(any_number);
        }
        judged.push(one);
    }
    match args.format {
        Format::Json => report::print_json(&judged),
        Format::Human => {
            // For flows that were not named, only unexpected verdicts are shown with their runs.
            let only_unexpected = args.flows.is_empty();
            matrix::print(&judged);
            report::print_runs(&judged, only_unexpected);
            let advised = fixed.is_none() && !interrupt::happened();
            for one in judged.iter().filter(|one| advised && (!only_unexpected || one.is_unexpected())) {
                advice::print(one, &args.run, &pool);
            }
            report::print_summary(&judged, only_unexpected);
            any_number::print_summary(&judged);
        }
    }
    if let (Some(fixed), [one]) = (&fixed, judged.as_slice()) {
        advice::fix(one, fixed, &args.run, &pool)?;
    }
    let written = match (&args.certificate, judged.as_slice()) {
        (Some(file), [one]) => certify::write(one, file)?,
        _ => Exit::Expected,
    };
    if interrupt::happened() {
        print_error!("interrupted: {} of {count} flows were begun", judged.len());
        return Ok(Exit::Interrupted);
    }
    let worst = |exit| judged.iter().any(|judged| judged.exit() == exit);
    Ok([Exit::Unexpected, Exit::CutOff].into_iter().find(|exit| worst(*exit)).unwrap_or(written))
}

fn is_asked_for(property: Property, only: &[Property]) -> bool {
    only.is_empty() || only.contains(&property)
}
