//! The command line as a user meets it: exit codes, messages, JSON, and that the README shows what a run prints.

#[path = "cli/remarks.rs"]
mod remarks;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use countersign_models::properties::Property;
use insta::assert_snapshot;
use serde_json::Value;

fn countersign(args: &[&str]) -> Output {
    // Colours depend on where it runs.
    Command::new(env!("CARGO_BIN_EXE_countersign"))
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

/// Runs it on a file of this content; what it says, with the path left out.
fn refusal_of(content: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("flow.toml");
    fs::write(&path, content).expect("a file");
    let output = countersign(&["verify", path.to_str().expect("text")]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
    stderr(&output).replace(folder.path().to_str().expect("text"), "FOLDER")
}

fn json(args: &[&str]) -> (i32, Value) {
    let output = countersign(&[&["verify", "--format", "json"], args].concat());
    (code(&output), serde_json::from_str(&stdout(&output)).expect("JSON"))
}

#[test]
fn all_built_in_flows_are_judged_as_expected_within_100_columns() {
    let output = countersign(&["verify"]);
    assert_eq!(code(&output), 0);
    let printed = stdout(&output);
    assert!(printed.contains("Every verdict is as expected"));
    assert!(printed.contains("3 callers, 1 crash, 1 fault"));
    let longest = printed.lines().map(|line| line.chars().count()).max();
    assert!(longest.is_some_and(|longest| longest <= 100), "{longest:?} columns");
    // A matrix for few flows, a line each for many.
    assert!(
        printed.contains("Orders of a deployment gate") && printed.contains("  18-genova-deploy-buggy  ")
    );
}

/// The code blocks of the README in this language.
fn blocks(language: &str) -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(readme).expect("the README");
    let parts: Vec<&str> = readme.split("```").collect();
    let blocks = parts.iter().skip(1).step_by(2).filter_map(|block| block.strip_prefix(language));
    blocks.map(|block| block.trim_start_matches('\n').to_owned()).collect()
}

#[test]
fn the_readme_shows_what_its_flow_file_comes_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("coupon.toml");
    fs::write(&path, &blocks("toml\n")[0]).expect("a file");
    let output = countersign(&["show", path.to_str().expect("text"), "S2"]);
    let drawn = stdout(&output);
    let shown = &blocks("text\n")[0];
    assert!(drawn.contains(shown.trim_end()), "the README should show:\n{drawn}");
    let verified = countersign(&["verify", path.to_str().expect("text")]);
    let advice = &blocks("text\n")[1];
    assert!(stdout(&verified).contains(advice.trim_end()), "the README should show:\n{}", stdout(&verified));
    let violated = stdout(&verified).lines().filter(|line| line.contains('✗') && line.contains('!')).count();
    // The flow's line, and S2, S3, S5, L1.
    assert_eq!((code(&verified), violated), (1, 5));
}

#[test]
fn the_json_has_exactly_the_names_that_are_promised() {
    let (exit, report) = json(&["consume-last", "--consumers", "2"]);
    let flow = &report["flows"][0];
    assert_eq!(report.as_object().map(|report| report.len()), Some(1));
    let names = |value: &Value| {
        let mut names: Vec<String> = value.as_object().expect("an object").keys().cloned().collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(flow), "bounds complete cutoff_callers edges flow properties seconds states");
    assert_eq!(names(&flow["bounds"]), "consumers crashes faults");
    let properties = flow["properties"].as_array().expect("an array");
    for property in properties {
        assert_eq!(
            names(property),
            "counterexample expected id kind name proved_for_any_number verdict witness"
        );
    }
    assert_eq!((&flow["flow"], &flow["complete"]), (&"consume-last".into(), &true.into()));
    assert_eq!(properties.len(), 24);
    let s5 = properties.iter().find(|property| property["id"] == "S5").expect("S5");
    assert_eq!(s5["verdict"], "broken");
    assert_eq!(s5["counterexample"][0], "operator approves the approval");
    assert_eq!(s5["counterexample"].as_array().map(Vec::len), Some(8));
    // The only rival asks for another payload, so that no caller can lose to it: S3 is vacuous, as it may be below the
    // default bounds.
    assert_eq!(exit, 0);
    let s3 = properties.iter().find(|property| property["id"] == "S3").expect("S3");
    assert_eq!(
        (&s3["verdict"], &s3["witness"], &s3["expected"]),
        (&"holds".into(), &false.into(), &true.into())
    );
}

