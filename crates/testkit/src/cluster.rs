//! A throwaway PostgreSQL for tests and benchmarks: in a temporary directory, on a Unix socket, removed with its owner.
//!
//! After any end of the owner, including a panic and `kill -9`, the server is stopped and its files are removed by a
//! supervisor that reads from a pipe, which closes with the owner.

mod installation;

use std::{
    fmt, fs,
    io::{self, BufRead, BufReader, Write},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
};

pub use installation::{Installation, NotInstalled};
use installation::{SUPERUSER, User};

/// Durability of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// A commit waits for the disk, as in production.
    On,
    /// A commit does not wait: for tests without losses of power.
    Off,
}

/// Reason for a missing cluster.
#[derive(Debug)]
pub enum Failed {
    /// PostgreSQL is not installed.
    NotInstalled(NotInstalled),
    /// PostgreSQL is installed, but something failed.
    Io(io::Error),
    /// One of its programs said so.
    Program(String),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled(missing) => missing.fmt(f),
            Self::Io(error) => write!(f, "the test cluster: {error}"),
            Self::Program(said) => write!(f, "the test cluster: {said}"),
        }
    }
}

impl std::error::Error for Failed {}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A PostgreSQL server for one test run.
pub struct Cluster {
    directory: PathBuf,
    installation: Installation,
    supervisor: Mutex<Supervisor>,
}

struct Supervisor {
    process: Child,
    /// `None` once the shutdown has begun.
    tell: Option<ChildStdin>,
    hear: BufReader<ChildStdout>,
}

/// Decides if a test without PostgreSQL may be counted as skipped.
///
/// # Errors
/// In CI, where no test may be skipped silently.
pub fn may_be_skipped(missing: &NotInstalled) -> Result<(), String> {
    match std::env::var_os("CI") {
        Some(_) => Err(format!("in CI PostgreSQL has to be there, and {missing}")),
        None => Ok(()),
    }
}

impl Cluster {
    /// Makes one with the installation that is found, and starts it.
    ///
    /// # Errors
    /// [`Failed`] says why not.
    pub fn start(fsync: Fsync) -> Result<Self, Failed> {
        Self::start_with(Installation::find().map_err(Failed::NotInstalled)?, fsync)
    }

    /// As [`start`](Self::start), with this installation.
    ///
    /// # Errors
    /// [`Failed`] says why not.
    pub fn start_with(installation: Installation, fsync: Fsync) -> Result<Self, Failed> {
        let directory = tempfile::Builder::new().prefix("countersign-pg-").tempdir_in(short_temp_dir())?;
        let user = User::to_run_as(directory.path())?;
        if let Some(user) = &user {
            chown(directory.path(), Some(user.id), Some(user.group))?;
        }
        let supervisor = Supervisor::start(directory.path(), &installation, user.as_ref())?;
        // From here on it is the supervisor who removes it.
        let cluster = Self { directory: directory.keep(), installation, supervisor: Mutex::new(supervisor) };
        cluster.initialise(user.as_ref(), fsync)?;
        cluster.start_again()?;
        Ok(cluster)
    }

    /// URL of the server.
    pub fn url(&self) -> String {
        format!("postgresql://{SUPERUSER}@/postgres?host={}", self.socket_directory().display())
    }

    /// The directory with the server's socket: what `psql` and `pgbench` call the host.
    pub fn socket_directory(&self) -> &Path {
        &self.directory
    }

    /// User of the connection.
    pub fn user(&self) -> &'static str {
        SUPERUSER
    }

    /// A program of this installation: `pgbench`, say.
    pub fn program(&self, name: &str) -> PathBuf {
        self.installation.program(name)
    }

    /// The server's major version.
    pub fn version(&self) -> u32 {
        self.installation.version()
    }

    /// Stops the server in an orderly way: clients are notified.
    ///
    /// # Errors
    /// The output of `pg_ctl`.
    pub fn stop(&self) -> Result<(), Failed> {
        self.tell("stop")
    }

    /// Stops the server immediately, like a crash: clients are not notified, and the next start has to recover.
    ///
    /// # Errors
    /// The output of `pg_ctl`.
    pub fn kill(&self) -> Result<(), Failed> {
        self.tell("kill")
    }

    /// Starts the server again at the same address.
    ///
    /// # Errors
    /// The output of `pg_ctl`.
    pub fn start_again(&self) -> Result<(), Failed> {
        self.tell("start")
    }

    fn initialise(&self, user: Option<&User>, fsync: Fsync) -> Result<(), Failed> {
        let data = self.directory.join("data");
        let mut initdb = Command::new(self.program("initdb"));
        initdb
            .arg("--pgdata")
            .arg(&data)
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--username", SUPERUSER])
            .stdin(Stdio::null());
        User::become_by(&mut initdb, user);
        initdb.current_dir(&self.directory);
        let output = initdb.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Failed::Program(format!("initdb: {said}")));
        }
        let mut settings = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        let fsync = match fsync {
            Fsync::On => "on",
            Fsync::Off => "off",
        };
        writeln!(
            settings,
            "listen_addresses = ''\nunix_socket_directories = '{}'\nfsync = {fsync}\nmax_connections = 200",
            self.directory.display()
        )?;
        Ok(())
    }

    fn tell(&self, word: &str) -> Result<(), Failed> {
        let mut supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = supervisor.ask(word)?;
        if answer == "0" {
            return Ok(());
        }
        let read = |file: &str| fs::read_to_string(self.directory.join(file)).unwrap_or_default();
        Err(Failed::Program(format!("pg_ctl {word}: {}{}", read("said"), read("log"))))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let supervisor = self.supervisor.get_mut().unwrap_or_else(PoisonError::into_inner);
        supervisor.tell = None;
        // A failure cannot be handled here.
        supervisor.process.wait().ok();
    }
}

impl Supervisor {
    fn start(directory: &Path, installation: &Installation, user: Option<&User>) -> io::Result<Self> {
        let mut command = Command::new("sh");
        command
            .args(["-c", include_str!("cluster/supervise.sh"), "supervise"])
            .arg(directory)
            .arg(installation.programs())
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A separate process group: an interrupt in the terminal must not end the supervisor.
            .process_group(0);
        User::become_by(&mut command, user);
        let mut process = command.spawn()?;
        let gone = || io::Error::other("the supervisor has no pipe");
        let tell = Some(process.stdin.take().ok_or_else(gone)?);
        let hear = BufReader::new(process.stdout.take().ok_or_else(gone)?);
        Ok(Self { process, tell, hear })
    }

    fn ask(&mut self, word: &str) -> io::Result<String> {
        let tell = self.tell.as_mut().ok_or_else(|| io::Error::other("the supervisor is gone"))?;
        writeln!(tell, "{word}")?;
        let mut answer = String::new();
        self.hear.read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    }
}

/// A directory for temporary files that leaves room for a socket's name, which has to be shorter than 108 bytes.
fn short_temp_dir() -> PathBuf {
    const LONGEST: usize = 60;
    let usual = std::env::temp_dir();
    if usual.as_os_str().len() <= LONGEST { usual } else { PathBuf::from("/tmp") }
}
