//! `countersign help`: the commands, and how flow files are written.

use clap::CommandFactory;

use crate::args::{Args, HelpArgs};
use countersign_terminal::{BadInput, Exit, print_line};

/// The page that people read on the web, too.
const FLOWS: &str = include_str!("../../../docs/flows.md");

pub(crate) fn run(args: &HelpArgs) -> Result<Exit, BadInput> {
    let mut command = Args::command();
    command.build();
    match args.topic.as_deref() {
        Some("flows") => print_line!("{FLOWS}"),
        None => print_line!("{}", command.render_long_help().ansi()),
        Some(topic) => match command.find_subcommand_mut(topic) {
            Some(subcommand) => print_line!("{}", subcommand.render_long_help().ansi()),
            None => {
                let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
                return Err(BadInput::plain(
                    &format!("found the unknown topic `{topic}`"),
                    &format!("expected `flows` or a command: {}", names.join(", ")),
                ));
            }
        },
    }
    Ok(Exit::Expected)
}
