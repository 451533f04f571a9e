//! Certificates: that of every built-in flow is valid, and one that was changed is refused.

use std::ops::ControlFlow;

use countersign_models::{
    flows::BuiltIn,
    properties::{Property, Set},
    prove::{
        AnyNumber, Limits,
        certificate::{self, Refusal},
        prove,
    },
};
use rayon::prelude::*;

/// Also what takes minutes.
const SLOW: bool = cfg!(feature = "slow");
/// Flows with tens of thousands of views.
const LARGE: [&str; 2] = ["consume-last", "lease-unfenced"];

fn all() -> Set {
    Property::MODELLED.iter().fold(0, |set, one| set | one.bit())
}

/// The certificate of everything that is proved of a built-in flow, and these properties.
fn certificate_of(flow: BuiltIn, wanted: Set) -> (String, Vec<Property>) {
    let proof = prove(&flow.subject().flow, wanted, Limits::default(), &mut |_| ControlFlow::Continue(()));
    let mut proved: Vec<Property> = Property::ALL.to_vec();
    proved.retain(|one| proof.of(*one) == AnyNumber::Proved);
    (proof.certificate(flow.source).expect("something is proved"), proved)
}

fn small() -> (BuiltIn, String) {
    let flow = BuiltIn::find("atomic-commit").expect("a built-in flow");
    (flow, certificate_of(flow, all()).0)
}

/// The certificate with its lines changed.
fn edited(text: &str, edit: impl FnOnce(&mut Vec<String>)) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    edit(&mut lines);
    lines.join("\n") + "\n"
}

fn lines_with(text: &str, word: &str) -> Vec<usize> {
    text.lines().enumerate().filter(|(_, line)| line.starts_with(word)).map(|(at, _)| at).collect()
}

#[test]
fn the_certificate_of_every_built_in_flow_is_valid_and_proves_what_the_prover_proves() {
    let flows: Vec<BuiltIn> = BuiltIn::every().filter(|flow| SLOW || !LARGE.contains(&flow.name)).collect();
    flows.par_iter().for_each(|flow| {
        let broken = flow.subject().expectations.broken;
        let holds = broken.iter().fold(all(), |set, one| set & !one.bit());
        let (text, proved) = certificate_of(*flow, holds);
        let certified = certificate::check(&text, Some(flow.source));
        let certified = certified.unwrap_or_else(|refusal| panic!("{}: {refusal}", flow.name));
        assert_eq!(certified.properties, proved, "{}", flow.name);
        assert_eq!(certified.flow_file, flow.source);
    });
}

#[test]
fn a_certificate_with_what_some_view_violates_is_valid_for_the_rest() {
    let flow = BuiltIn::find("06-eliza-deadline-buggy").expect("a built-in flow");
    let (text, proved) = certificate_of(flow, all());
    let certified = certificate::check(&text, None).expect("a valid certificate");
    assert_eq!(certified.properties, proved);
    assert!(text.contains("\nopen ") && !proved.contains(&Property::S5));
}

#[test]
fn a_property_that_a_view_violates_cannot_be_claimed() {
    let flow = BuiltIn::find("06-eliza-deadline-buggy").expect("a built-in flow");
    let (text, _) = certificate_of(flow, all());
    let open = text.lines().find_map(|line| line.strip_prefix("open ")).expect("an open property");
    let line = text.lines().find(|line| line.starts_with("proved ") && !line.ends_with(" S3"));
    let line = line.expect("a claim");
    let claimed = text.replacen(&format!("{line}\nopen {open}\n"), &format!("{line} {open}\n"), 1);
    assert_ne!(claimed, text);
    assert!(matches!(certificate::check(&claimed, None), Err(Refusal::Unsound { .. })));
}

#[test]
fn a_view_less_is_refused() {
    let (_, text) = small();
    let step = if SLOW { 1 } else { 29 };
    for word in ["view ", "context ", "participant "] {
        let lines = lines_with(&text, word);
        assert!(!lines.is_empty());
        lines.par_iter().step_by(step).for_each(|at| {
            let less = edited(&text, |lines| drop(lines.remove(*at)));
            assert!(certificate::check(&less, None).is_err(), "without line {}", at + 1);
        });
    }
}

