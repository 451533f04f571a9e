//! Flow files: a [`Flow`] as TOML, with errors that point at the mistake.
//!
//! The protocol knows nothing of files; this module turns one into a flow. Behind the feature `flow-files`.
//!
//! Invariants: what is not in the vocabulary is refused; no input makes it panic; a file that is too long is not read.

mod declaration;
mod other_words;
mod problem;
mod reference;
mod schema;
mod slip;
mod steps;
mod table;
mod values;
mod vocabulary;

pub use declaration::Only;
pub use problem::{Mistake, Problem, position};
pub use reference::reference;
pub use schema::schema;
pub use slip::Slip;

use std::ops::Range;

use toml::{Spanned, de::DeTable};

use self::{
    declaration::Key,
    table::Table,
    values::{Properties, Text},
    vocabulary::TableWord,
};
use crate::protocol::{DecisionRule, Endpoint, Flow, FlowProblem, InvalidFlow, Object};

/// The contents of a flow file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowFile {
    /// The flow in one sentence.
    pub about: Option<String>,
    /// The ids of the properties that its author expects to be violated.
    pub expect_broken: Vec<String>,
    /// The ids of those that are violated, too, by what a simulation does and the model does not: messages that
    /// arrive twice or late, retries, other teams.
    pub expect_broken_in_simulation: Vec<String>,
    /// The ids of those that its author expects to hold without being exercised.
    pub expect_vacuous: Vec<String>,
    /// False if the file has no `[object]`: then every promise is the default.
    pub has_object: bool,
    /// The promises and the order of the steps.
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
///     do = "act"
///     via = "memory"
/// "#;
/// let read = countersign::flow_file::parse(file, &["S1"]).expect("a flow file");
/// assert_eq!(read.flow.steps().len(), 2);
///
/// let problem = countersign::flow_file::parse(b"[[step]]\ndo = \"consune\"", &[]).unwrap_err();
/// assert_eq!(problem.help().as_deref(), Some("did you mean `consume`?"));
/// ```
///
/// # Errors
/// The first [`Problem`] in the file.
pub fn parse(bytes: &[u8], known_properties: &[&str]) -> Result<FlowFile, Problem> {
    parse_in_full(bytes, known_properties).map_err(|mut problems| problems.swap_remove(0))
}

/// As [`parse`], but goes on after a problem in one table or one key of the file with the next one.
///
/// # Errors
/// The problems, at least one. One that may follow from another is left out.
pub fn parse_in_full(bytes: &[u8], known_properties: &[&str]) -> Result<FlowFile, Vec<Problem>> {
    let text = checked_text(bytes).map_err(|problem| vec![problem])?;
    let document = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let (span, slip) = match slip::slip(text, &span, error.message()) {
            Some((span, slip)) => (span, Some(slip)),
            None => (span, None),
        };
        vec![Problem::new(span, Mistake::NotToml { why: error.message().to_owned(), slip })]
    })?;
    let mut problems = Problems::default();
    let read = read(&document, known_properties, &mut problems);
    read.filter(|_| problems.0.is_empty()).ok_or(problems.0)
}

fn checked_text(bytes: &[u8]) -> Result<&str, Problem> {
    if bytes.len() > MAX_BYTES {
        return Err(Problem::new(0..0, Mistake::FileTooLong));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Problem::new(at..at + 1, Mistake::NotUtf8(bytes[at]))
    })
}

/// What has been found wrong so far.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    /// Keeps the problem, and lets the reading go on without the value.
    fn keep<T>(&mut self, read: Result<T, Problem>) -> Option<T> {
        read.map_err(|problem| self.0.push(problem)).ok()
    }
}

