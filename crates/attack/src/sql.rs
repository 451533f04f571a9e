//! The shape of a statement: its reads, writes and comparisons, according to its text.
//!
//! An unparsable statement has no shape; callers then assume the worst.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    rc::Rc,
};

use regex_lite::{Captures, Regex};
use sqlparser::{
    ast::{
        AssignmentTarget, BinaryOperator, ConflictTarget, Delete, Expr, FromTable, Ident, Insert, ObjectName,
        OnConflictAction, OnInsert, Query, SetExpr, TableFactor, TableObject, TableWithJoins, Update,
        UpdateTableFromKind, Value, Visit, Visitor,
    },
    dialect::PostgreSqlDialect,
    parser::Parser,
};

/// Kind of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Opens a transaction.
    Begin,
    /// Commits or rolls back a transaction.
    End {
        commits: bool,
    },
    /// Goes back to a savepoint.
    RollbackTo,
    /// Concerns the session only.
    Session,
    Select,
    Insert,
    Update,
    Delete,
    /// Anything else.
    Other,
}

/// A value in a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    Literal(String),
    /// `$n`, counted from 1.
    Parameter(usize),
    /// Its text.
    Expression(String),
}

/// One condition of a `WHERE` clause; they are connected by `AND`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    /// The column, where it is compared with a constant or a parameter for equality.
    pub(crate) equals: Option<(String, Operand)>,
    /// The columns that occur.
    pub(crate) columns: Vec<String>,
    /// Its text.
    pub(crate) text: String,
    pub(crate) expression: Expr,
}

/// Behaviour of `INSERT … ON CONFLICT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDuplicate {
    Nothing,
    Update,
}

/// The shape of one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    /// The table that is written, or the first one that is read.
    pub(crate) table: Option<String>,
    /// All tables.
    pub(crate) tables: BTreeSet<String>,
    pub(crate) functions: BTreeSet<String>,
    /// `FOR UPDATE` and the like.
    pub(crate) locks_rows: bool,
    /// `FOR NO KEY UPDATE`: the lock lets others reference the row.
    pub(crate) leaves_keys: bool,
    /// The names of `WITH`, which stand among the tables.
    pub(crate) queries: BTreeSet<String>,
    /// One table without subqueries, so that the conditions select its rows.
    pub(crate) is_simple: bool,
    pub(crate) conditions: Vec<Condition>,
    /// `SET`, or the columns and values of an inserted row.
    pub(crate) values: Vec<(String, Operand)>,
    pub(crate) on_duplicate: Option<OnDuplicate>,
    /// The columns of `ON CONFLICT (…)`.
    pub(crate) conflict_columns: BTreeSet<String>,
    /// The snapshot that lasts, which the transaction asks for.
    pub(crate) snapshot: Option<Snapshot>,
    /// Asks for such a snapshot otherwise: for the session, say.
    pub(crate) changes_snapshots: bool,
}

/// The isolation of a transaction whose snapshot lasts until its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Snapshot {
    RepeatableRead,
    Serializable,
}

/// The shapes of the statements in a text; `None` when it cannot be parsed. The last ones are kept: a search meets few
/// texts, each thousands of times.
pub(crate) fn shapes(sql: &str) -> Option<Rc<[Shape]>> {
    const MOST: usize = 1_000;
    thread_local! {
        static KNOWN: RefCell<BTreeMap<String, Option<Rc<[Shape]>>>> = RefCell::default();
    }
    if let Some(known) = KNOWN.with_borrow(|known| known.get(sql).cloned()) {
        return known;
    }
    let shapes = parsed(sql).map(Rc::from);
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(sql.to_owned(), shapes.clone());
    });
    shapes
}

