//! `countersign explore`: stateright's Explorer on the same model.

use std::net::TcpListener;

use countersign_models::model::Model;
use stateright::Model as _;

use crate::{args::ExploreArgs, judge::fit};
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
    print_line!("exploring {} on http://{address} (end with Ctrl-C)", named.name);
    let threads = args.threads.or_else(|| std::thread::available_parallelism().ok());
    let model = Model::new(named.subject.flow, args.bounds.bounds());
    let checker = model.checker().threads(threads.map_or(1, std::num::NonZeroUsize::get));
    checker.serve(address);
    Ok(Exit::Expected)
}
