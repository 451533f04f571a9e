//! The common part of the slow tests: one trial at a time, skipped where something is missing.

use countersign_testkit::{Installation, SLOW_TIER, may_be_skipped, slow, unless, unused_port};
use libtest_mimic::{Arguments, Trial};

/// Runs trials of the slow tier, or skips all of them: in the fast tier, and where something is missing.
///
/// # Panics
/// Something is missing in CI.
pub(crate) fn run(missing: Option<String>, trials: Vec<Trial>) -> ! {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let why_not = if slow() { missing } else { Some(SLOW_TIER.to_owned()) };
    let may_be_skipped = !slow() || std::env::var_os("CI").is_none();
    assert!(may_be_skipped || why_not.is_none(), "in CI everything has to be there: {why_not:?}");
    let trials = trials.into_iter().map(|trial| unless(why_not.as_deref(), trial)).collect();
    libtest_mimic::run(&arguments, trials).exit()
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
