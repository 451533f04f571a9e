//! Certificates: that of every built-in flow is valid, and one that was changed is refused.

use std::ops::ControlFlow;

use countersign_models::{
    flows::{BuiltIn, KEYED},
    properties::{Property, Set},
    prove::{
        AnyNumber, Limits,
        certificate::{self, Refusal, Written},
        prove,
    },
};
use countersign_testkit::slow;
use rayon::prelude::*;

/// Flows whose certificates take the most time, minutes to seconds: the slow tier has them.
const LARGE: [&str; 14] = [
    "atomic-commit-keyed",
    "atomic-commit-lease-keyed",
    "consume-last",
    "lease-unfenced",
    "coupon-redeem",
    "oauth-code",
    "consume-first",
    "twin-consume-first",
    "10-newspack-claim-buggy",
    "11-medusa-payment-fixed",
    "08-nocturne-refresh-buggy",
    "12-queue-worker-lock-buggy",
    "payment-confirm",
    "19-idempot-retry-buggy",
];
/// The flow of which there is no certificate: its views are too many.
const WITHOUT: &str = "atomic-commit-lease-keyed";
/// Flows with a property that is proved, and that a certificate does not show: unboundedly many callers use the object or act, so
/// that its views do not count them.
const LEFT_OUT: [(&str, Property); 7] = [
    ("payment-confirm", Property::S3),
    ("09-postel-webhook-look-first", Property::S3),
    ("10-newspack-claim-buggy", Property::S3),
    ("11-medusa-payment-buggy", Property::S3),
    ("11-medusa-payment-fixed", Property::S3),
    ("17-obot-code-buggy", Property::S3),
    ("20-hermes-memory-buggy", Property::S3),
];

fn all() -> Set {
    Property::MODELLED.iter().fold(0, |set, one| set | one.bit())
}

/// The certificate of what is proved of a built-in flow, of these properties, and what is proved.
fn certificate_of(flow: BuiltIn, wanted: Set) -> (Result<Written, String>, Vec<Property>) {
    let go_on = &mut |_| ControlFlow::Continue(());
    let subject = flow.subject();
    let proof = prove(&subject.flow, wanted, Limits::default(), go_on);
    let mut proved: Vec<Property> = Property::ALL.to_vec();
    proved.retain(|one| proof.of(*one) == AnyNumber::Proved);
    (proof.certificate(&subject.flow, flow.source, go_on), proved)
}

fn text_of(flow: &str) -> String {
    let flow = BuiltIn::find(flow).expect("a built-in flow");
    certificate_of(flow, all()).0.expect("a certificate").text
}

fn small() -> String {
    text_of("atomic-commit")
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
    let flows = BuiltIn::every().chain(KEYED.iter().copied());
    let is_here = |flow: &str| slow() || !LARGE.contains(&flow);
    let flows: Vec<BuiltIn> = flows.filter(|flow| is_here(flow.name)).collect();
    let left_out: Vec<Vec<(&str, Property)>> = flows
        .par_iter()
        .map(|flow| {
            let broken = flow.subject().expectations.broken;
            let holds = broken.iter().fold(all(), |set, one| set & !one.bit());
            let (written, proved) = certificate_of(*flow, holds);
            assert_eq!(written.is_err(), flow.name == WITHOUT, "{}", flow.name);
            let Ok(Written { text, left_out }) = written else { return Vec::new() };
            let certified = certificate::check(&text, Some(flow.source));
            let certified = certified.unwrap_or_else(|refusal| panic!("{}: {refusal}", flow.name));
            let is_claimed = |one: &&Property| !left_out.contains(one);
            assert_eq!(
                certified.properties,
                Vec::from_iter(proved.iter().filter(is_claimed).copied()),
                "{}",
                flow.name
            );
            assert_eq!(certified.flow_file, flow.source);
            println!("{}: {} views", flow.name, certified.views);
            left_out.into_iter().map(|one| (flow.name, one)).collect()
        })
        .collect();
    let expected = LEFT_OUT.into_iter().filter(|(flow, _)| is_here(flow));
    assert_eq!(left_out.concat(), Vec::from_iter(expected));
}

#[test]
fn a_certificate_says_nothing_of_what_some_view_violates() {
    let flow = BuiltIn::find("06-eliza-deadline-buggy").expect("a built-in flow");
    let (written, proved) = certificate_of(flow, all());
    let certified =
        certificate::check(&written.expect("a certificate").text, None).expect("a valid certificate");
    assert_eq!(certified.properties, proved);
    assert!(!proved.contains(&Property::S5));
}

#[test]
fn a_property_that_a_view_violates_cannot_be_claimed() {
    let text = text_of("06-eliza-deadline-buggy");
    let claimed = text.replacen(" S4", " S4 S5", 1).replacen("proved S1", "proved S5 S1", 1);
    assert_ne!(claimed, text);
    assert!(matches!(certificate::check(&claimed, None), Err(Refusal::Unsound { .. })));
}

