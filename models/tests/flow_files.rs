//! The flow files that come with the crate: each is read, the JSON Schema accepts it, and the pages about them say what
//! the program says. `UPDATE_PAGES=1 cargo test -p countersign-models --test flow_files` writes the pages.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use countersign::flow_file;
use countersign_models::{
    flows::{BUILT_IN, BuiltIn, CASES, Subject},
    properties::Property,
};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Holds a generated page against what the program says, or writes it.
fn holds(path: &str, expected: &str) {
    let page = root(path);
    if std::env::var_os("UPDATE_PAGES").is_some() {
        fs::write(&page, expected).expect("the page can be written");
    }
    let found = fs::read_to_string(&page).unwrap_or_default();
    assert!(found == expected, "{path} is not what the program says; see the head of this file");
}

#[test]
fn the_schema_in_the_repository_equals_the_printed_one() {
    holds("models/flows/flow.schema.json", &format!("{:#}\n", flow_file::schema(Property::IDS)));
}

#[test]
fn the_schema_accepts_every_flow_file() {
    let validator = jsonschema::draft7::new(&flow_file::schema(Property::IDS)).expect("a schema");
    for flow in BuiltIn::every() {
        flow.subject();
        let table: toml::Table = flow.source.parse().expect("a flow file is TOML");
        let json = serde_json::to_value(table).expect("and JSON");
        let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", flow.name);
    }
}

#[test]
fn editors_find_the_schema_of_every_flow_file() {
    let cases = CASES.iter().flat_map(|case| case.flows).map(|flow| (flow, "../flow.schema.json"));
    for (flow, schema) in BUILT_IN.iter().map(|flow| (flow, "./flow.schema.json")).chain(cases) {
        let first = flow.source.lines().next();
        assert_eq!(first, Some(format!("#:schema {schema}").as_str()), "{}", flow.name);
    }
}

#[test]
fn every_flow_file_of_the_folders_is_built_in() {
    for (folder, prefix) in [("models/flows", ""), ("models/flows/cases", "")] {
        for entry in fs::read_dir(root(folder)).expect("the folder exists") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
                assert!(BuiltIn::find(&format!("{prefix}{name}")).is_some(), "{name} is not built in");
            }
        }
    }
    let names: Vec<&str> = BuiltIn::every().map(|flow| flow.name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "two flows of one name");
}

#[test]
fn every_case_has_a_bug_and_a_fix_and_names_its_report() {
    for (index, case) in CASES.iter().enumerate() {
        let number = format!("{:02}-", index + 1);
        assert!(case.flows.iter().all(|flow| flow.name.starts_with(&number)), "{}", case.title);
        assert!(case.bug().name.ends_with("-buggy") && case.fix().name.ends_with("-fixed"));
        let broken = case.bug().subject().expectations.broken;
        for id in case.violates {
            let property = Property::from_id(id).expect("a property");
            assert!(broken.contains(&property), "{} does not expect {id}", case.bug().name);
        }
        assert!(case.reports.iter().all(|report| report.contains('#')), "{}", case.title);
    }
}

const PAGE: &str = "docs/flows.md";

fn page() -> String {
    fs::read_to_string(root(PAGE)).expect("the page exists")
}

/// Holds the part of the page between two marks against what the program says.
fn holds_part(name: &str, expected: &str) {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let page = page();
    let (before, rest) = page.split_once(&begin).expect("the part begins");
    let (_, after) = rest.split_once(&end).expect("the part ends");
    holds(PAGE, &format!("{before}{begin}\n{expected}\n{end}{after}"));
}

#[test]
fn the_reference_and_the_properties_are_those_of_the_program() {
    holds_part("reference", flow_file::reference().trim_end());
    let row =
        |property: Property| format!("| {property} | `{}` | {} |", property.name(), property.sentence());
    let rows: Vec<String> = Property::numbered().into_iter().map(row).collect();
    holds_part("properties", &format!("| | name | says |\n|---|---|---|\n{}", rows.join("\n")));
}

#[test]
fn the_examples_on_the_page_are_flow_files() {
    let page = page();
    let blocks: Vec<&str> = page
        .split("```toml\n")
        .skip(1)
        .map(|block| block.split("```").next().expect("a block ends"))
        .collect();
    let whole = blocks.first().expect("an example");
    let subject = Subject::read(whole.as_bytes()).expect("the first example is a flow file");
    assert_eq!(subject.flow.object().noun, "coupon");
}
