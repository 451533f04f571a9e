//! The real binary, started, killed and started again.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The secret that every instance shares.
pub(crate) const SECRET: &str = "a secret for the kill test, long enough for everybody";

/// Common parts of all instances of one service.
pub(crate) struct Service {
    /// Folder of configuration, mail, logs and the sink.
    pub(crate) home: PathBuf,
    /// Value of `--store`.
    pub(crate) store: String,
    /// Value of `--flow`.
    pub(crate) flow: &'static str,
    /// Number of kills.
    pub(crate) kills: AtomicU64,
    /// Number of pauses beyond a lease.
    pub(crate) pauses: AtomicU64,
}

impl Service {
    /// Writes the configuration, and prepares the folders.
    pub(crate) fn new(home: &Path, store: String, flow: &'static str) -> Self {
        for folder in ["mail", "logs", "sink"] {
            std::fs::create_dir_all(home.join(folder)).expect("a temporary folder can be made");
        }
        let sink = home.join("sink.sh");
        std::fs::write(&sink, crate::sink::script(&home.join("sink"))).expect("the sink can be written");
        let config = crate::kill::config(&home.join("mail"), &sink);
        std::fs::write(home.join("countersign.toml"), config).expect("the configuration can be written");
        Self { home: home.to_owned(), store, flow, kills: AtomicU64::new(0), pauses: AtomicU64::new(0) }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign-gate"));
        command.current_dir(&self.home).args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--config",
            "countersign.toml",
        ]);
        command.args(["--store", &self.store, "--flow", self.flow]).env("COUNTERSIGN_SECRET", SECRET);
        if self.flow != "atomic-commit" {
            command.arg("--allow-unsafe-flow");
        }
        command
    }

    /// A bearer token.
    pub(crate) fn token(team: &str, email: &str, admin: bool) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign-gate"));
        command.args(["token", "--secret", SECRET, "--team", team, "--email", email]);
        if admin {
            command.arg("--admin");
        }
        let output = command.output().expect("the binary starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// All that instances have logged.
    pub(crate) fn logs(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let files = std::fs::read_dir(self.home.join("logs")).expect("it is there").flatten();
        // A full disk has no end to be read to.
        for file in files.filter(|file| file.path().is_file()) {
            File::open(file.path())
                .and_then(|mut file| file.read_to_end(&mut all))
                .expect("a log can be read");
        }
        all
    }
}

/// One instance, which may be dead at the moment.
pub(crate) struct Instance {
    number: usize,
    running: Mutex<Option<Running>>,
    /// Its current or last address.
    address: Mutex<SocketAddr>,
}

struct Running {
    child: Child,
    /// Kept open: writing to a closed pipe would end the instance.
    _stdout: BufReader<std::process::ChildStdout>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Instance {
    pub(crate) fn start(service: &Service, number: usize) -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        let instance = Self { number, running: Mutex::new(None), address: Mutex::new(nowhere) };
        instance.restart(service);
        instance
    }

    pub(crate) fn address(&self) -> SocketAddr {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn restart(&self, service: &Service) {
        let log = service.home.join("logs").join(format!("instance-{}.log", self.number));
        let log = File::options().create(true).append(true).open(log).expect("a log can be written");
        let mut child = service
            .command()
            .stdout(Stdio::piped())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("standard output can be read");
        let address =
            line.trim().strip_prefix("listening on http://").and_then(|address| address.parse().ok());
        let Some(address) = address else {
            panic!("the first line is {line:?}; its log: {}", String::from_utf8_lossy(&service.logs()))
        };
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
        *self.running() = Some(Running { child, _stdout: stdout });
    }

    /// `kill -9`, at any moment.
    pub(crate) fn kill(&self, service: &Service) {
        service.kills.fetch_add(1, Ordering::SeqCst);
        *self.running() = None;
    }

    /// Pauses it for `ms` milliseconds, without notice.
    pub(crate) fn pause(&self, service: &Service, ms: u64) {
        service.pauses.fetch_add(1, Ordering::SeqCst);
        self.signal("STOP");
        crate::client::pause(ms);
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.running().as_ref().map(|running| running.child.id());
        if let Some(pid) = pid {
            let sent = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status();
            assert!(sent.is_ok_and(|status| status.success()), "the signal is sent");
        }
    }
}
