//! The binary as a process, in a folder of its own, and a caller.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Output, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use countersign_testkit::{Cluster, Failed, Fsync, may_be_skipped};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::signer::Signer;

pub(crate) const SECRET: &str = "a secret of 32 bytes, and no more";
pub(crate) const TEAM: &str = "00000000-0000-0000-0000-00000000000a";

/// A folder that it runs in.
pub(crate) struct Workplace {
    folder: TempDir,
}

/// A server that runs. It is killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    pub(crate) url: String,
    log: Option<JoinHandle<String>>,
}

impl Workplace {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        fs::write(self.path(name), content).expect("a file");
        name.to_owned()
    }

    /// With a secret, and without colours and anything that is set where the test runs.
    pub(crate) fn gate(&self, args: &[&str]) -> Command {
        let mut command = bare(args);
        command.env("COUNTERSIGN_SECRET", SECRET).current_dir(self.folder.path());
        command
    }

    /// The refusal on standard error, without the folder.
    pub(crate) fn refusal(&self, args: &[&str]) -> String {
        refusal(&mut self.gate(&[&["serve", "--listen", "127.0.0.1:0"], args].concat()))
    }

    /// The same of `check`.
    pub(crate) fn refusal_of_check(&self, args: &[&str]) -> String {
        refusal(&mut self.gate(&[&["check", "--listen", "127.0.0.1:0"], args].concat()))
    }

    pub(crate) fn serve(&self, args: &[&str]) -> Server {
        Server::start(self.gate(&[&["serve", "--listen", "127.0.0.1:0"], args].concat()))
    }

    /// The link in the mail about this approval.
    pub(crate) fn link(&self, approval: &str) -> String {
        let file = self.path("mail").join(format!("{approval}.eml"));
        let mail = eventually(|| fs::read_to_string(&file).ok());
        mail.lines().find(|line| line.contains("/approve/")).expect("a link").to_owned()
    }
}

impl Server {
    pub(crate) fn start(command: Command) -> Self {
        Self::start_with_log(command, Stdio::piped())
    }

    /// With its log going here; a pipe of the test's own is read by the test.
    pub(crate) fn start_with_log(mut command: Command, log: impl Into<Stdio>) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the binary was built");
        let errors = child.stderr.take();
        let log = thread::spawn(move || {
            let mut log = String::new();
            if let Some(mut errors) = errors {
                let _ = errors.read_to_string(&mut log);
            }
            log
        });
        let mut first = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        output.read_line(&mut first).expect("a line");
        let Some(url) = first.strip_prefix("listening on ").and_then(|url| url.strip_suffix('\n')) else {
            let _ = child.kill();
            panic!("the first line was {first:?}; {}", log.join().expect("it can be read"));
        };
        let url = url.to_owned();
        Self { child, output, url, log: Some(log) }
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> (u16, Value) {
        ask_as(&self.url, &bearer(&[]), method, path, body, key)
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None, None);
        assert_eq!(status, 200, "{body}");
        body
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", path, Some(body), None)
    }

    pub(crate) fn metrics(&self) -> String {
        let mut answer = agent().get(format!("{}/metrics", self.url)).call().expect("it answers");
        answer.body_mut().read_to_string().expect("text")
    }

    /// The status of a request with a token of the identity provider `https://id.example.com`: 401, or 404 where it is accepted.
    pub(crate) fn status_of_token_by(&self, signer: &Signer) -> u16 {
        let claims = json!({
            "iss": "https://id.example.com",
            "aud": "gate",
            "exp": 4_102_444_800_u64,
            "team": TEAM,
            "email": "dev@example.com",
        });
        ask_as(&self.url, &signer.sign(&claims), "GET", "/api/v1/stacks/unknown", None, None).0
    }

    /// The next line of its output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("an id");
        kill_process(id, signal).expect("it runs");
    }

    /// Its exit code, and what it has logged.
    pub(crate) fn stopped(mut self, signal: Signal) -> (Option<i32>, String) {
        self.signal(signal);
        let status = self.child.wait().expect("it can be waited for");
        (status.code(), self.log.take().expect("it is asked once").join().expect("it can be read"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn bare(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign-gate"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("COUNTERSIGN_")) {
        command.env_remove(name);
    }
    command.args(args).env("NO_COLOR", "1").env_remove("RUST_LOG");
    command
}

/// The same command, with at most this number of file descriptors.
pub(crate) fn with_descriptors(gate: &Command, limit: u32) -> Command {
    let mut limited = Command::new("/bin/sh");
    let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
    limited.args(["-c", &script]).arg(gate.get_program()).args(gate.get_args());
    for (name, value) in gate.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited.current_dir(gate.get_current_dir().expect("it is set"));
    limited
}

pub(crate) fn finished(args: &[&str]) -> Output {
    bare(args).output().expect("the binary was built")
}

pub(crate) fn refusal(command: &mut Command) -> String {
    let output = command.output().expect("the binary was built");
    let said = String::from_utf8(output.stderr.clone()).expect("text");
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(2), ""), "{said}");
    said
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// A PostgreSQL of its own; `None` where it is not installed and may be left out.
pub(crate) fn postgresql() -> Option<Cluster> {
    match Cluster::start(Fsync::On) {
        Ok(cluster) => Some(cluster),
        Err(Failed::NotInstalled(missing)) => {
            may_be_skipped(&missing).expect("it is there, or this is no CI");
            eprintln!("skipped: {missing}");
            None
        }
        Err(failed) => panic!("{failed}"),
    }
}

pub(crate) fn bearer(more: &[&str]) -> String {
    let args = ["token", "--secret", SECRET, "--team", TEAM, "--email", "dev@example.com"];
    stdout(&finished(&[&args, more].concat())).trim_end().to_owned()
}

pub(crate) fn ask_as(
    url: &str,
    bearer: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
    key: Option<&str>,
) -> (u16, Value) {
    let mut request = ureq::http::Request::builder().method(method).uri(format!("{url}{path}"));
    request = request.header("authorization", format!("Bearer {bearer}"));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let body = body.map_or_else(String::new, Value::to_string);
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    let mut response = agent().run(request.body(body).expect("a request")).expect("it answers");
    let text = response.body_mut().read_to_string().expect("text");
    (response.status().as_u16(), serde_json::from_str(&text).unwrap_or_default())
}

/// Posts the form of the approval's page.
pub(crate) fn decide(link: &str, decision: &str) -> u16 {
    let answer = agent().post(link).send_form([("decision", decision)]).expect("it answers");
    answer.status().as_u16()
}

pub(crate) fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    config.max_redirects(0).max_redirects_will_error(false).build().new_agent()
}

/// Looks again and again until there is something to see.
pub(crate) fn eventually<T>(look: impl Fn() -> Option<T>) -> T {
    for _ in 0..6_000 {
        if let Some(seen) = look() {
            return seen;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("it did not come in a minute");
}