#[test]
fn a_cut_off_run_exits_with_3_and_says_nothing_holds() {
    for limit in [["--max-states", "100"], ["--max-depth", "2"], ["--memory", "1KiB"], ["--time", "0s"]] {
        let (exit, report) = json(&[&["atomic-commit"], &limit[..]].concat());
        assert_eq!(exit, 3, "{limit:?}");
        assert_eq!(report["flows"][0]["complete"], false);
        let verdicts = report["flows"][0]["properties"].as_array().expect("an array").iter();
        let says_nothing = |verdict: &Value| verdict == "unknown" || verdict == "does not apply";
        assert!(verdicts.into_iter().all(|property| says_nothing(&property["verdict"])), "{limit:?}");
    }
}

#[test]
fn a_verdict_that_its_file_does_not_expect_exits_with_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("burns.toml");
    fs::write(&path, "[[step]]\ndo = \"consume\"\nguards = [\"status\"]\n\n[[step]]\ndo = \"check\"\n")
        .expect("a file");
    let output = countersign(&["verify", path.to_str().expect("text")]);
    assert_eq!(code(&output), 1);
    let printed = stdout(&output);
    assert!(printed.contains("S1 no_burn_on_refusal is violated after 3 actions, which is not expected"));
    assert!(printed.contains("verdicts not as expected"));
}

#[test]
fn bad_flow_files_are_pointed_into() {
    assert_snapshot!("unknown_key", refusal_of(b"[[step]]\ndo = \"check\"\nrefusal = [\"503 x\"]\n"));
    assert_snapshot!("unknown_word", refusal_of(b"[[step]]\ndo = \"valdiate\"\n"));
    assert_snapshot!("wrong_type", refusal_of(b"about = 1\n[[step]]\n"));
    assert_snapshot!("retired_word", refusal_of(b"[[step]]\ndo = \"launch\"\n"));
    assert_snapshot!("out_of_range", refusal_of(b"[object]\nuses = 0\n[[step]]\ndo = \"audit\"\n"));
    assert_snapshot!("contradiction", refusal_of(b"[[step]]\ndo = \"act\"\nvia = \"call\"\nunique = true\n"));
    assert_snapshot!(
        "unknown_step",
        refusal_of(
            b"[[step]]\ndo = \"lease\"\nuntil = \"setle\"\n[[step]]\ndo = \"check\"\nname = \"settle\"\n"
        )
    );
    assert_snapshot!("empty", refusal_of(b""));
    assert_snapshot!("not_utf_8", refusal_of(b"about = \"caf\xe9\"\n"));
    assert_snapshot!("ten_megabytes", refusal_of(&vec![b'#'; 10 << 20]));
    assert_snapshot!(
        "ten_thousand_steps",
        refusal_of("[[step]]\ndo = \"audit\"\n".repeat(10_000).as_bytes())
    );
    assert_snapshot!("nested_atomic", refusal_of(b"[[step]]\natomic = [{ atomic = [] }]\n"));
    assert_snapshot!("not_toml", refusal_of(b"[[step]]\ndo = consume\n"));
    let long = format!("about = \"{}\"\n[[step]]\ndo = \"x\"\n", "y".repeat(500_000));
    assert!(refusal_of(long.as_bytes()).len() < 2_000, "a long line is not shown in full");
    let long = format!("step = [{{ do = \"audit\", name = \"{}\", x = 1 }}]\n", "é".repeat(100_000));
    assert!(refusal_of(long.as_bytes()).len() < 2_000, "nor is one with the problem far to the right");
}

#[test]
fn a_flow_that_is_too_large_for_the_model_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large.toml");
    let step = "[[step]]\ndo = \"write\"\nwhat = \"vault\"\nundo = true\n";
    fs::write(&path, format!("endpoint = {{ retry = \"keyless\" }}\n{}", step.repeat(64))).expect("a file");
    let path = path.to_str().expect("text");
    for command in [&["verify", path][..], &["show", path, "S1"], &["explore", path]] {
        let output = countersign(&[command, &["--consumers", "6"]].concat());
        let said = stderr(&output);
        assert_eq!(code(&output), 2, "{said}");
        assert!(said.contains("large: the flow is too large for the model with 6 callers"), "{said}");
        assert!(said.contains("--callers") && !said.contains("panicked"), "{said}");
    }
}

