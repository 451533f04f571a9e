//! Which steps commute: a step's footprint, and when two footprints conflict.
//!
//! Under READ COMMITTED a plain read is affected by what is committed only; a write and a row lock by what is committed,
//! written or locked. Under REPEATABLE READ the first statement of a transaction takes its snapshot, which depends on every
//! commit. Under SERIALIZABLE the database also compares reads with writes, whichever comes first, by pages and tables
//! rather than rows; and the order of the commits decides which transaction fails. In doubt two steps depend on each other.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::{Catalog, ColumnType, Relation};
use crate::{
    proxy::{Parameter, Statement, TransactionStatus},
    sql::{self, Kind, OnDuplicate, Operand, Shape, Snapshot},
};

/// PostgreSQL's functions that read and write nothing that another request can change.
const HARMLESS: &[&str] = &[
    "abs",
    "array_agg",
    "avg",
    "ceil",
    "clock_timestamp",
    "coalesce",
    "concat",
    "count",
    "current_date",
    "current_timestamp",
    "date_part",
    "date_trunc",
    "decode",
    "digest",
    "encode",
    "extract",
    "floor",
    "format",
    "gen_random_uuid",
    "greatest",
    "json_agg",
    "json_build_object",
    "jsonb_agg",
    "jsonb_build_object",
    "least",
    "left",
    "length",
    "localtimestamp",
    "lower",
    "ltrim",
    "make_interval",
    "max",
    "md5",
    "min",
    "mod",
    "now",
    "nullif",
    "power",
    "random",
    "replace",
    "right",
    "round",
    "row_number",
    "row_to_json",
    "rtrim",
    "sha256",
    "split_part",
    "statement_timestamp",
    "string_agg",
    "substr",
    "substring",
    "sum",
    "timeofday",
    "to_char",
    "to_json",
    "to_jsonb",
    "to_timestamp",
    "transaction_timestamp",
    "trim",
    "trunc",
    "upper",
    "version",
    "current_schema",
    "current_database",
    "current_setting",
    "pg_backend_pid",
];

/// Stands for a table that every transaction with a lasting snapshot reads.
const SNAPSHOTS: &str = "(snapshots)";

/// Effect of a step on rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Reads committed rows.
    Read,
    /// Writes, or locks.
    Write {
        /// Others cannot reference the row meanwhile.
        keys: bool,
    },
    Insert,
    /// Keeps a row that a foreign key references from going away. Several may do so.
    Share,
    /// Ends that.
    Release,
    /// Reads, and is compared with the writes of other serializable transactions.
    Watch,
    /// Makes writes visible, or releases locks.
    Settle {
        publishes: bool,
        /// As of the write that it ends.
        keys: bool,
        /// It ends an insertion.
        inserted: bool,
    },
}

impl Effect {
    /// What the end of the transaction does with it.
    fn settled(self, publishes: bool) -> Self {
        match self {
            Self::Share => Self::Release,
            Self::Write { keys } => Self::Settle { publishes, keys, inserted: false },
            _ => Self::Settle { publishes, keys: true, inserted: self == Self::Insert },
        }
    }
}

/// A step's access to rows of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Access {
    table: String,
    /// Only rows in which these columns have these values.
    keys: BTreeMap<String, String>,
    effect: Effect,
    /// The columns of each unique index in which an inserted row may collide; `None` if they are not known.
    unique: Option<Vec<BTreeSet<String>>>,
}

/// The rows and tables that a step touches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Footprint {
    /// May touch anything.
    is_opaque: bool,
    accesses: Vec<Access>,
}

impl Footprint {
    pub(super) fn opaque() -> Self {
        Self { is_opaque: true, accesses: Vec::new() }
    }

    /// The same effect on all rows of these tables.
    fn on_tables(tables: impl IntoIterator<Item = impl ToString>, effect: Effect) -> Self {
        let access = |table: &dyn ToString| Access::of(&table.to_string(), effect);
        Self { is_opaque: false, accesses: tables.into_iter().map(|table| access(&table)).collect() }
    }

    /// True if the step commutes with every other.
    pub(super) fn is_local(&self) -> bool {
        !self.is_opaque && self.accesses.is_empty()
    }

