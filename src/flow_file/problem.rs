//! The errors of a flow file, with their positions.

use std::{fmt, ops::Range};

use super::{MAX_BYTES, Slip, declaration::Only, other_words};
use crate::protocol::{Flow, FlowProblem, InvalidRefusal};

/// Something that is wrong with a flow file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its place, in bytes from the beginning of the file.
    pub span: Range<usize>,
    /// The mistake.
    pub mistake: Mistake,
}

/// A mistake in a flow file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mistake {
    /// More than [`MAX_BYTES`].
    FileTooLong,
    /// A byte that is not UTF-8.
    NotUtf8(u8),
    /// The text is not TOML.
    NotToml {
        /// The message of the TOML parser.
        why: String,
        /// The author's probable mistake, where it is a common one.
        slip: Option<Slip>,
    },
    /// An expectation that another one contradicts.
    ContradictoryExpectation {
        /// The id of the property.
        id: String,
        /// The other list that names it.
        other: &'static str,
    },
    /// A key that the table does not take.
    UnknownKey {
        /// The key.
        key: String,
        /// The word is valid elsewhere in a flow file.
        misplaced: bool,
        /// The keys of the table.
        allowed: Vec<&'static str>,
        /// Meaning of the table.
        table: &'static str,
    },
    /// A word that the key does not take.
    UnknownWord {
        /// The word.
        word: String,
        /// The words that it takes.
        allowed: Vec<String>,
    },
    /// A word or a key of an earlier version.
    RetiredWord {
        /// The former word.
        found: &'static str,
        /// The present word.
        replacement: &'static str,
    },
    /// A value of another type.
    WrongType {
        /// The type that was found.
        found: &'static str,
        /// The type that was expected.
        expected: &'static str,
    },
    /// A number outside of its range.
    OutOfRange {
        /// The number, as written.
        found: String,
        /// The smallest number.
        min: u8,
        /// The largest number.
        max: u8,
    },
    /// A required key is absent.
    MissingKey {
        /// The key.
        key: &'static str,
        /// Meaning of the table.
        table: &'static str,
        /// The values that the key takes.
        values: String,
    },
    /// A word occurs twice in a list.
    RepeatedWord,
    /// A text without a printable character.
    EmptyText,
    /// A control character in a text that will be printed.
    ControlCharacter(char),
    /// A refusal that cannot be read.
    Refusal {
        /// The text.
        text: String,
        /// Why.
        why: InvalidRefusal,
    },
    /// A step within a group that cannot be part of a transaction.
    NotAMember {
        /// Its word.
        word: &'static str,
        /// The words that can.
        allowed: Vec<&'static str>,
    },
    /// A group within a group.
    NestedGroup,
    /// A key has a value that another key's value contradicts.
    Contradiction {
        /// The key and its condition.
        only: Only,
        /// The value of the other key, as TOML; `None` if it is absent.
        other: Option<String>,
    },
    /// `until` names no step.
    UnknownStep {
        /// The name.
        name: String,
        /// The names of the steps after the lease.
        names: Vec<String>,
    },
    /// The steps do not make a flow.
    Flow(FlowProblem),
}

const EXAMPLE: &str =
    "the smallest flow is one step: `[[step]]`, `do = \"consume\"`, `guards = [\"status\"]`";

impl Problem {
    pub(super) fn new(span: Range<usize>, mistake: Mistake) -> Self {
        Self { span, mistake }
    }

