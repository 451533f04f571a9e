//! Invalid input is reported before the start, with file, line and column if possible.

use std::{fs, net::TcpListener};

use countersign_testkit::unused_port;
use insta::assert_snapshot;

use crate::process::{Workplace, bare, refusal, stdout};

/// The error for a configuration with this content.
fn refused(content: &str) -> String {
    let workplace = Workplace::new();
    workplace.write("gate.toml", content);
    workplace.refusal_of_check(&["--store", "memory", "--config", "gate.toml"])
}

#[test]
fn an_unknown_key_is_refused() {
    assert_snapshot!("unknown_key", refused("listen = \"127.0.0.1:0\"\n\n[workers]\ncuont = 3\n"));
}

#[test]
fn a_value_of_another_type_is_refused() {
    assert_snapshot!("wrong_type", refused("[workers]\ncount = \"three\"\n"));
    assert_snapshot!("zero_workers", refused("[workers]\ncount = 0\n"));
}

#[test]
fn a_value_that_means_nothing_is_refused_and_not_repeated() {
    assert_snapshot!("no_store", refused("store = \"mysql://root@db\"\n"));
    assert_snapshot!("no_time", refused("[workers]\nlease = \"soon\"\n"));
    assert_snapshot!(
        "no_plan",
        refused("[[tenant]]\nteam = \"00000000-0000-0000-0000-000000000001\"\nplan = \"gold\"\n")
    );
    assert_snapshot!("no_strategy", refused("strategy = \"hope\"\n"));
}

#[test]
fn what_is_no_toml_is_refused() {
    assert_snapshot!("not_toml", refused("listen = 127.0.0.1:80\n"));
}

#[test]
fn a_team_without_an_id_or_a_second_time_is_refused() {
    assert_snapshot!("no_team", refused("[[tenant]]\nplan = \"pro\"\n"));
    let team = "[[tenant]]\nteam = \"00000000-0000-0000-0000-000000000001\"\n";
    assert_snapshot!("team_twice", refused(&format!("{team}{team}")));
}

#[test]
fn a_command_that_is_not_there_is_refused() {
    assert_snapshot!("no_command", refused("[deployer]\ncommand = [\"/nowhere/deploy\", \"now\"]\n"));
}

#[test]
fn a_notifier_that_cannot_work_is_refused() {
    assert_snapshot!("two_ways", refused("[notifier]\nfolder = \"mail\"\nsmtp = \"smtps://mail\"\n"));
    assert_snapshot!("half_a_webhook", refused("[notifier]\nwebhook = \"https://example.com\"\n"));
    let unsafe_webhook = "[notifier]\nwebhook = \"http://example.com\"\nwebhook_secret = \"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\"\n";
    assert_snapshot!("unsafe_webhook", refused(unsafe_webhook));
}

#[test]
fn an_order_that_is_not_the_one_to_use_needs_a_switch_and_is_warned_of() {
    let workplace = Workplace::new();
    assert_snapshot!("unsafe_flow", workplace.refusal(&["--store", "memory", "--flow", "consume-last"]));
    let switch = [
        "check",
        "--listen",
        "127.0.0.1:0",
        "--store",
        "memory",
        "--flow",
        "consume-last",
        "--allow-unsafe-flow",
    ];
    let output = workplace.gate(&switch).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    assert_snapshot!("unsafe_flow_allowed", String::from_utf8(output.stderr).expect("text"));
}

#[test]
fn a_flow_that_the_gate_does_not_carry_out_is_refused_by_step_and_word() {
    let workplace = Workplace::new();
    let rows = "[[step]]\nname = \"payout\"\ndo = \"act\"\nvia = \"row\"\n";
    workplace.write("rows.toml", rows);
    let code = "[[step]]\nname = \"basket\"\ndo = \"check\"\nrefusals = [\"412 basket_too_small\"]\n";
    workplace.write("code.toml", code);
    for (file, expected) in [
        (
            "rows.toml",
            "rows.toml: the step `payout` uses `act` with `via = \"row\"`, which the production driver",
        ),
        ("code.toml", "code.toml: the step `basket` lists \"412 basket_too_small\", which no check"),
    ] {
        let args = ["--store", "memory", "--flow", file, "--allow-unsafe-flow"];
        for said in [workplace.refusal(&args), workplace.refusal_of_check(&args)] {
            assert!(said.contains(expected), "{said}");
        }
    }
}

#[test]
fn a_lease_goes_with_the_order_to_use_and_with_no_other() {
    let workplace = Workplace::new();
    let check = ["check", "--listen", "127.0.0.1:0", "--store", "memory", "--contention", "lease"];
    let output = workplace.gate(&check).output().expect("it runs");
    assert_eq!(stdout(&output), "all of it would work, with atomic-commit-lease in memory\n");
    assert_eq!(output.stderr, b"");
    let attacked =
        ["--store", "memory", "--contention", "lease", "--flow", "consume-last", "--allow-unsafe-flow"];
    assert_snapshot!("lease_for_another_flow", workplace.refusal(&attacked));
    let by_name = ["--store", "memory", "--flow", "atomic-commit-lease"];
    assert_snapshot!("lease_by_name", workplace.refusal(&by_name));
    assert_snapshot!("no_contention", refused("contention = \"queue\"\n"));
}