/// None only where there are problems.
fn read(
    document: &Spanned<DeTable<'_>>,
    known_properties: &[&str],
    problems: &mut Problems,
) -> Option<FlowFile> {
    let mut file = Table::of(document.get_ref(), document.span(), "a flow file");
    problems.keep(file.only("a flow file", vocabulary::FILE.iter().map(|key| key.name)));
    let about = problems.keep(file.optional(&vocabulary::ABOUT));
    let mut expected = |key| problems.keep(properties(&file, key, known_properties)).unwrap_or_default();
    let expect_broken = expected(&vocabulary::EXPECT_BROKEN);
    let expect_broken_in_simulation = expected(&vocabulary::EXPECT_BROKEN_IN_SIMULATION);
    let expect_vacuous = expected(&vocabulary::EXPECT_VACUOUS);
    // What is violated is neither vacuous nor violated by the simulator alone.
    problems.keep(disjoint(&expect_broken, &expect_broken_in_simulation));
    problems.keep(disjoint(&expect_broken, &expect_vacuous));
    let flow = flow(&file, problems);
    let ids = |expected: Vec<(String, Range<usize>)>| expected.into_iter().map(|(id, _)| id).collect();
    Some(FlowFile {
        about: about?.map(|Text(about)| about),
        expect_broken: ids(expect_broken),
        expect_broken_in_simulation: ids(expect_broken_in_simulation),
        expect_vacuous: ids(expect_vacuous),
        has_object: file.has(vocabulary::OBJECT.name),
        flow: flow?,
    })
}

fn disjoint(broken: &[(String, Range<usize>)], other: &[(String, Range<usize>)]) -> Result<(), Problem> {
    match other.iter().find(|(id, _)| broken.iter().any(|(other, _)| other == id)) {
        Some((id, span)) => {
            let other = vocabulary::EXPECT_BROKEN.name();
            let mistake = Mistake::ContradictoryExpectation { id: id.clone(), other };
            Err(Problem::new(span.clone(), mistake))
        }
        None => Ok(()),
    }
}

/// The properties that an expectation names, each with its place.
fn properties(
    file: &Table<'_>,
    key: &Key<Properties>,
    known: &[&str],
) -> Result<Vec<(String, Range<usize>)>, Problem> {
    let Properties(found) = file.value(key, Properties(Vec::new()))?;
    if let Some((id, span)) = found.iter().find(|(id, _)| !known.contains(&id.as_str())) {
        let allowed = known.iter().map(|id| (*id).to_owned()).collect();
        return Err(Problem::new(span.clone(), Mistake::UnknownWord { word: id.clone(), allowed }));
    }
    Ok(found)
}

fn flow(file: &Table<'_>, problems: &mut Problems) -> Option<Flow> {
    let object = problems.keep(object(file));
    let decision = problems.keep(decision(file, object.as_ref()));
    let endpoint = problems.keep(endpoint(file));
    let mut tables = problems.keep(step_tables(file))?;
    // A mistake in a name is left to the reading of its step.
    let names: Vec<_> = tables.iter().map(|table| steps::name(table).ok().flatten()).collect();
    let mut read = Vec::with_capacity(tables.len());
    for (index, table) in tables.iter_mut().enumerate() {
        read.push(problems.keep(steps::step(table, index, &names)));
    }
    let steps = read.into_iter().collect::<Option<Vec<_>>>()?;
    problems.keep(Flow::new(object?, decision?, endpoint?, steps).map_err(|invalid| {
        let span = place(file, &tables, &invalid);
        Problem::new(span, Mistake::Flow(invalid.problem))
    }))
}

fn step_tables<'t>(file: &Table<'t>) -> Result<Vec<Table<'t>>, Problem> {
    let Some(tables) = file.tables("step", "a step")? else {
        return Err(Problem::new(0..0, Mistake::Flow(FlowProblem::NoSteps)));
    };
    // Before any step is read: ten thousand are refused as one mistake.
    match tables.get(Flow::MAX_STEPS) {
        Some(beyond) => {
            let mistake = Mistake::Flow(FlowProblem::TooManySteps(tables.len()));
            Err(Problem::new(beyond.place(), mistake))
        }
        None => Ok(tables),
    }
}

