//! Flow files: a [`Flow`] as TOML, with errors that say where, what was found and what was expected.
//!
//! The protocol knows nothing of files; this module is what turns one into a flow. Behind the feature `flow-files`.
//!
//! Invariants: whatever is not in the vocabulary is refused; no input makes it panic; a file that is too long is
//! not read.

mod problem;
mod steps;
mod table;

pub use problem::{Problem, position};

use toml::{Spanned, de::DeTable};

use self::table::Table;
use crate::protocol::{Flow, InvalidFlow};

/// What a flow file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowFile {
    /// What the flow is, in a sentence.
    pub about: Option<String>,
    /// The ids of the properties that its author expects to be broken.
    pub expect_broken: Vec<String>,
    /// The ids of those that are broken, too, by what a simulation does and the model does not: messages that arrive
    /// twice or late, retries, other teams.
    pub expect_broken_in_simulation: Vec<String>,
    /// The ids of those that its author expects to hold without being put to the test.
    pub expect_vacuous: Vec<String>,
    /// The order of the steps.
    pub flow: Flow,
}

/// The longest flow file, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// Reads a flow file. `known_properties` are the ids that its expectations may name.
///
/// ```
/// let file = br#"
///     about = "consume, then act"
///     [[step]]
///     do = "consume"
///     guards = ["status", "expiry"]
///     [[step]]
///     do = "launch"
/// "#;
/// let read = countersign::flow_file::parse(file, &["S1"]).expect("a flow file");
/// assert_eq!(read.flow.steps().len(), 2);
///
/// let problem = countersign::flow_file::parse(b"[[step]]\ndo = \"consune\"", &[]).unwrap_err();
/// assert_eq!(problem.help.as_deref(), Some("did you mean `consume`?"));
/// ```
///
/// # Errors
/// The first [`Problem`] in the file.
pub fn parse(bytes: &[u8], known_properties: &[&str]) -> Result<FlowFile, Problem> {
    let whole = 0..0;
    if bytes.len() > MAX_BYTES {
        return Err(Problem::new(whole, format!("a file of more than {MAX_BYTES} bytes"), "at most 1 MiB"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Problem::new(at..at + 1, format!("the byte {:#04x}, which is not UTF-8", bytes[at]), "text in UTF-8")
    })?;
    let document = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(whole.clone());
        Problem::new(span, format!("no TOML: {}", error.message()), "TOML")
    })?;
    read(&document, known_properties)
}

const KEYS: &[&str] = &["about", "expect_broken", "expect_broken_in_simulation", "expect_vacuous", "step"];

fn read(document: &Spanned<DeTable<'_>>, known_properties: &[&str]) -> Result<FlowFile, Problem> {
    let table = Table::of(document.get_ref(), document.span());
    table.only(KEYS, "a flow file")?;
    let about = table.text("about")?;
    let expect_broken = table.words("expect_broken", known_properties)?.unwrap_or_default();
    let in_simulation = table.words("expect_broken_in_simulation", known_properties)?.unwrap_or_default();
    let expect_vacuous = table.words("expect_vacuous", known_properties)?.unwrap_or_default();
    let Some(array) = table.tables("step")? else {
        return Err(Problem::new(0..0, "a file without steps", "at least one [[step]]").help(EXAMPLE));
    };
    let Some(first) = array.first().map(Table::place) else {
        return Err(Problem::new(table.value_span("step"), "no step", "at least one [[step]]").help(EXAMPLE));
    };
    if let Some(beyond) = array.get(Flow::MAX_STEPS) {
        let found = format!("{} steps", array.len());
        return Err(Problem::new(beyond.place(), found, format!("at most {} steps", Flow::MAX_STEPS)));
    }
    let steps = array.iter().map(steps::step).collect::<Result<Vec<_>, _>>()?;
    let flow = Flow::new(steps).map_err(|invalid| {
        let place = |index: usize| array.get(index).map_or(first.clone(), Table::place);
        match invalid {
            InvalidFlow::NoConsume => {
                Problem::new(first.clone(), "no consume in any step", "exactly one").help(EXAMPLE)
            }
            InvalidFlow::SecondConsume(step) => {
                Problem::new(place(step), "a second consume", "exactly one in a flow")
            }
            InvalidFlow::GuardWithoutLease(step) => Problem::new(
                place(step),
                "the guard \"lease\", and no lease before it",
                "a step that takes the lease first",
            )
            .help("`[[step]]`, `do = \"lease\"`"),
            InvalidFlow::EmptyGroup(step) => {
                Problem::new(place(step), "a group without members", "at least one member")
            }
            InvalidFlow::TooManyMembers(step) => Problem::new(
                place(step),
                format!("a group of more than {} members", Flow::MAX_STEPS),
                format!("at most {} members", Flow::MAX_STEPS),
            ),
            InvalidFlow::TooManySteps(found) => Problem::new(
                place(Flow::MAX_STEPS),
                format!("{found} steps"),
                format!("at most {} steps", Flow::MAX_STEPS),
            ),
        }
    })?;
    let strings = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
    Ok(FlowFile {
        about,
        expect_broken: strings(expect_broken),
        expect_broken_in_simulation: strings(in_simulation),
        expect_vacuous: strings(expect_vacuous),
        flow,
    })
}

const EXAMPLE: &str =
    "the smallest flow is one step: `[[step]]`, `do = \"consume\"`, `guards = [\"status\"]`";