fn parsed(sql: &str) -> Option<Vec<Shape>> {
    let text = sql.trim().trim_end_matches(';');
    if !text.contains(';')
        && let Some(shape) = control(text)
    {
        return Some(vec![shape]);
    }
    let parse = |text: &str| Parser::parse_sql(&PostgreSqlDialect {}, text).ok();
    // The parser does not know these two. `FOR UPDATE` and `FOR SHARE` lock more.
    let stronger = || {
        let words: Vec<&str> = sql.split_whitespace().collect();
        let text = words.join(" ");
        let weaker = Regex::new("(?i) FOR (NO KEY UPDATE|KEY SHARE)").ok()?;
        let leaves_keys = weaker.is_match(&text);
        let text = weaker.replace_all(&text, |found: &Captures<'_>| {
            if found[1].to_ascii_uppercase().ends_with("SHARE") { " FOR SHARE" } else { " FOR UPDATE" }
        });
        leaves_keys.then(|| parse(&text)).flatten()
    };
    let (statements, leaves_keys) = match parse(sql) {
        Some(statements) => (statements, false),
        None => (stronger()?, true),
    };
    let shape = |statement| {
        let shape = control(&ToString::to_string(statement)).unwrap_or_else(|| shape(statement));
        Shape { leaves_keys: leaves_keys && statements.len() == 1, ..shape }
    };
    Some(statements.iter().map(shape).collect())
}

/// The text with every literal replaced, without comments, and white space normalised: what two executions of one
/// statement share.
pub(crate) fn fingerprint(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut characters = sql.trim().chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\'' => {
                while let Some(inner) = characters.next() {
                    if inner == '\'' && characters.next_if_eq(&'\'').is_none() {
                        break;
                    }
                }
                out.push('?');
            }
            // Comments often carry a trace's id.
            '/' if characters.next_if_eq(&'*').is_some() => {
                while let Some(inner) = characters.next() {
                    if inner == '*' && characters.next_if_eq(&'/').is_some() {
                        break;
                    }
                }
            }
            '-' if characters.next_if_eq(&'-').is_some() => {
                while characters.next_if(|next| *next != '\n').is_some() {}
            }
            _ if character.is_whitespace() => {
                if !out.is_empty() && !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            '0'..='9' if !out.ends_with(|before: char| before.is_alphanumeric() || "_$".contains(before)) => {
                while characters.next_if(|next| next.is_ascii_digit() || *next == '.').is_some() {}
                out.push('?');
            }
            _ => out.push(character),
        }
    }
    out.truncate(out.trim_end().len());
    out
}

fn empty(kind: Kind) -> Shape {
    Shape {
        kind,
        table: None,
        tables: BTreeSet::new(),
        functions: BTreeSet::new(),
        locks_rows: false,
        leaves_keys: false,
        queries: BTreeSet::new(),
        is_simple: false,
        conditions: Vec::new(),
        values: Vec::new(),
        on_duplicate: None,
        conflict_columns: BTreeSet::new(),
        snapshot: None,
        changes_snapshots: false,
    }
}

/// A statement that controls the transaction or the session.
fn control(text: &str) -> Option<Shape> {
    let upper = text.to_ascii_uppercase();
    let mut words = upper.split_whitespace();
    let kind = match (words.next().unwrap_or_default(), words.next()) {
        ("BEGIN" | "START", _) => Kind::Begin,
        // The next transaction inherits its isolation.
        ("COMMIT" | "END" | "ROLLBACK" | "ABORT", Some("AND")) => Kind::Other,
        ("COMMIT" | "END", Some("PREPARED")) => Kind::Other,
        ("COMMIT" | "END", _) => Kind::End { commits: true },
        ("ROLLBACK", Some("PREPARED")) => Kind::Other,
        ("ROLLBACK", _) if upper.split_whitespace().any(|word| word == "TO") => Kind::RollbackTo,
        ("ROLLBACK" | "ABORT", _) => Kind::End { commits: false },
        // An empty statement has no word.
        ("" | "SAVEPOINT" | "RELEASE" | "SET" | "SHOW" | "RESET" | "DEALLOCATE", _) => Kind::Session,
        _ => return None,
    };
    let mut shape = empty(kind);
    let snapshot = if upper.contains("SERIALIZABLE") {
        Some(Snapshot::Serializable)
    } else {
        upper.contains("REPEATABLE READ").then_some(Snapshot::RepeatableRead)
    };
    let of_transaction = kind == Kind::Begin || upper.starts_with("SET TRANSACTION ISOLATION");
    shape.snapshot = snapshot.filter(|_| of_transaction);
    shape.changes_snapshots = snapshot.is_some() && !of_transaction;
    Some(shape)
}

