//! The secret stays with the server: its commands find it neither in their parent's environment nor in what is kept of
//! their output.

use std::{
    fs,
    os::unix::{fs::MetadataExt, fs::PermissionsExt, process::CommandExt},
    process::Command,
};

use rusqlite::Connection;

use crate::{
    process::{SECRET, Server, Workplace, bare, bearer, decide, eventually, refusal},
    promote::{promote, requested, shop, target},
};

/// A user other than root, from whom files can be hidden.
const OTHER_USER: u32 = 65_534;

/// The gate, run by a user without privileges where the test has any.
fn unprivileged(workplace: &Workplace, mut gate: Command) -> Server {
    if rustix::process::getuid().is_root() {
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(workplace.path("."), open).expect("it is the test's");
        gate.uid(OTHER_USER);
    }
    Server::start(gate)
}

fn launched(workplace: &Workplace, server: &Server) -> String {
    let shop = shop(server);
    let approval = requested(server, &shop);
    assert_eq!(decide(&workplace.link(&approval), "approve"), 303);
    assert_eq!(promote(server, &shop, &approval, "key").0, 202);
    eventually(|| (target(server, &shop) == "healthy").then_some(()));
    let kept = Connection::open(workplace.path("gate.db")).expect("it is there");
    kept.query_row("SELECT output FROM deploy_logs", [], |row| row.get(0)).expect("a log")
}

#[test]
fn a_command_cannot_read_its_servers_environment_or_memory() {
    let workplace = Workplace::new();
    let script = "tr '\\\\0' '\\\\n' < /proc/$PPID/environ; head -c 1 /proc/$PPID/mem; echo tried";
    let config = format!("[deployer]\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n");
    let config = workplace.write("gate.toml", &config);
    let args = ["serve", "--listen", "127.0.0.1:0", "--store", "sqlite:gate.db", "--config", &config];
    let server = unprivileged(&workplace, workplace.gate(&args));
    let environment = fs::metadata(format!("/proc/{}/environ", server.id())).expect("it runs");
    assert_eq!(environment.uid(), 0, "it is the system's, not the user's");
    let output = launched(&workplace, &server);
    assert!(output.contains("ermission denied") && output.ends_with("tried\n"), "{output}");
    assert!(!output.contains("COUNTERSIGN_SECRET"), "{output}");
}

#[test]
fn a_secret_that_a_command_prints_is_not_kept() {
    const EARLIER: &str = "the secret that it has replaced, and is long";
    let workplace = Workplace::new();
    let secret = workplace.write("secret", &format!("{SECRET}\n"));
    workplace.write("earlier", EARLIER);
    // Cut to 64 KiB before it is cleaned, the output would begin inside the first secret.
    let config = "secret_file = \"secret\"\nearlier_secret_files = [\"earlier\"]\n\
                  [deployer]\ncommand = [\"/bin/sh\", \"-c\", \"echo begin; cat secret; \
                  yes | head -c 65428; cat secret; cat earlier; echo end\"]\n";
    let config = workplace.write("gate.toml", config);
    let mut gate = workplace.gate(&["serve", "--listen", "127.0.0.1:0", "--store", "sqlite:gate.db"]);
    gate.env_remove("COUNTERSIGN_SECRET").args(["--config", &config]);
    let server = Server::start(gate);
    let output = launched(&workplace, &server);
    assert!(output.contains("[secret]") && output.ends_with("end\n"), "{output}");
    let half = &SECRET[SECRET.len() / 2..];
    assert!(!output.contains(half), "{secret} is in {output}");
    assert!(!output.contains(EARLIER), "a secret that was replaced is in {output}");
}

#[test]
fn a_secret_comes_from_a_file_or_from_systemd_and_where_others_reach_the_server_not_from_the_environment() {
    let workplace = Workplace::new();
    workplace.write("secret", &format!("{SECRET}\n"));
    workplace.write("countersign-secret", SECRET);
    let bare = |args: &[&str]| {
        let mut gate = bare(&[&["check", "--store", "memory", "--listen", "127.0.0.1:0"], args].concat());
        gate.current_dir(workplace.path("."));
        gate
    };
    let works = |mut gate: Command| assert!(gate.status().expect("it runs").success(), "{gate:?}");
    works(bare(&["--secret-file", "secret", "--public-url", "https://gate.example.com"]));
    let mut by_variable = bare(&[]);
    by_variable.env("COUNTERSIGN_SECRET_FILE", "secret");
    works(by_variable);
    let mut by_systemd = bare(&["--public-url", "https://gate.example.com"]);
    by_systemd.env("CREDENTIALS_DIRECTORY", workplace.path("."));
    works(by_systemd);
    let said = refusal(&mut bare(&["--secret-file", "nowhere"]));
    assert!(said.contains("nowhere") && said.contains("No such file"), "{said}");
    let mut exposed = bare(&["--public-url", "https://gate.example.com"]);
    let said = refusal(exposed.env("COUNTERSIGN_SECRET", SECRET));
    assert!(said.contains("COUNTERSIGN_SECRET_FILE") && !said.contains(SECRET), "{said}");
    // The same secret makes the same tokens.
    let mut token = self::bare(&["token", "--secret-file", "secret", "--team", crate::process::TEAM]);
    token.args(["--email", "dev@example.com"]).current_dir(workplace.path("."));
    let output = token.output().expect("it runs");
    let head = |token: &str| token.split('.').next().unwrap_or_default().to_owned();
    assert_eq!(head(&crate::process::stdout(&output)), head(&bearer(&[])));
}