fn object(file: &Table<'_>) -> Result<Object, Problem> {
    use vocabulary::{
        APPROVERS, AUDITED, BOUND, EXPIRES, FAILED_ATTEMPT, NOUN, OWNER, REVOCABLE, SEPARATE, TARGET_BOUND,
        USES,
    };
    let table = declared(file, &vocabulary::OBJECT)?;
    let default = Object::default();
    Ok(Object {
        noun: table.optional(&NOUN)?.map_or(default.noun, |Text(noun)| noun),
        uses: table.optional(&USES)?.map_or(default.uses, |number| number.0),
        approvers: table.optional(&APPROVERS)?.map_or(default.approvers, |number| number.0),
        separate: table.value(&SEPARATE, default.separate)?,
        expires: table.value(&EXPIRES, default.expires)?,
        revocable: table.value(&REVOCABLE, default.revocable)?,
        bound: table.value(&BOUND, default.bound)?,
        target_bound: table.value(&TARGET_BOUND, default.target_bound)?,
        owner: table.value(&OWNER, default.owner)?,
        audited: table.value(&AUDITED, default.audited)?,
        failed_attempt: table.value(&FAILED_ATTEMPT, default.failed_attempt)?,
    })
}

/// `object` is none where it cannot be read.
fn decision(file: &Table<'_>, object: Option<&Object>) -> Result<DecisionRule, Problem> {
    let table = declared(file, &vocabulary::DECISION)?;
    let default = DecisionRule::default();
    let decision = DecisionRule {
        guards: table.value(&vocabulary::DECISION_GUARDS, default.guards)?,
        method: table.value(&vocabulary::DECISION_METHOD, default.method)?,
    };
    if object.is_some_and(|object| object.approvers == 0) && file.has("decision") {
        let mistake = Mistake::Flow(FlowProblem::DecisionWithoutApprovers);
        return Err(Problem::new(file.value_span("decision"), mistake));
    }
    Ok(decision)
}

fn endpoint(file: &Table<'_>) -> Result<Endpoint, Problem> {
    let table = declared(file, &vocabulary::ENDPOINT)?;
    let default = Endpoint::default();
    Ok(Endpoint {
        method: table.value(&vocabulary::ENDPOINT_METHOD, default.method)?,
        retry: table.value(&vocabulary::RETRY, default.retry)?,
    })
}

/// A table of [`vocabulary::TABLES`], without keys that are not declared.
fn declared<'t>(file: &Table<'t>, declared: &TableWord) -> Result<Table<'t>, Problem> {
    let mut table = file.table(declared.name, declared.within)?;
    table.only(declared.within, declared.keys.iter().map(|key| key.name))?;
    Ok(table)
}

/// The place of what [`Flow::new`] refuses.
fn place(file: &Table<'_>, steps: &[Table<'_>], invalid: &InvalidFlow) -> Range<usize> {
    let Some(step) = invalid.step.and_then(|index| steps.get(index)) else {
        return file.value_span(match invalid.problem {
            FlowProblem::SeparateWithoutApprovers => {
                let object = file.table("object", "`[object]`");
                return object.map_or(file.place(), |object| object.value_span("separate"));
            }
            FlowProblem::Uses(_) | FlowProblem::Approvers(_) => "object",
            FlowProblem::DecisionWithoutApprovers => "decision",
            _ => "step",
        });
    };
    let members = steps::members(step).unwrap_or_default();
    let table = invalid.member.and_then(|index| members.get(index)).unwrap_or(step);
    let key = match &invalid.problem {
        FlowProblem::EmptyGroup => "atomic",
        FlowProblem::TooManyMembers(_) => {
            return members.get(Flow::MAX_STEPS).map_or(step.place(), Table::place);
        }
        FlowProblem::SameAct(_) if table.has("name") => "name",
        FlowProblem::SameStep(_) => "name",
        FlowProblem::NothingBound { .. } if table.has("checks") => "checks",
        FlowProblem::GuardWithoutLease | FlowProblem::NothingBound { .. } => "guards",
        FlowProblem::UntilBeforeLease(_) => "until",
        _ => "do",
    };
    table.value_span(key)
}