    /// The found text, for the message.
    pub fn found(&self) -> String {
        match &self.mistake {
            Mistake::FileTooLong => format!("a file of more than {MAX_BYTES} bytes"),
            Mistake::NotUtf8(byte) => format!("the byte {byte:#04x}, which is not UTF-8"),
            Mistake::NotToml { slip: Some(slip), .. } => slip.found(),
            Mistake::NotToml { why, slip: None } => format!("invalid TOML: {why}"),
            Mistake::ContradictoryExpectation { id, other } => format!("`{id}`, which `{other}` names, too"),
            Mistake::UnknownKey { key, misplaced, .. } => {
                format!("the {}key `{}`", if *misplaced { "" } else { "unknown " }, shortened(key))
            }
            Mistake::UnknownWord { word, .. } => format!("\"{}\"", shortened(word)),
            Mistake::RetiredWord { found, .. } => format!("`{found}`, a word of an earlier version"),
            Mistake::WrongType { found, .. } => (*found).to_owned(),
            Mistake::OutOfRange { found, .. } => shortened(found),
            Mistake::MissingKey { key, table, .. } => format!("{table} without `{key}`"),
            Mistake::RepeatedWord => "the same word twice".to_owned(),
            Mistake::EmptyText => "an empty text".to_owned(),
            Mistake::ControlCharacter(control) => {
                format!("the control character {}", control.escape_unicode())
            }
            Mistake::Refusal { text, .. } => format!("\"{}\"", shortened(text)),
            Mistake::NotAMember { word, .. } => format!("\"{word}\" within a group"),
            Mistake::NestedGroup => "a group within a group".to_owned(),
            Mistake::Contradiction { only, other } => match other {
                Some(other) => format!("`{} = {}` with `{} = {other}`", only.key, only.value, only.other),
                None => format!("`{} = {}` without `{}`", only.key, only.value, only.other),
            },
            Mistake::UnknownStep { name, .. } => format!("\"{}\", which names no step", shortened(name)),
            Mistake::Flow(problem) => found_in_flow(problem),
        }
    }

    /// The expected text, for the message.
    pub fn expected(&self) -> String {
        match &self.mistake {
            Mistake::FileTooLong => "at most 1 MiB".to_owned(),
            Mistake::NotUtf8(_) => "text in UTF-8".to_owned(),
            Mistake::NotToml { slip: Some(slip), .. } => slip.expected(),
            Mistake::NotToml { slip: None, .. } => "TOML".to_owned(),
            Mistake::ContradictoryExpectation { .. } => "each property in one of the two lists".to_owned(),
            Mistake::UnknownKey { allowed, table, .. } => format!("only {} in {table}", listed(allowed)),
            Mistake::UnknownWord { allowed, .. } => match allowed.as_slice() {
                [word] => format!("`{word}`"),
                words => format!("one of {}", listed(words)),
            },
            Mistake::RetiredWord { replacement, .. } => (*replacement).to_owned(),
            Mistake::WrongType { expected, .. } => (*expected).to_owned(),
            Mistake::OutOfRange { min, max, .. } => format!("a number from {min} to {max}"),
            Mistake::MissingKey { key, values, .. } => format!("`{key}` = {values}"),
            Mistake::RepeatedWord => "each word once".to_owned(),
            Mistake::EmptyText => "at least one character".to_owned(),
            Mistake::ControlCharacter(_) => "text that can be printed".to_owned(),
            Mistake::Refusal { why, .. } => {
                let expected = why.to_string();
                expected.strip_prefix("expected ").unwrap_or(&expected).to_owned()
            }
            Mistake::NotAMember { allowed, .. } => format!("one of {}", listed(allowed)),
            Mistake::NestedGroup => "a group of single members".to_owned(),
            Mistake::Contradiction { only, .. } => {
                format!("`{} = {}`, or no `{}`", only.other, only.needs, only.key)
            }
            Mistake::UnknownStep { names, .. } if names.is_empty() => {
                "the `name` of a step after the lease".to_owned()
            }
            Mistake::UnknownStep { names, .. } => format!("one of {}", listed(names)),
            Mistake::Flow(problem) => expected_of_flow(problem),
        }
    }

    /// A suggestion, where there is one.
    pub fn help(&self) -> Option<String> {
        match &self.mistake {
            Mistake::UnknownKey { key, allowed, .. } => did_you_mean(key, allowed),
            Mistake::UnknownWord { word, allowed } => {
                other_words::suggestion(word, allowed).or_else(|| did_you_mean(word, allowed))
            }
            Mistake::UnknownStep { name, names } => did_you_mean(name, names),
            Mistake::MissingKey { key: "guards", .. } => {
                Some("`guards = []` is an unconditional update".to_owned())
            }
            Mistake::NotToml { slip, .. } => slip.as_ref().and_then(Slip::help),
            Mistake::Flow(problem) => help_for_flow(problem).map(str::to_owned),
            _ => None,
        }
    }
}