#[test]
fn a_view_more_is_refused() {
    let (_, text) = small();
    let views = lines_with(&text, "view ");
    let last = *views.last().expect("a view");
    // Another participant of a known context, where it is not listed.
    let contexts = lines_with(&text[..], "context ").len();
    let more = (0..contexts)
        .map(|context| format!("view {context} 0"))
        .find(|line| !text.lines().any(|other| other == line));
    let more = more.expect("not every context has the first participant");
    let text_with = edited(&text, |lines| lines.insert(last + 1, more));
    let refusal = certificate::check(&text_with, None).expect_err("a view more");
    assert!(matches!(&refusal, Refusal::Unsound { .. } | Refusal::Malformed { .. }), "{refusal}");
    let again = edited(&text, |lines| lines.insert(last + 1, lines[last].clone()));
    assert!(matches!(certificate::check(&again, None), Err(Refusal::Malformed { .. })), "a view twice");
}

#[test]
fn a_closed_view_that_no_view_leads_to_is_refused() {
    // In the last context of a claim nothing moves any more: it may be listed elsewhere without a gap.
    let (_, text) = small();
    let (first, _) = (lines_with(&text, "context ")[0], ());
    let moved = edited(&text, |lines| {
        let last = lines.len() - 1;
        lines.swap(first + 1, last);
    });
    assert!(certificate::check(&moved, None).is_err());
}

#[test]
fn the_certificate_of_another_flow_is_refused() {
    let (_, text) = small();
    let other = BuiltIn::find("consume-first").expect("a built-in flow").source;
    assert!(matches!(certificate::check(&text, Some(other)), Err(Refusal::Flow { .. })));
    // The flow in it was changed, and its hash was not.
    let changed = text.replacen("| ", "| # ", 1);
    assert!(matches!(certificate::check(&changed, None), Err(Refusal::Flow { .. })));
    // Both were changed: its views are those of another flow.
    let heading = |text: &str| text.find("proved ").expect("a claim");
    let (theirs, _) = certificate_of(BuiltIn::find("consume-first").expect("a built-in flow"), all());
    let grafted = format!("{}{}", &theirs[..heading(&theirs)], &text[heading(&text)..]);
    assert!(matches!(certificate::check(&grafted, None), Err(Refusal::Unsound { .. })));
}

#[test]
fn the_certificate_of_another_version_is_refused() {
    let (_, text) = small();
    let version = format!("\nversion {}\n", certificate::VERSION);
    let older = text.replacen(&version, "\nversion 0.0.1\n", 1);
    assert_eq!(certificate::check(&older, None), Err(Refusal::Version("0.0.1".to_owned())));
}

#[test]
fn s3_is_claimed_alone() {
    let (_, text) = small();
    let together = text.replacen("proved S3\n", "proved S3 S4\n", 1);
    assert_ne!(together, text);
    assert!(matches!(certificate::check(&together, None), Err(Refusal::Malformed { .. })));
}

#[test]
fn what_is_no_certificate_is_refused_with_its_line() {
    let (_, text) = small();
    let with = |from: &str, to: &str| {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text, "{from}");
        edited
    };
    for bad in [
        String::new(),
        "countersign certificate 2\n".to_owned(),
        text[..text.find("proved ").expect("a claim")].to_owned(),
        with("proved ", "proved S99 "),
        with("proved ", "proved S18 "),
        with("\nview ", "\nlook "),
        with("\nview ", "\nview 99999999999999999999 "),
        with("\nview ", "\nview -1 "),
        with("\nflow ", "\nflows "),
        with("\nversion ", "\n"),
    ] {
        let refusal = certificate::check(&bad, None).expect_err("no certificate");
        assert!(matches!(refusal, Refusal::Malformed { .. }), "{refusal}");
    }
}

#[test]
fn a_certificate_cut_at_any_place_is_refused_unless_whole_claims_are_left() {
    let (_, text) = small();
    let step = if SLOW { 97 } else { 4_999 };
    let cuts: Vec<usize> = (0..text.len() - 1).step_by(step).collect();
    let second = text.rfind("\nproved ").expect("two claims");
    cuts.par_iter().for_each(|at| {
        let is_whole = *at == second || *at == second + 1;
        assert!(certificate::check(&text[..*at], None).is_err() || is_whole, "the first {at} bytes");
    });
    let first = certificate::check(&text[..=second], None).expect("the first claim is whole");
    assert_eq!(first.properties, [Property::S3]);
}