fn shape(statement: &sqlparser::ast::Statement) -> Shape {
    use sqlparser::ast::Statement;
    let mut shape = match statement {
        Statement::Query(query) => select(query),
        Statement::Insert(statement) => insert(statement),
        Statement::Update(statement) => update(statement),
        Statement::Delete(statement) => delete(statement),
        _ => return empty(Kind::Other),
    };
    let mut seen = Seen::default();
    // The visitor never breaks.
    let _ = statement.visit(&mut seen);
    if seen.writes > usize::from(shape.kind != Kind::Select) || seen.is_unusual {
        return empty(Kind::Other);
    }
    let inner_queries = seen.queries.saturating_sub(match shape.kind {
        Kind::Select => 1,
        // The rows of an INSERT are a query.
        Kind::Insert => 1,
        _ => 0,
    });
    shape.is_simple &= inner_queries == 0 && seen.tables.len() <= 1;
    shape.locks_rows |= seen.locks_rows;
    shape.tables = seen.tables;
    shape.tables.extend(shape.table.clone());
    shape.functions = seen.functions;
    shape.queries = seen.names;
    shape
}

/// Collects what occurs anywhere in a statement.
#[derive(Default)]
struct Seen {
    tables: BTreeSet<String>,
    functions: BTreeSet<String>,
    names: BTreeSet<String>,
    queries: usize,
    writes: usize,
    locks_rows: bool,
    is_unusual: bool,
}

impl Visitor for Seen {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &sqlparser::ast::Statement) -> ControlFlow<()> {
        use sqlparser::ast::Statement;
        match statement {
            Statement::Query(_) => {}
            Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => self.writes += 1,
            _ => self.is_unusual = true,
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.queries += 1;
        self.locks_rows |= !query.locks.is_empty();
        let named = query.with.iter().flat_map(|with| &with.cte_tables);
        self.names.extend(named.map(|query| identifier(&query.alias.name)));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.tables.insert(last_name(relation));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { args: None, .. }
            | TableFactor::Derived { .. }
            | TableFactor::NestedJoin { .. } => {}
            TableFactor::Table { name, .. } => {
                self.functions.insert(last_name(name));
            }
            _ => self.is_unusual = true,
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expression {
            self.functions.insert(last_name(&function.name));
        }
        ControlFlow::Continue(())
    }
}

fn identifier(identifier: &Ident) -> String {
    match identifier.quote_style {
        Some(_) => identifier.value.clone(),
        None => identifier.value.to_lowercase(),
    }
}

/// The name without the schema.
fn last_name(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(identifier).unwrap_or_else(|| name.to_string())
}

fn only_table(tables: &[TableWithJoins]) -> Option<String> {
    match tables {
        [TableWithJoins { relation: TableFactor::Table { name, args: None, .. }, joins }]
            if joins.is_empty() =>
        {
            Some(last_name(name))
        }
        _ => None,
    }
}

fn first_table(tables: &[TableWithJoins]) -> Option<String> {
    match &tables.first()?.relation {
        TableFactor::Table { name, args: None, .. } => Some(last_name(name)),
        _ => None,
    }
}

