//! Classification of a use's statements: the object's table, and the flow step of each statement.

use sqlparser::ast::Expr;

use super::{Lock, UseTrace, admits, locks};
use crate::{
    proxy::{Parameter, Statement},
    sql::{self, Condition, Kind, OnDuplicate, Operand, Shape},
};

/// A statement that reads or writes data.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) shape: Shape,
    pub(super) statement: Statement,
    pub(super) rows: Option<u64>,
    /// Statements of one transaction share the number.
    pub(super) transaction: usize,
    /// Its transaction is REPEATABLE READ or SERIALIZABLE.
    pub(super) is_snapshot: bool,
}

/// Role of a statement in the flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Reads the object.
    Validate {
        checks: Guards,
    },
    /// Reads something else.
    Check,
    /// Looks for a stored outcome.
    Recall,
    Consume(Consume),
    /// Writes a row that is the effect.
    Act {
        unique: bool,
    },
    /// Writes a job.
    Enqueue {
        unique: bool,
    },
    Audit,
    Remember,
    Lease(Lock),
}

/// The comparisons in the text of a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Guards {
    pub(super) status: bool,
    pub(super) expiry: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Consume {
    pub(super) guards: Guards,
    pub(super) why: Atomic,
    /// A condition on the status of which it is not clear if it refuses what the update has written.
    pub(super) unclear: Option<String>,
    /// A condition on the expiry that compares with a clock of the application.
    pub(super) clock: Option<Clock>,
}

impl Consume {
    /// Without doubts.
    fn new(guards: Guards, why: Atomic) -> Self {
        Self { guards, why, unclear: None, clock: None }
    }
}

/// A clock value that the application passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    /// The condition.
    pub(super) condition: String,
    /// An earlier statement has the same value.
    pub(super) is_old: bool,
}

/// Why the check and the write of a consume are one action, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Atomic {
    /// The update compares.
    Conditional,
    /// The row was locked when it was read.
    Locked,
    /// The transaction fails if its reads were changed.
    Snapshot,
    /// A unique row.
    UniqueRow,
    /// The row is deleted, which nothing can do twice.
    Deleted,
    /// The update compares, and matches what it has written.
    AdmitsOwn,
    /// They are two actions.
    No,
}

pub(super) struct Classified {
    pub(super) object: String,
    /// The column that says whether the object is used.
    pub(super) status: Option<String>,
    pub(super) steps: Vec<(Item, Role)>,
}

impl Classified {
    pub(super) fn any(&self, role: impl Fn(&Role) -> bool) -> bool {
        self.steps.iter().any(|(_, one)| role(one))
    }
}

/// The name of the capture that a value equals.
pub(super) fn capture<'a>(
    trace: UseTrace<'a>,
    operand: &Operand,
    parameters: &[Parameter],
) -> Option<&'a str> {
    let value = match operand {
        Operand::Literal(text) => text,
        Operand::Parameter(number) => match parameters.get(number.checked_sub(1)?)? {
            Parameter::Text(text) => text,
            Parameter::Null | Parameter::Binary(_) => return None,
        },
        Operand::Expression(_) => return None,
    };
    trace.captures.iter().find(|(_, captured)| *captured == value).map(|(name, _)| name.as_str())
}

fn names_object(trace: UseTrace<'_>, item: &Item) -> bool {
    let parameters = &item.statement.parameters;
    let compared = item.shape.conditions.iter().filter_map(|condition| condition.equals.as_ref());
    compared.chain(&item.shape.values).any(|(_, operand)| capture(trace, operand, parameters).is_some())
}

pub(super) fn classify(trace: UseTrace<'_>, items: Vec<Item>) -> Classified {
    let object = object_table(trace, &items);
    let status = items.iter().find(|item| updates(item, &object)).and_then(|item| status_column(&item.shape));
    let mut steps: Vec<(Item, Role)> = Vec::new();
    let mut has_consume = false;
    for item in items {
        let role = if updates(&item, &object) && !has_consume {
            has_consume = true;
            Role::Consume(consume(&item, &steps, &object, status.as_deref()))
        } else {
            role(trace, &item, &object, status.as_deref())
        };
        steps.push((item, role));
    }
    if !has_consume {
        // A row that can be written only once uses the object.
        let unique = steps
            .iter_mut()
            .find(|(_, role)| matches!(role, Role::Act { unique: true } | Role::Enqueue { unique: true }));
        if let Some((_, role)) = unique {
            let guards = Guards { status: true, expiry: false };
            *role = Role::Consume(Consume::new(guards, Atomic::UniqueRow));
        }
    }
    Classified { object, status, steps }
}

