//! SIGHUP: what can be replaced in a running server is replaced, and the log names the rest.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::json;

use crate::{
    process::{Server, TEAM, Workplace, agent, ask_as, bearer, decide, eventually},
    promote::shop,
    signer::Signer,
};

struct Running {
    workplace: Workplace,
    server: Server,
}

impl Running {
    fn with(config: &str) -> Self {
        Self::within(Workplace::new(), config)
    }

    fn within(workplace: Workplace, config: &str) -> Self {
        let config = workplace.write("gate.toml", config);
        let log = File::create(workplace.path("log")).expect("a file");
        let args = ["serve", "--listen", "127.0.0.1:0", "--store", "memory", "--config", &config];
        let server = Server::start_with_log(workplace.gate(&args), log);
        Self { workplace, server }
    }

    /// The new lines of the log, up to one with this text.
    fn reload(&self, config: &str, until: &str) -> String {
        let log = || fs::read_to_string(self.workplace.path("log")).expect("text");
        let before = log().len();
        self.workplace.write("gate.toml", config);
        self.server.signal(Signal::HUP);
        eventually(|| Some(log().split_off(before)).filter(|new| new.contains(until)))
    }

    /// The recipient of the link of a new request.
    fn recipient(&self) -> String {
        self.recipient_and_link().0
    }

    fn recipient_and_link(&self) -> (String, String) {
        let shop = shop(&self.server);
        let path = format!("/api/v1/stacks/{shop}/promote");
        let (status, body) = self.server.post(&path, &json!({ "to": "production" }));
        assert_eq!(status, 202, "{body}");
        let approval = body["approval_id"].as_str().expect("an id");
        let file = self.workplace.path("mail").join(format!("{approval}.eml"));
        let mail = eventually(|| fs::read_to_string(&file).ok());
        let to = mail.lines().find_map(|line| line.strip_prefix("To: ")).expect("a recipient");
        (to.to_owned(), self.workplace.link(approval))
    }
}

/// Reached only if the server hangs.
const PATIENCE: Duration = Duration::from_secs(30);

const READ: &str = "the configuration was read again";

#[test]
fn operators_and_tenants_apply_from_then_on_and_the_log_names_what_needs_a_restart() {
    let running = Running::with("operators = [\"one@example.com\"]\n");
    assert_eq!(running.recipient(), "one@example.com");
    let two = "operators = [\"two@example.com\"]\n";
    let log = running.reload(two, READ);
    assert!(!log.contains("need a restart"), "{log}");
    assert_eq!(running.recipient(), "two@example.com");
    let tenant =
        format!("[[tenant]]\nteam = \"{TEAM}\"\nplan = \"free\"\noperators = [\"own@example.com\"]\n");
    let others = "drain = \"3s\"\nforbid_self_approval = true\n[http]\nmax_body = \"1MiB\"\n";
    let log = running.reload(&format!("{two}{others}{tenant}"), "need a restart");
    assert!(log.contains("settings=drain, forbid_self_approval, http.max_body"), "{log}");
    let promote = ask_as(
        &running.server.url,
        &bearer(&[]),
        "POST",
        "/api/v1/stacks/unknown/promote",
        Some(&json!({ "to": "production" })),
        None,
    );
    assert_eq!(promote.0, 402, "the tenant's plan: {}", promote.1);
    running.reload(&tenant.replace("free", "pro"), READ);
    assert_eq!(running.recipient(), "own@example.com");
}

#[test]
fn the_link_of_a_removed_operator_neither_shows_nor_decides() {
    let running = Running::with("operators = [\"one@example.com\"]\n");
    let (_, link) = running.recipient_and_link();
    let shown = || agent().get(&link).call().expect("it answers").status().as_u16();
    assert_eq!(shown(), 200);
    running.reload("operators = [\"two@example.com\"]\n", READ);
    assert_eq!((shown(), decide(&link, "approve"), decide(&link, "reject")), (403, 403, 403));
    running.reload("operators = [\"two@example.com\", \"One@example.com\"]\n", READ);
    assert_eq!((shown(), decide(&link, "approve"), decide(&link, "revoke")), (200, 303, 303));
}

#[test]
fn self_approval_stays_as_it_was_at_the_start() {
    const OPERATORS: &str = "operators = [\"dev@example.com\"]\n";
    let config = |is_forbidden: bool| format!("{OPERATORS}forbid_self_approval = {is_forbidden}\n");
    for (at_start, status) in [(false, 202), (true, 403)] {
        let running = Running::with(&config(at_start));
        let shop = shop(&running.server);
        let path = format!("/api/v1/stacks/{shop}/promote");
        let ask = || running.server.post(&path, &json!({ "to": "production" }));
        assert_eq!(ask().0, status, "forbidden: {at_start}");
        let log = running.reload(&config(!at_start), "need a restart");
        assert!(log.contains("settings=forbid_self_approval"), "{log}");
        let (again, body) = ask();
        assert_eq!(again, status, "forbidden: {at_start}: {body}");
        if !at_start {
            assert_eq!(running.recipient(), "dev@example.com");
        }
    }
}

#[test]
fn the_keys_of_the_identity_provider_are_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (Signer::rsa(folder.path(), "old"), Signer::ec(folder.path(), "new"));
    let publish = |workplace: &Workplace, signer: &Signer| {
        workplace.write("jwks.json", &json!({ "keys": [signer.public()] }).to_string());
    };
    let workplace = Workplace::new();
    publish(&workplace, &old);
    let config =
        "[identity]\nissuer = \"https://id.example.com\"\naudience = \"gate\"\njwks = \"jwks.json\"\n";
    let running = Running::within(workplace, config);
    let status = |signer: &Signer| running.server.status_of_token_by(signer);
    assert_eq!((status(&old), status(&new)), (404, 401));
    publish(&running.workplace, &new);
    let log = running.reload(config, READ);
    assert!(!log.contains("need a restart"), "{log}");
    assert_eq!((status(&old), status(&new)), (401, 404));
}

