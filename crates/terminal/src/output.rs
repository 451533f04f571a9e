//! Standard output and standard error: a closed pipe does not panic, and a lost result is not a success.

use std::{
    fmt,
    io::{self, Write},
    process,
    sync::atomic::{AtomicBool, Ordering},
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

/// Prints a line to standard output unchanged, in any locale: for programs, not for people.
#[macro_export]
macro_rules! print_data {
    ($($argument:tt)*) => { $crate::output::data_to_stdout(format_args!($($argument)*)) };
}

/// Coloured output, as a value of `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On terminals that support it, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

static ASCII: AtomicBool = AtomicBool::new(false);

/// Chooses colours by `color`, and characters by the locale: a locale that is set and is not UTF-8 gets ASCII.
pub fn choose(color: Color) {
    match color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
    ASCII.store(!is_utf8(|name| std::env::var(name).ok()), Ordering::Relaxed);
}

/// True if output is limited to ASCII.
pub fn is_ascii() -> bool {
    ASCII.load(Ordering::Relaxed)
}

/// The first of these variables that is set decides, as in POSIX. A process without any has no terminal to ask.
fn is_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    set.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// The characters that this workspace prints for people, each with one of the same width in ASCII.
const ASCII_FOR: &[(char, char)] = &[
    ('✓', '+'),
    ('✗', 'x'),
    ('○', 'o'),
    ('∀', 'A'),
    ('–', '-'),
    ('—', '-'),
    ('·', '.'),
    ('…', '.'),
    ('×', 'x'),
    ('─', '-'),
    ('┄', '-'),
    ('│', '|'),
    ('├', '+'),
    ('┤', '+'),
    ('▶', '>'),
    ('◀', '<'),
    ('●', '*'),
    ('→', '>'),
    ('≤', '<'),
    ('≥', '>'),
    ('µ', 'u'),
];

fn for_people(line: fmt::Arguments<'_>) -> String {
    let text = line.to_string();
    if !is_ascii() { text } else { in_ascii(&text) }
}

fn in_ascii(text: &str) -> String {
    let ascii = |character: char| {
        ASCII_FOR.iter().find(|(from, _)| *from == character).map_or(character, |(_, ascii)| *ascii)
    };
    text.chars().map(ascii).collect()
}

/// Writes a line; ends the process with [`Exit::BadInput`] when it cannot be written, unless the reader closed the pipe.
#[doc(hidden)]
pub fn to_stdout(line: fmt::Arguments<'_>) {
    data_to_stdout(format_args!("{}", for_people(line)));
}

/// As [`to_stdout`], in any locale.
#[doc(hidden)]
pub fn data_to_stdout(line: fmt::Arguments<'_>) {
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
    let _ = writeln!(anstream::stderr(), "{}", for_people(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_decides() {
        let locale = |set: &'static [(&str, &str)]| {
            move |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        assert!(is_utf8(locale(&[])));
        assert!(is_utf8(locale(&[("LANG", "en_US.UTF-8")])));
        assert!(is_utf8(locale(&[("LC_ALL", ""), ("LANG", "C.utf8")])));
        assert!(!is_utf8(locale(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")])));
        assert!(!is_utf8(locale(&[("LANG", "de_DE.ISO-8859-1")])));
    }

    #[test]
    fn ascii_has_the_same_width() {
        let text = "✗ 3 ○ – │ ├──▶";
        assert_eq!(in_ascii(text), "x 3 o - | +-->");
        assert!(ASCII_FOR.iter().all(|(_, ascii)| ascii.is_ascii()));
    }
}
