//! Flow files: a [`Flow`] as TOML, with errors that point at the mistake.
//!
//! The protocol knows nothing of files; this module turns one into a flow. Behind the feature `flow-files`.
//!
//! Invariants: what is not in the vocabulary is refused; no input makes it panic; a file that is too long is not read.

mod declaration;
mod problem;
mod reference;
mod schema;
mod steps;
mod table;
mod values;
mod vocabulary;

pub use declaration::Only;
pub use problem::{Mistake, Problem, position};
pub use reference::reference;
pub use schema::schema;

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
    let whole = 0..0;
    if bytes.len() > MAX_BYTES {
        return Err(Problem::new(whole, Mistake::FileTooLong));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Problem::new(at..at + 1, Mistake::NotUtf8(bytes[at]))
    })?;
    let document = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(whole);
        Problem::new(span, Mistake::NotToml(error.message().to_owned()))
    })?;
    read(&document, known_properties)
}

fn read(document: &Spanned<DeTable<'_>>, known_properties: &[&str]) -> Result<FlowFile, Problem> {
    let mut file = Table::of(document.get_ref(), document.span(), "a flow file");
    file.only("a flow file", vocabulary::FILE.iter().map(|key| key.name))?;
    let about = file.optional(&vocabulary::ABOUT)?.map(|Text(about)| about);
    let expected = |key| properties(&file, key, known_properties);
    let expect_broken = expected(&vocabulary::EXPECT_BROKEN)?;
    let expect_broken_in_simulation = expected(&vocabulary::EXPECT_BROKEN_IN_SIMULATION)?;
    let expect_vacuous = expected(&vocabulary::EXPECT_VACUOUS)?;
    let flow = flow(&file)?;
    Ok(FlowFile { about, expect_broken, expect_broken_in_simulation, expect_vacuous, flow })
}

/// The properties that an expectation names.
fn properties(file: &Table<'_>, key: &Key<Properties>, known: &[&str]) -> Result<Vec<String>, Problem> {
    let Properties(found) = file.value(key, Properties(Vec::new()))?;
    if let Some((id, span)) = found.iter().find(|(id, _)| !known.contains(&id.as_str())) {
        let allowed = known.iter().map(|id| (*id).to_owned()).collect();
        return Err(Problem::new(span.clone(), Mistake::UnknownWord { word: id.clone(), allowed }));
    }
    Ok(found.into_iter().map(|(id, _)| id).collect())
}

fn flow(file: &Table<'_>) -> Result<Flow, Problem> {
    let object = object(file)?;
    let decision = decision(file, &object)?;
    let endpoint = endpoint(file)?;
    let Some(mut tables) = file.tables("step", "a step")? else {
        return Err(Problem::new(0..0, Mistake::Flow(FlowProblem::NoSteps)));
    };
    // Before any step is read: ten thousand are refused as one mistake.
    if let Some(beyond) = tables.get(Flow::MAX_STEPS) {
        let mistake = Mistake::Flow(FlowProblem::TooManySteps(tables.len()));
        return Err(Problem::new(beyond.place(), mistake));
    }
    // A mistake in a name is left to the reading of its step.
    let names: Vec<_> = tables.iter().map(|table| steps::name(table).ok().flatten()).collect();
    let steps = tables.iter_mut().enumerate().map(|(index, table)| steps::step(table, index, &names));
    let steps = steps.collect::<Result<_, _>>()?;
    Flow::new(object, decision, endpoint, steps).map_err(|invalid| {
        let span = place(file, &tables, &invalid);
        Problem::new(span, Mistake::Flow(invalid.problem))
    })
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

fn decision(file: &Table<'_>, object: &Object) -> Result<DecisionRule, Problem> {
    let table = declared(file, &vocabulary::DECISION)?;
    let default = DecisionRule::default();
    let decision = DecisionRule {
        guards: table.value(&vocabulary::DECISION_GUARDS, default.guards)?,
        method: table.value(&vocabulary::DECISION_METHOD, default.method)?,
    };
    if object.approvers == 0 && file.has("decision") {
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
        FlowProblem::GuardWithoutLease => "guards",
        FlowProblem::UntilBeforeLease(_) => "until",
        _ => "do",
    };
    table.value_span(key)
}
