//! `check`: it says whether all of it would work, and leaves everything as it was.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
};

use rustix::process::Signal;

use crate::process::{SECRET, Server, Workplace, bare, postgresql, refusal, stdout, with_descriptors};

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
fn a_role_that_may_not_do_what_a_start_needs_is_refused() {
    let Some(cluster) = postgresql() else { return };
    let psql = |sql: &str| {
        let mut command = Command::new(cluster.program("psql"));
        let status = command.args(["-q", "-v", "ON_ERROR_STOP=1", "-c", sql, &cluster.url()]).status();
        assert!(status.expect("it is installed").success(), "{sql}");
    };
    let workplace = Workplace::new();
    let url = cluster.url().replace(&format!("{}@", cluster.user()), "gate@");
    psql("CREATE ROLE gate LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let said = workplace.refusal_of_check(&["--store", &url]);
    assert!(said.contains("the role may not create tables"), "{said}");
    psql("GRANT CREATE ON SCHEMA public TO gate");
    assert!(checked(&workplace, &url).contains("its tables would be made"));
    psql("ALTER ROLE gate SET default_transaction_read_only = on");
    let said = workplace.refusal_of_check(&["--store", &url]);
    assert!(said.contains("transactions are read-only"), "{said}");
    psql("ALTER ROLE gate RESET ALL");
    workplace.serve(&["--store", &cluster.url()]).stopped(Signal::TERM);
    psql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO gate");
    let said = workplace.refusal_of_check(&["--store", &url]);
    assert!(said.contains("the role may not write to the tables"), "{said}");
    // A schema of its own that is there needs no right to create one.
    psql("CREATE SCHEMA own AUTHORIZATION gate");
    let config = workplace.write("gate.toml", "[postgres]\nschema = \"own\"\n");
    workplace.serve(&["--store", &url, "--config", &config]).stopped(Signal::TERM);
}

#[test]
fn too_few_file_descriptors_are_refused_as_by_a_server() {
    let workplace = Workplace::new();
    let gate = workplace.gate(&["check", "--listen", "127.0.0.1:0", "--store", "memory"]);
    let said = refusal(&mut with_descriptors(&gate, 100));
    assert!(said.contains("100 file descriptors are not enough"), "{said}");
}

#[test]
fn addresses_of_a_running_gate_are_remarks_and_those_of_other_programs_are_refused() {
    let workplace = Workplace::new();
    let listening = |listen: &str, probes: &str| {
        let config = workplace.write("gate.toml", &format!("probe_listen = \"{probes}\"\n"));
        workplace.gate(&["check", "--listen", listen, "--store", "memory", "--config", &config])
    };
    let config = workplace.write("gate.toml", "probe_listen = \"127.0.0.1:0\"\n");
    let mut server = workplace.serve(&["--store", "memory", "--config", &config]);
    let probes = server.line();
    let probes = probes.strip_prefix("probes on http://").expect("an address");
    let main = server.url.strip_prefix("http://").expect("an address").to_owned();
    let said = stdout(&listening(&main, probes).output().expect("it runs"));
    assert!(said.starts_with("all of it would work"), "{said}");
    for address in [&*main, probes] {
        assert!(said.contains(&format!("\na running gate has {address}\n")), "{said}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("it has one").to_string();
    let said = refusal(&mut listening("127.0.0.1:0", &taken));
    assert!(said.contains(&format!("cannot listen on {taken}")), "{said}");
}

#[test]
fn what_was_not_tried_and_what_goes_nowhere_is_named() {
    let workplace = Workplace::new();
    let config = workplace.write("gate.toml", "[notifier]\nsmtp = \"smtps://mail.invalid\"\n");
    let args = ["check", "--listen", "127.0.0.1:0", "--store", "memory", "--config", &config];
    let said = stdout(&workplace.gate(&args).output().expect("it runs"));
    assert!(said.ends_with("\nnot tried: the mail server\n"), "{said}");
    workplace.write("secret", &format!("{SECRET}\n"));
    let mut gate =
        bare(&["check", "--listen", "127.0.0.1:0", "--store", "memory", "--secret-file", "secret"]);
    gate.args(["--public-url", "https://gate.example.com"]).current_dir(workplace.path("."));
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(workplace.path("secret"), open).expect("it is the test's");
    let said = String::from_utf8(gate.output().expect("it runs").stderr).expect("text");
    for warning in [
        "WARNING: every deploy is a dry run",
        "WARNING: links are sent to no approver",
        "may read the secret in secret",
    ] {
        assert!(said.contains(warning), "{said}");
    }
    fs::set_permissions(workplace.path("secret"), fs::Permissions::from_mode(0o600))
        .expect("it is the test's");
    let said = String::from_utf8(gate.output().expect("it runs").stderr).expect("text");
    assert!(!said.contains("may read the secret"), "{said}");
}

/// Files of earlier versions are open to others.
#[test]
fn a_database_that_others_can_read_is_named_and_taken_away_from_them() {
    const STORE: [&str; 2] = ["--store", "sqlite:gate.db"];
    const OTHER_USER: u32 = 65_534;
    let workplace = Workplace::new();
    workplace.serve(&STORE).stopped(Signal::TERM);
    let file = workplace.path("gate.db");
    let mode = || fs::metadata(&file).expect("it is there").permissions().mode() & 0o777;
    let set = |path: &str, mode| {
        fs::set_permissions(workplace.path(path), fs::Permissions::from_mode(mode))
            .expect("it is the test's");
    };
    set("gate.db", 0o644);
    let mut check = workplace.gate(&[&["check", "--listen", "127.0.0.1:0"], &STORE[..]].concat());
    let said = String::from_utf8(check.output().expect("it runs").stderr).expect("text");
    assert!(said.contains("WARNING: other users can read or write") && said.contains("gate.db"), "{said}");
    assert_eq!(mode(), 0o644);
    let (_, log) = workplace.serve(&STORE).stopped(Signal::TERM);
    assert!(log.contains("other users could read or write the file") && log.contains("gate.db"), "{log}");
    assert_eq!(mode(), 0o600);
    let said = String::from_utf8(check.output().expect("it runs").stderr).expect("text");
    assert!(!said.contains("other users"), "{said}");
    if rustix::process::getuid().is_root() {
        // Another user's file cannot be changed.
        set("gate.db", 0o666);
        set(".", 0o777);
        let args = ["serve", "--listen", "127.0.0.1:0", "--mail-dir", "links"];
        let mut gate = workplace.gate(&[&args, &STORE[..]].concat());
        gate.uid(OTHER_USER);
        let (_, log) = Server::start(gate).stopped(Signal::TERM);
        assert!(log.contains("other users can read or write the file (chmod go= it)"), "{log}");
        assert_eq!(mode(), 0o666);
    }
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
