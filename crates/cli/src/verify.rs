//! `countersign verify`.

use crate::{
    args::{Format, VerifyArgs},
    judge::{judge, pool},
    matrix, report,
};
use countersign_terminal::{BadInput, Exit, input};

pub(crate) fn run(args: &VerifyArgs) -> Result<Exit, BadInput> {
    let flows = input::flows(&args.flows)?;
    let pool = pool(args.run.threads)?;
    let bounds = args.bounds.bounds();
    let judged: Vec<_> = flows.into_iter().map(|named| judge(named, bounds, &args.run, &pool)).collect();
    match args.format {
        Format::Json => report::print_json(&judged),
        Format::Human => {
            matrix::print(&judged);
            report::print_runs(&judged);
            report::print_summary(&judged);
        }
    }
    let worst = |exit| judged.iter().any(|judged| judged.exit() == exit);
    Ok([Exit::Unexpected, Exit::CutOff].into_iter().find(|exit| worst(*exit)).unwrap_or(Exit::Expected))
}
