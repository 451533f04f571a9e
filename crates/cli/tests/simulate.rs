//! Simulate, merge and replay as a user meets them: the same bytes from every process, exit codes, messages.

#[path = "simulate/campaigns.rs"]
mod campaigns;
#[path = "simulate/walks.rs"]
mod walks;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use insta::assert_snapshot;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Runs it in a folder of its own: failures are written there.
fn run(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(args)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .expect("the binary was built")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/simulation/failures").join(name)
}

#[test]
fn two_processes_write_the_same_trace_byte_for_byte() {
    for flow in ["atomic-commit", "consume-last"] {
        let folder = folder();
        let traces = ["one", "other"].map(|name| {
            let output = run(folder.path(), &["simulate", flow, "--seeds", "0..3000", "--trace", name]);
            assert_eq!(code(&output), 0, "{}", text(&output.stderr));
            fs::read(folder.path().join(name)).expect("the trace was written")
        });
        let steps = traces[0].iter().filter(|byte| **byte == b'\n').count();
        assert!(steps > 40_000, "{flow}: {steps} lines");
        assert!(traces[0] == traces[1], "{flow}: two runs of the same seeds differ");
    }
}

/// The trace hash of these seeds in the report.
fn digest(folder: &Path, campaign: &[&str], seeds: &str) -> String {
    let args = ["simulate", "--seeds", "0..1", "--trace-digest", seeds, "--format", "json"];
    let output = run(folder, &[&args, campaign].concat());
    let report: Value = serde_json::from_str(&text(&output.stdout)).expect("JSON");
    report["trace"]["sha256"].as_str().expect("text").to_owned()
}

#[test]
fn the_digest_of_a_trace_is_that_of_its_file_on_any_number_of_threads() {
    let folder = folder();
    run(folder.path(), &["simulate", "--seeds", "100..3000", "--trace", "trace"]);
    let file = fs::read(folder.path().join("trace")).expect("the trace was written");
    let of_file = Sha256::digest(file).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for threads in ["1", "3"] {
        assert_eq!(digest(folder.path(), &["--threads", threads], "100..3000"), of_file);
    }
}

#[test]
fn another_schedule_or_another_step_is_another_digest() {
    // The control: a mutant of which most seeds notice nothing, and the same number of other seeds.
    let folder = folder();
    let sound = digest(folder.path(), &[], "0..500");
    assert_ne!(digest(folder.path(), &[], "1..501"), sound);
    assert_ne!(digest(folder.path(), &["--mutant", "unfenced"], "0..500"), sound);
    assert_ne!(digest(folder.path(), &["twin-consume-first"], "0..500"), sound);
}

#[test]
fn other_seeds_are_other_schedules() {
    // The control: an empty trace would be the same for all.
    let folder = folder();
    let traces = ["0..50", "50..100"].map(|seeds| {
        run(folder.path(), &["simulate", "--seeds", seeds, "--trace", "trace"]);
        let trace = fs::read_to_string(folder.path().join("trace")).expect("the trace was written");
        trace
            .lines()
            .map(|line| line.split_once(',').map_or("", |(_, rest)| rest).to_owned())
            .collect::<Vec<_>>()
    });
    assert_ne!(traces[0], traces[1]);
}

#[test]
fn the_shipped_order_survives() {
    let folder = folder();
    let output = run(folder.path(), &["simulate", "--seeds", "0..6000"]);
    let said = text(&output.stdout);
    assert_eq!(code(&output), 0, "{said}");
    assert!(
        said.contains("No schedule violated a property") && said.contains("canary     noticed"),
        "{said}"
    );
    assert!(!folder.path().join("failures").exists(), "nothing failed");
}

/// Simulates a known-bad flow, which has to print this, and replays its failure of S7.
fn is_broken_as_expected(flow: &str, seeds: &str, prints: &str) {
    let folder = folder();
    let output = run(folder.path(), &["simulate", flow, "--seeds", seeds]);
    let said = text(&output.stdout);
    assert_eq!(code(&output), 0, "{said}");
    assert!(said.contains("Nothing is violated but what is expected"), "{said}");
    assert!(said.contains("shrunk to 5 actions, as the model's shortest"), "{said}");
    assert!(said.contains(prints), "{said}");
    let failure = folder.path().join(format!("failures/{flow}-S7.json"));
    let output = run(folder.path(), &["replay", failure.to_str().expect("text")]);
    assert_eq!(code(&output), 1);
    assert!(text(&output.stderr).contains("S7 is violated again, as by seed"));
}