#[test]
fn what_counts_successes_cannot_be_claimed_where_they_are_not_named() {
    for flow in ["atomic-commit", "09-postel-webhook-look-first"] {
        let text = text_of(flow).replacen("\nusers\n", "\n", 1);
        let claimed = text.replacen("proved ", "proved S3 ", 1).replacen("S3 S3", "S3", 1);
        assert!(matches!(certificate::check(&claimed, None), Err(Refusal::Unsound { .. })), "{flow}");
    }
}

#[test]
fn a_view_less_is_refused() {
    let text = small();
    let step = if slow() { 1 } else { 29 };
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
    let text = small();
    let views = lines_with(&text, "view ");
    let last = *views.last().expect("a view");
    // Another participant of a known context, where it is not listed.
    let contexts = lines_with(&text[..], "context ").len();
    let participants = lines_with(&text[..], "participant ").len();
    let pairs = (0..contexts).flat_map(|context| (0..participants).map(move |one| (context, one)));
    let more = pairs
        .map(|(context, one)| format!("view {context} {one}"))
        .find(|line| !text.lines().any(|other| other == line));
    let more = more.expect("not every context has every participant");
    let text_with = edited(&text, |lines| lines.insert(last + 1, more));
    let refusal = certificate::check(&text_with, None).expect_err("a view more");
    assert!(matches!(&refusal, Refusal::Unsound { .. } | Refusal::Malformed { .. }), "{refusal}");
    let again = edited(&text, |lines| lines.insert(last + 1, lines[last].clone()));
    assert!(matches!(certificate::check(&again, None), Err(Refusal::Malformed { .. })), "a view twice");
}

#[test]
fn a_closed_view_that_no_view_leads_to_is_refused() {
    // In the last context of a claim nothing moves any more: it may be listed elsewhere without a gap.
    let text = small();
    let (first, _) = (lines_with(&text, "context ")[0], ());
    let moved = edited(&text, |lines| {
        let last = lines.len() - 1;
        lines.swap(first + 1, last);
    });
    assert!(certificate::check(&moved, None).is_err());
}

#[test]
fn the_certificate_of_another_flow_is_refused() {
    let text = small();
    let other = BuiltIn::find("consume-first").expect("a built-in flow").source;
    assert!(matches!(certificate::check(&text, Some(other)), Err(Refusal::Flow { .. })));
    // The flow in it was changed, and its hash was not.
    let changed = text.replacen("| ", "| # ", 1);
    assert!(matches!(certificate::check(&changed, None), Err(Refusal::Flow { .. })));
    // Both were changed: its views are those of another flow.
    let heading = |text: &str| text.find("proved ").expect("a claim");
    let theirs = text_of("consume-first");
    let grafted = format!("{}{}", &theirs[..heading(&theirs)], &text[heading(&text)..]);
    assert!(matches!(certificate::check(&grafted, None), Err(Refusal::Unsound { .. })));
}

#[test]
fn the_certificate_of_another_version_is_refused() {
    let text = small();
    let version = format!("\nversion {}\n", certificate::VERSION);
    let older = text.replacen(&version, "\nversion 0.0.1\n", 1);
    assert_eq!(certificate::check(&older, None), Err(Refusal::Version("0.0.1".to_owned())));
}

#[test]
fn what_is_no_certificate_is_refused_with_its_line() {
    let text = small();
    let with = |from: &str, to: &str| {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text, "{from}");
        edited
    };
    for bad in [
        String::new(),
        "countersign certificate 1\n".to_owned(),
        text[..text.find("proved ").expect("a claim")].to_owned(),
        with("proved ", "proved S99 "),
        with("proved ", "proved S20 "),
        with("\nview ", "\nlook "),
        with("\nview ", "\nview 99999999999999999999 "),
        with("\nview ", "\nview -1 "),
        with("\nview ", "\nview 0"),
        with("\nview ", "\nview +"),
        text.clone() + "participant x7",
        // One view more than there may be.
        text.clone() + &(0..=800_000).map(|number| format!("context {number}\n")).collect::<String>(),
        with("\nflow ", "\nflows "),
        with("\nversion ", "\n"),
    ] {
        let refusal = certificate::check(&bad, None).expect_err("no certificate");
        assert!(matches!(refusal, Refusal::Malformed { .. }), "{refusal}");
    }
}

#[test]
fn a_certificate_cut_at_any_place_is_refused() {
    let text = small();
    let step = if slow() { 97 } else { 999 };
    let cuts: Vec<usize> = (0..text.len() - 1).step_by(step).collect();
    cuts.par_iter().for_each(|at| {
        assert!(certificate::check(&text[..*at], None).is_err(), "the first {at} bytes");
    });
}

#[test]
fn a_certificate_that_is_stopped_says_so() {
    let subject = BuiltIn::find("atomic-commit").expect("a built-in flow").subject();
    let proof = prove(&subject.flow, all(), Limits::default(), &mut |_| ControlFlow::Continue(()));
    let written = proof.certificate(&subject.flow, "", &mut |_| ControlFlow::Break(()));
    assert!(written.expect_err("it was stopped").contains("views"));
}
