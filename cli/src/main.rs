//! `countersign`: which promises does the order of your approval's steps keep?

mod args;
mod bench;
mod demo;
mod diagram;
mod exit;
mod explore;
mod help;
mod input;
mod judge;
mod matrix;
mod replay;
mod report;
mod say;
mod serve;
mod show;
mod simulate;
mod stopwatch;
mod token;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::{Args, Command},
    exit::Exit,
    say::complain,
};

fn main() -> ExitCode {
    let exit = match Args::parse().command {
        Command::Verify(args) => verify::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Explore(args) => explore::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Help(args) => help::run(&args),
    };
    exit.unwrap_or_else(|problem| {
        complain!("{problem}");
        Exit::BadInput
    })
    .into()
}
