//! `countersign verify`.

use crate::{
    args::{Format, VerifyArgs},
    judge::{fit, judge, pool},
    matrix, report,
};
use countersign_terminal::{BadInput, Exit, input};

pub(crate) fn run(args: &VerifyArgs) -> Result<Exit, BadInput> {
    let flows = input::flows(&args.flows)?;
    let pool = pool(args.run.threads)?;
    let bounds = args.bounds.bounds();
    // Before the first one is judged: what was found is not lost to a later one.
    flows.iter().try_for_each(|named| fit(&named.name, &named.subject.flow, bounds))?;
    let judged = flows.into_iter().map(|named| judge(named, bounds, &args.run, &pool));
    let judged: Vec<_> = judged.collect::<Result<_, _>>()?;
    match args.format {
        Format::Json => report::print_json(&judged),
        Format::Human => {
            // Of flows that were not asked for by name, only what is unexpected is worth a run.
            let only_unexpected = args.flows.is_empty();
            matrix::print(&judged);
            report::print_runs(&judged, only_unexpected);
            report::print_summary(&judged, only_unexpected);
        }
    }
    let worst = |exit| judged.iter().any(|judged| judged.exit() == exit);
    Ok([Exit::Unexpected, Exit::CutOff].into_iter().find(|exit| worst(*exit)).unwrap_or(Exit::Expected))
}