#[test]
fn a_switch_is_a_variable_as_variables_are_written() {
    let workplace = Workplace::new();
    let with = |value: &str| {
        let args = ["check", "--listen", "127.0.0.1:0", "--store", "memory", "--flow", "consume-last"];
        let mut command = workplace.gate(&args);
        command.env("COUNTERSIGN_ALLOW_UNSAFE_FLOW", value);
        command
    };
    for value in ["1", "true", "YES", "on"] {
        assert_eq!(with(value).output().expect("it runs").status.code(), Some(0), "{value}");
    }
    for value in ["0", "false", "no"] {
        assert!(refusal(&mut with(value)).contains("--allow-unsafe-flow runs it all the same"), "{value}");
    }
    for value in ["", "maybe"] {
        let said = refusal(&mut with(value));
        assert!(said.contains("'--allow-unsafe-flow': expected true or false"), "{said}");
    }
    let mut command = workplace.gate(&["serve", "--store", "memory"]);
    let said = refusal(command.env("COUNTERSIGN_FORBID_SELF_APPROVAL", "maybe"));
    assert!(said.contains("--forbid-self-approval") && said.contains("expected true or false"), "{said}");
}

#[test]
fn an_unsupported_strategy_of_sqlite_is_refused_with_the_supported_ones() {
    let workplace = Workplace::new();
    let args = ["--store", "sqlite:gate.db", "--strategy", "advisory-lock"];
    for said in [workplace.refusal(&args), workplace.refusal_of_check(&args)] {
        assert_snapshot!("strategy_of_another_store", said);
    }
}

#[test]
fn without_a_secret_there_is_no_gate() {
    assert_snapshot!("no_secret", refusal(&mut bare(&["serve", "--store", "memory"])));
}

#[test]
fn a_secret_that_can_be_guessed_is_refused_where_others_can_reach_it() {
    let workplace = Workplace::new();
    let refused = |args: &[&str]| {
        let args = [&["check", "--store", "memory"], args].concat();
        refusal(workplace.gate(&args).env("COUNTERSIGN_SECRET", "guess me"))
    };
    assert_snapshot!("weak_secret", refused(&["--listen", "0.0.0.0:0"]));
    assert!(refused(&["--public-url", "https://gate.example.com"]).contains("the secret has 8 bytes"));
    let mut here = workplace.gate(&["check", "--listen", "127.0.0.1:0", "--store", "memory"]);
    let here = here.env("COUNTERSIGN_SECRET", "guess me").output().expect("it runs");
    assert_eq!(here.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&here.stderr).contains("WARNING: the secret has 8 bytes"));
}

#[test]
fn a_port_in_use_is_reported() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it has one").to_string();
    let workplace = Workplace::new();
    let said = refusal(&mut workplace.gate(&["serve", "--store", "memory", "--listen", &address]));
    // In a log line before it there is a time.
    let said = said.replace(&address, "ADDRESS");
    assert_snapshot!("port_in_use", said);
}

#[test]
fn a_store_that_cannot_be_opened_is_reported_without_its_password() {
    let workplace = Workplace::new();
    let said = workplace.refusal(&["--store", "sqlite:nowhere/at/all.db"]);
    assert!(said.contains("sqlite:nowhere/at/all.db: the store cannot be opened"), "{said}");
    let closed = format!("127.0.0.1:{}", unused_port());
    let said = workplace.refusal(&["--store", &format!("postgres://gate:pass-word@{closed}/gate")]);
    assert!(said.contains(&format!("postgres://{closed}/gate: the store cannot be opened")), "{said}");
    assert!(!said.contains("pass-word"), "{said}");
    fs::write(workplace.path("no.db"), "this is no database, and long enough to be seen as none")
        .expect("a file");
    let said = workplace.refusal(&["--store", "sqlite:no.db"]);
    assert!(said.contains("the store cannot be opened"), "{said}");
}

#[test]
fn an_unwritable_mail_folder_is_reported() {
    let workplace = Workplace::new();
    workplace.write("mail", "a file");
    let said = workplace.refusal(&["--store", "memory"]);
    assert!(said.contains("mail: mails cannot be written to this folder"), "{said}");
}

#[test]
fn bad_usage_is_reported_with_what_was_expected() {
    let workplace = Workplace::new();
    for (args, expected) in [
        (["--store", "redis://x"], "expected sqlite:PATH, postgres://… or memory"),
        (["--public-url", "gate"], "expected https://HOST"),
        (["--operator", "nobody"], "expected an e-mail address"),
        (["--log", "loud"], "possible values: human, json"),
        (["--config", "gate.toml"], "gate.toml: cannot be read"),
    ] {
        let said = workplace.refusal(&args);
        assert!(said.contains(expected), "{said}");
    }
}
