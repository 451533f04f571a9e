//! `countersign`: which promises does the order of your approval's steps keep?

mod args;
mod attack;
mod diagram;
mod explore;
mod help;
mod judge;
mod matrix;
mod replay;
mod report;
mod schema;
mod show;
mod simulate;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use countersign_terminal::{Exit, print_error};

fn main() -> ExitCode {
    let exit = match Args::parse().command {
        Command::Verify(args) => verify::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Attack(args) => attack::run(&args),
        Command::Explore(args) => explore::run(&args),
        Command::Help(args) => help::run(&args),
        Command::Schema => schema::run(),
    };
    exit.unwrap_or_else(|problem| {
        print_error!("{problem}");
        Exit::BadInput
    })
    .into()
}
