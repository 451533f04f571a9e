//! The metadata of recorded figures: machine, versions, and precision.

use std::process::Command;

use serde_json::{Map, Value, json};

/// Number of threads that run in parallel.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Three digits after the point: more than a measurement has.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

/// The machine.
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
        // Over the last five minutes: the excess over the run's own threads came from other processes.
        "load": load.and_then(|load| load.split(' ').nth(1).map(str::to_owned)),
    })
}

/// The value of a line `key : value` in a file of the system's.
fn line_of(file: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

/// Versions of the compiler, of this crate, and of these crates as locked.
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