fn select(query: &Query) -> Shape {
    let mut shape = empty(Kind::Select);
    if let SetExpr::Select(select) = query.body.as_ref() {
        shape.table = first_table(&select.from);
        shape.is_simple =
            query.with.is_none() && (select.from.is_empty() || only_table(&select.from).is_some());
        shape.conditions = select.selection.as_ref().map(conditions).unwrap_or_default();
        if select.into.is_some() {
            shape.kind = Kind::Other;
        }
    }
    shape
}

fn insert(statement: &Insert) -> Shape {
    let mut shape = empty(Kind::Insert);
    if let TableObject::TableName(name) = &statement.table {
        shape.table = Some(last_name(name));
    }
    shape.on_duplicate = statement.on.as_ref().map(|on| match on {
        OnInsert::OnConflict(conflict) if matches!(conflict.action, OnConflictAction::DoNothing) => {
            OnDuplicate::Nothing
        }
        _ => OnDuplicate::Update,
    });
    if let Some(OnInsert::OnConflict(conflict)) = &statement.on
        && let Some(ConflictTarget::Columns { columns, .. }) = &conflict.conflict_target
    {
        shape.conflict_columns = columns.iter().map(identifier).collect();
    }
    let rows = statement.source.as_ref().map(|source| source.body.as_ref());
    if let Some(SetExpr::Values(values)) = rows
        && let [row] = values.rows.as_slice()
    {
        shape.is_simple = true;
        let columns = statement.columns.iter().map(last_name);
        shape.values = columns.zip(row.content.iter().map(operand)).collect();
    }
    shape
}

fn update(statement: &Update) -> Shape {
    let mut shape = empty(Kind::Update);
    let tables = std::slice::from_ref(&statement.table);
    shape.table = first_table(tables);
    shape.is_simple = only_table(tables).is_some()
        && statement.from.as_ref().is_none_or(|from| match from {
            UpdateTableFromKind::BeforeSet(tables) | UpdateTableFromKind::AfterSet(tables) => {
                tables.is_empty()
            }
        });
    shape.conditions = statement.selection.as_ref().map(conditions).unwrap_or_default();
    for assignment in &statement.assignments {
        match &assignment.target {
            AssignmentTarget::ColumnName(name) => {
                shape.values.push((last_name(name), operand(&assignment.value)));
            }
            AssignmentTarget::Tuple(names) => {
                let value = Operand::Expression(assignment.value.to_string());
                shape.values.extend(names.iter().map(|name| (last_name(name), value.clone())));
            }
        }
    }
    shape
}

fn delete(statement: &Delete) -> Shape {
    let mut shape = empty(Kind::Delete);
    let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &statement.from;
    shape.table = first_table(tables);
    shape.is_simple = only_table(tables).is_some() && statement.using.is_none();
    shape.conditions = statement.selection.as_ref().map(conditions).unwrap_or_default();
    shape
}

fn conditions(expression: &Expr) -> Vec<Condition> {
    match expression {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            let mut all = conditions(left);
            all.extend(conditions(right));
            all
        }
        Expr::Nested(inner) => conditions(inner),
        _ => vec![Condition {
            equals: equality(expression),
            columns: columns(expression),
            text: expression.to_string(),
            expression: expression.clone(),
        }],
    }
}

fn equality(expression: &Expr) -> Option<(String, Operand)> {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = expression else { return None };
    let constant = |side: &Expr| match operand(side) {
        Operand::Expression(_) => None,
        constant => Some(constant),
    };
    match (column(left), column(right)) {
        (Some(column), None) => Some((column, constant(right)?)),
        (None, Some(column)) => Some((column, constant(left)?)),
        _ => None,
    }
}

pub(crate) fn column(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Identifier(name) => Some(identifier(name)),
        Expr::CompoundIdentifier(names) => names.last().map(identifier),
        Expr::Nested(inner) => column(inner),
        _ => None,
    }
}

fn columns(expression: &Expr) -> Vec<String> {
    struct Columns(Vec<String>);
    impl Visitor for Columns {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            self.0.extend(column(expression));
            ControlFlow::Continue(())
        }
    }
    let mut columns = Columns(Vec::new());
    // The visitor never breaks.
    let _ = expression.visit(&mut columns);
    columns.0.dedup();
    columns.0
}

