//! `countersign help`: the commands, and how flow files are written.

use clap::CommandFactory;

use crate::{
    args::{Args, HelpArgs},
    wrap::page,
};
use countersign_terminal::{BadInput, Exit, print_line};

/// The page that people read on the web, too.
const FLOWS: &str = include_str!("../docs/flows.md");
const ATTACK: &str = include_str!("../docs/attack.md");

pub(crate) fn run(args: &HelpArgs) -> Result<Exit, BadInput> {
    let mut command = Args::command();
    command.build();
    match args.topic.as_deref() {
        Some("flows") => print_line!("{}", page(FLOWS).trim_end()),
        Some("targets") => print_line!("{}", page(section(ATTACK, "## The target file")).trim_end()),
        None => print_line!("{}", command.render_long_help().ansi()),
        Some(topic) => match command.find_subcommand_mut(topic) {
            Some(subcommand) => print_line!("{}", subcommand.render_long_help().ansi()),
            None => {
                let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
                return Err(BadInput::plain(
                    &format!("found the unknown topic `{topic}`"),
                    &format!("expected `flows`, `targets` or a command: {}", names.join(", ")),
                ));
            }
        },
    }
    Ok(Exit::Expected)
}

/// A section of a page, up to the next one of its level.
fn section<'p>(page: &'p str, title: &str) -> &'p str {
    let from = page.find(&format!("\n{title}\n")).map_or(0, |at| at + 1);
    let section = &page[from..];
    let to = section[1..].find("\n## ").map_or(section.len(), |at| at + 1);
    section[..to].trim_end()
}
