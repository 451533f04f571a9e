//! Retention: approvals that can no longer change, read as lines of JSON with all that belongs to them, and then deleted.
//!
//! A line has every column of every row, whatever the version of the schema. An approval is deleted only if all that the
//! database has about it is in its line, and in a transaction of its own: an instance that serves meanwhile sees it whole
//! or not at all. The job with the largest fencing number of a target stays, because later ones continue from it.

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::{
    Dialect, Done, Engine, Mode, Row, Session, SqlError, SqlStore, Transaction, Value,
    rows::{Columns, values},
};
use crate::store::StoreError;

/// An approval with all that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Archived {
    /// The approval.
    pub id: Uuid,
    /// The rows of the other tables.
    rows: u64,
    line: Json,
}

impl Archived {
    /// One line of JSON, without its end.
    pub fn line(&self) -> String {
        self.line.to_string()
    }
}

impl<E: Engine> SqlStore<E> {
    /// The oldest approvals that were requested at least `age_ms` ago and can no longer change.
    ///
    /// # Errors
    /// The store's.
    pub async fn archivable(&self, age_ms: u64, limit: usize) -> Result<Vec<Archived>, StoreError> {
        self.engine().perform(ReadArchivable { age_ms, limit }).await
    }

    /// Deletes an approval that was read by [`archivable`](Self::archivable), with all that belongs to it. False when
    /// something was written about it since: it stays, and is to be read again.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete_archived(&self, archived: &Archived) -> Result<bool, StoreError> {
        self.engine().perform(Delete { id: archived.id, rows: archived.rows }).await
    }
}

struct ReadArchivable {
    age_ms: u64,
    limit: usize,
}

/// A table whose rows belong to an approval: its name, its rows' statement, and the one that deletes them.
macro_rules! tables {
    ($($table:literal),+ $(,)?) => {
        [$((
            $table,
            concat!("SELECT * FROM ", $table, " WHERE approval = $1"),
            concat!("DELETE FROM ", $table, " WHERE approval = $1"),
        )),+]
    };
}

/// Those that refer to others come first.
const TABLES: [(&str, &str, &str); 7] =
    tables!["audit", "deploy_logs", "jobs", "notices", "consumptions", "links", "further_keys"];

impl Transaction for ReadArchivable {
    type Output = Vec<Archived>;

    fn mode(&self) -> Mode {
        Mode::Read
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        // A window that is open, a deploy that is not done, and the latest fence of a target are needed.
        const FIND: &str = "SELECT a.id FROM approvals AS a WHERE a.created_at < countersign_now() - $1 \
            AND a.expires_at < countersign_now() AND a.lease_until < countersign_now() \
            AND NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.approval = a.id AND (j.state <> 'done' \
            OR (j.target IS NOT NULL AND NOT EXISTS \
            (SELECT 1 FROM jobs AS l WHERE l.target = j.target AND l.fence > j.fence)))) \
            ORDER BY a.created_at, a.id LIMIT $2";
        const APPROVAL: &str = "SELECT * FROM approvals WHERE id = $1";
        let found = session.query(FIND, &values![self.age_ms, self.limit]).await?;
        let approval_columns = column_names(session, "approvals").await?;
        let mut columns = Vec::new();
        for (table, ..) in TABLES {
            columns.push(column_names(session, table).await?);
        }
        let mut archived = Vec::new();
        for row in found {
            let id: Uuid = Columns::of(row).take()?;
            let row = session.query(APPROVAL, &values![id]).await?.into_iter().next().unwrap_or_default();
            let mut line = named(&approval_columns, row);
            // Of no use to a reader, and what opens the page is hashed in it.
            line.remove("token_hash");
            let mut rows = 0;
            for ((table, select, _), columns) in TABLES.iter().zip(&columns) {
                let found = session.query(select, &values![id]).await?;
                rows += found.len() as u64;
                let found = found.into_iter().map(|row| Json::Object(named(columns, row))).collect();
                line.insert((*table).to_owned(), Json::Array(found));
            }
            archived.push(Archived { id, rows, line: Json::Object(line) });
        }
        Ok(Done::Commit(archived))
    }
}

async fn column_names<S: Session>(session: &mut S, table: &str) -> Result<Vec<String>, SqlError> {
    let sql = match S::DIALECT {
        Dialect::Sqlite => "SELECT name FROM pragma_table_info($1) ORDER BY cid",
        Dialect::Postgres => {
            "SELECT attname::TEXT FROM pg_catalog.pg_attribute JOIN pg_catalog.pg_class ON pg_class.oid = attrelid \
             JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace \
             WHERE relname::TEXT = $1 AND nspname = current_schema() AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        }
    };
    let rows = session.query(sql, &values![table]).await?;
    rows.into_iter().map(|row| Columns::of(row).take()).collect()
}

fn named(columns: &[String], row: Row) -> Map<String, Json> {
    columns.iter().cloned().zip(row.into_iter().map(json)).collect()
}

fn json(value: Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(yes) => yes.into(),
        Value::Int(number) => number.into(),
        Value::Text(text) => text.into(),
        Value::Id(id) => id.to_string().into(),
        // SQLite has no other form for an id.
        Value::Bytes(bytes) => match Uuid::from_slice(&bytes) {
            Ok(id) => id.to_string().into(),
            Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
        },
    }
}

struct Delete {
    id: Uuid,
    /// The rows of the other tables that are in the archive.
    rows: u64,
}

impl Transaction for Delete {
    type Output = bool;

    fn mode(&self) -> Mode {
        Mode::Write
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<bool>, SqlError> {
        const LOCK: [&str; 2] =
            ["SELECT id FROM approvals WHERE id = $1", "SELECT id FROM approvals WHERE id = $1 FOR UPDATE"];
        const DELETE: &str = "DELETE FROM approvals WHERE id = $1";
        let [sqlite, postgres] = LOCK;
        let lock = if S::DIALECT == Dialect::Sqlite { sqlite } else { postgres };
        if session.query(lock, &values![self.id]).await?.is_empty() {
            return Ok(Done::Rollback(true));
        }
        let mut rows = 0;
        for (_, _, delete) in TABLES {
            rows += session.execute(delete, &values![self.id]).await?;
        }
        if rows != self.rows {
            return Ok(Done::Rollback(false));
        }
        session.execute(DELETE, &values![self.id]).await?;
        Ok(Done::Commit(true))
    }
}