pub(crate) fn operand(expression: &Expr) -> Operand {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => name
                .strip_prefix('$')
                .and_then(|number| number.parse().ok())
                .map_or_else(|| Operand::Expression(name.clone()), Operand::Parameter),
            Value::Number(text, _) | Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                Operand::Literal(text.clone())
            }
            Value::Boolean(value) => Operand::Literal(value.to_string()),
            other => Operand::Expression(other.to_string()),
        },
        Expr::Cast { expr, .. } => operand(expr),
        Expr::Nested(inner) => operand(inner),
        other => Operand::Expression(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(sql: &str) -> Shape {
        shapes(sql).unwrap()[0].clone()
    }

    #[test]
    fn a_conditional_update_has_its_table_conditions_and_values() {
        let shape = one(
            "UPDATE shop.cards SET state = 'redeemed', n = n + 1 WHERE code = $1::text AND (state = 'active') AND expires_at > now()",
        );
        assert_eq!(
            (shape.kind, shape.table.as_deref(), shape.is_simple),
            (Kind::Update, Some("cards"), true)
        );
        let equal: Vec<_> =
            shape.conditions.iter().filter_map(|condition| condition.equals.clone()).collect();
        assert_eq!(
            equal,
            [("code".into(), Operand::Parameter(1)), ("state".into(), Operand::Literal("active".into()))]
        );
        assert_eq!(shape.conditions[2].columns, ["expires_at"]);
        assert_eq!(shape.values[0], ("state".into(), Operand::Literal("redeemed".into())));
        assert_eq!(shape.functions, BTreeSet::from(["now".to_owned()]));
    }

    #[test]
    fn a_locking_read_locks_and_a_query_within_a_query_is_not_simple() {
        assert!(one("SELECT * FROM cards WHERE code = 'x' FOR UPDATE").locks_rows);
        let nested = one("SELECT * FROM cards WHERE code IN (SELECT code FROM gifts)");
        assert_eq!((nested.is_simple, nested.tables.len()), (false, 2));
        let writing = one("WITH used AS (UPDATE cards SET n = 1 RETURNING *) SELECT * FROM used");
        assert_eq!(writing.kind, Kind::Other);
    }

    #[test]
    fn transaction_control_is_recognised() {
        let kinds: Vec<_> =
            shapes("BEGIN; SELECT 1; COMMIT").unwrap().iter().map(|shape| shape.kind).collect();
        assert_eq!(kinds, [Kind::Begin, Kind::Select, Kind::End { commits: true }]);
        assert_eq!(one("ROLLBACK TO SAVEPOINT a").kind, Kind::RollbackTo);
        assert_eq!(one("BEGIN ISOLATION LEVEL SERIALIZABLE").snapshot, Some(Snapshot::Serializable));
        let set = one("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
        assert_eq!((set.snapshot, set.changes_snapshots), (Some(Snapshot::RepeatableRead), false));
        let session = one("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE");
        assert_eq!((session.snapshot, session.changes_snapshots), (None, true));
        assert_eq!(one("COMMIT AND CHAIN").kind, Kind::Other);
        assert_eq!(one("COMMIT PREPARED 'x'").kind, Kind::Other);
        assert!(shapes("UPDATE cards SETT x").is_none());
    }

    #[test]
    fn executions_of_one_statement_share_a_fingerprint() {
        let sql = "/* trace 7 */ SELECT a1 -- why\n FROM t  WHERE x = 'it''s' AND y = 10.5 AND z = $1 - 1 /* end */";
        assert_eq!(fingerprint(sql), "SELECT a1 FROM t WHERE x = ? AND y = ? AND z = $1 - ?");
        assert_eq!(fingerprint("SELECT 'a' -- '"), "SELECT ?");
    }
}