fn updates(item: &Item, object: &str) -> bool {
    matches!(item.shape.kind, Kind::Update | Kind::Delete) && item.shape.table.as_deref() == Some(object)
}

/// The table that is found by a capture and updated; else the first that is found by one; else the first written.
fn object_table(trace: UseTrace<'_>, items: &[Item]) -> String {
    let table = |item: &Item| item.shape.table.clone();
    let is_log = |table: &String| is_audit(table) || is_outcome(table) || is_job(table);
    let named = || items.iter().filter(|item| names_object(trace, item));
    let updated = |table: &String| items.iter().any(|item| updates(item, table));
    let found = named().filter_map(table).find(|table| updated(table) && !is_log(table));
    let read = || named().filter_map(table).find(|table| !is_log(table));
    let written = || items.iter().filter(|item| item.shape.kind != Kind::Select).filter_map(table).next();
    found.or_else(read).or_else(written).unwrap_or_default()
}

/// The column that is set and compared; otherwise the one with a telling name; otherwise the first set to a constant.
fn status_column(shape: &Shape) -> Option<String> {
    const NAMES: &[&str] =
        &["state", "status", "used", "redeemed", "consumed", "spent", "claimed", "uses", "revoked"];
    let set = || shape.values.iter().map(|(column, _)| column);
    let compared =
        |column: &&String| shape.conditions.iter().any(|condition| condition.columns.contains(column));
    let named = |column: &&String| NAMES.iter().any(|name| column.contains(name));
    let constant = || {
        shape.values.iter().find(|(_, value)| matches!(value, Operand::Literal(_))).map(|(column, _)| column)
    };
    set().find(compared).or_else(|| set().find(named)).or_else(constant).or_else(|| set().next()).cloned()
}

fn guards(shape: &Shape, status: Option<&str>) -> Guards {
    let mentions = |test: &dyn Fn(&str) -> bool| {
        shape.conditions.iter().any(|condition| condition.columns.iter().any(|column| test(column)))
    };
    Guards { status: mentions(&|column| Some(column) == status), expiry: mentions(&is_expiry) }
}

pub(super) fn is_expiry(column: &str) -> bool {
    ["expir", "valid_until", "valid_to", "not_after", "deadline"].iter().any(|part| column.contains(part))
}

/// True if the statement compares the expiry with the database's clock; and its comparison with another one.
fn expiry(item: &Item, before: &[(Item, Role)]) -> (bool, Option<Clock>) {
    const CLOCKS: &[&str] = &["now()", "_timestamp", "localtimestamp", "current_date", "current_time"];
    let on_expiry =
        item.shape.conditions.iter().filter(|condition| condition.columns.iter().any(|name| is_expiry(name)));
    let (mut by_database, mut clock) = (false, None);
    for condition in on_expiry {
        let text = condition.text.to_lowercase();
        let is_flag = matches!(&condition.expression, Expr::Identifier(_) | Expr::UnaryOp { .. })
            || matches!(&condition.equals, Some((_, Operand::Literal(text))) if ["true", "false"].contains(&text.as_str()));
        if is_flag || CLOCKS.iter().any(|name| text.contains(name)) {
            by_database = true;
            continue;
        }
        let Expr::BinaryOp { left, right, .. } = &condition.expression else { continue };
        let passed = [left, right].into_iter().find_map(|side| match sql::operand(side) {
            Operand::Parameter(number) => item.statement.parameters.get(number.checked_sub(1)?),
            Operand::Literal(_) | Operand::Expression(_) => None,
        });
        let has_it = |other: &Item| passed.is_some_and(|value| other.statement.parameters.contains(value));
        let is_old = before.iter().any(|(other, _)| has_it(other));
        clock = Some(Clock { condition: condition.text.clone(), is_old });
    }
    (by_database, clock)
}

