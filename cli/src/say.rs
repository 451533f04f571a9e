//! Standard output and standard error: a closed pipe is no reason to panic, and a lost result no success.

use std::{
    fmt,
    io::{self, Write},
    process,
};

use crate::exit::Exit;

/// As `println!`, with colours where they are wanted.
macro_rules! say {
    ($($argument:tt)*) => { $crate::say::to_stdout(format_args!($($argument)*)) };
}

/// As `eprintln!`, likewise.
macro_rules! complain {
    ($($argument:tt)*) => { $crate::say::to_stderr(format_args!($($argument)*)) };
}

pub(crate) use {complain, say};

/// Writes a line for whoever still listens. Ends the process when it is lost for another reason.
pub(crate) fn to_stdout(line: fmt::Arguments<'_>) {
    match writeln!(anstream::stdout(), "{line}") {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => {
            complain!("error: standard output cannot be written: {error}");
            process::exit(Exit::BadInput as i32);
        }
    }
}

/// Writes a line, if it can: there is nobody left to tell when it cannot.
pub(crate) fn to_stderr(line: fmt::Arguments<'_>) {
    let _ = writeln!(anstream::stderr(), "{line}");
}
