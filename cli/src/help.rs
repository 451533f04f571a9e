//! `countersign help`: the commands, how flow files are written, and how the gate is configured.

use clap::CommandFactory;

use crate::{
    args::{Args, HelpArgs},
    exit::Exit,
    input::BadInput,
    say::say,
};

/// The page that people read on the web, too.
const FLOWS: &str = include_str!("../../docs/flows.md");

/// Likewise.
const CONFIG: &str = include_str!("../../docs/serve.md");

pub(crate) fn run(args: &HelpArgs) -> Result<Exit, BadInput> {
    let mut command = Args::command();
    command.build();
    match args.topic.as_deref() {
        Some("flows") => say!("{FLOWS}"),
        Some("config") => say!("{CONFIG}"),
        None => say!("{}", command.render_long_help().ansi()),
        Some(topic) => match command.find_subcommand_mut(topic) {
            Some(subcommand) => say!("{}", subcommand.render_long_help().ansi()),
            None => {
                let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
                return Err(BadInput::plain(
                    &format!("found the unknown topic `{topic}`"),
                    &format!("expected `flows`, `config` or a command: {}", names.join(", ")),
                ));
            }
        },
    }
    Ok(Exit::Expected)
}