#[test]
fn an_invalid_configuration_changes_nothing() {
    let running = Running::with("operators = [\"one@example.com\"]\n");
    let log = running.reload("operators = [\"two@example.com\"]\n[workers]\ncuont = 3\n", "not applied");
    assert!(log.contains("gate.toml:3") && log.contains("cuont"), "{log}");
    assert!(!log.contains('\u{1b}'), "no colours in a file: {log}");
    assert_eq!(running.recipient(), "one@example.com");
}

#[test]
fn a_new_secret_needs_a_restart_and_is_not_logged() {
    let config = "earlier_secret_files = [\"earlier\"]\n";
    let workplace = Workplace::new();
    workplace.write("earlier", "an earlier secret, and a long one");
    let config = workplace.write("gate.toml", config);
    let log = workplace.path("log");
    let args = ["serve", "--listen", "127.0.0.1:0", "--store", "memory", "--config", &config];
    let server = Server::start_with_log(workplace.gate(&args), File::create(&log).expect("a file"));
    workplace.write("earlier", "another earlier secret, as long as it");
    server.signal(Signal::HUP);
    let read = || fs::read_to_string(&log).expect("text");
    let said = eventually(|| Some(read()).filter(|said| said.contains("need a restart")));
    assert!(said.contains("settings=the content of a secret file"), "{said}");
    assert!(!said.contains("earlier secret"), "{said}");
}

#[test]
fn a_configuration_that_takes_long_to_read_delays_no_stop() {
    let workplace = Workplace::new();
    let secret = workplace.path("earlier");
    workplace.write("earlier", "an earlier secret, and a long one");
    let config = workplace.write("gate.toml", "earlier_secret_files = [\"earlier\"]\n");
    let server = workplace.serve(&["--store", "memory", "--config", &config]);
    fs::remove_file(&secret).expect("it is there");
    assert!(Command::new("mkfifo").arg(&secret).status().expect("mkfifo").success());
    server.signal(Signal::HUP);
    // Opening it waits until the server reads it, and nothing is written while it is open.
    let (opened, reading) = mpsc::channel();
    thread::spawn(move || opened.send(File::options().write(true).open(secret)));
    let _unwritten = reading.recv_timeout(PATIENCE).expect("it is read").expect("it is there");
    let (ended, stopped) = mpsc::channel();
    thread::spawn(move || ended.send(server.stopped(Signal::TERM)));
    let (exit, log) = stopped.recv_timeout(PATIENCE).expect("it stops");
    assert_eq!(exit, Some(0), "{log}");
}

#[test]
fn a_secret_that_others_may_read_is_a_line_of_the_log() {
    let workplace = Workplace::new();
    workplace.write("earlier", "an earlier secret, and a long one");
    let readable = fs::Permissions::from_mode(0o644);
    fs::set_permissions(workplace.path("earlier"), readable).expect("it is there");
    let config = "earlier_secret_files = [\"earlier\"]\n";
    let running = Running::within(workplace, config);
    let log = running.reload(config, READ);
    assert!(log.contains(" WARN ") && log.contains("may read the secret in earlier"), "{log}");
    assert!(!log.contains("WARNING"), "{log}");
}

#[test]
fn a_lease_that_is_too_short_for_what_it_protects_is_refused() {
    const POSTGRES: &str = "postgres://127.0.0.1/gate";
    const WEBHOOK: &str = "webhook = \"https://chat.example.com/hook\"\n\
                           webhook_secret = \"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\"\n";
    let workplace = Workplace::new();
    let refused = |store: &str, config: &str, parts: [&str; 2]| {
        let config = workplace.write("gate.toml", config);
        let said = workplace.refusal_of_check(&["--store", store, "--config", &config]);
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
    };
    refused("memory", "[workers]\nlease = \"900ms\"\n", ["a lease of 900ms", "at least 1s"]);
    refused(POSTGRES, "[workers]\nlease = \"12s\"\n", ["a lease of 12s", "at least 12s 500ms: 80% of it"]);
    let timeout = "[postgres]\nstatement_timeout = \"40s\"\n";
    refused(POSTGRES, &format!("[workers]\nlease = \"49s\"\n{timeout}"), ["a lease of 49s", "at least 50s"]);
    refused(
        "sqlite:gate.db",
        "[workers]\nlease = \"6s\"\n",
        [
            "a lease of 6s",
            "at least 6s 250ms: 80% of it are for a renewal, which may take sqlite.busy_timeout (5s)",
        ],
    );
    let config = format!("[notifier]\n{WEBHOOK}lease = \"35s\"\n");
    refused("memory", &config, ["a lease of 35s", "at least 40s: a delivery may take 30s"]);
    refused(
        "memory",
        "[http]\nkey_lease = \"29s\"\n",
        ["a lease of 29s", "at least 30s: a request may run for http.request_time"],
    );
    // The defaults fit, and so do leases without a mail server or PostgreSQL.
    let fits = "[notifier]\nlease = \"10ms\"\n[workers]\nlease = \"1s\"\n[http]\nrequest_time = \"2m\"\n";
    let config =
        workplace.write("gate.toml", &format!("{fits}{timeout}[sqlite]\nbusy_timeout = \"800ms\"\n"));
    for store in ["memory", "sqlite:gate.db"] {
        let args = ["check", "--listen", "127.0.0.1:0", "--store", store, "--config", &config];
        let output = workplace.gate(&args).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
