//! Deploys from outside: a deploy that cannot be started is not lost, and deploys of one target do not overlap.

use std::{fs, net::TcpStream};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    process::{Server, Workplace, ask_as, bearer, decide, eventually, with_descriptors},
    promote::{promote, requested, shop, target},
};

/// An approval that is used.
pub(crate) fn used(workplace: &Workplace, server: &Server, shop: &str) -> String {
    let approval = requested(server, shop);
    assert_eq!(decide(&workplace.link(&approval), "approve"), 303);
    let (status, answer) = promote(server, shop, &approval, &approval);
    assert!(status == 202 || status == 200, "{answer}");
    approval
}

/// Waits until the command has written this, and no more.
pub(crate) fn runs_become(workplace: &Workplace, expected: &str) {
    let runs = || fs::read_to_string(workplace.path("runs")).unwrap_or_default();
    eventually(|| (runs() == expected).then_some(()));
}

fn admin(server: &Server, approval: &str) -> (u16, Value) {
    let path = format!("/api/v1/admin/promotions/{approval}/give-up");
    ask_as(&server.url, &bearer(&["--admin"]), "POST", &path, None, None)
}

/// The older deploy is slow and succeeds, the later one is quick and fails.
#[test]
fn deploys_of_a_target_do_not_overlap_and_each_approval_has_its_own_outcome() {
    let workplace = Workplace::new();
    let script = "plan=$(cat); case $plan in *shop:1*) v=1;; *shop:3*) v=3;; *) v=2;; esac; echo begin $v $COUNTERSIGN_FENCE >> runs; \
                  if [ $v = 1 ]; then until [ -e go ]; do sleep 0.05; done; fi; echo end $v >> runs; [ $v != 2 ]";
    fs::write(workplace.path("deploy"), script).expect("a file");
    let config = workplace.write("gate.toml", "[deployer]\ncommand = [\"/bin/sh\", \"deploy\"]\n");
    let server = workplace.serve(&["--store", "sqlite:gate.db", "--config", &config]);
    let shop = shop(&server);
    let first = used(&workplace, &server, &shop);
    let runs = || fs::read_to_string(workplace.path("runs")).unwrap_or_default();
    eventually(|| (runs() == "begin 1 1\n").then_some(()));
    let put_image = |stack: &str, image_ref: &str| {
        let path = format!("/api/v1/stacks/{stack}/services/web");
        assert_eq!(server.ask("PATCH", &path, Some(&json!({ "image_ref": image_ref })), None).0, 200);
    };
    put_image(&shop, "shop:2");
    let second = used(&workplace, &server, &shop);
    // Workers take the oldest job that is ready: the one after it, for another target, shows that they passed over it.
    let other = self::shop(&server);
    put_image(&other, "shop:3");
    used(&workplace, &server, &other);
    eventually(|| (target(&server, &other) == "healthy").then_some(()));
    let before = "begin 1 1\nbegin 3 1\nend 3\n";
    assert_eq!((runs().as_str(), target(&server, &shop)), (before, json!("building")));
    fs::write(workplace.path("go"), "").expect("a file");
    eventually(|| (target(&server, &shop) == "failed").then_some(()));
    assert_eq!(runs(), format!("{before}end 1\nbegin 2 2\nend 2\n"));
    let outcome =
        |approval: &str| server.get(&format!("/api/v1/approvals/{approval}"))["outcome"]["status"].clone();
    assert_eq!((outcome(&first), outcome(&second)), (json!("healthy"), json!("failed")));
}

/// A stranger opens as many connections as the server takes, and more.
#[test]
fn idle_connections_leave_descriptors_for_a_deploy() {
    let workplace = Workplace::new();
    let config = workplace.write("gate.toml", "[deployer]\ncommand = [\"/usr/bin/touch\", \"ran\"]\n");
    let gate = workplace.gate(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--store",
        "sqlite:gate.db",
        "--config",
        &config,
    ]);
    let server = Server::start(with_descriptors(&gate, 200));
    let shop = shop(&server);
    let approval = requested(&server, &shop);
    assert_eq!(decide(&workplace.link(&approval), "approve"), 303);
    let address = server.url.strip_prefix("http://").expect("an address").to_owned();
    let half = format!("POST /api/v1/stacks/{shop}/promote HTTP/1.1\r\nhost: gate\r\n");
    // The promote's own connection is there before the strangers come.
    let mut caller = TcpStream::connect(&address).expect("it listens");
    std::io::Write::write_all(&mut caller, half.as_bytes()).expect("it is taken");
    let strangers: Vec<_> = (0..300).filter_map(|_| TcpStream::connect(&address).ok()).collect();
    let body = json!({ "to": "production", "approval_id": approval }).to_string();
    let rest = format!(
        "authorization: Bearer {}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        bearer(&[]),
        body.len()
    );
    std::io::Write::write_all(&mut caller, rest.as_bytes()).expect("it is taken");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut caller, &mut answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    eventually(|| workplace.path("ran").exists().then_some(()));
    drop(strangers);
    eventually(|| (target(&server, &shop) == "healthy").then_some(()));
    let (_, log) = server.stopped(Signal::TERM);
    assert!(log.contains("WARNING: at most 88 connections instead of 4096"), "{log}");
}

