//! Flow files: a mistake is reported by its place, what was found and what was expected; no input makes it panic; and
//! the JSON Schema agrees with the parser.

mod contradictions;
mod form;
mod random_input;
mod schema;
mod steps;
mod tables;
mod whole;

use countersign::flow_file::{FlowFile, Problem, parse, position};

const PROPERTIES: &[&str] = &["S1", "S5", "L1"];

const CONSUME: &str = "[[step]]\ndo = \"consume\"\nguards = []\n";

fn read(file: &str) -> Result<FlowFile, Problem> {
    let read = parse(file.as_bytes(), PROPERTIES);
    schema::check(file, &read);
    read
}

/// A message as a user sees it: line, column, found, expected, help.
fn message(bytes: &[u8]) -> (usize, usize, String, String, Option<String>) {
    let problem = parse(bytes, PROPERTIES).expect_err("a bad flow file");
    let (line, column) = position(bytes, problem.span.start);
    (line, column, problem.found(), problem.expected(), problem.help())
}

#[track_caller]
fn refused(file: &str, place: (usize, usize), found: &str, expected: &str, help: Option<&str>) {
    let wanted = (place.0, place.1, found.to_owned(), expected.to_owned(), help.map(str::to_owned));
    assert_eq!(message(file.as_bytes()), wanted, "{file}");
    schema::check(file, &parse(file.as_bytes(), PROPERTIES));
}
