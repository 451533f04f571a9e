//! The databases that instances run on, seen from behind: a window is moved, and everything that is kept is read.

use std::{path::Path, time::Duration};

use countersign::protocol::Timestamp;

/// What instances keep their records in.
pub(crate) enum Database {
    /// A file beside the configuration.
    Sqlite,
}

const FILE: &str = "countersign.db";

impl Database {
    /// What `--store` is given.
    pub(crate) fn url(&self, home: &Path) -> String {
        match self {
            Self::Sqlite => format!("sqlite:{}", home.join(FILE).display()),
        }
    }

    /// Moves the end of an approval's window.
    pub(crate) fn expire_at(&self, home: &Path, id: &str, end: Timestamp) {
        let end = i64::try_from(end.0).expect("it is not that late");
        match self {
            Self::Sqlite => {
                let connection = rusqlite::Connection::open(home.join(FILE)).expect("the file is there");
                connection.busy_timeout(Duration::from_secs(30)).expect("it can wait");
                let id = uuid::Uuid::try_parse(id).expect("an id");
                let sql = "UPDATE approvals SET expires_at = ?1 WHERE id = ?2";
                let moved =
                    connection.execute(sql, (end, id.as_bytes().as_slice())).expect("it can be moved");
                assert_eq!(moved, 1, "the approval is there");
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
        }
    }
}
