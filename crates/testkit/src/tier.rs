//! The two tiers of tests: the fast one is what every contributor runs, the slow one adds long campaigns and databases.

use std::env;

use libtest_mimic::{Completion, Trial};

/// Why most tests of the slow tier are skipped.
pub const SLOW_TIER: &str = "slow tier: -- --include-ignored";

/// Whether this test program was asked for the slow tier: `cargo test --workspace -- --include-ignored`.
///
/// The tier is an argument, because a feature would compile everything twice.
pub fn slow() -> bool {
    env::args().any(|argument| argument == "--include-ignored" || argument == "--ignored")
}

/// The trial, or one in its place that is counted as ignored and says why.
pub fn unless(why_not: Option<&str>, trial: Trial) -> Trial {
    match why_not.map(ToOwned::to_owned) {
        Some(why) => Trial::ignorable_test(trial.name(), move || Ok(Completion::ignored_with(why))),
        None => trial,
    }
}
