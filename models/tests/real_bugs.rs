//! The real bugs: what the program says about each is what its files and its page say.
//! `UPDATE_PAGES=1 cargo test -p countersign-models --test real_bugs` writes the page.

use std::{fmt::Write as _, fs, ops::ControlFlow, path::Path};

use countersign_models::{
    explorer::Limits,
    flows::{BuiltIn, CASES, Case, Subject},
    model::{Bounds, Model},
    properties::Property,
    verdict::{Judgement, Report, Verdict, verify},
};

const HEAD: &str = "\
# Real bugs

Public reports of single-use bugs, each as the flow that was reported and the flow of its fix. The runs are the shortest
ones, as `countersign show FLOW PROPERTY` prints them, at 3 callers, 1 crash and 1 fault. The files are in
[`models/flows/cases`](../models/flows/cases); `countersign verify NAME` judges each. This page is generated.

The table lists what each flow violates, in bold what the reports name, and the exit code of `countersign verify` for the
same file without its `expect_broken` line.

";

fn judged(flow: BuiltIn) -> (Model, Report) {
    let subject = flow.subject();
    let model = Model::new(subject.flow, Bounds::default());
    let report = verify(&model, &subject.expectations, Limits::default(), &mut |_| ControlFlow::Continue(()));
    (model, report)
}

/// The ids of the violated properties.
fn violated(report: &Report) -> Vec<&'static str> {
    let is_violated = |verdict: &Verdict| matches!(verdict, Verdict::Violated(_));
    report.judgements.iter().filter(|one| is_violated(&one.verdict)).map(|one| one.property.id()).collect()
}

/// A flow with the properties that it violates, and the shortest run of the first of `shown`.
fn section(text: &mut String, flow: BuiltIn, shown: &[&str]) {
    let (model, report) = judged(flow);
    let ids = violated(&report);
    let about = flow.subject().about.unwrap_or_default();
    let verdict = if ids.is_empty() {
        "keeps every promise".to_owned()
    } else {
        format!("violates {}", ids.join(", "))
    };
    let _ = writeln!(text, "[`{0}`](../models/flows/cases/{0}.toml): {about}. It {verdict}.\n", flow.name);
    let Some(id) = shown.iter().find(|id| ids.contains(*id)) else { return };
    let property = Property::from_id(id).expect("a property");
    let Verdict::Violated(run) = &report.of(property).verdict else { unreachable!("{id} is violated") };
    let _ = writeln!(text, "{id} `{}`:\n", property.name());
    for (index, scene) in run.events(&model).iter().enumerate() {
        let _ = writeln!(text, "{}. {scene}", index + 1);
    }
    let _ = writeln!(text, "\nIn the end {}.\n", model.reason(property, run));
}

/// The exit code of `verify` for the flow without its expectations.
fn exit_code(report: &Report) -> u8 {
    let is_kept = |one: &Judgement| match one.verdict {
        Verdict::DoesNotApply => true,
        Verdict::Holds => one.exercised,
        Verdict::Violated(_) | Verdict::Unknown => false,
    };
    u8::from(!report.judgements.iter().all(is_kept))
}

/// Every flow with the properties that it violates, and its exit code.
fn table() -> String {
    let mut text = "| | flow | violates | exit code |\n|---|---|---|---|\n".to_owned();
    for (number, case) in (1..).zip(CASES) {
        for flow in case.flows {
            let (_, report) = judged(*flow);
            let is_reported = |id: &str| *flow != case.fix() && case.violates.contains(&id);
            let shown = |id: &&str| if is_reported(id) { format!("**{id}**") } else { (*id).to_owned() };
            let ids: Vec<String> = violated(&report).iter().map(shown).collect();
            let _ =
                writeln!(text, "| {number} | `{}` | {} | {} |", flow.name, ids.join(" "), exit_code(&report));
        }
    }
    text
}

