//! Statements, their parameters and answers, as they are reported.

use std::fmt;

/// A statement and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The text, also of a prepared statement.
    pub sql: String,
    /// `$1`, `$2`, …
    pub parameters: Vec<Parameter>,
}

/// A parameter's value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parameter {
    /// `NULL`
    Null,
    /// Its text form; of the common binary types, too.
    Text(String),
    /// A binary form of a type that is not decoded.
    Binary(Vec<u8>),
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Self::Binary(bytes) => {
                f.write_str("'\\x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("'")
            }
        }
    }
}

impl fmt::Display for Statement {
    /// The text on one line, followed by the parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.sql.split_whitespace().collect();
        f.write_str(&words.join(" "))?;
        for (index, parameter) in self.parameters.iter().enumerate() {
            let separator = if index == 0 { "  -- " } else { ", " };
            write!(f, "{separator}${} = {parameter}", index + 1)?;
        }
        Ok(())
    }
}

/// The database's answer to a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// One result for each statement that was executed.
    pub results: Vec<StatementResult>,
    /// The error that ended the unit.
    pub error: Option<SqlError>,
    /// The transaction's status afterwards; `None` when the unit ended without a Sync.
    pub transaction: Option<TransactionStatus>,
}

/// The result of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementResult {
    /// The command tag, such as `UPDATE 1`; empty for an empty statement.
    pub tag: String,
    /// The number of rows that were returned or changed.
    pub rows: Option<u64>,
}

impl StatementResult {
    /// By its command tag.
    pub(crate) fn of(tag: String) -> Self {
        let rows = tag.rsplit(' ').next().and_then(|count| count.parse().ok());
        Self { tag, rows }
    }

    /// The number of rows that it changed; `None` of a statement that only reads or controls.
    pub(crate) fn changed(&self) -> Option<u64> {
        const VERBS: &[&str] = &["INSERT", "UPDATE", "DELETE", "MERGE"];
        self.rows.filter(|_| VERBS.iter().any(|verb| self.tag.starts_with(verb)))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<_> = self.results.iter().map(|result| result.tag.clone()).collect();
        parts.extend(self.error.as_ref().map(ToString::to_string));
        f.write_str(&parts.join("; "))
    }
}

/// An error of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// The SQLSTATE.
    pub code: String,
    /// The message.
    pub message: String,
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ERROR {}: {}", self.code, self.message)
    }
}

/// Transaction status of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// No open transaction.
    Idle,
    /// One is.
    Open,
    /// One is, and has failed: only a rollback is accepted.
    Failed,
}
