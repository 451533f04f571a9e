//! A whole promote over HTTP, on each kind of store.

use std::{fs, thread};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::process::{Server, TEAM, Workplace, ask_as, bearer, decide, eventually, postgresql};

/// The slug of a stack in development.
pub(crate) fn shop(server: &Server) -> String {
    let service = json!({ "name": "web", "image_ref": "shop:1", "port": 80 });
    let stack = json!({ "name": "shop", "env": "development", "services": [service] });
    let (status, stack) = server.post("/api/v1/stacks", &stack);
    assert_eq!(status, 201, "{stack}");
    stack["slug"].as_str().expect("text").to_owned()
}

/// The id of a pending approval.
pub(crate) fn requested(server: &Server, shop: &str) -> String {
    requested_as(server, shop, &json!({ "to": "production" }))
}

/// The id of a pending approval of this.
pub(crate) fn requested_as(server: &Server, shop: &str, body: &Value) -> String {
    let (status, pending) = server.post(&format!("/api/v1/stacks/{shop}/promote"), body);
    assert_eq!((status, &pending["status"]), (202, &json!("pending_approval")), "{pending}");
    pending["approval_id"].as_str().expect("text").to_owned()
}

pub(crate) fn promote(server: &Server, shop: &str, approval: &str, key: &str) -> (u16, Value) {
    let body = json!({ "to": "production", "approval_id": approval });
    server.ask("POST", &format!("/api/v1/stacks/{shop}/promote"), Some(&body), Some(key))
}

/// The status of the stack in production.
pub(crate) fn target(server: &Server, shop: &str) -> Value {
    let family = server.get(&format!("/api/v1/stacks/{shop}/family"));
    let members = family["items"].as_array().expect("a list");
    let target = members.iter().find(|member| member["env"] == "production");
    target.map_or(Value::Null, |target| target["status"].clone())
}

/// From the request to a healthy target, with losers, a retry, and the audit.
fn a_promote_from_beginning_to_end(workplace: &Workplace, store: &str, contention: &str) {
    let config = workplace.write("gate.toml", "[deployer]\ndry_run = \"10ms\"\n");
    let server = workplace.serve(&["--store", store, "--contention", contention, "--config", &config]);
    let shop = shop(&server);
    let approval = requested(&server, &shop);
    let link = workplace.link(&approval);
    assert!(link.starts_with(&format!("{}/approve/", server.url)), "{link}");
    let (status, early) = promote(&server, &shop, &approval, "early");
    assert_eq!((status, &early["code"]), (409, &json!("approval_not_approved")));
    assert_eq!(decide(&link, "approve"), 303);
    assert_eq!(decide(&link, "reject"), 410);

    let keys: Vec<String> = (0..6).map(|number| format!("{approval}-{number}")).collect();
    let answers: Vec<(u16, Value)> = thread::scope(|scope| {
        let callers: Vec<_> =
            keys.iter().map(|key| scope.spawn(|| promote(&server, &shop, &approval, key))).collect();
        callers.into_iter().map(|caller| caller.join().expect("not poisoned")).collect()
    });
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    let won: Vec<usize> = (0..keys.len()).filter(|place| statuses[*place] == 202).collect();
    let [winner] = won[..] else { panic!("exactly one should win: {statuses:?}") };
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), keys.len() - 1, "{statuses:?}");
    assert_eq!(promote(&server, &shop, &approval, &keys[winner]), answers[winner]);

    eventually(|| (target(&server, &shop) == "healthy").then_some(()));
    let audit = server.get(&format!("/api/v1/audit?approval_id={approval}"));
    let kinds: Vec<&str> = audit["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|event| event["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["promote.approval_requested", "promote.approved", "promote.executed"]);

    let (exit, log) = server.stopped(Signal::TERM);
    assert_eq!(exit, Some(0), "{log}");
    let token = link.rsplit('/').next().expect("a token");
    assert!(!log.contains(token) && !log.contains("panicked"), "{log}");
}

#[test]
fn a_promote_on_a_store_in_memory() {
    a_promote_from_beginning_to_end(&Workplace::new(), "memory", "optimistic");
}

#[test]
fn a_promote_on_sqlite() {
    a_promote_from_beginning_to_end(&Workplace::new(), "sqlite:gate.db", "optimistic");
}