fn chapter(number: usize, case: &Case) -> String {
    let mut text =
        format!("\n## {number}. {}\n\n{}\n\n{}\n\n", case.title, case.reports.join(" · "), case.story);
    let (fix, before) = case.flows.split_last().expect("a case has flows");
    for flow in before {
        section(&mut text, *flow, case.violates);
    }
    section(&mut text, *fix, &[]);
    if !case.besides.is_empty() {
        let _ = writeln!(text, "Besides the report: {}\n", case.besides);
    }
    if !case.still.is_empty() {
        let _ = writeln!(text, "Still open after the fix: {}\n", case.still);
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    wrapped(&text)
}

/// The text with lines of at most 120 characters.
fn wrapped(text: &str) -> String {
    let mut page = String::new();
    for line in text.lines() {
        let mut length = 0;
        for word in line.split(' ') {
            let width = word.chars().count();
            if length > 0 {
                let separator = if length + 1 + width > 120 { '\n' } else { ' ' };
                length = if separator == '\n' { 0 } else { length + 1 };
                page.push(separator);
            }
            page.push_str(word);
            length += width;
        }
        page.push('\n');
    }
    page
}

#[test]
fn every_verdict_on_a_real_bug_is_expected() {
    let unexpected: Vec<String> = CASES
        .iter()
        .flat_map(|case| case.flows)
        .filter_map(|flow| {
            let (_, report) = judged(*flow);
            let wrong: Vec<String> = report
                .judgements
                .iter()
                .filter(|one| !one.expected)
                .map(|one| format!("{} {:?}", one.property.id(), one.verdict))
                .collect();
            (!wrong.is_empty()).then(|| format!("{}: {}", flow.name, wrong.join("; ")))
        })
        .collect();
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
}

#[test]
fn the_page_of_real_bugs_is_what_the_program_says() {
    let chapters: Vec<String> =
        CASES.iter().enumerate().map(|(index, case)| chapter(index + 1, case)).collect();
    let expected = format!("{HEAD}{}{}", table(), chapters.concat());
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/real-bugs.md");
    if std::env::var_os("UPDATE_PAGES").is_some() {
        fs::write(&page, &expected).expect("the page can be written");
    }
    let found = fs::read_to_string(&page).unwrap_or_default();
    assert!(found == expected, "the page is not what the program says; see the head of this file");
}

#[test]
fn the_worked_examples_violate_what_their_page_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/flows.md");
    let page = fs::read_to_string(page).expect("the page exists");
    let blocks: Vec<&str> =
        page.split("```toml\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    let [buggy, commit, ref others @ ..] = blocks[..] else { panic!("two examples, found {}", blocks.len()) };
    let consume = buggy.find("[[step]]\ndo = \"consume\"").expect("it consumes");
    let fixed = format!("{}{commit}", &buggy[..consume]);
    let judged = |file: &str| {
        let subject = Subject::read(file.as_bytes()).unwrap_or_else(|problem| panic!("{problem} in\n{file}"));
        let model = Model::new(subject.flow, Bounds::default());
        verify(&model, &subject.expectations, Limits::default(), &mut |_| ControlFlow::Continue(()))
    };
    assert_eq!(violated(&judged(buggy)), ["S2", "S3", "S5", "L1"]);
    let fixed = judged(&fixed);
    assert!(fixed.is_expected(), "{:?}", fixed.judgements);
    assert_eq!(others.len(), 3);
    for file in others {
        let report = judged(file);
        assert!(report.is_expected() && violated(&report).is_empty(), "{file}{:?}", report.judgements);
    }
}

#[test]
fn what_the_reports_do_not_name_is_explained() {
    for case in CASES {
        let (fix, before) = case.flows.split_last().expect("a case has flows");
        let (bug, others) = before.split_first().expect("a case has a bug");
        let found = violated(&judged(*bug).1);
        assert!(case.violates.iter().all(|id| found.contains(id)), "{}: {found:?}", case.title);
        let ids = found.into_iter().chain(others.iter().flat_map(|flow| violated(&judged(*flow).1)));
        for id in ids.filter(|id| !case.violates.contains(id)) {
            assert!(case.besides.contains(id), "{}: no reason for {id}", case.title);
        }
        // One property is explained with each fix that leaves several open.
        let left = violated(&judged(*fix).1);
        assert_eq!(left.is_empty(), case.still.is_empty(), "{}", case.title);
    }
}

#[test]
fn a_fix_that_leaves_something_open_says_what() {
    for case in CASES {
        let open = !case.fix().subject().expectations.broken.is_empty();
        assert_eq!(open, !case.still.is_empty(), "{}", case.title);
    }
}
