//! What is recorded beside the figures: the machine, the versions, and how exact a figure is.

use std::process::Command;

use serde_json::{Map, Value, json};

/// How many threads run at the same time.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Three digits after the point: more than a measurement has.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

/// Where it was measured.
pub(crate) fn machine() -> Value {
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    json!({
        "processor": line_of("/proc/cpuinfo", "model name"),
        "cores": cores(),
        "memory": line_of("/proc/meminfo", "MemTotal"),
        "system": std::env::consts::OS,
        "architecture": std::env::consts::ARCH,
        "huge_pages": std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
            .map(|text| text.trim().to_owned()).ok(),
        // Of the last five minutes: what is above the threads of the run was somebody else's.
        "load": load.and_then(|load| load.split(' ').nth(1).map(str::to_owned)),
    })
}

/// The value of a line `key : value` in a file of the system's.
fn line_of(file: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

/// Of the compiler, of this crate, and of these crates as they are locked.
pub(crate) fn versions(crates: &[&str]) -> Value {
    let lock = include_str!("../../Cargo.lock");
    let version = |name: &str| {
        let package = format!("name = \"{name}\"\nversion = \"");
        let (_, rest) = lock.split_once(&package)?;
        rest.split_once('"').map(|(version, _)| version.to_owned())
    };
    let rustc = Command::new("rustc").arg("--version").output().ok();
    let mut versions = Map::new();
    versions.insert(
        "rustc".to_owned(),
        rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).into(),
    );
    versions.insert("countersign".to_owned(), env!("CARGO_PKG_VERSION").into());
    versions.extend(crates.iter().map(|name| ((*name).to_owned(), version(name).into())));
    versions.into()
}