/// The server's own configuration in the environment is withheld.
#[test]
fn a_command_gets_none_of_the_servers_variables() {
    let workplace = Workplace::new();
    let script = "env > environment";
    let config = format!("[deployer]\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n");
    let config = workplace.write("gate.toml", &config);
    let mut gate = workplace.gate(&["serve", "--config", &config]);
    gate.env("COUNTERSIGN_STORE", "sqlite:gate.db").env("COUNTERSIGN_LISTEN", "127.0.0.1:0");
    gate.env("COUNTERSIGN_OPERATOR", "ops@example.com").env("COUNTERSIGN_LOG", "json");
    gate.env("COUNTERSIGN_OF_LATER_VERSIONS", "secret");
    let server = Server::start(gate);
    let shop = shop(&server);
    used(&workplace, &server, &shop);
    eventually(|| (target(&server, &shop) == "healthy").then_some(()));
    let environment = fs::read_to_string(workplace.path("environment")).expect("text");
    let own = environment.lines().filter(|line| line.starts_with("COUNTERSIGN_"));
    let mut own: Vec<_> = own.filter_map(|line| Some(line.split_once('=')?.0)).collect();
    own.sort_unstable();
    assert_eq!(own, ["COUNTERSIGN_APPROVAL_ID", "COUNTERSIGN_FENCE"]);
}

/// Two servers on one file. The first one is stopped, and its command takes a second to clean up.
#[test]
fn a_lease_is_given_back_when_the_deploy_has_ended_and_not_before() {
    let workplace = Workplace::new();
    let script = "trap 'sleep 1; echo end >> runs; exit 1' TERM; echo begin >> runs; \
                  if mkdir first; then while :; do sleep 0.05; done; fi";
    fs::write(workplace.path("deploy"), script).expect("a file");
    let config =
        "drain = \"0s\"\n[deployer]\ncommand = [\"/bin/sh\", \"deploy\"]\n[workers]\npoll = \"10ms\"\n";
    let config = workplace.write("gate.toml", config);
    let args = ["--store", "sqlite:gate.db", "--config", &config];
    let first = workplace.serve(&args);
    let shop = shop(&first);
    used(&workplace, &first, &shop);
    let runs = || fs::read_to_string(workplace.path("runs")).unwrap_or_default();
    eventually(|| (runs() == "begin\n").then_some(()));
    let second = workplace.serve(&args);
    let (exit, log) = first.stopped(Signal::TERM);
    assert_eq!(exit, Some(0), "{log}");
    eventually(|| (target(&second, &shop) == "healthy").then_some(()));
    assert_eq!(runs(), "begin\nend\nbegin\n");
}

/// Another instance than the asked one runs the command, which says that it succeeded.
#[test]
fn a_deploy_that_runs_is_ended_when_an_administrator_gives_it_up() {
    let workplace = Workplace::new();
    let script = "trap 'echo end >> runs; exit 0' TERM; echo begin >> runs; while :; do sleep 0.05; done";
    fs::write(workplace.path("deploy"), script).expect("a file");
    let config = workplace.write("gate.toml", "[deployer]\ncommand = [\"/bin/sh\", \"deploy\"]\n");
    let args = ["--store", "sqlite:gate.db", "--config", &config];
    let server = workplace.serve(&args);
    let shop = shop(&server);
    let approval = used(&workplace, &server, &shop);
    runs_become(&workplace, "begin\n");
    let another = workplace.serve(&args);
    let (status, answer) = admin(&another, &approval);
    assert_eq!((status, &answer["status"]), (200, &json!("executed")), "{answer}");
    runs_become(&workplace, "begin\nend\n");
    eventually(|| (target(&server, &shop) == "failed").then_some(()));
    let outcome = server.get(&format!("/api/v1/approvals/{approval}"))["outcome"].clone();
    let exit_codes: Vec<_> =
        outcome["deploys"].as_array().expect("a list").iter().map(|deploy| &deploy["exit_code"]).collect();
    // That it was given up, and the command's own end.
    assert_eq!((&outcome["status"], exit_codes), (&json!("failed"), vec![&Value::Null; 2]));
    assert_eq!(admin(&another, &approval).1["code"], "deploy_ended");
    let failed = |server: &Server| server.metrics().contains("\ndeploys_total{outcome=\"failed\"} 1\n");
    assert_eq!((failed(&server), failed(&another)), (false, true), "it is counted once");
    assert_eq!(fs::read_to_string(workplace.path("runs")).expect("text"), "begin\nend\n");
}

#[test]
fn a_deploy_that_cannot_be_started_waits_until_an_administrator_gives_it_up() {
    let workplace = Workplace::new();
    let program = workplace.path("deploy");
    fs::copy("/bin/true", &program).expect("there is one");
    let config = format!("[deployer]\ncommand = [\"{}\"]\n", program.display());
    let config = workplace.write("gate.toml", &config);
    let server = workplace.serve(&["--store", "sqlite:gate.db", "--config", &config]);
    let shop = shop(&server);
    let pending = requested(&server, &shop);
    assert_eq!(admin(&server, &pending).1["code"], "approval_not_executed");
    fs::remove_file(&program).expect("it is there");
    let approval = used(&workplace, &server, &shop);
    eventually(|| server.metrics().contains("\ndeploys_not_started 1\n").then_some(()));
    assert_eq!(target(&server, &shop), "building");
    let path = format!("/api/v1/admin/promotions/{approval}/give-up");
    assert_eq!(server.ask("POST", &path, None, None).1["code"], "admin_required");
    let (status, answer) = admin(&server, &approval);
    assert_eq!((status, &answer["status"]), (200, &json!("executed")), "{answer}");
    eventually(|| (target(&server, &shop) == "failed").then_some(()));
    assert_eq!(admin(&server, &approval).1["code"], "deploy_ended");
    assert!(server.metrics().contains("\ndeploys_total{outcome=\"failed\"} 1\n"), "{}", server.metrics());
    // It was not started although it could be.
    fs::copy("/bin/true", &program).expect("there is one");
    assert_eq!(server.get(&format!("/api/v1/approvals/{approval}"))["outcome"]["status"], "failed");
}
