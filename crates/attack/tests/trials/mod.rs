//! The common part of the slow tests: one trial at a time, skipped where something is missing.

use countersign_testkit::{Installation, may_be_skipped, unused_port};
use libtest_mimic::Arguments;

/// The arguments of the test program, and true if every trial is skipped.
///
/// # Panics
/// Something is missing in CI.
pub(crate) fn begin(missing: Option<&str>) -> (Arguments, bool) {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    if let Some(missing) = missing {
        assert!(std::env::var_os("CI").is_none(), "in CI everything has to be there, and {missing}");
        eprintln!("every trial is skipped: {missing}");
    }
    (arguments, missing.is_some())
}

/// Says so if PostgreSQL is not installed.
pub(crate) fn without_postgresql() -> Option<String> {
    let missing = Installation::find().err()?;
    may_be_skipped(&missing).err().or_else(|| Some(missing.to_string()))
}

/// The text of a target file, with an unused port in place of its own.
///
/// # Panics
/// The file has no port of the loopback address.
pub(crate) fn on_unused_port(text: &str) -> String {
    let (_, rest) = text.split_once("http://127.0.0.1:").unwrap();
    let (port, _) = rest.split_once('"').unwrap();
    text.replace(port, &unused_port().to_string())
}