fn consume(item: &Item, before: &[(Item, Role)], object: &str, status: Option<&str>) -> Consume {
    let is_compared = guards(&item.shape, status).status;
    let is_deleted = item.shape.kind == Kind::Delete;
    let admits = status
        .filter(|_| is_compared && !is_deleted)
        .map(|name| admits::admits_own_result(&item.shape, &item.statement, name));
    let unclear = status.filter(|_| admits == Some(None)).map(|name| {
        let texts = admits::on_column(&item.shape, name).map(|condition| condition.text.as_str());
        texts.collect::<Vec<_>>().join(" AND ")
    });
    let reads = before.iter().filter(|(read, _)| {
        read.transaction == item.transaction && read.shape.table.as_deref() == Some(object)
    });
    let locked = || reads.clone().filter(|(read, _)| read.shape.locks_rows);
    // Nothing changes the row between a locking read and the update: what the read compares, the update compares.
    let compared: Vec<_> =
        locked().map(|(read, _)| read).chain([item]).map(|item| expiry(item, before)).collect();
    let expiry = compared.iter().any(|(by_database, _)| *by_database);
    let clock = compared.into_iter().filter_map(|(_, clock)| clock).next_back().filter(|_| !expiry);
    let (status, why) = if is_deleted {
        (true, Atomic::Deleted)
    } else if is_compared && admits != Some(Some(true)) {
        (true, Atomic::Conditional)
    } else if locked().next().is_some() {
        (true, Atomic::Locked)
    } else if item.is_snapshot && reads.count() > 0 {
        (true, Atomic::Snapshot)
    } else if is_compared {
        (false, Atomic::AdmitsOwn)
    } else {
        (true, Atomic::No)
    };
    Consume { guards: Guards { status, expiry }, why, unclear, clock }
}

fn is_audit(table: &str) -> bool {
    ["audit", "event", "history", "activity"].iter().any(|part| table.contains(part))
}

fn is_outcome(table: &str) -> bool {
    ["idempot", "request_key", "outcome"].iter().any(|part| table.contains(part))
}

fn is_job(table: &str) -> bool {
    ["outbox", "job", "queue", "task"].iter().any(|part| table.contains(part))
}

fn role(trace: UseTrace<'_>, item: &Item, object: &str, status: Option<&str>) -> Role {
    let shape = &item.shape;
    let table = shape.table.as_deref().unwrap_or_default();
    if let Some(lock) = locks(shape) {
        return Role::Lease(lock);
    }
    match shape.kind {
        Kind::Select if table == object => Role::Validate { checks: guards(shape, status) },
        Kind::Select if is_outcome(table) => Role::Recall,
        Kind::Select => Role::Check,
        _ if is_outcome(table) => Role::Remember,
        _ if is_audit(table) => Role::Audit,
        _ if is_job(table) => Role::Enqueue { unique: is_unique(trace, item) },
        _ => Role::Act { unique: is_unique(trace, item) },
    }
}

/// True if a unique index allows one such row for each object.
fn is_unique(trace: UseTrace<'_>, item: &Item) -> bool {
    let Some(relation) = item.shape.table.as_ref().and_then(|table| trace.catalog.relations.get(table))
    else {
        return item.shape.on_duplicate == Some(OnDuplicate::Nothing);
    };
    let is_key = |column: &String| {
        item.shape.values.iter().any(|(name, operand)| {
            name == column && capture(trace, operand, &item.statement.parameters).is_some()
        })
    };
    item.shape.kind == Kind::Insert && relation.unique.iter().any(|columns| columns.iter().all(is_key))
}

/// The conditions other than those that find the object.
pub(super) fn other_conditions<'a>(trace: UseTrace<'_>, item: &'a Item) -> Vec<&'a Condition> {
    let finds = |condition: &Condition| {
        condition
            .equals
            .as_ref()
            .is_some_and(|(_, operand)| capture(trace, operand, &item.statement.parameters).is_some())
    };
    item.shape.conditions.iter().filter(|condition| !finds(condition)).collect()
}
