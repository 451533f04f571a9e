//! `check`: it says whether all of it would work, and leaves everything as it was.

use std::{collections::BTreeSet, ffi::OsString, fs, net::TcpListener};

use rustix::process::Signal;

use crate::process::{Workplace, postgresql, stdout};

/// The report about this store, if the configuration is valid.
fn checked(workplace: &Workplace, store: &str) -> String {
    let args = ["check", "--listen", "127.0.0.1:0", "--store", store];
    let output = workplace.gate(&args).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    stdout(&output)
}

fn files(workplace: &Workplace) -> BTreeSet<OsString> {
    let entries = fs::read_dir(workplace.path(".")).expect("it is there");
    entries.map(|entry| entry.expect("it can be read").file_name()).collect()
}

#[test]
fn nothing_is_made_where_there_is_nothing() {
    let workplace = Workplace::new();
    let said = checked(&workplace, "sqlite:gate.db");
    assert_eq!(
        said,
        "all of it would work, with atomic-commit in sqlite:gate.db\nits tables would be made\n"
    );
    assert_eq!(files(&workplace), BTreeSet::new());
}

#[test]
fn what_is_there_is_left_as_it_is() {
    let workplace = Workplace::new();
    let server = workplace.serve(&["--store", "sqlite:gate.db"]);
    let line = "all of it would work, with atomic-commit in sqlite:gate.db\n";
    assert_eq!(checked(&workplace, "sqlite:gate.db"), line, "while it runs");
    server.stopped(Signal::TERM);
    let before = (files(&workplace), fs::read(workplace.path("gate.db")).expect("it is there"));
    assert_eq!(checked(&workplace, "sqlite:gate.db"), line);
    assert_eq!((files(&workplace), fs::read(workplace.path("gate.db")).expect("it is there")), before);
}

#[test]
fn a_server_is_asked_and_nothing_is_made_in_it() {
    let Some(cluster) = postgresql() else { return };
    let workplace = Workplace::new();
    let url = cluster.url();
    for _ in 0..2 {
        let said = checked(&workplace, &url);
        assert!(said.ends_with("\nits tables would be made\n"), "{said}");
    }
    workplace.serve(&["--store", &url]).stopped(Signal::TERM);
    let said = checked(&workplace, &url);
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn an_invalid_configuration_is_reported() {
    let workplace = Workplace::new();
    let refused = |args: &[&str]| workplace.refusal_of_check(args);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it has one").to_string();
    let args = ["check", "--store", "memory", "--listen", &address];
    let said = crate::process::refusal(&mut workplace.gate(&args));
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
    let said = refused(&["--store", "sqlite:nowhere/gate.db"]);
    assert!(said.contains("sqlite:nowhere/gate.db: the store cannot be opened"), "{said}");
    workplace.write("notes.txt", &"no database, and longer than a page's header would be".repeat(10));
    let said = refused(&["--store", "sqlite:notes.txt"]);
    assert!(said.contains("sqlite:notes.txt: the store cannot be opened"), "{said}");
    workplace.write("mail", "a file");
    let said = refused(&["--store", "memory"]);
    assert!(said.contains("mail: mails cannot be written to this folder"), "{said}");
    let said = refused(&["--store", "memory", "--mail-dir", "mail/of/the/gate"]);
    assert!(said.contains("mail/of/the/gate: mails cannot be written to this folder"), "{said}");
}
