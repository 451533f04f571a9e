//! Standard output and standard error, for whoever still listens: a closed pipe is no reason to panic.

/// As `println!`, with colours where they are wanted.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(anstream::stdout(), $($argument)*);
    }};
}

/// As `eprintln!`, likewise.
macro_rules! complain {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(anstream::stderr(), $($argument)*);
    }};
}

pub(crate) use {complain, say};
