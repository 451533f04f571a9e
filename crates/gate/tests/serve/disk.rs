//! SQLite's log on its way to the disk: what was answered is synced, and a sync that fails leaves the outcome unknown.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;

use crate::{
    process::{Server, Workplace, decide},
    promote::{promote, requested, shop},
};

/// Compiles `disk.c` into this folder: a library for `LD_PRELOAD`.
pub(crate) fn compiled(folder: &Path) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serve/disk.c");
    let shim = folder.join("disk.so");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(source).arg("-ldl").status();
    // SQLite itself is compiled by it.
    assert!(compiled.expect("there is a C compiler").success());
    shim
}

/// Counts the syncs of a command's files, and lets them fail.
pub(crate) fn watched(workplace: &Workplace, mut command: Command) -> Command {
    let shim = compiled(&workplace.path("."));
    command.env("LD_PRELOAD", &shim).env("DISK", workplace.path("."));
    command
}

/// A server whose syncs are counted.
fn serve(workplace: &Workplace) -> Server {
    // No deploys: every sync belongs to a request.
    let config = workplace.write("gate.toml", "[workers]\npoll = \"1h\"\n[deployer]\ndry_run = \"1h\"\n");
    let args = ["serve", "--listen", "127.0.0.1:0", "--store", "sqlite:gate.db", "--config", &config];
    Server::start(watched(workplace, workplace.gate(&args)))
}

fn syncs(workplace: &Workplace) -> usize {
    fs::read(workplace.path("synced")).map_or(0, |synced| synced.len())
}

#[test]
fn what_was_answered_is_on_the_disk() {
    let workplace = Workplace::new();
    let server = serve(&workplace);
    for number in 0..5 {
        let shop = shop(&server);
        let before = syncs(&workplace);
        let approval = requested(&server, &shop);
        let asked = syncs(&workplace);
        assert!(asked > before, "{number}: a request was answered before it was synced");
        let link = workplace.link(&approval);
        let sent = syncs(&workplace);
        assert_eq!(decide(&link, "approve"), 303);
        assert!(syncs(&workplace) > sent, "{number}: a decision was answered before it was synced");
    }
}

#[test]
fn a_commit_that_could_not_be_synced_is_not_said_to_be_undone() {
    let workplace = Workplace::new();
    let server = serve(&workplace);
    let shop = shop(&server);
    let approval = requested(&server, &shop);
    assert_eq!(decide(&workplace.link(&approval), "approve"), 303);
    fs::write(workplace.path("fail"), "").expect("a file");
    let body = json!({ "to": "production", "approval_id": approval });
    let (status, answer) = server.ask("POST", &format!("/api/v1/stacks/{shop}/promote"), Some(&body), None);
    assert_eq!((status, &answer["code"]), (503, &json!("execute_failed")), "{answer}");
    // Absent: it may be used, if the file is opened again from what is in its log.
    assert!(answer.get("consumed").is_none(), "{answer}");
    fs::remove_file(workplace.path("fail")).expect("it is there");
    let (status, answer) = promote(&server, &shop, &approval, "after");
    assert!(status == 202 || (status == 409 && answer["consumed"] == true), "{status} {answer}");
}
