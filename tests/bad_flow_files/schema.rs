//! The JSON Schema against the parser: a file that the schema refuses is refused by the parser, and the other way
//! round for every mistake that a schema can express.

use std::sync::LazyLock;

use countersign::{
    flow_file::{FlowFile, Mistake, Problem, schema},
    protocol::FlowProblem,
};
use jsonschema::Validator;

use super::PROPERTIES;

static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::draft7::new(&schema(PROPERTIES)).expect("the schema is one of draft 7"));

/// Holds the schema's verdict on `file` against the parser's.
#[track_caller]
pub(super) fn check(file: &str, read: &Result<FlowFile, Problem>) {
    let Some(json) = json(file) else {
        let problem = read.as_ref().expect_err("a flow file is TOML");
        assert!(is_beyond_a_schema(&problem.mistake), "{file}");
        return;
    };
    let errors: Vec<String> = VALIDATOR.iter_errors(&json).map(|error| error.to_string()).collect();
    match read {
        Ok(_) => assert!(errors.is_empty(), "the schema refuses a flow file: {errors:?}\n{file}"),
        Err(problem) => assert_eq!(
            errors.is_empty(),
            is_beyond_a_schema(&problem.mistake),
            "{problem:?}\nthe schema says {errors:?}\n{file}"
        ),
    }
}

/// The mistakes that a JSON Schema cannot express: those of bytes and characters, of order and number of steps, and of
/// references between steps.
fn is_beyond_a_schema(mistake: &Mistake) -> bool {
    match mistake {
        Mistake::FileTooLong
        | Mistake::NotUtf8(_)
        | Mistake::NotToml { .. }
        | Mistake::ContradictoryExpectation { .. }
        | Mistake::ControlCharacter(_)
        | Mistake::UnknownStep { .. } => true,
        Mistake::Flow(problem) => !matches!(
            problem,
            FlowProblem::NoSteps
                | FlowProblem::TooManySteps(_)
                | FlowProblem::EmptyGroup
                | FlowProblem::TooManyMembers(_)
                | FlowProblem::DecisionWithoutApprovers
                | FlowProblem::KeyWithoutRetry
        ),
        _ => false,
    }
}

fn json(file: &str) -> Option<serde_json::Value> {
    let table: toml::Table = toml::from_str(file.trim_start_matches('\u{feff}')).ok()?;
    serde_json::to_value(table).ok()
}

#[test]
fn the_schema_knows_the_words_that_the_parser_knows() {
    let schema = schema(PROPERTIES);
    let words: Vec<&str> = schema["definitions"]
        .as_object()
        .expect("definitions")
        .values()
        .filter_map(|definition| definition["properties"]["do"]["const"].as_str())
        .collect();
    for word in ["validate", "check", "recall", "lease", "write", "consume", "act", "audit", "remember"] {
        assert!(words.contains(&word), "{word}");
    }
}

#[test]
fn the_schema_is_one_by_its_own_meta_schema() {
    assert!(jsonschema::draft7::meta::is_valid(&schema(PROPERTIES)));
}

/// A checker that cannot fail is worse than none: a schema without one of its words is noticed.
#[test]
#[should_panic(expected = "the schema refuses a flow file")]
fn a_schema_that_lacks_a_word_is_noticed() {
    let mut lacking = schema(PROPERTIES);
    lacking["definitions"]["consume"]["properties"]["guards"]["items"]["enum"] =
        serde_json::json!(["status"]);
    let validator = jsonschema::draft7::new(&lacking).expect("a schema");
    let file = json("[[step]]\ndo = \"consume\"\nguards = [\"expiry\"]\n").expect("TOML");
    assert!(validator.is_valid(&file), "the schema refuses a flow file");
}
