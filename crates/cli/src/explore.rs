//! `countersign explore`: our verdicts, then stateright's Explorer on the same model.

use std::net::TcpListener;

use stateright::Model as _;

use crate::{
    args::ExploreArgs,
    judge::{fit, judge, pool},
    matrix,
};
use countersign_terminal::{BadInput, Exit, input, print_line};

pub(crate) fn run(args: &ExploreArgs) -> Result<Exit, BadInput> {
    let named = input::flow(&args.flow)?;
    fit(&named.name, &named.subject.flow, args.bounds.bounds())?;
    // The Explorer panics where it cannot listen, and does not tell which port it took.
    let address =
        TcpListener::bind(&args.listen).and_then(|listener| listener.local_addr()).map_err(|error| {
            BadInput::plain(
                &format!("cannot listen on {}: {error}", args.listen),
                "expected an address and a free port, as in `--listen 127.0.0.1:0`",
            )
        })?;
    let judged = judge(named, &args.bounds, &args.run, &pool(args.run.threads)?)?;
    matrix::print(std::slice::from_ref(&judged));
    let about = judged.about.as_ref().map_or(String::new(), |about| format!(" ({about})"));
    print_line!("\nexploring {}{about} on http://{address} (end with Ctrl-C)", judged.name);
    let threads = args.run.threads.or_else(|| std::thread::available_parallelism().ok());
    let model = judged.model;
    let checker = model.checker().threads(threads.map_or(1, std::num::NonZeroUsize::get));
    checker.serve(address);
    Ok(Exit::Expected)
}