#[test]
fn what_is_no_file_is_said_to_be_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_str().expect("text");
    let cases = [
        (folder, "found a folder, expected a flow file"),
        ("missing.toml", "found no such file"),
        ("consume-frist", "did you mean `consume-first`?"),
        ("", "found neither a built-in flow"),
    ];
    for (name, expected) in cases {
        let output = countersign(&["verify", name]);
        assert_eq!(code(&output), 2);
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn bad_usage_exits_with_2() {
    let cases: &[&[&str]] = &[
        &["verify", "--consumers", "0"],
        &["verify", "--consumers", "7"],
        &["verify", "--crashes", "16"],
        &["verify", "--faults", "-1"],
        &["verify", "--threads", "0"],
        &["verify", "--threads", "99999999999"],
        &["verify", "--memory", "lots"],
        &["verify", "--memory", "4"],
        &["verify", "--only", "S99"],
        &["verify", "--only", "S14"],
        &["verify", "--fix"],
        &["verify", "consume-last", "--fix"],
        &["verify", "consume-last", "--fix=/no/such/folder/flow.toml"],
        &["verify", "--color", "sometimes"],
        &["verify", "--certificate", "proof.txt"],
        &["verify", "atomic-commit", "--certificate", "/no/such/folder/proof.txt"],
        &["verify", "atomic-commit", "--bounded", "--certificate", "proof.txt"],
        &["certify"],
        &["certify", "no-such-file"],
        &["certify", "/"],
        &["explain", "S99"],
        &["verify", "--time", "soon"],
        &["verify", "--format", "xml"],
        &["show", "consume-last"],
        &["show", "consume-last", "S14"],
        &["show", "consume-last", "at_most_one_exekution"],
        &["help", "flow"],
        &["explore", "consume-last", "--listen", "nowhere"],
        &["verfy"],
        &[],
    ];
    for args in cases {
        let output = countersign(args);
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(!stderr(&output).contains("panicked"), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn a_property_named_before_the_flow_gets_a_hint() {
    let output = countersign(&["show", "s7", "consume-last"]);
    assert_eq!(code(&output), 2);
    let said = stderr(&output);
    assert!(said.contains("found the property `s7`, expected a flow"), "{said}");
    assert!(said.contains("the flow comes first: `countersign show consume-last s7`"), "{said}");
}

#[test]
fn a_counterexample_is_drawn() {
    let s11 = countersign(&["show", "consume-last", "S11", "--callers", "2"]);
    assert_eq!(code(&s11), 0);
    assert_snapshot!("show_s11", stdout(&s11));
    assert_snapshot!(
        "show_l2",
        stdout(&countersign(&["show", "twin-consume-first", "target_eventually_settles"]))
    );
    assert_snapshot!(
        "mermaid_l2",
        stdout(&countersign(&["show", "twin-consume-first", "l2", "--format", "mermaid"]))
    );
}

#[test]
fn there_is_nothing_to_show_of_what_holds() {
    let output = countersign(&["show", "atomic-commit", "S1"]);
    assert_eq!(code(&output), 0);
    assert_eq!(stdout(&output), "");
    let proved = "S1 no_burn_on_refusal is proved for any number of callers, crashes and faults";
    assert!(stderr(&output).contains(proved));
    let vacuous = countersign(&["show", "19-idempot-retry-buggy", "S1"]);
    assert!(stderr(&vacuous).contains("holds within 3 callers, 1 crash, 1 fault, vacuously"));
}

#[test]
fn help_flows_says_what_the_page_says_within_80_columns() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/flows.md");
    let page = fs::read_to_string(page).expect("the page");
    let printed = stdout(&countersign(&["help", "flows"]));
    // Code is not wrapped.
    let code = |line: &str| line.starts_with("    ");
    let longest = printed.lines().filter(|line| !code(line)).map(|line| line.chars().count()).max();
    assert!(longest.is_some_and(|longest| longest <= 80), "{longest:?} columns");
    let words = |text: &str| text.matches("`approvers`").count();
    assert!(words(&printed) > 0 && words(&printed) == words(&page));
    assert!(!printed.contains("|---") && !printed.contains("<!--"), "{printed}");
}

#[test]
fn help_names_the_program_and_the_built_in_flows() {
    let version = stdout(&countersign(&["--version"]));
    assert!(version.starts_with("countersign 0."), "{version}");
    for args in [&["help", "verify"][..], &["verify", "--help"], &["help", "show"]] {
        let help = stdout(&countersign(args));
        assert!(help.contains("Usage: countersign ") && !help.contains("countersign-cli"), "{help}");
        assert!(help.contains("consume-first\n") && help.contains("01-librechat-invite-buggy"), "{help}");
    }
}

#[test]
fn every_property_is_explained() {
    let list = stdout(&countersign(&["explain"]));
    for property in Property::ALL {
        assert!(list.contains(&format!("{:>3} {}", property.id(), property.name())), "{property}");
    }
    let page = stdout(&countersign(&["explain", "Refusal-leaves-no-trace"]));
    for part in
        ["S7 refusal_leaves_no_trace", "Why it matters", "Shortest run", "gafaelfawr#1042", "How to fix it"]
    {
        assert!(page.contains(part), "{part} in\n{page}");
    }
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
    let lasting = stdout(&countersign(&["explain", "l1"]));
    assert!(lasting.contains("and so it stays: no move that is owed changes it"), "{lasting}");
    let cycle = stdout(&countersign(&["explain", "l2"]));
    assert!(
        cycle.contains("and from there, without any fault:") || cycle.contains("and so it stays"),
        "{cycle}"
    );
    let by_mutant = stdout(&countersign(&["explain", "s14"]));
    assert!(by_mutant.contains("--mutant unfenced"), "{by_mutant}");
    let shown = countersign(&["show", "atomic-commit", "S14"]);
    assert!(stderr(&shown).contains("`countersign simulate` judges it"), "{}", stderr(&shown));
}

#[test]
fn only_what_is_asked_for_is_judged() {
    let (exit, report) = json(&["04-vendure-coupon-buggy", "--only", "s2,losers-get-409"]);
    let properties = report["flows"][0]["properties"].as_array().expect("an array");
    let ids: Vec<&str> = properties.iter().filter_map(|property| property["id"].as_str()).collect();
    assert_eq!((exit, ids), (0, vec!["S2", "S3"]));
}

/// A flow file with a comment on each line that advice touches.
const COUPON: &str = "\
[object]
approvers = 0
bound = false
audited = false
expires = false
owner = false

[[step]]
do = \"consume\" # swap
guards = [] # none

[[step]]
do = \"act\"
name = \"payout\"
via = \"row\"
";

#[test]
fn advice_is_printed_and_fix_writes_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("coupon.toml");
    let name = path.to_str().expect("text");
    fs::write(&path, COUPON).expect("a file");
    let output = countersign(&["verify", name]);
    let said = stdout(&output);
    assert!(code(&output) == 1 && said.contains("make `consume` conditional on `status`"), "{said}");
    assert!(said.contains("put `consume` and `payout` into one transaction"), "{said}");
    assert_eq!(fs::read_to_string(&path).expect("the file"), COUPON, "nothing is written without --fix");

    let other = folder.path().join("other.toml");
    fs::write(&other, "").expect("a file");
    let other = format!("--fix={}", other.to_str().expect("text"));
    let refused = countersign(&["verify", name, &other]);
    assert!(code(&refused) == 2 && stderr(&refused).contains("the file exists"), "{}", stderr(&refused));

    let new = folder.path().join("new.toml");
    let fixed = countersign(&["verify", name, &format!("--fix={}", new.to_str().expect("text"))]);
    assert!(stderr(&fixed).contains("it violates nothing within"), "{}", stderr(&fixed));
    assert_eq!(fs::read_to_string(&path).expect("the file"), COUPON);
    let written = fs::read_to_string(&new).expect("the new file");
    assert!(written.contains("# swap") && written.contains("# none"), "{written}");

    assert_eq!(code(&countersign(&["verify", name, "--fix"])), 1, "what was judged had violations");
    assert_eq!(fs::read_to_string(&path).expect("the file"), written);
    assert_eq!(code(&countersign(&["verify", name])), 0);
}

/// A counter of uses that is read and then written: of three uses, only a fourth caller makes four.
const THREE_USES: &str = "\
[object]
uses = 3
approvers = 0
bound = false
audited = false
expires = false
owner = false

[[step]]
do = \"consume\"
how = \"read-then-write\"
guards = [\"status\"]
";

#[test]
fn a_run_with_more_callers_is_found_for_what_a_view_violates() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("three-uses.toml");
    let name = path.to_str().expect("text");
    std::fs::write(&path, THREE_USES).expect("written");
    let found = countersign(&["verify", name]);
    let printed = stdout(&found);
    assert!(printed.contains("S2: holds for 3 callers, and is violated with 4:"), "{printed}");
    assert_eq!(code(&found), 1, "{printed}");
    let bounded = countersign(&["verify", name, "--bounded"]);
    assert!(!stdout(&bounded).contains("violated with 4"), "{}", stdout(&bounded));
    std::fs::write(&path, format!("expect_broken = [\"S2\"]\n{THREE_USES}")).expect("written");
    let (_, report) = json(&[name, "--only", "S2"]);
    let s2 = &report["flows"][0]["properties"][0];
    assert_eq!((&s2["broken_with_callers"], &s2["expected"]), (&4.into(), &true.into()));
}

#[test]
fn a_certificate_is_written_checked_and_refused_once_it_was_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("proof.txt");
    let name = path.to_str().expect("text");
    let written = countersign(&["verify", "atomic-commit", "--certificate", name]);
    assert_eq!(code(&written), 0, "{}", stderr(&written));
    assert!(stdout(&written).contains("atomic-commit: 2 callers reach all of the"), "{}", stdout(&written));
    let again = countersign(&["verify", "atomic-commit", "--certificate", name]);
    assert!(code(&again) == 2 && stderr(&again).contains("the file exists"), "{}", stderr(&again));

    let valid = countersign(&["certify", name, "atomic-commit"]);
    assert_eq!(code(&valid), 0, "{}", stderr(&valid));
    assert!(stdout(&valid).contains("valid for the flow atomic-commit"), "{}", stdout(&valid));
    assert!(stdout(&valid).contains("L1, L2, L3, L4"), "{}", stdout(&valid));
    let alone = stdout(&countersign(&["certify", name]));
    assert!(alone.contains("[[step]]") && alone.contains("SHA-256"), "{alone}");

    let other = countersign(&["certify", name, "consume-first"]);
    assert!(
        code(&other) == 2 && stderr(&other).contains("about the flow with SHA-256"),
        "{}",
        stderr(&other)
    );
    let text = std::fs::read_to_string(&path).expect("the certificate");
    for (changed, exit, said) in [
        (text[..text.trim_end().rfind('\n').expect("lines")].to_owned(), 1, "not valid"),
        (text.replacen("\nversion ", "\nversion 0.0.", 1), 2, "checked by"),
        (text.replacen("certificate 2", "certificate 9", 1), 2, "line 1: found"),
    ] {
        std::fs::write(&path, changed).expect("written");
        let refused = countersign(&["certify", name]);
        assert_eq!(code(&refused), exit, "{}", stderr(&refused));
        assert!(stderr(&refused).contains(said), "{}", stderr(&refused));
    }
}

#[test]
fn a_locale_without_utf_8_gets_ascii_and_colours_can_be_forced() {
    let run = |args: &[&str], locale: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(args).env_remove("NO_COLOR").env("LC_ALL", locale);
        stdout(&command.output().expect("the binary was built"))
    };
    let shown = ["show", "04-vendure-coupon-buggy", "S2"];
    assert!(run(&shown, "C").is_ascii(), "{}", run(&shown, "C"));
    assert!(run(&shown, "en_US.UTF-8").contains('▶'));
    assert!(run(&["verify", "04-vendure-coupon-buggy"], "POSIX").is_ascii());
    assert!(run(&[&shown[..], &["--color", "always"]].concat(), "C").contains('\u{1b}'));
    assert!(!run(&[&shown[..], &["--color", "never"]].concat(), "C").contains('\u{1b}'));
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&countersign(&["completions", shell]));
        assert!(script.contains("countersign") && script.contains("explain"), "{shell}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_no_success() {
    let full = fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["verify", "atomic-commit"])
        .stdout(full)
        .output()
        .expect("the binary was built");
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("standard output cannot be written"));
}
