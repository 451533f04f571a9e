//! Standard output and standard error: a closed pipe does not panic, and a lost result is not a success.

use std::{
    fmt,
    io::{self, Write},
    process,
};

use crate::exit::Exit;

/// Prints a line to standard output, with colours where the terminal shows them.
#[macro_export]
macro_rules! print_line {
    ($($argument:tt)*) => { $crate::output::to_stdout(format_args!($($argument)*)) };
}

/// Prints a line to standard error, with colours where the terminal shows them.
#[macro_export]
macro_rules! print_error {
    ($($argument:tt)*) => { $crate::output::to_stderr(format_args!($($argument)*)) };
}

/// Writes a line; ends the process with [`Exit::BadInput`] when it cannot be written, unless the reader closed the pipe.
#[doc(hidden)]
pub fn to_stdout(line: fmt::Arguments<'_>) {
    match writeln!(anstream::stdout(), "{line}") {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => {
            print_error!("error: standard output cannot be written: {error}");
            process::exit(Exit::BadInput as i32);
        }
    }
}

/// Writes a line if it can: there is no other channel to report a failure on.
#[doc(hidden)]
pub fn to_stderr(line: fmt::Arguments<'_>) {
    let _ = writeln!(anstream::stderr(), "{line}");
}
