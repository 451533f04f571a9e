//! The form of a declaration: a key of a flow file with its values, its default and its sentence in the reference.
//!
//! The parser reads by a declaration, and the schema and the reference are printed from it.

use std::marker::PhantomData;

use super::values::Value;

/// A key whose values are read as `T`.
pub(super) struct Key<T> {
    declaration: Declaration,
    value: PhantomData<fn() -> T>,
}

/// A key of a flow file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declaration {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) presence: Presence,
    /// A sentence for the reference and for editors.
    pub(super) doc: &'static str,
    /// A condition on one of its values.
    pub(super) only: Option<Only>,
}

/// The values of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Flag,
    Number {
        min: u8,
        max: u8,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// A subset of these words, without repetition.
    Words(&'static [&'static str]),
    /// A set of property ids.
    Properties,
    /// A set of refusals.
    Refusals,
    /// A table of this name in [`TABLES`](super::vocabulary::TABLES).
    Table,
    /// The steps of the flow.
    Steps,
    /// The members of a group.
    Members,
}

/// Presence of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Required,
    Optional,
    /// Left out, it has this value, as TOML.
    Default(&'static str),
}

/// A condition: a key has one of its values only where another key of the same table has the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Only {
    /// The key.
    pub key: &'static str,
    /// Its value, as TOML.
    pub value: &'static str,
    /// The other key.
    pub other: &'static str,
    /// The value that the other key needs, as TOML.
    pub needs: &'static str,
    /// The other key has that value when it is left out.
    pub(super) by_default: bool,
}

impl<T: Value> Key<T> {
    pub(super) const fn required(name: &'static str, doc: &'static str) -> Self {
        Self::new(name, Presence::Required, doc)
    }

    pub(super) const fn optional(name: &'static str, doc: &'static str) -> Self {
        Self::new(name, Presence::Optional, doc)
    }

    /// `default` is TOML, for the reference; a test holds it against what the parser does.
    pub(super) const fn with_default(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::new(name, Presence::Default(default), doc)
    }

    const fn new(name: &'static str, presence: Presence, doc: &'static str) -> Self {
        let declaration = Declaration { name, kind: T::KIND, presence, doc, only: None };
        Self { declaration, value: PhantomData }
    }

    /// Allows `value` only where `other` is `needs`.
    pub(super) const fn only(self, value: &'static str, other: &'static str, needs: &'static str) -> Self {
        self.condition(value, other, needs, false)
    }

    /// As [`only`](Self::only), where `needs` is the default of `other`.
    pub(super) const fn only_by_default(
        self,
        value: &'static str,
        other: &'static str,
        needs: &'static str,
    ) -> Self {
        self.condition(value, other, needs, true)
    }

    const fn condition(
        self,
        value: &'static str,
        other: &'static str,
        needs: &'static str,
        by_default: bool,
    ) -> Self {
        let only = Only { key: self.declaration.name, value, other, needs, by_default };
        let declaration = Declaration { only: Some(only), ..self.declaration };
        Self { declaration, value: PhantomData }
    }

    pub(super) const fn declaration(&self) -> Declaration {
        self.declaration
    }

    pub(super) const fn name(&self) -> &'static str {
        self.declaration.name
    }
}

impl Declaration {
    /// A key that is not read as a value: tables, steps, members.
    pub(super) const fn structure(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, kind, presence: Presence::Optional, doc, only: None }
    }

    pub(super) fn is_required(&self) -> bool {
        self.presence == Presence::Required
    }
}

impl Kind {
    /// The values, for a reader.
    pub(super) fn described(self) -> String {
        let quoted =
            |words: &[&str]| words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ");
        match self {
            Self::Text => "a text".to_owned(),
            Self::Flag => "`true`, `false`".to_owned(),
            Self::Number { min, max } => format!("{min} to {max}"),
            Self::Word(words) => quoted(words),
            Self::Words(words) => format!("a list of {}", quoted(words)),
            Self::Properties => "a list of properties".to_owned(),
            Self::Refusals => "a list of refusals, as `\"412 no_services\"`".to_owned(),
            Self::Table => "a table".to_owned(),
            Self::Steps => "tables".to_owned(),
            Self::Members => "a list of members".to_owned(),
        }
    }
}
