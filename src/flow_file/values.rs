//! Values of keys: the words of each type, stated once.

use std::{collections::BTreeSet, ops::Range};

use toml::{Spanned, de::DeValue};

use super::{Mistake, Problem, declaration::Kind};
use crate::protocol::{
    Atomicity, Checks, DecisionGuards, FailedAttempt, Guards, Method, OnConflict, OnError, OnHeld, Refusal,
    Retry, Storage, WriteTarget,
};

pub(super) type Toml<'t> = Spanned<DeValue<'t>>;

/// A type that a value of a flow file is read as.
pub(super) trait Value: Sized {
    const KIND: Kind;

    fn read(value: &Toml<'_>) -> Result<Self, Problem>;
}

/// A text in one line, as printed.
pub(super) struct Text(pub(super) String);

/// A number from `MIN` to `MAX`.
pub(super) struct Number<const MIN: u8, const MAX: u8>(pub(super) u8);

/// The ids of properties, as they are in the file, each with its place.
pub(super) struct Properties(pub(super) Vec<(String, Range<usize>)>);

/// The word of an act's `via`.
#[derive(Clone, Copy)]
pub(super) enum ViaWord {
    Memory,
    Outbox,
    Row,
    Call,
    Answer,
}

/// The word of a member's `via`.
#[derive(Clone, Copy)]
pub(super) enum MemberVia {
    Outbox,
    Row,
}

/// The word of a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ActionWord {
    Validate,
    Check,
    Recall,
    Lease,
    Write,
    Consume,
    Act,
    Audit,
    Remember,
}

macro_rules! words {
    ($type:ident: $($word:literal = $variant:ident),+ $(,)?) => {
        impl Value for $type {
            const KIND: Kind = Kind::Word(&[$($word),+]);

            fn read(value: &Toml<'_>) -> Result<Self, Problem> {
                match one_of(value, &[$($word),+])? {
                    $($word => Ok(Self::$variant),)+
                    other => unreachable!("{other} is one of the words"),
                }
            }
        }
    };
}

words!(FailedAttempt: "keep" = Keep, "burn" = Burn);
words!(Method: "POST" = Post, "GET" = Get);
words!(Retry: "none" = None, "key" = Key, "keyless" = Keyless);
words!(OnError: "refuse" = Refuse, "continue" = Continue, "retry" = Retry);
words!(OnConflict: "refuse" = Refuse, "continue" = Continue);
words!(OnHeld: "wait" = Wait, "refuse" = Refuse);
words!(WriteTarget: "target" = Target, "vault" = Vault);
words!(Atomicity: "read-then-write" = ReadThenWrite);
words!(Storage: "memory" = Memory);
words!(ViaWord: "memory" = Memory, "outbox" = Outbox, "row" = Row, "call" = Call, "answer" = Answer);
words!(MemberVia: "outbox" = Outbox, "row" = Row);
words!(ActionWord:
    "validate" = Validate, "check" = Check, "recall" = Recall, "lease" = Lease, "write" = Write,
    "consume" = Consume, "act" = Act, "audit" = Audit, "remember" = Remember,
);

/// A list of words that are the names of the type's fields.
macro_rules! flags {
    ($type:ident: $($field:ident),+ $(,)?) => {
        impl Value for $type {
            const KIND: Kind = Kind::Words(&[$(stringify!($field)),+]);

            fn read(value: &Toml<'_>) -> Result<Self, Problem> {
                let words = list(value, |item| one_of(item, &[$(stringify!($field)),+]))?;
                Ok(Self { $($field: words.contains(&stringify!($field))),+ })
            }
        }
    };
}

flags!(Checks: owner, status, binding, expiry, digest, target);
flags!(Guards: status, expiry, digest, target, lease);
flags!(DecisionGuards: status, expiry, distinct, not_requester);

impl Value for bool {
    const KIND: Kind = Kind::Flag;

    fn read(value: &Toml<'_>) -> Result<Self, Problem> {
        value.get_ref().as_bool().ok_or_else(|| wrong_type(value, "true or false"))
    }
}

impl Value for Text {
    const KIND: Kind = Kind::Text;

    /// Line ends and tabs become blanks; other control characters are refused, since the text will be printed.
    fn read(value: &Toml<'_>) -> Result<Self, Problem> {
        let text = string(value)?.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(control) = text.chars().find(|character| character.is_control()) {
            return Err(Problem::new(value.span(), Mistake::ControlCharacter(control)));
        }
        if text.is_empty() {
            return Err(Problem::new(value.span(), Mistake::EmptyText));
        }
        Ok(Self(text))
    }
}

impl<const MIN: u8, const MAX: u8> Value for Number<MIN, MAX> {
    const KIND: Kind = Kind::Number { min: MIN, max: MAX };

    fn read(value: &Toml<'_>) -> Result<Self, Problem> {
        let DeValue::Integer(written) = value.get_ref() else {
            return Err(wrong_type(value, "a number"));
        };
        let number = u8::from_str_radix(written.as_str(), written.radix()).ok();
        number.filter(|number| (MIN..=MAX).contains(number)).map(Self).ok_or_else(|| {
            let found = written.to_string();
            Problem::new(value.span(), Mistake::OutOfRange { found, min: MIN, max: MAX })
        })
    }
}

impl Value for Vec<Refusal> {
    const KIND: Kind = Kind::Refusals;

    fn read(value: &Toml<'_>) -> Result<Self, Problem> {
        list(value, |item| {
            let text = string(item)?;
            Refusal::parse(text)
                .map_err(|why| Problem::new(item.span(), Mistake::Refusal { text: text.to_owned(), why }))
        })
    }
}

impl Value for Properties {
    const KIND: Kind = Kind::Properties;

    fn read(value: &Toml<'_>) -> Result<Self, Problem> {
        list(value, |item| Ok((string(item)?.to_owned(), item.span()))).map(Self)
    }
}

pub(super) fn string<'t>(value: &'t Toml<'_>) -> Result<&'t str, Problem> {
    value.get_ref().as_str().ok_or_else(|| wrong_type(value, "a string"))
}

/// A string that is one of `words`.
fn one_of(value: &Toml<'_>, words: &[&'static str]) -> Result<&'static str, Problem> {
    let found = string(value)?;
    words.iter().find(|word| **word == found).copied().ok_or_else(|| {
        let allowed = words.iter().map(|word| (*word).to_owned()).collect();
        Problem::new(value.span(), Mistake::UnknownWord { word: found.to_owned(), allowed })
    })
}

/// An array of strings, each read by `read` and none twice.
fn list<'t, T>(
    value: &'t Toml<'t>,
    read: impl Fn(&'t Toml<'t>) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    let array = value.get_ref().as_array().ok_or_else(|| wrong_type(value, "an array of strings"))?;
    let mut words = BTreeSet::new();
    let mut items = Vec::new();
    for item in array.iter() {
        items.push(read(item)?);
        if !words.insert(string(item)?) {
            return Err(Problem::new(item.span(), Mistake::RepeatedWord));
        }
    }
    Ok(items)
}

pub(super) fn wrong_type(value: &Toml<'_>, expected: &'static str) -> Problem {
    let found = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    Problem::new(value.span(), Mistake::WrongType { found, expected })
}
