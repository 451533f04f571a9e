//! The database's catalog: tables on which a statement has effects that its text does not show.

use std::collections::{BTreeMap, BTreeSet};

use crate::proxy::{Monitor, MonitorError};

/// Types whose equality is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `smallint`, `integer`, `bigint`
    Integer,
    /// `uuid`
    Uuid,
    /// `text`, `varchar` with a deterministic collation.
    Text,
    /// Any other type.
    Other,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relation {
    /// Statements on it may have effects elsewhere: a view, a table with triggers, rules, row security, partitions or
    /// deferrable constraints, or a name in several schemas.
    pub is_opaque: bool,
    /// The tables that its foreign keys reference.
    pub references: BTreeSet<String>,
    /// The tables whose foreign keys reference it.
    pub referenced_by: BTreeSet<String>,
    /// The columns of each unique index.
    pub unique: Vec<BTreeSet<String>>,
    /// Another index of expressions is unique, or excludes rows otherwise.
    pub has_unknown_unique: bool,
    /// Its columns' types.
    pub columns: BTreeMap<String, ColumnType>,
}

/// Knowledge of the database. By default empty, so that all statements depend on each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// By name, without the schema.
    pub relations: BTreeMap<String, Relation>,
    /// Functions that are not PostgreSQL's, with the body of those in SQL. `None`: it is not known, or there are several.
    pub functions: BTreeMap<String, Option<String>>,
    /// Transactions may have a lasting snapshot (REPEATABLE READ, SERIALIZABLE) by default.
    pub may_default_to_snapshots: bool,
}

const RELATIONS: &str = "/* relations */ SELECT c.relname, \
    c.relkind <> 'r' OR c.relhasrules OR c.relrowsecurity OR c.relispartition OR c.relhassubclass \
    OR EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal) \
    OR EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conrelid = c.oid AND k.condeferrable) \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
    AND n.nspname !~ '^pg_toast'";
const FOREIGN_KEYS: &str = "/* foreign keys */ SELECT child.relname, parent.relname FROM pg_constraint k \
    JOIN pg_class child ON child.oid = k.conrelid JOIN pg_class parent ON parent.oid = k.confrelid \
    WHERE k.contype = 'f'";
const COLUMNS: &str = "/* columns */ SELECT c.relname, a.attname, t.typname, coalesce(l.collisdeterministic, true) \
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_collation l ON l.oid = a.attcollation \
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind = 'r' \
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast'";
const UNIQUE: &str = "/* unique */ SELECT c.relname, string_agg(a.attname, ','), \
    i.indexprs IS NOT NULL OR i.indisexclusion FROM pg_index i \
    JOIN pg_class c ON c.oid = i.indrelid \
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) \
    JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE (i.indisunique OR i.indisexclusion) \
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast' \
    GROUP BY i.indexrelid, c.relname, i.indexprs IS NOT NULL OR i.indisexclusion";
const FUNCTIONS: &str = "/* functions */ SELECT p.proname, CASE l.lanname WHEN 'sql' THEN p.prosrc END FROM pg_proc p \
    JOIN pg_language l ON l.oid = p.prolang JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')";
const ISOLATION: &str = "/* isolation */ SELECT 1 WHERE current_setting('default_transaction_isolation') <> 'read committed' \
    OR EXISTS (SELECT 1 FROM pg_db_role_setting s WHERE array_to_string(s.setconfig, ',') ~* 'isolation')";

impl Catalog {
    /// Reads it from the database.
    ///
    /// # Errors
    /// As [`Monitor::query`].
    pub async fn read(monitor: &mut Monitor) -> Result<Self, MonitorError> {
        let mut catalog = Self::default();
        for row in monitor.query(RELATIONS).await? {
            if let [Some(name), Some(is_opaque)] = row.as_slice() {
                let is_known = catalog.relations.contains_key(name);
                let relation = catalog.relations.entry(name.clone()).or_default();
                relation.is_opaque |= is_known || is_opaque == "t";
            }
        }
        for row in monitor.query(FOREIGN_KEYS).await? {
            if let [Some(child), Some(parent)] = row.as_slice() {
                catalog.relate(child, parent);
            }
        }
        for row in monitor.query(COLUMNS).await? {
            if let [Some(table), Some(column), Some(name), Some(is_deterministic)] = row.as_slice()
                && let Some(relation) = catalog.relations.get_mut(table)
            {
                let kind = match name.as_str() {
                    "int2" | "int4" | "int8" => ColumnType::Integer,
                    "uuid" => ColumnType::Uuid,
                    "text" | "varchar" if is_deterministic == "t" => ColumnType::Text,
                    _ => ColumnType::Other,
                };
                relation.columns.insert(column.clone(), kind);
            }
        }
        for row in monitor.query(UNIQUE).await? {
            if let [Some(table), columns, is_unknown] = row.as_slice()
                && let Some(relation) = catalog.relations.get_mut(table)
            {
                match columns {
                    Some(columns) if is_unknown.as_deref() == Some("f") => {
                        relation.unique.push(columns.split(',').map(str::to_owned).collect());
                    }
                    _ => relation.has_unknown_unique = true,
                }
            }
        }
        for row in monitor.query(FUNCTIONS).await? {
            if let [Some(name), body] = row.as_slice() {
                let body =
                    body.clone().filter(|body| !body.is_empty() && !catalog.functions.contains_key(name));
                catalog.functions.insert(name.clone(), body);
            }
        }
        catalog.may_default_to_snapshots = !monitor.query(ISOLATION).await?.is_empty();
        Ok(catalog)
    }

    /// Adds a foreign key.
    pub fn relate(&mut self, child: &str, parent: &str) {
        self.relations.entry(child.to_owned()).or_default().references.insert(parent.to_owned());
        self.relations.entry(parent.to_owned()).or_default().referenced_by.insert(child.to_owned());
    }
}
