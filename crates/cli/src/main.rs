//! `countersign`: model-checks, simulates and attacks actions that must happen once.

mod advice;
mod any_number;
mod args;
mod attack;
mod certify;
mod completions;
mod diagram;
mod explain;
mod explore;
mod export;
mod help;
mod judge;
mod matrix;
mod remarks;
mod replay;
mod report;
mod schema;
mod show;
mod simulate;
mod verify;
mod wrap;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use countersign_terminal::{Exit, output, print_error};

fn main() -> ExitCode {
    let args = Args::parse();
    output::choose(args.color);
    let exit = match args.command {
        Command::Attack(attack) => attack::run(args.color, &attack.arguments).map(|never| match never {}),
        Command::Verify(args) => verify::run(&args),
        Command::Certify(args) => certify::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Replay(replay) => replay::run(args.color, &replay),
        Command::Export(args) => export::run(&args),
        Command::Explore(args) => explore::run(&args),
        Command::Help(help) if help.topic.as_deref() == Some("attack") => {
            attack::run(args.color, &["--help".into()]).map(|never| match never {})
        }
        Command::Help(args) => help::run(&args),
        Command::Schema => schema::run(),
        Command::Completions(args) => completions::run(&args),
    };
    exit.unwrap_or_else(|problem| {
        print_error!("{problem}");
        Exit::BadInput
    })
    .into()
}
