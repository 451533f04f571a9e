//! The machine and the versions of a measurement.

use std::{collections::BTreeMap, fs, thread::available_parallelism};

use super::document::Machine;

pub(crate) fn machine() -> Machine {
    let load = fs::read_to_string("/proc/loadavg").ok();
    Machine {
        processor: line_of("/proc/cpuinfo", "model name"),
        cores: available_parallelism().map_or(1, std::num::NonZero::get),
        memory: line_of("/proc/meminfo", "MemTotal"),
        system: std::env::consts::OS.to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        load: load.and_then(|load| load.split(' ').nth(1).map(str::to_owned)),
    }
}

/// Versions of this program, and of SQLite, which is compiled in.
pub(crate) fn versions() -> BTreeMap<String, String> {
    let build =
        if cfg!(debug_assertions) { "with debug assertions: do not publish its figures" } else { "release" };
    [
        ("countersign", env!("CARGO_PKG_VERSION")),
        ("countersign's build", build),
        ("sqlite", rusqlite::version()),
    ]
    .map(|(name, version)| (name.to_owned(), version.to_owned()))
    .into()
}

/// The value of a line `key : value` in a file of the system's.
fn line_of(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}
