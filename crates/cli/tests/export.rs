//! `countersign export` as a user meets it, and as spin, tla-checker and z3 read its files.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use countersign_models::{
    explorer::{Limits, explore},
    flows::BuiltIn,
    model::{Bounds, Model},
};

fn export(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_countersign"))
        .arg("export")
        .args(args)
        .env("NO_COLOR", "1")
        .output()
        .expect("the binary was built")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

const SMALL: [&str; 6] = ["--callers", "1", "--crashes", "0", "--faults", "0"];

#[test]
fn a_rule_has_a_comment_in_words() {
    for (language, comment) in [("promela", "/* "), ("tla", "\\* "), ("smt2", "; ")] {
        let output = export(&[&["magic-link", "--to", language], SMALL.as_slice()].concat());
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let rule = format!("{comment}caller uses the link (link): 410 (expired)");
        assert!(stdout(&output).contains(&rule), "{}", stdout(&output));
    }
}

#[test]
fn a_language_has_to_be_named() {
    let output = export(&["magic-link"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("--to <LANGUAGE>"), "{}", stderr(&output));
    let output = export(&["magic-link", "--to", "alloy"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("promela, tla, smt2"), "{}", stderr(&output));
}

#[test]
fn an_unknown_flow_is_refused() {
    let output = export(&["magic-lonk", "--to", "promela"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("magic-link"), "{}", stderr(&output));
}

#[test]
fn a_limit_prints_nothing_and_exits_with_3() {
    for language in ["promela", "smt2"] {
        let output = export(&["atomic-commit", "--to", language, "--max-states", "10"]);
        assert_eq!(code(&output), 3);
        assert_eq!(stdout(&output), "");
        assert!(stderr(&output).contains("more than 10 states"), "{}", stderr(&output));
    }
}

#[test]
fn a_flow_that_cannot_be_exported_says_why() {
    let output = export(&["lease-unfenced", "--to", "smt2"]);
    assert_eq!(code(&output), 2);
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("the world refers to an attempt"), "{}", stderr(&output));
}

/// True if a program can be started. In CI it has to be.
fn has(program: &str, argument: &str) -> bool {
    let is_there = Command::new(program).arg(argument).output().is_ok();
    assert!(
        is_there || std::env::var_os("CI").is_none(),
        "{program} is missing (scripts/ci-tools.sh installs it)"
    );
    if !is_there {
        println!("skipped: {program} is missing (scripts/ci-tools.sh installs it)");
    }
    is_there
}

fn run(folder: &Path, program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(folder).output().expect("it is there");
    assert!(output.status.success(), "{program} {args:?}: {}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

/// The explorer's count for a flow with one caller, a crash and a fault.
fn states(flow: &str) -> usize {
    let flow = BuiltIn::find(flow).expect("a built-in flow").subject().flow;
    let model = Model::new(flow, Bounds { consumers: 1, crashes: 1, faults: 1 });
    explore(&model, Limits::default(), &mut |_| std::ops::ControlFlow::Continue(())).states()
}

fn number_before(text: &str, mark: &str) -> usize {
    let before = &text[..text.find(mark).unwrap_or_else(|| panic!("no `{mark}` in {text}"))];
    before.split_whitespace().last().and_then(|number| number.parse().ok()).expect("a number")
}

const ONE: [&str; 6] = ["--callers", "1", "--crashes", "1", "--faults", "1"];

/// The count of spin, and whether it finds S5 violated.
fn spin(folder: &Path, text: &str) -> (usize, bool) {
    fs::write(folder.join("flow.pml"), text).expect("a file");
    run(folder, "spin", &["-o2", "-a", "flow.pml"]);
    run(folder, "cc", &["-w", "-DSAFETY", "-DNOREDUCE", "-DNOCLAIM", "-o", "pan", "pan.c"]);
    let printed = run(folder, "./pan", &["-c0", "-E", "-m100000"]);
    (number_before(&printed, " states, stored"), printed.contains("assertion violated (S!=5)"))
}

#[test]
fn spin_counts_the_states_that_the_explorer_counts_and_notices_a_rule_that_is_left_out() {
    if !has("spin", "-V") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let text = |flow| stdout(&export(&[&[flow, "--to", "promela"], ONE.as_slice()].concat()));
    assert_eq!(spin(folder.path(), &text("atomic-commit")), (states("atomic-commit"), false));
    assert_eq!(spin(folder.path(), &text("coupon-redeem")), (states("coupon-redeem"), true));
    let leases = ":: d_step { job1 == job_ready";
    let broken = text("atomic-commit").replace(leases, ":: d_step { false && job1 == job_ready");
    assert_ne!(broken, text("atomic-commit"));
    assert_ne!(spin(folder.path(), &broken).0, states("atomic-commit"));
}

#[test]
fn tla_checker_counts_the_states_that_the_explorer_counts() {
    if !has("tla", "--version") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let text = stdout(&export(&[&["atomic-commit", "--to", "tla"], ONE.as_slice()].concat()));
    fs::write(folder.path().join("flow.tla"), text.replace("MODULE flow_atomic_commit", "MODULE flow"))
        .expect("a file");
    let printed = run(folder.path(), "tla", &["--allow-deadlock", "--max-depth", "100000", "flow.tla"]);
    let count = printed.split("Reachable states: ").nth(1).and_then(|rest| rest.split_whitespace().next());
    assert_eq!(count, Some(states("atomic-commit").to_string().as_str()), "{printed}");
}

#[test]
fn z3_proves_for_any_number_what_a_link_keeps_and_not_what_it_violates() {
    if !has("z3", "--version") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    for (flow, property, expected) in [("magic-link", "S17", "sat"), ("magic-link", "S1", "unsat")] {
        let text = stdout(&export(&[flow, "--to", "smt2"]));
        let parts: Vec<&str> = text.split("(push)").collect();
        let echo = format!("(echo \"{property}\")");
        let asked = parts.iter().find(|part| part.contains(&echo)).expect("it applies");
        fs::write(folder.path().join("flow.smt2"), format!("{}(push){asked}", parts[0])).expect("a file");
        let output = Command::new("z3").arg(folder.path().join("flow.smt2")).output().expect("it is there");
        assert_eq!(stdout(&output).split_whitespace().nth(1), Some(expected), "{}", stdout(&output));
    }
}
