//! Readiness: a write that needs room, and a row by which an instance recognises its database.
//!
//! Each instance has a row of its own, which every check replaces by one with a larger number. The number is kept in
//! memory as well: another database does not have the row, and an older copy of the same one has a smaller number, also
//! when other instances have written to it since.

use uuid::Uuid;

use super::{
    Dialect, Done, Mode, Session, SqlError, Transaction, Value,
    rows::{first, values},
};

/// The bytes that a check writes: two pages of a new SQLite file.
const ROOM_BYTES: usize = 4_096;

/// The rows of instances that have ended are removed after 30 days.
const KEPT_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

/// An instance's memory of its database.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recognised {
    instance: Option<Uuid>,
    /// The number of the last row that was certainly written.
    kept: u64,
    /// The largest number that was sent: what became of it may be unknown.
    sent: u64,
}

impl Recognised {
    /// The next check.
    pub(super) fn next(&mut self) -> CheckReadiness {
        self.sent += 1;
        CheckReadiness { instance: self.instance, kept: self.kept, beat: self.sent }
    }

    /// The last check was written under this id.
    pub(super) fn written(&mut self, instance: Uuid) {
        self.instance = Some(instance);
        self.kept = self.sent;
    }
}

/// Replaces the instance's row, and returns its id; `None` where the row that it wrote last is gone.
pub(super) struct CheckReadiness {
    /// None before the first check.
    instance: Option<Uuid>,
    kept: u64,
    beat: u64,
}

impl Transaction for CheckReadiness {
    type Output = Option<Uuid>;

    fn mode(&self) -> Mode {
        Mode::Write
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        const INSERT: &str = "INSERT INTO readiness (instance, beat, at, room) \
                              VALUES ($1, $2, countersign_now(), $3) RETURNING instance";
        const REPLACED: &str = "DELETE FROM readiness WHERE instance = $1 AND beat >= $2 AND beat < $3";
        const FORGOTTEN: &str = "DELETE FROM readiness WHERE at < countersign_now() - $1";
        session.query(every_table(S::DIALECT), &[]).await?;
        for statement in more_room(S::DIALECT) {
            session.query(statement, &[]).await?;
        }
        let instance = match self.instance {
            Some(instance) => instance,
            None => {
                session.execute(FORGOTTEN, &values![KEPT_MS]).await?;
                first(session.query(random_id(S::DIALECT), &[]).await?)?.unwrap_or_default()
            }
        };
        session.query(INSERT, &values![instance, self.beat, Value::Bytes(vec![0; ROOM_BYTES])]).await?;
        if self.instance.is_some() {
            let replaced = session.execute(REPLACED, &values![instance, self.kept, self.beat]).await?;
            if replaced == 0 {
                return Ok(Done::Rollback(None));
            }
        }
        Ok(Done::Commit(Some(instance)))
    }
}

/// Reads no row, and fails where a table is missing.
fn every_table(dialect: Dialect) -> &'static str {
    macro_rules! tables {
        ($first:literal $(, $table:literal)* $(,)?) => {
            concat!("SELECT 1 FROM ", $first, " WHERE 1 = 0",
                $(" UNION ALL SELECT 1 FROM ", $table, " WHERE 1 = 0"),*)
        };
    }
    macro_rules! every_table {
        ($($more:literal)?) => {
            tables!(
                "migrations", "teams", "stacks", "resources", "vault", "approvals", "consumptions", "audit", "jobs",
                "notices", "idempotency_keys", "deploy_logs", "readiness", "glass_broken", "further_keys", "links" $(, $more)?
            )
        };
    }
    match dialect {
        Dialect::Sqlite => every_table!(),
        Dialect::Postgres => every_table!("shared_settings"),
    }
}

/// Statements that need room on the disk for as long as they take. In PostgreSQL the pages that earlier checks have given back
/// are free for this table only: a disk without room for any other one would have room for the row. A result that does not
/// fit into memory is a file next to the tables. In SQLite a free page is every table's.
fn more_room(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::Sqlite => &[],
        Dialect::Postgres => &[
            "SELECT set_config('work_mem', '64kB', true), set_config('temp_tablespaces', '', true)",
            "SELECT count(*) FROM generate_series(1, 10000)",
        ],
    }
}

fn random_id(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "SELECT randomblob(16)",
        // The oldest server that will do has no function for it.
        Dialect::Postgres => {
            "SELECT md5(random()::TEXT || clock_timestamp()::TEXT || pg_backend_pid()::TEXT)::UUID"
        }
    }
}
