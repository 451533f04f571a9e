//! A transaction under way in SQLite, as transactions see it. It never waits: every future is ready when it is made.

use std::future::{Future, ready};

use rusqlite::{
    CachedStatement, Connection, ErrorCode,
    types::{ToSql, ToSqlOutput, ValueRef},
};

use crate::store::sql::{Dialect, Row, Session, SqlError, Value};

/// A connection that is lent to one transaction.
pub(super) struct SqliteSession<'a>(pub(super) &'a mut Connection);

impl Session for SqliteSession<'_> {
    const DIALECT: Dialect = Dialect::Sqlite;

    fn query(
        &mut self,
        sql: &'static str,
        parameters: &[Value],
    ) -> impl Future<Output = Result<Vec<Row>, SqlError>> + Send {
        ready(query(self.0, sql, parameters).map_err(failure))
    }

    fn execute(
        &mut self,
        sql: &'static str,
        parameters: &[Value],
    ) -> impl Future<Output = Result<u64, SqlError>> + Send {
        ready(execute(self.0, sql, parameters).map_err(failure))
    }
}

fn query(connection: &Connection, sql: &'static str, parameters: &[Value]) -> rusqlite::Result<Vec<Row>> {
    let mut statement = bound(connection, sql, parameters)?;
    let columns = statement.column_count();
    let mut rows = statement.raw_query();
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let values = (0..columns).map(|column| value_of(row.get_ref(column)?));
        found.push(values.collect::<rusqlite::Result<Row>>()?);
    }
    Ok(found)
}

fn execute(connection: &Connection, sql: &'static str, parameters: &[Value]) -> rusqlite::Result<u64> {
    let changed = bound(connection, sql, parameters)?.raw_execute()?;
    Ok(changed.try_into().unwrap_or(u64::MAX))
}

fn bound<'c>(
    connection: &'c Connection,
    sql: &'static str,
    parameters: &[Value],
) -> rusqlite::Result<CachedStatement<'c>> {
    let mut statement = connection.prepare_cached(sql)?;
    for (index, parameter) in (1..).zip(parameters) {
        // SQLite numbers parameters by their first use, regardless of their names.
        debug_assert_eq!(statement.parameter_name(index), Some(format!("${index}").as_str()), "{sql}");
        statement.raw_bind_parameter(index, parameter)?;
    }
    debug_assert_eq!(statement.parameter_count(), parameters.len(), "{sql}");
    Ok(statement)
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Bool(yes) => ValueRef::Integer((*yes).into()),
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
            Self::Id(id) => ValueRef::Blob(id.as_bytes()),
        }))
    }
}

fn value_of(value: ValueRef<'_>) -> rusqlite::Result<Value> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Text(_) => Value::Text(value.as_str()?.to_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        // No column has it.
        ValueRef::Real(_) => return Err(rusqlite::Error::InvalidQuery),
    })
}

/// The meaning of a failed statement for its transaction.
fn failure(error: rusqlite::Error) -> SqlError {
    report("a statement failed", &error);
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => SqlError::conflict(error),
        _ => SqlError::failed(error),
    }
}

/// Logs an error of SQLite. Parameters of statements are never logged.
pub(super) fn report(what: &str, error: &rusqlite::Error) {
    tracing::warn!(code = ?error.sqlite_error_code(), "{what}: {error}");
}
