//! One table of a target file, read key by key: each reading gives the right type or says where it is wrong.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::Problem;

pub(super) type Value<'t> = &'t Spanned<DeValue<'t>>;

/// A table, with its keys in the order of the file.
pub(super) struct Table<'t> {
    entries: Vec<Entry<'t>>,
    span: Range<usize>,
}

pub(super) struct Entry<'t> {
    pub(super) key: &'t str,
    pub(super) key_span: Range<usize>,
    pub(super) value: Value<'t>,
}

impl<'t> Table<'t> {
    pub(super) fn of(table: &'t DeTable<'t>, span: Range<usize>) -> Self {
        let mut entries: Vec<Entry<'t>> = table
            .iter()
            .map(|(key, value)| Entry { key: key.get_ref(), key_span: key.span(), value })
            .collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        Self { entries, span }
    }

    pub(super) fn from_value(value: Value<'t>) -> Result<Self, Problem> {
        let table = value.get_ref().as_table().ok_or_else(|| wrong_type(value, "a table"))?;
        Ok(Self::of(table, value.span()))
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    pub(super) fn entries(&self) -> &[Entry<'t>] {
        &self.entries
    }

    pub(super) fn get(&self, key: &str) -> Option<Value<'t>> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.value)
    }

    /// Refuses every key but these. `what` is what the table describes.
    pub(super) fn only(&self, keys: &[&str], what: &str) -> Result<(), Problem> {
        let Some(entry) = self.entries.iter().find(|entry| !keys.contains(&entry.key)) else {
            return Ok(());
        };
        let expected = format!("only {} in {what}", listed(keys));
        let found = format!("the unknown key `{}`", shortened(entry.key));
        Err(problem(entry.key_span.clone(), found, expected, closest(entry.key, keys)))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'t str>, Problem> {
        self.get(key).map(string).transpose()
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, Problem> {
        let flag =
            |value: Value<'t>| value.get_ref().as_bool().ok_or_else(|| wrong_type(value, "true or false"));
        self.get(key).map(flag).transpose()
    }

    pub(super) fn integer(&self, key: &str, range: Range<u64>) -> Result<Option<u64>, Problem> {
        self.get(key).map(|value| integer(value, range)).transpose()
    }

    pub(super) fn table(&self, key: &str) -> Result<Option<Table<'t>>, Problem> {
        self.get(key).map(Self::from_value).transpose()
    }

    pub(super) fn tables(&self, key: &str) -> Result<Option<Vec<Table<'t>>>, Problem> {
        let read = |value: Value<'t>| {
            array(value, "an array of tables")?.map(Table::from_value).collect::<Result<Vec<_>, _>>()
        };
        self.get(key).map(read).transpose()
    }

    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<&'t str>>, Problem> {
        let read = |value: Value<'t>| {
            array(value, "an array of strings")?.map(string).collect::<Result<Vec<_>, _>>()
        };
        self.get(key).map(read).transpose()
    }

    pub(super) fn integers(&self, key: &str, range: Range<u64>) -> Result<Option<Vec<u64>>, Problem> {
        let read = |value: Value<'t>| {
            array(value, "an array of integers")?
                .map(|item| integer(item, range.clone()))
                .collect::<Result<Vec<_>, _>>()
        };
        self.get(key).map(read).transpose()
    }
}

fn array<'t>(value: Value<'t>, expected: &str) -> Result<impl Iterator<Item = Value<'t>>, Problem> {
    let array = value.get_ref().as_array().ok_or_else(|| wrong_type(value, expected))?;
    Ok(array.iter())
}

fn integer(value: Value<'_>, range: Range<u64>) -> Result<u64, Problem> {
    let expected = format!("an integer from {} to {}", range.start, range.end - 1);
    let DeValue::Integer(found) = value.get_ref() else { return Err(wrong_type(value, &expected)) };
    let parsed =
        u64::from_str_radix(found.as_str(), found.radix()).ok().filter(|parsed| range.contains(parsed));
    parsed.ok_or_else(|| problem(value.span(), shortened(found.as_str()), expected, None))
}

pub(super) fn string<'t>(value: Value<'t>) -> Result<&'t str, Problem> {
    value.get_ref().as_str().ok_or_else(|| wrong_type(value, "a string"))
}

/// A TOML value as the JSON value that means the same.
pub(super) fn json(value: Value<'_>) -> Result<serde_json::Value, Problem> {
    Ok(match value.get_ref() {
        DeValue::String(text) => serde_json::Value::from(text.as_ref()),
        DeValue::Integer(text) => match i64::from_str_radix(text.as_str(), text.radix()) {
            Ok(number) => number.into(),
            Err(_) => {
                return Err(problem(
                    value.span(),
                    "an integer of more than 64 bits",
                    "a smaller integer",
                    None,
                ));
            }
        },
        DeValue::Float(text) => match text.as_str().replace('_', "").parse::<f64>() {
            Ok(number) if number.is_finite() => number.into(),
            _ => {
                return Err(problem(
                    value.span(),
                    "a number that JSON does not have",
                    "a finite number",
                    None,
                ));
            }
        },
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(_) => {
            return Err(wrong_type(value, "a value that JSON has (write the date as a string)"));
        }
        DeValue::Array(items) => serde_json::Value::Array(items.iter().map(json).collect::<Result<_, _>>()?),
        DeValue::Table(table) => {
            let pair = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, Value<'_>)| {
                Ok((key.get_ref().to_string(), json(value)?))
            };
            let mut map = serde_json::Map::new();
            for (key, value) in table.iter() {
                let (key, value) = pair((key, value))?;
                map.insert(key, value);
            }
            serde_json::Value::Object(map)
        }
    })
}

pub(super) fn problem(
    span: Range<usize>,
    found: impl Into<String>,
    expected: impl Into<String>,
    help: Option<String>,
) -> Problem {
    Problem { span, found: found.into(), expected: expected.into(), help }
}

pub(super) fn wrong_type(value: Value<'_>, expected: &str) -> Problem {
    let found = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    problem(value.span(), found, expected, None)
}

/// The word that was probably meant, as a question.
pub(super) fn closest(found: &str, words: &[&str]) -> Option<String> {
    const CLOSE: f64 = 0.8;
    let likeness =
        |word: &&&str| strsim::jaro_winkler(&found.to_ascii_lowercase(), &word.to_ascii_lowercase());
    let best = words.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(&best) >= CLOSE).then(|| format!("did you mean `{best}`?"))
}

/// `` `one`, `two` ``.
pub(super) fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// A text cut to what fits into a message.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
