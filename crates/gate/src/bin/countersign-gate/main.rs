//! `countersign-gate`: the approval gate as a server.

mod archive;
mod args;
mod demo;
mod help;
mod serve;
mod token;

use std::process::ExitCode;

use clap::Parser;
use countersign_terminal::{Exit, print_error};

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let exit = match Args::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => serve::check(&args),
        Command::Archive(args) => archive::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Help(args) => help::run(&args),
    };
    exit.unwrap_or_else(|problem| {
        print_error!("{problem}");
        Exit::BadInput
    })
    .into()
}