#[test]
fn a_promote_on_sqlite_where_callers_wait_for_each_other() {
    a_promote_from_beginning_to_end(&Workplace::new(), "sqlite:gate.db", "lease");
}

#[test]
fn a_promote_on_postgresql() {
    let Some(cluster) = postgresql() else { return };
    a_promote_from_beginning_to_end(&Workplace::new(), &cluster.url(), "optimistic");
    // The same tables, another team's worth of approvals.
    a_promote_from_beginning_to_end(&Workplace::new(), &cluster.url(), "lease");
}

#[test]
fn what_was_asked_for_before_a_restart_goes_on_after_it() {
    let workplace = Workplace::new();
    let server = workplace.serve(&["--store", "sqlite:gate.db"]);
    let shop = shop(&server);
    let approval = requested(&server, &shop);
    let link = workplace.link(&approval);
    drop(server);
    let server = workplace.serve(&["--store", "sqlite:gate.db"]);
    let token = link.rsplit('/').next().expect("a token");
    assert_eq!(decide(&format!("{}/approve/{token}", server.url), "approve"), 303);
    assert_eq!(promote(&server, &shop, &approval, "after").0, 202);
}

#[test]
fn a_team_of_the_configuration_has_what_that_says_and_its_own_operators() {
    let workplace = Workplace::new();
    let config = workplace.write(
        "gate.toml",
        &format!(
            "[[tenant]]\nteam = \"{TEAM}\"\nplan = \"free\"\ndeployment_cap = 1\noperators = [\"own@example.com\"]\n"
        ),
    );
    let server = workplace.serve(&["--store", "memory", "--config", &config]);
    let shop = shop(&server);
    let body = json!({ "to": "production" });
    let path = format!("/api/v1/stacks/{shop}/promote");
    let claimed = bearer(&["--plan", "enterprise"]);
    let (status, answer) = ask_as(&server.url, &claimed, "POST", &path, Some(&body), None);
    assert_eq!((status, &answer["code"]), (402, &json!("plan_required")));
    let another = json!({ "name": "b", "env": "development", "services": [] });
    assert_eq!(server.post("/api/v1/stacks", &another).1["code"], "deployment_limit_reached");
}

#[test]
fn a_request_without_another_approver_is_refused_where_self_approval_is_forbidden() {
    let workplace = Workplace::new();
    let only = ["--store", "memory", "--operator", "Dev+mail@example.com", "--forbid-self-approval"];
    let server = workplace.serve(&only);
    let shop = shop(&server);
    let (status, answer) =
        server.post(&format!("/api/v1/stacks/{shop}/promote"), &json!({ "to": "production" }));
    assert_eq!((status, &answer["code"]), (403, &json!("self_approval_forbidden")), "{answer}");
    assert_eq!(fs::read_dir(workplace.path("mail")).expect("the folder").count(), 0);
    drop(server);
    // A variable comes before the file.
    let config = workplace.write("gate.toml", "forbid_self_approval = true\n");
    let args = ["serve", "--listen", "127.0.0.1:0", "--store", "memory", "--config", &config];
    for (variable, status) in [("0", 202), ("1", 403)] {
        let mut command = workplace.gate(&args);
        command.env("COUNTERSIGN_FORBID_SELF_APPROVAL", variable);
        command.env("COUNTERSIGN_OPERATOR", "dev@example.com");
        let server = Server::start(command);
        let path = format!("/api/v1/stacks/{}/promote", self::shop(&server));
        assert_eq!(server.post(&path, &json!({ "to": "production" })).0, status, "{variable}");
    }
}

#[test]
fn an_expired_or_foreign_token_is_refused() {
    let workplace = Workplace::new();
    let server = workplace.serve(&["--store", "memory"]);
    let ask = |bearer: &str| ask_as(&server.url, bearer, "GET", "/api/v1/stacks/shop-1", None, None).0;
    assert_eq!(ask(&bearer(&[])), 404);
    assert_eq!(ask(&bearer(&["--ttl", "0s"])), 401);
    let mut forged = workplace.gate(&["token", "--team", TEAM, "--email", "dev@example.com"]);
    let forged = forged.env("COUNTERSIGN_SECRET", "another secret").output().expect("it runs");
    assert_eq!(ask(String::from_utf8(forged.stdout).expect("text").trim_end()), 401);
}