#[test]
fn a_known_bad_order_is_broken_as_expected() {
    is_broken_as_expected("twin-consume-first", "0..6000", "shrunk to 7 actions, as the model's shortest");
}

/// The model of this one has more than a million states.
#[test]
#[ignore = "slow tier"]
fn a_run_that_needs_other_faults_than_the_models_shortest_says_so() {
    is_broken_as_expected(
        "consume-last",
        "0..20000",
        "(the model's shortest: 9, 9 with its faults; other faults)",
    );
}

#[test]
fn the_canary_is_a_violation() {
    let folder = folder();
    let output = run(folder.path(), &["simulate", "--mutant", "canary", "--seeds", "0..4000"]);
    assert_eq!(code(&output), 1);
    assert!(text(&output.stdout).contains("Violated, and not expected to be: "), "{}", text(&output.stdout));
}

#[test]
fn a_campaign_that_met_too_little_says_so() {
    let folder = folder();
    let output = run(folder.path(), &["simulate", "--seeds", "0..5"]);
    assert_eq!(code(&output), 3);
    assert!(text(&output.stdout).contains("Not covered, because it never happened: "));
}

#[test]
fn shards_add_up() {
    let folder = folder();
    let json = |args: &[&str]| {
        // The model of this flow is small: what is found is compared with it for each shard.
        let args = [&["simulate", "twin-consume-first", "--format", "json"], args].concat();
        let output = run(folder.path(), &args);
        assert!(code(&output) == 0 || code(&output) == 3, "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let whole: Value = serde_json::from_str(&json(&["--seeds", "0..2000"])).expect("JSON");
    for shard in ["1", "2", "3"] {
        let report = json(&["--seeds", "0..2000", "--shard", &format!("{shard}/3")]);
        fs::write(folder.path().join(shard), report).expect("a file");
    }
    let output = run(folder.path(), &["simulate", "merge", "1", "2", "3", "--format", "json"]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let sum: Value = serde_json::from_str(&text(&output.stdout)).expect("JSON");
    for name in ["schedules", "actions", "coverage", "findings", "divergences", "modelled_steps"] {
        assert_eq!(sum["report"][name], whole["report"][name], "{name}");
    }
    for shrunk in [&whole["shrunk"], &sum["shrunk"]] {
        assert_eq!((&shrunk["S7"]["model_shortest"], &shrunk["S7"]["differs"]), (&6.into(), &Value::Null));
        assert_eq!((&shrunk["L2"]["modelled"], &shrunk["L2"]["differs"]), (&6.into(), &Value::Null));
    }
    let output = run(folder.path(), &["simulate", "merge", "1", "2", "3"]);
    assert!(text(&output.stdout).contains("0..2000 shard 2/3"), "{}", text(&output.stdout));
    let output = run(folder.path(), &["simulate", "merge", "1", "1"]);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("it has seeds that another one has, too"));
}

#[test]
fn bad_usage_reports_what_was_expected() {
    let folder = folder();
    for (args, expected) in [
        (&["--seeds", "5..5"][..], "expected two numbers, the first one smaller, as in 0..100000"),
        (&["--seeds", "many"], "expected two numbers, the first one smaller, as in 0..100000"),
        (&["--shard", "4/3"], "expected two numbers from 1, the first one not larger, as in 3/16"),
        (&["--shard", "0/3"], "expected two numbers from 1, the first one not larger, as in 3/16"),
        (
            &["--mutant", "dragon"],
            "found the unknown mutant `dragon`, expected one of forgotten-on-restart, ",
        ),
        (&["no-such-flow"], "found neither a built-in flow of this name nor such a file"),
        (&["--trace", "no/such/folder"], "no/such/folder: cannot be written: "),
    ] {
        let output = run(folder.path(), &[&["simulate"], args].concat());
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(text(&output.stderr).contains(expected), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_failure_is_drawn() {
    let folder = folder();
    for (name, file) in [
        ("burned", "consume-first-S1.json"),
        ("stale_worker", "atomic-commit-keyed-unfenced-S14.json"),
        ("another_team", "atomic-commit-keyed-owner-ignored-S12.json"),
    ] {
        let output = run(folder.path(), &["replay", kept(file).to_str().expect("text")]);
        assert_eq!(code(&output), 1);
        assert_snapshot!(format!("replay_{name}"), text(&output.stdout));
    }
    let file = kept("consume-first-S1.json");
    let output = run(folder.path(), &["replay", file.to_str().expect("text"), "--format", "mermaid"]);
    assert!(text(&output.stdout).contains("sequenceDiagram"));
}

#[test]
fn a_file_that_is_not_a_failure_is_refused_with_the_reason() {
    let folder = folder();
    let good = fs::read_to_string(kept("consume-first-S1.json")).expect("it is kept");
    let changed = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    for (content, expected) in [
        (String::new(), "failure.json:1:0: EOF while parsing a value"),
        ("[]".to_owned(), "failure.json:1:"),
        ("{\n\"version\": 1}".to_owned(), "failure.json:2:12: invalid type: integer `1`, expected a string"),
        (changed("\"seed\"", "\"sead\""), "unknown field `sead`"),
        (changed("\"S1\"", "\"S99\""), "`property` names no property"),
        (
            changed("\"approval\": 0", "\"approval\": 7"),
            "names an `approval` or an `instance` that is not there",
        ),
        (changed("\"team\": ", "\"team\": 1"), "expected a `team` and a `family` from 0 to 7"),
        (changed("do = ", "du = "), "`flow_file`: "),
        (
            changed("via = \\\"memory\\\"", "via = \\\"row\\\""),
            "`flow_file`: the step `launch` uses `act` with",
        ),
        (changed("\"approve\"", "\"aprove\""), "unknown variant `aprove`"),
    ] {
        fs::write(folder.path().join("failure.json"), content).expect("a file");
        let output = run(folder.path(), &["replay", "failure.json"]);
        assert_eq!(code(&output), 2, "{expected}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(expected), "{expected}: {}", text(&output.stderr));
    }
    fs::write(folder.path().join("failure.json"), b"\n\xff").expect("a file");
    let output = run(folder.path(), &["replay", "failure.json"]);
    assert!(text(&output.stderr).contains("failure.json:2: found a byte that is not UTF-8"));
    let output = run(folder.path(), &["replay", "missing.json"]);
    assert_eq!((code(&output), text(&output.stderr).contains("missing.json: cannot be read")), (2, true));
}

#[test]
fn a_failure_of_which_actions_were_skipped_is_not_called_repaired() {
    let folder = folder();
    let kept = fs::read_to_string(kept("consume-first-S1.json")).expect("it is kept");
    let replay = |actions: Value| {
        let mut failure: Value = serde_json::from_str(&kept).expect("JSON");
        failure["actions"] = actions;
        fs::write(folder.path().join("failure.json"), failure.to_string()).expect("a file");
        let output = run(folder.path(), &["replay", "failure.json"]);
        (code(&output), text(&output.stderr))
    };
    let approve = serde_json::json!({ "approve": { "approval": 0 } });
    let (exit, said) = replay(serde_json::json!([approve]));
    assert!(exit == 0 && said.contains("S1 is not violated any more"), "{exit}: {said}");
    let (exit, said) = replay(serde_json::json!([approve, approve]));
    assert!(exit == 2 && said.contains("whether S1 is still violated is unknown"), "{exit}: {said}");
    assert!(said.contains("1 of 2 actions were not possible, and were skipped"), "{said}");
    // Violations found so far are valid.
    let whole: Value = serde_json::from_str(&kept).expect("JSON");
    let mut longer = whole["actions"].as_array().expect("a list").clone();
    longer.insert(1, approve);
    let (exit, said) = replay(Value::Array(longer));
    assert!(exit == 1 && said.contains("S1 is violated again"), "{exit}: {said}");
}

const ALLOWED: &str = r#"{"kind":"promote.approval_requested","approval_id":"a1","at":"2026-01-01T00:00:00Z","by":"dev@example.com"}
{"kind":"promote.approval_requested","approval_id":"b2","at":"2026-01-01T00:00:01Z"}

{"kind":"promote.approved","approval_id":"a1","at":"2026-01-01T10:00:00.5Z"}
{"kind":"promote.rejected","approval_id":"b2","at":"2026-01-01T10:00:01Z"}
{"kind":"promote.executed","approval_id":"a1","at":"2026-01-01T23:59:59.999Z"}
"#;

#[test]
fn an_audit_log_is_held_against_a_flow() {
    let folder = folder();
    let audit = |log: &str, flow: &str| {
        fs::write(folder.path().join("log.ndjson"), log).expect("a file");
        let output = run(folder.path(), &["replay", "--audit", "log.ndjson", "--flow", flow]);
        (code(&output), text(&output.stdout) + &text(&output.stderr))
    };
    let (exit, said) = audit(ALLOWED, "atomic-commit");
    assert!(exit == 0 && said.ends_with("5 events of 2 approvals: all allowed by atomic-commit\n"), "{said}");
    assert!(said.starts_with("Checked: each event against the transitions of its approval."), "{said}");

    let late = ALLOWED.replace("2026-01-01T23:59:59.999Z", "2026-01-02T00:00:00Z");
    let (exit, said) = audit(&late, "atomic-commit");
    assert_eq!(exit, 1);
    assert_snapshot!("audit_executed_late", said);
    // The merged fix does not look at the clock: for it the same log is one that it can write.
    assert_eq!(audit(&late, "consume-last").0, 0);

    let twice = format!("{ALLOWED}{}", ALLOWED.lines().last().expect("a line"));
    let (exit, said) = audit(&twice, "atomic-commit");
    assert_eq!(exit, 1);
    assert!(said.contains("log.ndjson:7: promote.executed is not allowed"), "{said}");
    assert!(said.contains("1 of 2 approvals did what atomic-commit never does"), "{said}");

    let cut = ALLOWED.lines().skip(3).collect::<Vec<_>>().join("\n");
    assert!(audit(&cut, "atomic-commit").1.contains("expected the request first: is the log whole?"));
}

#[test]
fn a_bad_line_of_an_audit_log_is_reported_by_number() {
    let folder = folder();
    for (line, expected) in [
        ("{", "log.ndjson:2: found EOF while parsing an object"),
        (
            r#"{"kind":"x","approval_id":"a1","at":"2026-01-01T00:00:00Z"}"#,
            "log.ndjson:2: found the unknown kind `x`",
        ),
        (
            r#"{"kind":"promote.approved","approval_id":"a1","at":"now"}"#,
            "found `now`, which is no time in RFC 3339",
        ),
        (r#"{"kind":"promote.approved","at":"2026-01-01T00:00:00Z"}"#, "missing field `approval_id`"),
    ] {
        let first = ALLOWED.lines().next().expect("a line");
        fs::write(folder.path().join("log.ndjson"), format!("{first}\n{line}\n")).expect("a file");
        let output = run(folder.path(), &["replay", "--audit", "log.ndjson"]);
        assert_eq!(code(&output), 2, "{line}");
        assert!(text(&output.stderr).contains(expected), "{line}: {}", text(&output.stderr));
    }
    fs::write(folder.path().join("log.ndjson"), "\n").expect("a file");
    let output = run(folder.path(), &["replay", "--audit", "log.ndjson"]);
    assert_eq!((code(&output), text(&output.stderr).contains("found no event")), (2, true));
}

/// Once the folder of the failures exists, Ctrl-C is caught.
#[cfg(unix)]
#[test]
fn an_interrupted_campaign_prints_what_there_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let failures = folder.path().join("failures");
    let child = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["simulate", "--seeds", "0..100000000", "--threads", "1", "--failures"])
        .arg(&failures)
        .env("NO_COLOR", "1")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary was built");
    while !failures.exists() {
        std::thread::yield_now();
    }
    let signalled = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(signalled.expect("kill runs").success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("atomic-commit-keyed, seeds 0.."), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("interrupted"), "{}", text(&output.stderr));
}
