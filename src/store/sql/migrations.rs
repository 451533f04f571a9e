//! Which migrations a database still needs, and whether it is one of ours to migrate.

use std::fmt;

/// One step from a schema to the next: a numbered `.sql` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its number, counted from 1 without gaps.
    pub version: i64,
    /// Name of the file.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

/// Why a database cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaError {
    /// A newer program has migrated it, and this one does not know what its rows mean.
    Newer {
        /// The database's version.
        found: i64,
        /// The latest that this program knows.
        known: i64,
    },
    /// A migration before this one was never applied.
    Gap {
        /// The version that was applied without it.
        found: i64,
    },
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { found, known } => write!(
                f,
                "the database has schema version {found}, and this program supports up to {known} \
                 (use the program that migrated it, or a newer one)"
            ),
            Self::Gap { found } => {
                write!(f, "the database has schema version {found} without an earlier one")
            }
        }
    }
}

impl std::error::Error for SchemaError {}

/// The migrations that a database with these versions still needs, in their order.
///
/// # Errors
/// [`SchemaError`] when it is not one that these migrations have made.
pub fn to_apply<'a>(known: &'a [Migration], applied: &[i64]) -> Result<&'a [Migration], SchemaError> {
    let latest = known.last().map_or(0, |migration| migration.version);
    let newest = applied.iter().copied().max().unwrap_or(0);
    if newest > latest {
        return Err(SchemaError::Newer { found: newest, known: latest });
    }
    let done = known.iter().take_while(|migration| applied.contains(&migration.version)).count();
    let rest = known.get(done..).unwrap_or_default();
    match rest.iter().find(|migration| migration.version <= newest) {
        Some(_) => Err(SchemaError::Gap { found: newest }),
        None => Ok(rest),
    }
}

/// Panics unless these are the migrations whose files have these SHA-256 hashes, in hexadecimal.
#[cfg(test)]
pub(crate) fn assert_unchanged(known: &[Migration], hashes: &[&str]) {
    use sha2::{Digest as _, Sha256};

    let hex = |hash: &[u8]| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (place, migration) in known.iter().enumerate() {
        let Migration { version, name, sql } = migration;
        let hash = hex(&Sha256::digest(sql.as_bytes()));
        assert_eq!(
            Some(&hash.as_str()),
            hashes.get(place),
            "{version:04}_{name}.sql is not what it was: databases that have seen it do not see it again. Put it \
             back and add a new file; the hash of a new one goes into the list"
        );
    }
    assert_eq!(known.len(), hashes.len(), "a migration is gone, and databases have seen it");
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Migration; 3] = [
        Migration { version: 1, name: "one", sql: "" },
        Migration { version: 2, name: "two", sql: "" },
        Migration { version: 3, name: "three", sql: "" },
    ];

    #[test]
    fn what_was_applied_is_not_applied_again() {
        assert_eq!(to_apply(&KNOWN, &[]), Ok(&KNOWN[..]));
        assert_eq!(to_apply(&KNOWN, &[2, 1]), Ok(&KNOWN[2..]));
        assert_eq!(to_apply(&KNOWN, &[1, 2, 3]), Ok(&[][..]));
    }

    #[test]
    fn a_newer_schema_and_one_with_a_gap_are_refused() {
        let newer = SchemaError::Newer { found: 4, known: 3 };
        assert_eq!(to_apply(&KNOWN, &[1, 2, 3, 4]), Err(newer));
        assert!(newer.to_string().contains("version 4"), "{newer}");
        assert_eq!(to_apply(&KNOWN, &[1, 3]), Err(SchemaError::Gap { found: 3 }));
    }

    #[test]
    #[should_panic = "0001_one.sql is not what it was"]
    fn a_changed_migration_is_noticed() {
        let of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let changed = Migration { sql: "SELECT 1", ..KNOWN[0] };
        assert_unchanged(&KNOWN[..1], &[of_nothing]);
        assert_unchanged(&[changed], &[of_nothing]);
    }
}
