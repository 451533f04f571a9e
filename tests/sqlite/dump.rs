//! A dump by the `sqlite3` of Debian 12, which judges CHECK clauses by older rules: it restores every row, and what it
//! restores is opened and used.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use countersign::{
    protocol::{Flow, Status, Timestamp},
    store::{
        Approvals, Decision, Operations as _, Verdict,
        sqlite::{SqliteOptions, SqliteStore},
    },
};
use countersign_models::fixtures::{block_on, token_of};
use countersign_testkit::SqlPeek as _;
use uuid::Uuid;

use crate::platform::{OPENS, Platform, TEAM, open};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// True if the program can be started. In CI it has to be.
fn has_sqlite3() -> bool {
    const MISSING: &str = "sqlite3 is missing (scripts/ci-tools.sh installs it)";
    let is_there = Command::new("sqlite3").arg("--version").output().is_ok();
    assert!(is_there || std::env::var_os("CI").is_none(), "{MISSING}");
    if !is_there {
        eprintln!("skipped: {MISSING}");
    }
    is_there
}

/// The output of a command of the program.
fn sqlite3(path: &Path, command: &str) -> String {
    let output = Command::new("sqlite3").arg(path).arg(command).output().expect("it is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn decide(platform: &Platform, approval: Uuid, verdict: Verdict) {
    let decision = Decision::Operator { token: &token_of(approval), verdict };
    block_on(platform.store.decide(decision)).expect("nothing fails").expect("it is allowed");
}

#[test]
fn a_dump_restores_every_row_and_can_be_used() {
    if !has_sqlite3() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gate.db");
    let platform = Platform::at(&path, SqliteOptions::default());
    let requested = || platform.requested(&platform.ask()).expect("nothing fails").approval.id;
    let expired = requested();
    platform.clock.set(Timestamp(OPENS.0 + 2 * DAY_MS));
    let swept = block_on(platform.store.expire_overdue(Timestamp(0), 10)).expect("nothing fails");
    let executed = platform.approved();
    platform.promote(&Flow::atomic_commit(), &executed);
    let (rejected, revoked) = (requested(), platform.approved().approval);
    decide(&platform, rejected, Verdict::Reject);
    decide(&platform, revoked, Verdict::Revoke);
    let (pending, approved) = (requested(), platform.approved());
    let Platform { store, clock, deployer, source } = platform;
    let statuses = |store: &SqliteStore| {
        let all = [expired, executed.approval, rejected, revoked, pending, approved.approval];
        all.map(|id| {
            let found = block_on(Approvals::approval(store, TEAM, id));
            found.expect("nothing fails").map(|record| record.approval.status)
        })
    };
    let before = statuses(&store);
    let expected = [
        Status::Expired,
        Status::Executed,
        Status::Rejected,
        Status::Revoked,
        Status::Pending,
        Status::Approved,
    ];
    assert_eq!(before, expected.map(Some), "{swept:?}");
    drop(store);

    let dump = folder.path().join("dump.sql");
    let written = sqlite3(&path, ".dump");
    std::fs::write(&dump, &written).expect("a file");
    let copy = folder.path().join("copy.db");
    let read = Command::new("sqlite3")
        .arg("-bail")
        .arg(&copy)
        .stdin(Stdio::from(std::fs::File::open(&dump).expect("it was written")))
        .output()
        .expect("it is there");
    let said = String::from_utf8_lossy(&read.stderr);
    assert!(read.status.success(), "{said}");
    assert_eq!(sqlite3(&copy, ".dump"), written);
    for file in [&path, &copy] {
        assert_eq!(sqlite3(file, "PRAGMA integrity_check"), "ok\n");
    }

    let store = open(&copy, &clock, SqliteOptions::default()).expect("it is recognised");
    let platform = Platform { store, clock, deployer, source };
    assert_eq!(statuses(&platform.store), before);
    let job = block_on(platform.store.job(TEAM, executed.approval)).expect("nothing fails");
    assert!(job.is_some(), "its deploy is owed");
    platform.promote(&Flow::atomic_commit(), &approved);
    assert_eq!(platform.status(&approved), Status::Executed);
}
