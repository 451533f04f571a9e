//! A flow file as a document that keeps the author's comments, and the changes that edits make to it.

use toml_edit::{Array, Decor, DocumentMut, InlineTable, Item, RawString, Table, TableLike, Value};

/// A flow file whose steps are tables.
#[derive(Clone, Debug)]
pub(super) struct Document(DocumentMut);

/// The place of a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// `[endpoint]` or `[decision]`.
    Table(&'static str),
    /// The step of this index.
    Step(usize),
    /// A member of the group of this index.
    Member(usize, usize),
}

/// A change of a document.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Sets a key.
    Set(Place, &'static str, Value),
    /// Removes a key.
    Remove(Place, &'static str),
    /// Adds words to a list.
    Add(Place, &'static str, Vec<&'static str>),
    /// Moves a step to this index.
    Move { from: usize, to: usize },
    /// Inserts a step before this index.
    Insert(usize, &'static str),
    /// Makes one transaction of these steps, in their order, in the place of one of them.
    Group { steps: Vec<usize>, at: usize },
}

impl Document {
    /// Reads a file; `None` where it is not TOML, or has no steps.
    pub(super) fn read(file: &str) -> Option<Self> {
        let mut document: DocumentMut = file.parse().ok()?;
        let steps = document.get_mut("step")?;
        if let Item::Value(Value::Array(array)) = steps {
            let tables = array.iter().map(|value| value.as_inline_table().map(table_of));
            let tables: toml_edit::ArrayOfTables = tables.collect::<Option<Vec<_>>>()?.into_iter().collect();
            *steps = Item::ArrayOfTables(tables);
        }
        steps.as_array_of_tables()?;
        Some(Self(document))
    }

    /// The file.
    pub(super) fn text(&self) -> String {
        self.0.to_string()
    }

    /// Makes one change; `None` where the document has no such place.
    pub(super) fn apply(&mut self, change: &Change) -> Option<()> {
        match change {
            Change::Set(place, key, value) => set(self.place(*place)?, key, value.clone()),
            Change::Remove(place, key) => self.remove(*place, key)?,
            Change::Add(place, key, words) => self.add(*place, key, words)?,
            Change::Move { from, to } => {
                let steps = self.steps()?;
                let step = steps.get(*from)?.clone();
                steps.remove(*from);
                steps.insert((*to).min(steps.len()), step);
            }
            Change::Insert(at, text) => {
                let document: DocumentMut = text.parse().ok()?;
                let steps = self.steps()?;
                steps.insert((*at).min(steps.len()), document.as_table().clone());
            }
            Change::Group { steps, at } => self.group(steps, *at)?,
        }
        self.renumber();
        Some(())
    }

    /// Drops properties from a list of expectations.
    pub(super) fn expect_no_more(&mut self, key: &str, is_gone: impl Fn(&str) -> bool) {
        if let Some(list) = self.0.get_mut(key).and_then(Item::as_array_mut) {
            list.retain(|id| !id.as_str().is_some_and(&is_gone));
            if let Some(first) = list.get_mut(0) {
                first.decor_mut().clear();
            }
        }
    }

    fn steps(&mut self) -> Option<&mut toml_edit::ArrayOfTables> {
        self.0.get_mut("step")?.as_array_of_tables_mut()
    }

    fn place(&mut self, place: Place) -> Option<&mut dyn TableLike> {
        match place {
            Place::Table(name) => {
                let table = self.0.entry(name).or_insert_with(|| {
                    let mut table = Table::new();
                    table.decor_mut().set_prefix("\n");
                    Item::Table(table)
                });
                table.as_table_like_mut()
            }
            Place::Step(step) => Some(self.steps()?.get_mut(step)?),
            Place::Member(step, member) => match self.steps()?.get_mut(step)?.get_mut("atomic")? {
                Item::Value(Value::Array(members)) => Some(members.get_mut(member)?.as_inline_table_mut()?),
                Item::ArrayOfTables(members) => Some(members.get_mut(member)?),
                _ => None,
            },
        }
    }

    fn add(&mut self, place: Place, key: &'static str, words: &[&'static str]) -> Option<()> {
        let table = self.place(place)?;
        match table.get_mut(key) {
            Some(list) => words.iter().for_each(|word| {
                if let Some(list) = list.as_array_mut() {
                    list.push(*word);
                }
            }),
            None => set(table, key, words.iter().copied().collect::<Array>().into()),
        }
        Some(())
    }

    /// Removes a key. Its comments go above the table that had it.
    fn remove(&mut self, place: Place, key: &str) -> Option<()> {
        let table = self.place(place)?;
        let mut comments = Vec::new();
        if let Some((key, item)) = table.get_key_value(key) {
            gather(key.leaf_decor(), &mut comments);
            gather_item(item, &mut comments);
        }
        table.remove(key)?;
        if let Place::Step(step) = place {
            let decor = self.steps()?.get_mut(step)?.decor_mut();
            let before = decor.prefix().and_then(RawString::as_str).unwrap_or("\n").to_owned();
            decor.set_prefix(format!("{before}{}", lines(&comments, "")));
        }
        Some(())
    }

    fn group(&mut self, indices: &[usize], at: usize) -> Option<()> {
        let steps = self.steps()?;
        let mut members = Vec::new();
        let mut names = Vec::new();
        for index in indices {
            members_of(steps.get(*index)?, &mut members, &mut names)?;
        }
        let mut array = Array::new();
        for (member, comments) in members {
            let mut value = Value::InlineTable(member);
            *value.decor_mut() = Decor::new(format!("\n  {}", lines(&comments, "  ")), "");
            array.push_formatted(value);
        }
        array.set_trailing("\n");
        array.set_trailing_comma(true);
        let mut table = Table::new();
        let is_taken = steps.iter().any(|step| step.get("name").and_then(Item::as_str) == Some("commit"));
        if !names.is_empty() {
            table.insert("name", names.join(" and ").into());
        } else if !is_taken {
            table.insert("name", "commit".into());
        }
        table.insert("atomic", Item::Value(array.into()));
        table.decor_mut().set_prefix("\n");
        *steps.get_mut(at)? = table;
        indices.iter().rev().filter(|index| **index != at).for_each(|index| {
            steps.remove(*index);
        });
        Some(())
    }

    /// Gives every table its place: the order of the tables, and not the places that they had in the file.
    fn renumber(&mut self) {
        let first = self.steps().and_then(|steps| steps.iter().find_map(Table::position));
        let mut before: Vec<(isize, String)> = Vec::new();
        let mut after: Vec<(isize, String)> = Vec::new();
        for (key, item) in self.0.iter().filter(|(key, _)| *key != "step") {
            if let Item::Table(table) = item {
                let position = table.position().unwrap_or(0);
                let list = if first.is_some_and(|first| position > first) { &mut after } else { &mut before };
                list.push((position, key.to_owned()));
            }
        }
        before.sort();
        after.sort();
        let mut next = 0;
        let place = |document: &mut DocumentMut, tables: &[(isize, String)], next: &mut isize| {
            for (_, key) in tables {
                if let Some(table) = document.get_mut(key).and_then(Item::as_table_mut) {
                    number(table, next);
                }
            }
        };
        place(&mut self.0, &before, &mut next);
        let is_first = before.is_empty() && !self.0.iter().any(|(_, item)| item.is_value());
        if let Some(steps) = self.steps() {
            for (index, step) in steps.iter_mut().enumerate() {
                number(step, &mut next);
                let decor = step.decor_mut();
                let prefix = decor.prefix().and_then(RawString::as_str).unwrap_or("\n").to_owned();
                if !(prefix.starts_with('\n') || is_first && index == 0) {
                    decor.set_prefix(format!("\n{prefix}"));
                }
            }
        }
        place(&mut self.0, &after, &mut next);
    }
}

/// Numbers a table and the tables in it.
fn number(table: &mut Table, next: &mut isize) {
    table.set_position(Some(*next));
    *next += 1;
    for (_, item) in table.iter_mut() {
        match item {
            Item::Table(table) => number(table, next),
            Item::ArrayOfTables(tables) => tables.iter_mut().for_each(|table| number(table, next)),
            Item::Value(_) | Item::None => {}
        }
    }
}

/// Sets a key, and keeps the comment behind the value that it had.
fn set(table: &mut dyn TableLike, key: &str, mut value: Value) {
    match table.get_mut(key) {
        Some(item) => {
            if let Some(old) = item.as_value() {
                *value.decor_mut() = old.decor().clone();
            }
            *item = Item::Value(value);
        }
        None => {
            table.insert(key, Item::Value(value));
        }
    }
}

/// The table of an inline one. Its comments are above it.
fn table_of(inline: &InlineTable) -> Table {
    let mut comments = Vec::new();
    gather_value(&Value::InlineTable(inline.clone()), &mut comments);
    let mut table = Table::new();
    table.decor_mut().set_prefix(format!("\n{}", lines(&comments, "")));
    for (key, value) in inline.iter() {
        table.insert(key, Item::Value(bare(value)));
    }
    table
}

/// A member, with the comments that its step had.
type Commented = (InlineTable, Vec<String>);

/// The members that a step becomes, and the names that no member can carry.
fn members_of(step: &Table, members: &mut Vec<Commented>, names: &mut Vec<String>) -> Option<()> {
    let mut comments = Vec::new();
    gather(step.decor(), &mut comments);
    let text = |key: &str| step.get(key).and_then(Item::as_str);
    if let Some(group) = step.get("atomic") {
        names.extend(text("name").map(str::to_owned));
        for member in group.as_array()?.iter() {
            gather_value(member, &mut comments);
            let inline = bare(member).as_inline_table()?.clone();
            members.push((inline, std::mem::take(&mut comments)));
        }
        return Some(());
    }
    let is_act = text("do") == Some("act");
    if !is_act && text("do") != Some("audit") {
        names.extend(text("name").map(str::to_owned));
    }
    let is_row = text("via") == Some("row");
    let mut member = InlineTable::new();
    for (key, item) in step.iter() {
        let value = item.as_value()?;
        if let Some(key) = step.key(key) {
            gather(key.leaf_decor(), &mut comments);
        }
        gather_value(value, &mut comments);
        match key {
            "how" | "on_error" | "undo" => {}
            "name" if !is_act => {}
            // A transaction can write the job; nothing else than a row and a job is in it.
            "via" if !is_row => {
                member.insert(key, "outbox".into());
            }
            "refusals" | "unique" | "key" if is_act && !is_row => {}
            _ => {
                member.insert(key, bare(value));
            }
        }
    }
    members.push((member, comments));
    Some(())
}

/// The value in one line, without comments.
fn bare(value: &Value) -> Value {
    let mut value = value.clone();
    match &mut value {
        Value::Array(array) => {
            let items: Vec<Value> = array.iter().map(bare).collect();
            value = items.into_iter().collect::<Array>().into();
        }
        Value::InlineTable(inline) => {
            let mut flat = InlineTable::new();
            for (key, value) in inline.iter() {
                flat.insert(key, bare(value));
            }
            value = flat.into();
        }
        _ => {}
    }
    value.decor_mut().clear();
    value
}

/// Comments as lines, each followed by a line end and `indent`.
fn lines(comments: &[String], indent: &str) -> String {
    comments.iter().map(|comment| format!("{comment}\n{indent}")).collect()
}

fn gather(decor: &Decor, comments: &mut Vec<String>) {
    for text in [decor.prefix(), decor.suffix()].into_iter().flatten().filter_map(RawString::as_str) {
        gather_text(text, comments);
    }
}

fn gather_text(text: &str, comments: &mut Vec<String>) {
    comments.extend(text.lines().map(str::trim).filter(|line| line.starts_with('#')).map(str::to_owned));
}

fn gather_item(item: &Item, comments: &mut Vec<String>) {
    if let Some(value) = item.as_value() {
        gather_value(value, comments);
    }
}

fn gather_value(value: &Value, comments: &mut Vec<String>) {
    match value {
        Value::Array(array) => {
            array.iter().for_each(|value| gather_value(value, comments));
            gather_text(array.trailing().as_str().unwrap_or_default(), comments);
        }
        Value::InlineTable(table) => {
            for (key, value) in table.iter() {
                if let Some(key) = table.key(key) {
                    gather(key.leaf_decor(), comments);
                }
                gather_value(value, comments);
            }
        }
        _ => {}
    }
    gather(value.decor(), comments);
}
