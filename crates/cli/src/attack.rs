//! `countersign attack`: starts the program `countersign-attack`, which is built on its own: who judges a flow file does not
//! need HTTP, TLS and SQL.

use std::{
    convert::Infallible, ffi::OsString, io::ErrorKind, os::unix::process::CommandExt, process::Command,
};

use clap::ValueEnum;
use countersign_terminal::{BadInput, output::Color};

const PROGRAM: &str = "countersign-attack";

/// Becomes the program in the folder of this one, or else the one in `PATH`, with these arguments.
///
/// # Errors
///
/// The program was not found, or could not be started.
pub(crate) fn run(color: Color, arguments: &[OsString]) -> Result<Infallible, BadInput> {
    let beside = std::env::current_exe().ok().map(|this| this.with_file_name(PROGRAM));
    let program = beside.filter(|program| program.exists()).unwrap_or_else(|| PROGRAM.into());
    let when = color.to_possible_value();
    let color = when.iter().flat_map(|when| ["--color", when.get_name()]);
    let error = Command::new(&program).args(color).args(arguments).exec();
    Err(match error.kind() {
        ErrorKind::NotFound => BadInput::plain(
            &format!("`{PROGRAM}` is neither in the folder of this program nor in PATH"),
            "in a checkout `cargo build --release` builds both; `cargo install countersign-attack` installs it",
        ),
        _ => BadInput::plain(
            &format!("{}: cannot be started: {error}", program.display()),
            "`countersign attack` is this program",
        ),
    })
}
