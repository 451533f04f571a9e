//! The audit log of a running gate, taken over HTTP as the README says, held against the flow that it runs.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::{
    process::{SECRET, Server, TEAM, Workplace, ask_as, decide, eventually, finished, stdout},
    promote::{promote, requested, shop, target},
};

fn administrator() -> String {
    let args = ["token", "--secret", SECRET, "--team", TEAM, "--email", "admin@example.com", "--admin"];
    stdout(&finished(&args)).trim_end().to_owned()
}

/// The events of all approvals, a line each. Whoever reads them reads what HTTP answers, as it is.
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

fn judged(workplace: &Workplace, lines: &[String]) -> (Option<i32>, String) {
    workplace.write("audit.ndjson", &(lines.join("\n") + "\n"));
    let args = ["replay", "--audit", "audit.ndjson", "--flow", "atomic-commit"];
    let output = workplace.countersign(&args).output().expect("it runs");
    (output.status.code(), stdout(&output) + &String::from_utf8_lossy(&output.stderr))
}

/// What the README's script prints; none where its programs are not installed, which CI does not accept.
fn scripted(server: &Server, bearer: &str) -> Option<Output> {
    let installed = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !installed("curl") || !installed("jq") {
        assert!(std::env::var_os("CI").is_none(), "in CI curl and jq have to be there");
        eprintln!("skipped: the script, for want of curl or jq");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/audit-log.sh");
    let mut command = Command::new(script);
    command.env("GATE", &server.url).env("ADMIN", bearer);
    Some(command.output().expect("it can be started"))
}

#[test]
fn the_audit_of_a_real_promote_is_allowed_and_a_forged_one_is_not() {
    let workplace = Workplace::new();
    let config = workplace.write("gate.toml", "[deployer]\npretend = \"10ms\"\n");
    let server = workplace.serve(&["--store", "sqlite:gate.db", "--config", &config]);
    let shop = shop(&server);
    let [used, refused, open] = [(); 3].map(|()| requested(&server, &shop));
    assert_eq!(decide(&workplace.link(&used), "approve"), 303);
    assert_eq!(decide(&workplace.link(&refused), "reject"), 303);
    assert_eq!(promote(&server, &shop, &used, "key").0, 202);
    eventually(|| (target(&server, &shop) == "healthy").then_some(()));

    let bearer = administrator();
    let lines = log(&server, &bearer);
    let (exit, said) = judged(&workplace, &lines);
    assert_eq!((exit, said.trim()), (Some(0), "6 events of 3 approvals: all allowed by atomic-commit"));
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
    // The controls: one line less, one more, and one that somebody has changed.
    for gone in [of(&used, "approval_requested"), of(&used, "approved")] {
        let mut less = lines.clone();
        less.remove(gone);
        assert_eq!(judged(&workplace, &less).0, Some(1), "without {}", lines[gone]);
    }
    let executed = of(&used, "executed");
    let forged = |from: &str, to: &str| {
        assert!(lines[executed].contains(from), "{}", lines[executed]);
        [lines.clone(), vec![lines[executed].replace(from, to)]].concat()
    };
    for (from, to) in [(&*used, &*used), (&used, &refused), (&used, &open)] {
        let (exit, said) = judged(&workplace, &forged(from, to));
        assert_eq!(exit, Some(1), "executed in the name of {to}");
        assert!(said.contains("audit.ndjson:7: promote.executed is not allowed"), "{said}");
    }
    let mut late: Value = serde_json::from_str(&lines[executed]).expect("JSON");
    late["at"] = json!("2199-01-01T00:00:00Z");
    let mut changed = lines.clone();
    changed[executed] = late.to_string();
    assert_eq!(judged(&workplace, &changed).0, Some(1), "after its window");
}
