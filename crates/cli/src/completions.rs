//! `countersign completions`: the completions of a shell.

use clap::CommandFactory;

use crate::args::{Args, CompletionsArgs};
use countersign_terminal::{BadInput, Exit, print_data};

pub(crate) fn run(args: &CompletionsArgs) -> Result<Exit, BadInput> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "countersign", &mut script);
    print_data!("{}", String::from_utf8_lossy(&script).trim_end());
    Ok(Exit::Expected)
}