    pub(super) fn join(&mut self, other: Self) {
        self.is_opaque |= other.is_opaque;
        self.accesses.extend(other.accesses);
    }

    /// The part that is not in another footprint, in any rows.
    pub(super) fn in_addition_to(self, other: &Self) -> Self {
        let accesses = self.accesses.into_iter().filter(|access| !other.accesses.contains(access));
        let in_any_row = |access: Access| Access { keys: BTreeMap::new(), ..access };
        Self { is_opaque: self.is_opaque, accesses: accesses.map(in_any_row).collect() }
    }

    pub(super) fn depends_on(&self, other: &Self) -> bool {
        if self.is_local() || other.is_local() {
            return false;
        }
        self.is_opaque
            || other.is_opaque
            || self.accesses.iter().any(|one| other.accesses.iter().any(|two| one.conflicts_with(two)))
    }
}

impl Access {
    /// To any rows.
    fn of(table: &str, effect: Effect) -> Self {
        Self { table: table.to_owned(), keys: BTreeMap::new(), effect, unique: None }
    }

    fn conflicts_with(&self, other: &Self) -> bool {
        let effects_conflict = match (self.effect, other.effect) {
            (Effect::Read, Effect::Settle { publishes, .. })
            | (Effect::Settle { publishes, .. }, Effect::Read) => publishes,
            (Effect::Read, _) | (_, Effect::Read) => false,
            (Effect::Share | Effect::Release, Effect::Write { keys } | Effect::Settle { keys, .. })
            | (Effect::Write { keys } | Effect::Settle { keys, .. }, Effect::Share | Effect::Release)
                if !keys =>
            {
                false
            }
            (Effect::Watch, Effect::Watch) | (Effect::Share, Effect::Share | Effect::Release) => false,
            (Effect::Release, Effect::Share) => false,
            (Effect::Settle { .. } | Effect::Release, Effect::Settle { .. } | Effect::Release) => false,
            _ => true,
        };
        if !effects_conflict || self.table != other.table {
            return false;
        }
        let inserts = |effect| matches!(effect, Effect::Insert | Effect::Settle { inserted: true, .. });
        if inserts(self.effect) && inserts(other.effect) {
            // Two inserted rows may collide in a unique index although other columns differ.
            let may_collide =
                |columns: &BTreeSet<String>| !columns.iter().any(|column| self.differs(other, column));
            return self.unique.as_ref().is_none_or(|indexes| indexes.iter().any(may_collide));
        }
        !self.keys.keys().any(|column| self.differs(other, column))
    }

    fn differs(&self, other: &Self, column: &str) -> bool {
        self.keys.get(column).zip(other.keys.get(column)).is_some_and(|(mine, theirs)| mine != theirs)
    }
}

/// Effects of a connection's open transaction so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Transaction {
    is_open: bool,
    touched: Footprint,
    isolation: Option<Snapshot>,
    has_snapshot: bool,
}

impl Transaction {
    /// The footprint of the next unit on the connection.
    pub(super) fn footprint(&self, statements: &[Statement], catalog: &Catalog) -> Footprint {
        let mut after = self.clone();
        after.apply(statements, catalog)
    }

    /// Registers the unit's execution and returns its footprint.
    pub(super) fn executed(
        &mut self,
        statements: &[Statement],
        catalog: &Catalog,
        status: Option<TransactionStatus>,
    ) -> Footprint {
        let mut footprint = self.apply(statements, catalog);
        match status {
            Some(TransactionStatus::Idle) => *self = Self::default(),
            // The failure has rolled back the transaction, and released its locks.
            Some(TransactionStatus::Failed) => {
                footprint.join(self.settled(false));
                *self = Self { is_open: true, ..Self::default() };
            }
            Some(TransactionStatus::Open) => self.is_open = true,
            None => {}
        }
        footprint
    }

    fn apply(&mut self, statements: &[Statement], catalog: &Catalog) -> Footprint {
        let was_open = self.is_open;
        let mut footprint = Footprint::default();
        for statement in statements {
            let Some(shapes) = sql::shapes(&statement.sql) else {
                footprint.join(Footprint::opaque());
                self.touched.join(Footprint::opaque());
                continue;
            };
            for shape in shapes.iter() {
                footprint.join(self.apply_shape(shape, &statement.parameters, catalog));
            }
        }
        if !was_open && !self.is_open {
            // Without a transaction block the unit commits automatically.
            footprint.join(self.settled(true));
            self.touched = Footprint::default();
        }
        footprint
    }

