//! One table of a flow file, read key by key: each reading gives the declared type, or the place of the mistake.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Mistake, Problem,
    declaration::{Declaration, Key, Only},
    values::{Toml, Value, wrong_type},
    vocabulary::{FILE, RETIRED_KEYS, STEPS, TABLES},
};

/// A table, with its keys in the order of the file.
pub(super) struct Table<'t> {
    entries: Vec<Entry<'t>>,
    span: Range<usize>,
    /// Meaning of the table.
    what: &'static str,
}

struct Entry<'t> {
    key: &'t str,
    key_span: Range<usize>,
    value: &'t Toml<'t>,
}

impl<'t> Table<'t> {
    pub(super) fn of(table: &'t DeTable<'t>, span: Range<usize>, what: &'static str) -> Self {
        let mut entries: Vec<Entry<'t>> = table
            .iter()
            .map(|(key, value)| Entry { key: key.get_ref(), key_span: key.span(), value })
            .collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        Self { entries, span, what }
    }

    /// The place of a mistake of the table as a whole.
    pub(super) fn place(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The place of this key's value, or else of the table.
    pub(super) fn value_span(&self, key: &str) -> Range<usize> {
        self.get(key).map_or(self.place(), Spanned::span)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn get(&self, key: &str) -> Option<&'t Toml<'t>> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.value)
    }

    /// Refuses every key but these. `what` names what the table describes, here and in later mistakes.
    pub(super) fn only(
        &mut self,
        what: &'static str,
        keys: impl Iterator<Item = &'static str>,
    ) -> Result<(), Problem> {
        self.what = what;
        let allowed: Vec<&'static str> = keys.collect();
        let Some(entry) = self.entries.iter().find(|entry| !allowed.contains(&entry.key)) else {
            return Ok(());
        };
        if let Some((found, replacement)) = RETIRED_KEYS.iter().find(|(retired, _)| *retired == entry.key) {
            return Err(Problem::new(entry.key_span.clone(), Mistake::RetiredWord { found, replacement }));
        }
        let mistake = Mistake::UnknownKey {
            key: entry.key.to_owned(),
            misplaced: is_known(entry.key),
            allowed,
            table: what,
        };
        Err(Problem::new(entry.key_span.clone(), mistake))
    }

    /// The value of `key`; `None` if it is absent.
    pub(super) fn optional<T: Value>(&self, key: &Key<T>) -> Result<Option<T>, Problem> {
        self.get(key.name()).map(T::read).transpose()
    }

    /// The value of `key`, or `default`.
    pub(super) fn value<T: Value>(&self, key: &Key<T>, default: T) -> Result<T, Problem> {
        Ok(self.optional(key)?.unwrap_or(default))
    }

    /// The value of a required key. The mistake of a step without it is at the step's `do`.
    pub(super) fn required<T: Value>(&self, key: &Key<T>) -> Result<T, Problem> {
        self.optional(key)?.ok_or_else(|| {
            let values = T::KIND.described();
            let mistake = Mistake::MissingKey { key: key.name(), table: self.what, values };
            Problem::new(self.value_span("do"), mistake)
        })
    }

    /// Refuses values that contradict each other.
    pub(super) fn conditions(&self, keys: &[Declaration]) -> Result<(), Problem> {
        for only in keys.iter().filter_map(|key| key.only) {
            self.condition(only)?;
        }
        Ok(())
    }

    fn condition(&self, only: Only) -> Result<(), Problem> {
        let Some(value) = self.get(only.key).filter(|value| written(value) == only.value) else {
            return Ok(());
        };
        let other = self.get(only.other).map(written);
        match &other {
            Some(other) if other == only.needs => Ok(()),
            None if only.by_default => Ok(()),
            _ => Err(Problem::new(value.span(), Mistake::Contradiction { only, other })),
        }
    }

    /// An array of tables, each of which describes `what`.
    pub(super) fn tables(&self, key: &str, what: &'static str) -> Result<Option<Vec<Table<'t>>>, Problem> {
        let Some(value) = self.get(key) else { return Ok(None) };
        // A single table in single brackets is the likely mistake.
        let expected = if key == "step" {
            "`[[step]]`, in double brackets, for each step"
        } else {
            "an array of tables"
        };
        let array = value.get_ref().as_array().ok_or_else(|| wrong_type(value, expected))?;
        let table = |item: &'t Toml<'t>| {
            let table = item.get_ref().as_table().ok_or_else(|| wrong_type(item, "a table"))?;
            Ok(Table::of(table, item.span(), what))
        };
        array.iter().map(table).collect::<Result<_, _>>().map(Some)
    }

    /// A table that describes `what`; an empty one if it is absent.
    pub(super) fn table(&self, key: &str, what: &'static str) -> Result<Table<'t>, Problem> {
        let Some(value) = self.get(key) else {
            return Ok(Table { entries: Vec::new(), span: self.place(), what });
        };
        let table = value.get_ref().as_table().ok_or_else(|| wrong_type(value, "a table"))?;
        Ok(Table::of(table, value.span(), what))
    }
}

/// True if the key is valid somewhere in a flow file.
fn is_known(key: &str) -> bool {
    let of_steps = STEPS.iter().flat_map(|step| step.keys);
    let of_tables = TABLES.iter().flat_map(|table| table.keys);
    ["do", "name", "on_error", "atomic"].contains(&key)
        || FILE.iter().chain(of_tables).chain(of_steps).any(|declared| declared.name == key)
}

/// A word or a flag, as TOML.
fn written(value: &Toml<'_>) -> String {
    match value.get_ref() {
        DeValue::String(word) => format!("\"{word}\""),
        DeValue::Boolean(flag) => flag.to_string(),
        _ => String::new(),
    }
}
