//! Counts the states of a built-in flow with stateright's checker: `stateright FLOW CALLERS CRASHES FAULTS`.

use std::process::ExitCode;

use countersign_models::{
    flows::BuiltIn,
    model::{Bounds, Model},
};
use stateright::{Checker as _, Model as _};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let flow = arguments.first().and_then(|name| BuiltIn::find(name));
    let numbers: Vec<u8> = arguments.iter().skip(1).filter_map(|number| number.parse().ok()).collect();
    let (Some(flow), [consumers, crashes, faults]) = (flow, numbers.as_slice()) else {
        eprintln!("usage: stateright FLOW CALLERS CRASHES FAULTS, as in: stateright atomic-commit 2 1 1");
        return ExitCode::from(2);
    };
    let bounds = Bounds { consumers: *consumers, crashes: *crashes, faults: *faults };
    let checker = Model::new(flow.subject().flow, bounds).checker().threads(1).spawn_bfs().join();
    println!("{}", checker.unique_state_count());
    ExitCode::SUCCESS
}
