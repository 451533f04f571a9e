//! The campaigns that are played in CI do the same in every process, step by step; and what is recorded of them is true.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use countersign::service::supports;
use countersign_models::{
    flows::{BUILT_IN, BuiltIn, KEYED, SHIPPED},
    simulation::{Bad, KnownBad},
};

use serde_json::Value;

use crate::{code, digest, folder, run, text};

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/results").join(name)
}

/// The output of two processes, which has to be equal.
fn twice(what: &str, process: impl Fn() -> String + Sync) -> String {
    let [one, other] = thread::scope(|scope| {
        let processes = [(); 2].map(|()| scope.spawn(&process));
        processes.map(|process| process.join().expect("it does not panic"))
    });
    assert!(one == other, "{what}: two processes differ:\n{one}\n{other}");
    one
}

#[test]
#[ignore = "slow tier"]
fn the_shipped_orders_do_the_same_in_two_processes() {
    let folder = folder();
    for flow in KEYED.iter().map(|flow| flow.name) {
        twice(flow, || digest(folder.path(), &[flow], "0..50000"));
    }
}

#[test]
#[ignore = "slow tier"]
fn the_canary_of_every_flow_does_the_same_in_two_processes() {
    let folder = folder();
    for flow in BUILT_IN.iter().filter(|flow| supports(&flow.subject().flow).is_ok()) {
        twice(flow.name, || digest(folder.path(), &[flow.name, "--mutant", "canary"], "0..4096"));
    }
}

#[test]
#[ignore = "slow tier"]
fn what_is_known_to_be_bad_does_the_same_in_two_processes_and_is_found_as_recorded() {
    let folder = folder();
    let detection = || {
        let output = run(folder.path(), &["simulate", "detection", "--seeds", "0..10000"]);
        assert_eq!(code(&output), 0, "{}", text(&output.stdout));
        text(&output.stdout)
    };
    let table = twice("detection", detection);
    for KnownBad { bad, name, breaks, .. } in KnownBad::all() {
        for property in breaks {
            assert!(table.contains(&format!("| {bad} | {name} | {property} | ")), "{bad} {name} {property}");
        }
    }
    for KnownBad { bad, name, breaks, .. } in KnownBad::walked() {
        for property in breaks {
            let row = format!("| {bad}, walked | {name} | {property} | ");
            assert!(table.contains(&row), "{row}");
        }
    }
    assert!(!table.contains("unexplained"), "{table}");
    let uncovered: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with(&format!("| {}", Bad::Flow)) && line.contains('`'))
        .filter(|line| !line.ends_with("` |  |"))
        .collect();
    assert_eq!(uncovered, Vec::<&str>::new(), "it could have happened");
    let kept = fs::read_to_string(recorded("simulate-detection.md")).expect("it was recorded");
    assert!(
        table == kept,
        "what was recorded was found by other code: when that is meant, run\n\
         scripts/record-simulations.sh detection\n{table}"
    );
}

#[test]
#[ignore = "slow tier"]
fn the_recorded_run_was_made_by_this_code() {
    let folder = folder();
    let kept = fs::read_to_string(recorded("simulate-atomic-commit.json")).expect("it was recorded");
    let kept: Value = serde_json::from_str(&kept).expect("JSON");
    assert_eq!((&kept["report"]["schedules"], &kept["shrunk"]), (&1_000_000.into(), &serde_json::json!({})));
    let shipped = BuiltIn::find(SHIPPED).expect("it is built in");
    assert_eq!(
        (&kept["report"]["version"], &kept["flow_file"]),
        (&env!("CARGO_PKG_VERSION").into(), &shipped.source.into())
    );
    assert_eq!(kept["trace"]["seeds"], serde_json::json!([0, 20_000]));
    let now = digest(folder.path(), &[SHIPPED], "0..20000");
    assert_eq!(
        kept["trace"]["sha256"], now,
        "the recorded run is of other code: when that is meant, run\nscripts/record-simulations.sh run"
    );
}
