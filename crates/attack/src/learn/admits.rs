//! Does an update match the row that it has written? Then its condition stops no second use.

use sqlparser::ast::{BinaryOperator, Expr, InTarget, UnaryOperator};

use crate::{
    proxy::{Parameter, Statement},
    sql::{Condition, Operand, Shape, column, operand},
};

/// The value of a column after the update.
enum Written {
    Null,
    Text(String),
    /// Another number than before.
    Shifted,
    /// Not NULL.
    Present,
    Unknown,
}

/// True if the conditions on this column hold after the update, too; `None` if that is not clear, or there are none.
pub(super) fn admits_own_result(shape: &Shape, statement: &Statement, name: &str) -> Option<bool> {
    let written = written(shape, statement, name);
    let mut conditions = on_column(shape, name).peekable();
    conditions.peek()?;
    conditions.map(|condition| holds(&condition.expression, name, &written, statement)).fold(Some(true), and)
}

/// The conditions on a column.
pub(super) fn on_column<'s>(shape: &'s Shape, name: &str) -> impl Iterator<Item = &'s Condition> {
    shape.conditions.iter().filter(move |condition| condition.columns.iter().any(|column| column == name))
}

fn written(shape: &Shape, statement: &Statement, name: &str) -> Written {
    let Some((_, operand)) = shape.values.iter().find(|(column, _)| column == name) else {
        return Written::Unknown;
    };
    match (constant(operand, statement), operand) {
        (Some(Some(text)), _) => Written::Text(text),
        (Some(None), _) => Written::Null,
        (None, Operand::Expression(text)) => {
            let text = text.to_lowercase();
            let by_one = [format!("{name} + 1"), format!("{name} - 1")];
            let clocks = ["now()", "current_timestamp", "clock_timestamp()", "statement_timestamp()"];
            match text.as_str() {
                "null" => Written::Null,
                text if by_one.iter().any(|shifted| shifted == text) => Written::Shifted,
                text if clocks.contains(&text) => Written::Present,
                _ => Written::Unknown,
            }
        }
        (None, _) => Written::Unknown,
    }
}

/// The value of a constant or a parameter; `Some(None)` is NULL.
fn constant(operand: &Operand, statement: &Statement) -> Option<Option<String>> {
    match operand {
        Operand::Literal(text) => Some(Some(text.clone())),
        Operand::Parameter(number) => match statement.parameters.get(number.checked_sub(1)?)? {
            Parameter::Text(text) => Some(Some(text.clone())),
            Parameter::Null => Some(None),
            Parameter::Binary(_) => None,
        },
        Operand::Expression(text) => text.eq_ignore_ascii_case("null").then_some(None),
    }
}

fn and(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn not(value: Option<bool>) -> Option<bool> {
    value.map(|value| !value)
}

/// The condition, with the written value in place of the column.
fn holds(expression: &Expr, name: &str, written: &Written, statement: &Statement) -> Option<bool> {
    let is_column = |expression: &Expr| column(expression).as_deref() == Some(name);
    let again = |expression: &Expr| holds(expression, name, written, statement);
    let equals = |value: &Expr| match (written, constant(&operand(value), statement)?) {
        (_, None) | (Written::Null, _) => Some(false),
        (Written::Text(text), Some(value)) => Some(is_same(text, &value)),
        // It was equal before.
        (Written::Shifted, Some(_)) => Some(false),
        (Written::Present | Written::Unknown, _) => None,
    };
    let is_null = || match written {
        Written::Null => Some(true),
        Written::Unknown => None,
        Written::Text(_) | Written::Shifted | Written::Present => Some(false),
    };
    let is_true = || match written {
        Written::Text(text) => Some(is_same(text, "true")),
        Written::Null => Some(false),
        _ => None,
    };
    let any_of = |found: &mut dyn Iterator<Item = Option<bool>>| not(found.map(not).fold(Some(true), and));
    match expression {
        Expr::Nested(inner) => again(inner),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => not(again(expr)),
        Expr::BinaryOp { left, op, right } => match op {
            BinaryOperator::And => and(again(left), again(right)),
            BinaryOperator::Or => any_of(&mut [again(left), again(right)].into_iter()),
            BinaryOperator::Eq if is_column(left) => equals(right),
            BinaryOperator::Eq if is_column(right) => equals(left),
            BinaryOperator::NotEq if matches!(written, Written::Null) => Some(false),
            BinaryOperator::NotEq if is_column(left) && matches!(written, Written::Text(_)) => {
                not(equals(right))
            }
            _ => None,
        },
        Expr::In { expr, target: InTarget::List(list), negated, .. } if is_column(expr) => {
            let found = any_of(&mut list.iter().map(equals));
            if *negated { not(found) } else { found }
        }
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } if is_column(left) => {
            let list = constant(&operand(right), statement)??;
            let Written::Text(text) = written else { return None };
            let list = list.strip_prefix('{')?.strip_suffix('}')?;
            Some(list.split(',').any(|item| is_same(item.trim_matches('"'), text)))
        }
        Expr::IsNull(inner) if is_column(inner) => is_null(),
        Expr::IsNotNull(inner) if is_column(inner) => not(is_null()),
        Expr::IsTrue(inner) | Expr::IsNotFalse(inner) if is_column(inner) => is_true(),
        Expr::IsFalse(inner) | Expr::IsNotTrue(inner) if is_column(inner) => not(is_true()),
        // A condition that is the column itself.
        _ if is_column(expression) => is_true(),
        _ => None,
    }
}

