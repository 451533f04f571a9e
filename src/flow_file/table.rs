//! One table of a flow file, read key by key: each reading either gives the right type or says where it is wrong.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::Problem;

/// Every key that has a meaning somewhere in a step.
pub(super) const KEYS: &[&str] =
    &["do", "atomic", "name", "checks", "guards", "refusals", "what", "how", "best_effort"];

/// A table, with its keys in the order of the file.
pub(super) struct Table<'t> {
    entries: Vec<Entry<'t>>,
    span: Range<usize>,
}

struct Entry<'t> {
    key: &'t str,
    key_span: Range<usize>,
    value: &'t Spanned<DeValue<'t>>,
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

    /// Where to point when it is the table as a whole that is wrong.
    pub(super) fn place(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Where this key's value is, or else the table.
    pub(super) fn value_span(&self, key: &str) -> Range<usize> {
        self.get(key).map_or(self.place(), Spanned::span)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.value)
    }

    /// Refuses every key but these. `what` is what the table describes.
    pub(super) fn only(&self, keys: &[&str], what: &str) -> Result<(), Problem> {
        let Some(entry) = self.entries.iter().find(|entry| !keys.contains(&entry.key)) else {
            return Ok(());
        };
        let expected = format!("only {} in {what}", listed(keys));
        let unknown = if KEYS.contains(&entry.key) { "" } else { "unknown " };
        let found = format!("the {unknown}key `{}`", shortened(entry.key));
        Err(Problem::new(entry.key_span.clone(), found, expected).did_you_mean(entry.key, keys))
    }

    /// A text for people, in one line: line ends and tabs become blanks, other control characters are refused, since
    /// it will be printed.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, Problem> {
        let text = |value: &'t Spanned<DeValue<'t>>| {
            let text = string(value)?.split_whitespace().collect::<Vec<_>>().join(" ");
            match text.chars().find(|character| character.is_control()) {
                Some(control) => {
                    let found = format!("the control character {}", control.escape_unicode());
                    Err(Problem::new(value.span(), found, "text that can be printed"))
                }
                None => Ok(text),
            }
        };
        self.get(key).map(text).transpose()
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, Problem> {
        let flag = |value: &Spanned<DeValue<'_>>| {
            value.get_ref().as_bool().ok_or_else(|| wrong_type(value, "true or false"))
        };
        self.get(key).map(flag).transpose()
    }

    /// A string that is one of `words`.
    pub(super) fn word(&self, key: &str, words: &[&str]) -> Result<Option<&'t str>, Problem> {
        self.get(key).map(|value| one_of(value, words)).transpose()
    }

    /// An array of strings, each one of `words` and none twice.
    pub(super) fn words(&self, key: &str, words: &[&str]) -> Result<Option<Vec<&'t str>>, Problem> {
        self.strings(key, |value| one_of(value, words))
    }

    /// An array of strings, each read by `read` and none twice.
    pub(super) fn strings<T: PartialEq>(
        &self,
        key: &str,
        read: impl Fn(&'t Spanned<DeValue<'t>>) -> Result<T, Problem>,
    ) -> Result<Option<Vec<T>>, Problem> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let array = value.get_ref().as_array().ok_or_else(|| wrong_type(value, "an array of strings"))?;
        let mut items = Vec::with_capacity(array.len().min(64));
        for item in array.iter() {
            let read = read(item)?;
            if items.contains(&read) {
                return Err(Problem::new(item.span(), "the same word twice", "each word once"));
            }
            items.push(read);
        }
        Ok(Some(items))
    }

    /// An array of tables.
    pub(super) fn tables(&self, key: &str) -> Result<Option<Vec<Table<'t>>>, Problem> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let array = value.get_ref().as_array().ok_or_else(|| wrong_type(value, "an array of tables"))?;
        let table = |item: &'t Spanned<DeValue<'t>>| {
            let table = item.get_ref().as_table().ok_or_else(|| wrong_type(item, "a table"))?;
            Ok(Table::of(table, item.span()))
        };
        array.iter().map(table).collect::<Result<_, _>>().map(Some)
    }
}

pub(super) fn string<'t>(value: &'t Spanned<DeValue<'t>>) -> Result<&'t str, Problem> {
    value.get_ref().as_str().ok_or_else(|| wrong_type(value, "a string"))
}

fn one_of<'t>(value: &'t Spanned<DeValue<'t>>, words: &[&str]) -> Result<&'t str, Problem> {
    let found = string(value)?;
    if words.contains(&found) {
        return Ok(found);
    }
    Err(Problem::new(value.span(), format!("\"{}\"", shortened(found)), format!("one of {}", listed(words)))
        .did_you_mean(found, words))
}

fn wrong_type(value: &Spanned<DeValue<'_>>, expected: &str) -> Problem {
    let found = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    Problem::new(value.span(), found, expected)
}

/// `` `one`, `two` ``.
pub(super) fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// A text that someone can take in.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