    fn apply_shape(&mut self, shape: &Shape, parameters: &[Parameter], catalog: &Catalog) -> Footprint {
        self.isolation = shape.snapshot.or(self.isolation);
        match shape.kind {
            Kind::Begin => {
                self.is_open = true;
                Footprint::default()
            }
            Kind::End { commits } => {
                let footprint = self.settled(commits);
                *self = Self::default();
                footprint
            }
            Kind::RollbackTo => self.settled(false),
            Kind::Session => Footprint::default(),
            Kind::Other => {
                self.touched.join(Footprint::opaque());
                Footprint::opaque()
            }
            Kind::Select | Kind::Insert | Kind::Update | Kind::Delete => {
                let mut footprint = accesses(shape, parameters, catalog).unwrap_or_else(Footprint::opaque);
                if self.isolation == Some(Snapshot::Serializable) {
                    footprint.join(Footprint::on_tables(&shape.tables, Effect::Watch));
                }
                self.touched.join(footprint.clone());
                if self.isolation.is_some() && !std::mem::replace(&mut self.has_snapshot, true) {
                    footprint.join(Footprint::on_tables([SNAPSHOTS], Effect::Read));
                }
                footprint
            }
        }
    }

    /// The effect of the transaction's end.
    fn settled(&self, publishes: bool) -> Footprint {
        let writes = self.touched.accesses.iter().filter(|access| access.effect != Effect::Read);
        let accesses: Vec<Access> = writes
            .map(|access| Access { effect: access.effect.settled(publishes), ..access.clone() })
            .collect();
        let touches_nothing = accesses.is_empty();
        let mut footprint = Footprint { is_opaque: self.touched.is_opaque, accesses };
        if self.isolation == Some(Snapshot::Serializable) {
            footprint.join(Footprint::on_tables([SNAPSHOTS], Effect::Write { keys: true }));
        }
        if publishes && !(touches_nothing && self.isolation != Some(Snapshot::Serializable)) {
            footprint.join(Footprint::on_tables(
                [SNAPSHOTS],
                Effect::Settle { publishes, keys: true, inserted: false },
            ));
        }
        footprint
    }
}

/// True if later transactions may have a lasting snapshot that they do not request; then no reduction is possible.
pub(super) fn changes_snapshots(statements: &[Statement]) -> bool {
    let mut shapes = statements.iter().filter_map(|statement| sql::shapes(&statement.sql));
    shapes.any(|shapes| shapes.iter().any(|shape| shape.changes_snapshots))
}

/// The function reads and writes nothing that another request can change.
fn is_harmless(function: &str, catalog: &Catalog) -> bool {
    match catalog.functions.get(function) {
        None => HARMLESS.contains(&function),
        Some(body) => body.as_deref().is_some_and(|body| computes(body, catalog)),
    }
}

/// The body of a function in SQL only computes, with PostgreSQL's own functions.
fn computes(body: &str, catalog: &Catalog) -> bool {
    let Some(shapes) = sql::shapes(body) else { return false };
    shapes.iter().all(|shape| {
        let is_own = |function: &String| {
            HARMLESS.contains(&function.as_str()) && !catalog.functions.contains_key(function)
        };
        shape.kind == Kind::Select && shape.tables.is_empty() && shape.functions.iter().all(is_own)
    })
}