fn found_in_flow(problem: &FlowProblem) -> String {
    match problem {
        FlowProblem::NoSteps => "a file without steps".to_owned(),
        FlowProblem::TooManySteps(found) => format!("{found} steps"),
        FlowProblem::TooManyMembers(found) => format!("a group of {found} members"),
        FlowProblem::EmptyGroup => "a group without members".to_owned(),
        FlowProblem::SameAct(name) => format!("a second act named \"{}\"", shortened(name)),
        FlowProblem::SameStep(name) => format!("a second step named \"{}\"", shortened(name)),
        FlowProblem::NothingBound { condition, promise } => {
            format!("the condition \"{condition}\" with `{promise} = false`")
        }
        FlowProblem::GuardWithoutLease => "the guard \"lease\" without a lease before it".to_owned(),
        FlowProblem::DecisionWithoutApprovers => "`[decision]` with `approvers = 0`".to_owned(),
        FlowProblem::SeparateWithoutApprovers => "`separate = true` with `approvers = 0`".to_owned(),
        FlowProblem::KeyWithoutRetry => "a step that needs the request's key".to_owned(),
        FlowProblem::UntilBeforeLease(_) => "a step that does not come after the lease".to_owned(),
        other => other.to_string(),
    }
}

fn expected_of_flow(problem: &FlowProblem) -> String {
    match problem {
        FlowProblem::NoSteps => "at least one [[step]]".to_owned(),
        FlowProblem::TooManySteps(_) => format!("at most {} steps", Flow::MAX_STEPS),
        FlowProblem::TooManyMembers(_) => format!("at most {} members", Flow::MAX_STEPS),
        FlowProblem::EmptyGroup => "at least one member".to_owned(),
        FlowProblem::SecondConsume => "at most one consume in a flow".to_owned(),
        FlowProblem::TooManyActs => format!("at most {} acts in a flow", Flow::MAX_ACTS),
        FlowProblem::SameAct(_) => "a `name` of its own for each act".to_owned(),
        FlowProblem::SameStep(_) => "a `name` of its own for each step".to_owned(),
        FlowProblem::NothingBound { condition, promise } => {
            format!("`{promise} = true` in `[object]`, or no \"{condition}\"")
        }
        FlowProblem::GuardWithoutLease => "a step that takes the lease first".to_owned(),
        FlowProblem::DecisionWithoutApprovers => "no `[decision]`, or at least one approver".to_owned(),
        FlowProblem::SeparateWithoutApprovers => "at least one approver, or no `separate`".to_owned(),
        FlowProblem::KeyWithoutRetry => "`retry = \"key\"` in `[endpoint]`".to_owned(),
        FlowProblem::UntilBeforeLease(_) => "the `name` of a step after the lease".to_owned(),
        _ => "a flow as in `countersign help flows`".to_owned(),
    }
}

fn help_for_flow(problem: &FlowProblem) -> Option<&'static str> {
    match problem {
        FlowProblem::NoSteps => Some(EXAMPLE),
        FlowProblem::GuardWithoutLease => Some("`[[step]]`, `do = \"lease\"`"),
        _ => None,
    }
}

/// The closest of `words`, if one is close.
pub(super) fn did_you_mean<W: AsRef<str>>(found: &str, words: &[W]) -> Option<String> {
    const CLOSE: f64 = 0.8;
    // Capitals do not make another word.
    let found = found.to_ascii_lowercase();
    let likeness = |word: &&W| strsim::jaro_winkler(&found, &word.as_ref().to_ascii_lowercase());
    let closest = words.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    let close = closest.filter(|word| likeness(word) >= CLOSE)?;
    Some(format!("did you mean `{}`?", close.as_ref()))
}

/// `` `one`, `two` ``.
pub(super) fn listed<W: AsRef<str>>(words: &[W]) -> String {
    words.iter().map(|word| format!("`{}`", word.as_ref())).collect::<Vec<_>>().join(", ")
}

/// A text of a length that fits into a message, and without control characters.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 40;
    let printable = |text: &str| text.replace(char::is_control, "\u{fffd}");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", printable(&text[..end])),
        None => printable(text),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {}, expected {}", self.found(), self.expected())
    }
}

impl std::error::Error for Problem {}

/// The line and the column of a byte in a file, both from 1; the column counts characters.
pub fn position(bytes: &[u8], offset: usize) -> (usize, usize) {
    let before = &bytes[..offset.min(bytes.len())];
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    (line, 1 + String::from_utf8_lossy(&before[line_start..]).chars().count())
}
