//! The gate as its operators meet it: started, checked, misconfigured, promoted through, and stopped.

mod archive;
mod audit;
mod authorities;
mod bad_input;
mod checking;
mod deploys;
mod disk;
mod links;
mod logs;
mod outages;
mod probes;
mod process;
mod promote;
mod reload;
mod secrets;
#[path = "../http/signer.rs"]
mod signer;
mod stopping;

use process::{SECRET, Workplace, finished, stdout};

#[test]
fn a_token_is_printed_and_nothing_else() {
    let team = "00000000-0000-0000-0000-00000000000a";
    let output = finished(&["token", "--secret", SECRET, "--team", team, "--email", "dev@example.com"]);
    assert_eq!(output.status.code(), Some(0));
    let printed = stdout(&output);
    let token = printed.strip_suffix('\n').expect("a line");
    assert_eq!(token.split('.').count(), 3);
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{token}");
    assert_eq!(output.stderr, b"");
}

#[test]
fn the_demo_takes_a_newcomer_through_a_promote() {
    let output = finished(&["demo"]);
    let told = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    for part in [
        "pending_approval",
        "/approve/",
        "approval_payload_mismatch",
        "consumed: false",
        "idempotency-replayed: true",
        "promote.executed",
        "409",
        "consumed: true",
    ] {
        assert!(told.contains(part), "{part} should be in\n{told}");
    }
}

#[test]
fn an_option_comes_before_its_variable_and_that_before_the_file() {
    let workplace = Workplace::new();
    let config = workplace
        .write("gate.toml", "store = \"sqlite:file.db\"\nmail = 1\n".replace("mail = 1\n", "").as_str());
    let check = |variable: Option<&str>, option: &[&str]| {
        let mut command = workplace.gate(&["check", "--listen", "127.0.0.1:0", "--config", &config]);
        command.args(option);
        if let Some(variable) = variable {
            command.env("COUNTERSIGN_STORE", variable);
        }
        let said = stdout(&command.output().expect("it runs"));
        said.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(check(None, &[]), "all of it would work, with atomic-commit in sqlite:file.db");
    let variable = Some("sqlite:variable.db");
    assert_eq!(check(variable, &[]), "all of it would work, with atomic-commit in sqlite:variable.db");
    let option = &["--store", "memory"];
    assert_eq!(check(variable, option), "all of it would work, with atomic-commit in memory");
}
