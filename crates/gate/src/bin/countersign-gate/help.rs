//! `countersign-gate help`: the commands, and how the gate is configured.

use clap::CommandFactory;
use countersign_terminal::{BadInput, Exit, print_line};

use crate::args::{Args, HelpArgs};

/// The same page as on the web.
const CONFIG: &str = include_str!("../../../docs/gate.md");

pub(crate) fn run(args: &HelpArgs) -> Result<Exit, BadInput> {
    let mut command = Args::command();
    command.build();
    match args.topic.as_deref() {
        Some("config") => print_line!("{CONFIG}"),
        None => print_line!("{}", command.render_long_help().ansi()),
        Some(topic) => match command.find_subcommand_mut(topic) {
            Some(subcommand) => print_line!("{}", subcommand.render_long_help().ansi()),
            None => {
                let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
                return Err(BadInput::plain(
                    &format!("found the unknown topic `{topic}`"),
                    &format!("expected `config` or a command: {}", names.join(", ")),
                ));
            }
        },
    }
    Ok(Exit::Expected)
}
