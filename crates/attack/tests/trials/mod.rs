//! The common part of the slow tests: one trial at a time, skipped where something is missing.

use countersign_testkit::{Installation, may_be_skipped};
use libtest_mimic::Arguments;

/// The arguments of the test program, and true if every trial is skipped. The services have fixed ports.
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
