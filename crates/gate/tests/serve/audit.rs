//! The audit log of a running gate, read over HTTP as the README says, held against the flow that it runs.
//!
//! `countersign replay --audit` reads the same lines; `crates/cli/tests/simulate.rs` has its messages.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Output},
};

use countersign::{
    protocol::{Flow, Timestamp},
    store::AuditKind,
};
use countersign_models::audit::{Auditor, NotAllowed};
use serde_json::{Value, json};

use crate::{
    process::{SECRET, Server, TEAM, Workplace, ask_as, decide, eventually, finished, stdout},
    promote::{promote, requested, requested_as, shop, target},
};

fn administrator() -> String {
    let args = ["token", "--secret", SECRET, "--team", TEAM, "--email", "admin@example.com", "--admin"];
    stdout(&finished(&args)).trim_end().to_owned()
}

/// The events of all approvals, one a line, exactly as HTTP returns them.
fn log(server: &Server, bearer: &str) -> Vec<String> {
    let get = |path: &str| {
        let (status, body) = ask_as(&server.url, bearer, "GET", path, None, None);
        assert_eq!(status, 200, "{body}");
        body["items"].as_array().expect("a list").clone()
    };
    let approvals = get("/api/v1/admin/promotions?limit=200");
    let events = |approval: &Value| {
        get(&format!("/api/v1/audit?approval_id={}", approval["id"].as_str().expect("an id")))
    };
    approvals.iter().flat_map(events).map(|event| event.to_string()).collect()
}

/// The first event of each approval that the flow does not allow, with the number of its line.
fn not_allowed(lines: &[String]) -> Vec<usize> {
    let mut approvals: BTreeMap<String, Vec<(usize, AuditKind, Timestamp)>> = BTreeMap::new();
    for (index, line) in lines.iter().enumerate() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let text = |name: &str| event[name].as_str().expect("text").to_owned();
        let kind = AuditKind::ALL.iter().copied().find(|kind| kind.as_str() == text("kind"));
        let at: jiff::Timestamp = text("at").parse().expect("RFC 3339");
        let at = Timestamp(at.as_millisecond().try_into().expect("after 1970"));
        let entry = approvals.entry(text("approval_id")).or_default();
        entry.push((index + 1, kind.expect("a known kind"), at));
    }
    let mut auditor = Auditor::new(Flow::atomic_commit());
    let judged = approvals.values().filter_map(|events| {
        let sequence: Vec<_> = events.iter().map(|(_, kind, at)| (*kind, *at)).collect();
        match auditor.judge(&sequence) {
            Ok(()) => None,
            Err(NotAllowed::NoRequest) => Some(events[0].0),
            Err(NotAllowed::Event(place)) => Some(events[place].0),
        }
    });
    judged.collect()
}

/// Output of the README's script; `None` if its programs are not installed, which CI does not accept.
fn scripted(server: &Server, bearer: &str) -> Option<Output> {
    let installed = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !installed("curl") || !installed("jq") {
        assert!(std::env::var_os("CI").is_none(), "in CI curl and jq have to be there");
        eprintln!("skipped: the script, for want of curl or jq");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/audit-log.sh");
    let mut command = Command::new(script);
    command.env("GATE", &server.url).env("ADMIN", bearer);
    Some(command.output().expect("it can be started"))
}

#[test]
fn the_audit_of_a_real_promote_is_allowed_and_a_forged_one_is_not() {
    let workplace = Workplace::new();
    let config = workplace.write("gate.toml", "[deployer]\ndry_run = \"10ms\"\n");
    let server = workplace.serve(&["--store", "sqlite:gate.db", "--config", &config]);
    let shop = shop(&server);
    let used = requested(&server, &shop);
    let [refused, open] =
        ["one", "two"].map(|name| requested_as(&server, &shop, &json!({ "to": "production", "name": name })));
    assert_eq!(decide(&workplace.link(&used), "approve"), 303);
    assert_eq!(decide(&workplace.link(&refused), "reject"), 303);
    assert_eq!(promote(&server, &shop, &used, "key").0, 202);
    eventually(|| (target(&server, &shop) == "healthy").then_some(()));

    let bearer = administrator();
    let lines = log(&server, &bearer);
    assert_eq!((lines.len(), not_allowed(&lines)), (6, vec![]));
    if let Some(output) = scripted(&server, &bearer) {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), &*errors), (Some(0), ""));
        let events = |text: &str| -> Vec<Value> {
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
        };
        assert_eq!(events(&stdout(&output)), events(&lines.join("\n")));
        let output = scripted(&server, "nobody").expect("the same programs");
        assert_ne!(output.status.code(), Some(0), "a log that nobody may read is not an empty one");
    }

    let of = |approval: &str, kind: &str| {
        let is_it = |line: &String| line.contains(approval) && line.contains(&format!("\"promote.{kind}\""));
        lines.iter().position(is_it).expect("it was written")
    };
    // Controls: a log with one line removed, one added, and one changed.
    for gone in [of(&used, "approval_requested"), of(&used, "approved")] {
        let mut less = lines.clone();
        less.remove(gone);
        assert_eq!(not_allowed(&less).len(), 1, "without {}", lines[gone]);
    }
    let executed = of(&used, "executed");
    let forged = |from: &str, to: &str| {
        assert!(lines[executed].contains(from), "{}", lines[executed]);
        [lines.clone(), vec![lines[executed].replace(from, to)]].concat()
    };
    for (from, to) in [(&*used, &*used), (&used, &refused), (&used, &open)] {
        assert_eq!(not_allowed(&forged(from, to)), [7], "executed in the name of {to}");
    }
    let mut late: Value = serde_json::from_str(&lines[executed]).expect("JSON");
    late["at"] = json!("2199-01-01T00:00:00Z");
    let mut changed = lines.clone();
    changed[executed] = late.to_string();
    assert_eq!(not_allowed(&changed), [executed + 1], "after its window");
}