/// The accesses of a statement; `None` when its text does not show them.
fn accesses(shape: &Shape, parameters: &[Parameter], catalog: &Catalog) -> Option<Footprint> {
    if !shape.functions.iter().all(|function| is_harmless(function, catalog)) {
        return None;
    }
    let mut footprint = Footprint::default();
    for table in &shape.tables {
        let is_target = shape.table.as_ref() == Some(table);
        let is_named = shape.queries.contains(table) && !catalog.relations.contains_key(table);
        if is_system(table) || is_named {
            continue;
        }
        let relation = catalog.relations.get(table).filter(|relation| !relation.is_opaque)?;
        let effect = match shape.kind {
            Kind::Insert if is_target => Effect::Insert,
            Kind::Update if is_target => Effect::Write { keys: changes_key(shape, relation) },
            Kind::Delete if is_target => Effect::Write { keys: true },
            _ if shape.locks_rows => Effect::Write { keys: !shape.leaves_keys },
            _ => Effect::Read,
        };
        let keys = if shape.is_simple && is_target {
            keys(shape, parameters, &relation.columns)
        } else {
            BTreeMap::new()
        };
        if is_target {
            for (related, effect) in touched_by_foreign_keys(shape, relation) {
                catalog.relations.get(related).filter(|relation| !relation.is_opaque)?;
                footprint.accesses.push(Access::of(related, effect));
            }
        }
        let only_inserts = effect == Effect::Insert && shape.is_simple;
        if effect != Effect::Read && !only_inserts {
            // A write also reads the committed rows.
            footprint.accesses.push(Access { keys: keys.clone(), ..Access::of(table, Effect::Read) });
        }
        let unique = (!relation.has_unknown_unique).then(|| relation.unique.clone());
        footprint.accesses.push(Access { keys, unique, ..Access::of(table, effect) });
    }
    Some(footprint)
}

/// An update changes a column that foreign keys may reference.
fn changes_key(shape: &Shape, relation: &Relation) -> bool {
    let is_key = |column: &String| relation.unique.iter().any(|columns| columns.contains(column));
    shape.values.iter().any(|(column, _)| is_key(column))
}

/// The tables in which a write locks or changes rows because of foreign keys.
fn touched_by_foreign_keys<'a>(
    shape: &Shape,
    relation: &'a Relation,
) -> impl Iterator<Item = (&'a String, Effect)> {
    let changes_key = changes_key(shape, relation);
    let (references, referenced) = match shape.kind {
        Kind::Insert => (true, false),
        // Referenced columns are a key.
        Kind::Update => (true, changes_key),
        Kind::Delete => (false, true),
        _ => (false, false),
    };
    let some = |tables: &'a BTreeSet<String>, touches: bool, effect| {
        tables.iter().filter(move |_| touches).map(move |table| (table, effect))
    };
    some(&relation.references, references, Effect::Share).chain(some(
        &relation.referenced_by,
        referenced,
        Effect::Write { keys: true },
    ))
}

fn is_system(table: &str) -> bool {
    table.starts_with("pg_") || table == "information_schema"
}

/// The columns whose values the statement fixes for all rows that it touches.
fn keys(
    shape: &Shape,
    parameters: &[Parameter],
    columns: &BTreeMap<String, ColumnType>,
) -> BTreeMap<String, String> {
    let known = |(column, operand): &(String, Operand)| {
        let text = match operand {
            Operand::Literal(text) => text,
            Operand::Parameter(number) => match parameters.get(number.checked_sub(1)?)? {
                Parameter::Text(text) => text,
                Parameter::Null | Parameter::Binary(_) => return None,
            },
            Operand::Expression(_) => return None,
        };
        Some((column.clone(), normal_form(text, *columns.get(column)?)?))
    };
    match shape.kind {
        // An update through ON CONFLICT touches a row that is there already, and has the values of the conflict.
        Kind::Insert if shape.on_duplicate == Some(OnDuplicate::Update) => {
            let of_conflict = |(column, _): &&(String, Operand)| shape.conflict_columns.contains(column);
            shape.values.iter().filter(of_conflict).filter_map(known).collect()
        }
        Kind::Insert => shape.values.iter().filter_map(known).collect(),
        _ => {
            let changed = |column: &String| shape.values.iter().any(|(name, _)| name == column);
            let equal = shape.conditions.iter().filter_map(|condition| condition.equals.as_ref());
            equal.filter(|(column, _)| !changed(column)).filter_map(known).collect()
        }
    }
}

fn normal_form(text: &str, kind: ColumnType) -> Option<String> {
    match kind {
        ColumnType::Integer => text.parse::<i64>().ok().map(|number| number.to_string()),
        ColumnType::Uuid => Some(text.replace('-', "").to_lowercase()).filter(|uuid| uuid.len() == 32),
        ColumnType::Text => Some(text.to_owned()),
        ColumnType::Other => None,
    }
}

#[cfg(test)]
mod tests;
