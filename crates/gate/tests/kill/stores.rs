//! The databases that instances run on, seen from behind: a window is moved, and everything that is kept is read.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use countersign::protocol::Timestamp;
use countersign_testkit::Cluster;

/// Database of the instances.
pub(crate) enum Database {
    /// A file next to the configuration.
    Sqlite,
    /// A database of a cluster's.
    Postgres {
        /// The server.
        cluster: Arc<Cluster>,
        /// Its name.
        name: &'static str,
    },
}

const FILE: &str = "countersign.db";

/// Runs one of PostgreSQL's own programs against a database.
fn run(cluster: &Cluster, program: &str, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new(cluster.program(program));
    command.arg("--host").arg(cluster.socket_directory()).args(["--username", cluster.user()]);
    let output = command.args(arguments).output().expect("the program starts");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn connect(home: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(home.join(FILE)).expect("the file is there");
    connection.busy_timeout(Duration::from_secs(30)).expect("it can wait");
    connection
}

impl Database {
    /// Makes it, where it does not make itself.
    pub(crate) fn create(&self) {
        if let Self::Postgres { cluster, name } = self {
            run(cluster, "createdb", &[name]);
        }
    }

    /// Value of `--store`.
    pub(crate) fn url(&self, home: &Path) -> String {
        match self {
            Self::Sqlite => format!("sqlite:{}", home.join(FILE).display()),
            Self::Postgres { cluster, name } => {
                format!(
                    "postgresql://{}@/{name}?host={}",
                    cluster.user(),
                    cluster.socket_directory().display()
                )
            }
        }
    }

    /// Moves the end of an approval's window.
    pub(crate) fn expire_at(&self, home: &Path, id: &str, end: Timestamp) {
        let end = i64::try_from(end.0).expect("it is not that late");
        let moved = self.update(home, &format!("UPDATE approvals SET expires_at = {end} WHERE id = "), id);
        assert_eq!(moved, 1, "the approval is there");
    }

    /// Ends the lease of an approval's job, if there is one.
    pub(crate) fn end_lease(&self, home: &Path, id: &str) {
        self.update(home, "UPDATE jobs SET leased_until = 0 WHERE state = 'leased' AND approval = ", id);
    }

    fn break_by(&self, home: &Path, trigger: &str) {
        assert!(matches!(self, Self::Sqlite), "it is broken in SQLite only");
        connect(home).execute_batch(trigger).expect("a trigger can be made");
    }

    /// From now on no job keeps a fence that is not its first one.
    pub(crate) fn forget_fences(&self, home: &Path) {
        const FORGETS: &str = "CREATE TRIGGER forgets AFTER UPDATE OF fence ON jobs WHEN old.fence > 0 \
                               BEGIN UPDATE jobs SET fence = old.fence WHERE seq = old.seq; END";
        self.break_by(home, FORGETS);
    }

    /// From now on no job knows its target; the fences still follow the order of use.
    pub(crate) fn forget_targets(&self, home: &Path) {
        const FORGETS: &str = "CREATE TRIGGER forgets_targets AFTER INSERT ON jobs \
                               BEGIN UPDATE jobs SET target = NULL, fence = seq * 1000 WHERE seq = new.seq; END";
        self.break_by(home, FORGETS);
    }

    /// From now on every third job counts as done before it is launched.
    pub(crate) fn lose_jobs(&self, home: &Path) {
        const LOSES: &str = "CREATE TRIGGER loses AFTER INSERT ON jobs WHEN new.seq % 3 = 0 \
                             BEGIN UPDATE jobs SET state = 'done' WHERE seq = new.seq; END";
        self.break_by(home, LOSES);
    }

    /// From now on what is revoked is approved again.
    pub(crate) fn forget_revocations(&self, home: &Path) {
        const FORGETS: &str = "CREATE TRIGGER forgets_revocations AFTER UPDATE OF status ON approvals \
                               WHEN new.status = 'revoked' \
                               BEGIN UPDATE approvals SET status = 'approved' WHERE id = new.id; END";
        self.break_by(home, FORGETS);
    }

    /// From now on no stack keeps a new version.
    pub(crate) fn forget_versions(&self, home: &Path) {
        const FORGETS: &str = "CREATE TRIGGER forgets_versions AFTER UPDATE OF version ON stacks \
                               WHEN new.version <> old.version \
                               BEGIN UPDATE stacks SET version = old.version WHERE id = new.id; END";
        self.break_by(home, FORGETS);
    }

    /// Keeps this text in a table of its own.
    pub(crate) fn keep(&self, home: &Path, text: &str) {
        assert!(matches!(self, Self::Sqlite), "it is broken in SQLite only");
        let kept = connect(home).execute("CREATE TABLE kept AS SELECT ?1 AS text", [text]);
        kept.expect("a table can be made");
    }

    /// Runs a statement that ends with an approval's id, which is still missing. How many rows it changed.
    fn update(&self, home: &Path, sql: &str, id: &str) -> usize {
        match self {
            Self::Sqlite => {
                let id = uuid::Uuid::try_parse(id).expect("an id");
                let changed = connect(home).execute(&format!("{sql}?1"), [id.as_bytes().as_slice()]);
                changed.expect("it can be changed")
            }
            Self::Postgres { cluster, name } => {
                let said = run(cluster, "psql", &["--dbname", name, "--command", &format!("{sql}'{id}'")]);
                let said = String::from_utf8_lossy(&said);
                let changed = said.trim().strip_prefix("UPDATE ").and_then(|rows| rows.parse().ok());
                changed.unwrap_or_else(|| panic!("{said:?} says how many rows were changed"))
            }
        }
    }

    /// All that is kept.
    pub(crate) fn dump(&self, home: &Path) -> Vec<u8> {
        match self {
            Self::Sqlite => [FILE.to_owned(), format!("{FILE}-wal")]
                .iter()
                .filter_map(|name| std::fs::read(home.join(name)).ok())
                .flatten()
                .collect(),
            Self::Postgres { cluster, name } => run(cluster, "pg_dump", &[name]),
        }
    }
}