/// PostgreSQL writes a Boolean as `t`.
fn is_same(one: &str, other: &str) -> bool {
    let plain = |text: &str| match text.to_lowercase().as_str() {
        "t" => "true".to_owned(),
        "f" => "false".to_owned(),
        _ => text.to_owned(),
    };
    plain(one) == plain(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::shapes;

    fn admits(sql: &str, parameters: &[&str]) -> Option<bool> {
        let shape = shapes(sql).unwrap()[0].clone();
        let parameters = parameters.iter().map(|text| Parameter::Text((*text).to_owned())).collect();
        let column = shape.values[0].0.clone();
        admits_own_result(&shape, &Statement { sql: sql.to_owned(), parameters }, &column)
    }

    #[test]
    fn a_condition_that_the_written_row_meets_is_no_guard() {
        let of_state = |condition: &str| {
            admits(&format!("UPDATE t SET state = 'mine' WHERE id = 1 AND {condition}"), &["{open,mine}"])
        };
        for condition in [
            "state IN ('open', 'mine')",
            "(state = 'open' OR state = 'mine')",
            "state <> 'cancelled'",
            "state NOT IN ('done', 'cancelled')",
            "state = ANY($1)",
            "NOT (state = 'done')",
            "state IS NOT NULL",
        ] {
            assert_eq!(of_state(condition), Some(true), "{condition}");
        }
        for condition in [
            "state = 'open'",
            "state IN ('open', 'new')",
            "(state = 'open' AND state <> 'x')",
            "state <> 'mine'",
            "state IS NULL",
        ] {
            assert_eq!(of_state(condition), Some(false), "{condition}");
        }
        assert_eq!(of_state("state LIKE 'o%'"), None);
        assert_eq!(of_state("n = 1"), None);
    }

    #[test]
    fn parameters_booleans_clocks_and_versions_are_compared() {
        let sql = "UPDATE t SET state = $1 WHERE id = $2 AND state = $3";
        assert_eq!(admits(sql, &["used", "7", "open"]), Some(false));
        assert_eq!(admits(sql, &["used", "7", "used"]), Some(true));
        assert_eq!(admits("UPDATE t SET used = true WHERE NOT used", &[]), Some(false));
        assert_eq!(admits("UPDATE t SET used = $1 WHERE used = false", &["t"]), Some(false));
        assert_eq!(admits("UPDATE t SET used_at = now() WHERE used_at IS NULL", &[]), Some(false));
        assert_eq!(admits("UPDATE t SET token = NULL WHERE token = $1", &["x"]), Some(false));
        assert_eq!(admits("UPDATE t SET version = version + 1 WHERE version = $1", &["3"]), Some(false));
        assert_eq!(admits("UPDATE t SET n = n + 1 WHERE n < 3", &[]), None);
    }
}
