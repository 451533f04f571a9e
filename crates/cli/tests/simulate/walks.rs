//! Flows that the production driver does not carry out: the model is walked, with the same options and reports.

use std::fs;

use serde_json::Value;

use crate::{code, digest, folder, run, text};

const COUPON: &str = "04-vendure-coupon-buggy";

#[test]
fn a_flow_that_the_driver_does_not_carry_out_is_walked_and_replayed() {
    let folder = folder();
    let output = run(folder.path(), &["simulate", COUPON, "--seeds", "0..4000"]);
    let said = text(&output.stdout);
    assert_eq!(code(&output), 0, "{said}{}", text(&output.stderr));
    assert!(said.contains("random walks of it: `[object]` has `approvers = 0`"), "{said}");
    assert!(said.contains("shrunk to 6 actions of 2 callers, with no fault"), "{said}");
    assert!(said.contains("canary     noticed"), "{said}");
    let failure = folder.path().join(format!("failures/{COUPON}-S2.json"));
    let output = run(folder.path(), &["replay", failure.to_str().expect("text")]);
    assert_eq!(code(&output), 1, "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("the coupon was used twice, and once is promised"));

    // An action of an attempt that does not exist is skipped, and what is no failure is refused with its line.
    let file = fs::read_to_string(&failure).expect("it was written");
    let fixed = file.replace("\"consumer\": 0", "\"consumer\": 99");
    fs::write(&failure, &fixed).expect("it can be written");
    assert_eq!(code(&run(folder.path(), &["replay", failure.to_str().expect("text")])), 2);
    fs::write(&failure, file.replace("\"callers\"", "\"people\"")).expect("it can be written");
    let output = run(folder.path(), &["replay", failure.to_str().expect("text")]);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("unknown field `people`"), "{}", text(&output.stderr));
}

#[test]
fn a_walk_is_the_same_on_any_number_of_threads_and_another_seed_is_another_walk() {
    let folder = folder();
    let of = |threads, seeds| digest(folder.path(), &[COUPON, "--threads", threads], seeds);
    assert_eq!(of("1", "0..300"), of("3", "0..300"));
    assert_ne!(of("1", "0..300"), of("1", "1..301"));
    assert_ne!(of("1", "0..300"), digest(folder.path(), &[COUPON, "--mutant", "canary"], "0..300"));
}

#[test]
fn walks_of_shards_add_up() {
    let folder = folder();
    let json = |args: &[&str]| {
        let output = run(folder.path(), &[&["simulate", COUPON, "--format", "json"], args].concat());
        assert!(code(&output) == 0 || code(&output) == 3, "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let whole: Value = serde_json::from_str(&json(&["--seeds", "0..1000"])).expect("JSON");
    for shard in ["1", "2"] {
        let report = json(&["--seeds", "0..1000", "--shard", &format!("{shard}/2")]);
        fs::write(folder.path().join(shard), report).expect("it can be written");
    }
    let output = run(folder.path(), &["simulate", "merge", "1", "2", "--format", "json"]);
    let sum: Value = serde_json::from_str(&text(&output.stdout)).expect("JSON");
    assert_eq!(sum["report"]["findings"], whole["report"]["findings"]);
    assert_eq!(sum["report"]["coverage"], whole["report"]["coverage"]);
    assert_eq!(sum["driver_lacks"], whole["driver_lacks"]);
}

#[test]
fn too_few_walks_cover_too_little_and_only_the_canary_is_a_mutant() {
    let folder = folder();
    let output = run(folder.path(), &["simulate", "coupon-redeem", "--seeds", "0..2"]);
    assert_eq!(code(&output), 3, "{}", text(&output.stdout));
    let sound = "04-vendure-coupon-fixed";
    let output = run(folder.path(), &["simulate", sound, "--mutant", "canary", "--seeds", "0..300"]);
    assert_eq!(code(&output), 1, "{}", text(&output.stdout));
    let output = run(folder.path(), &["simulate", "coupon-redeem", "--mutant", "unfenced"]);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("found the mutant `unfenced`, expected `canary`"));
}
