//! Advice: what mends the real bugs, and that nothing is offered that violates another promise.

use std::{
    ops::ControlFlow,
    sync::atomic::{AtomicUsize, Ordering},
};

use countersign_models::{
    advice::{Advised, Mended, Search, advise, mend},
    explorer::Limits,
    flows::{CASES, Subject},
    model::{Bounds, Model},
    properties::Property,
    verdict::{Verdict, verify},
};

const SEARCH: Search<'_> = Search {
    bounds: Bounds { consumers: 3, crashes: 1, faults: 1 },
    size: 0,
    states: Search::STATES,
    is_stopped: &|| false,
};

/// The properties that a file violates.
fn violated(file: &str, bounds: Bounds) -> Vec<Property> {
    let subject = Subject::read(file.as_bytes()).unwrap_or_else(|problem| panic!("{problem} in\n{file}"));
    let model = Model::new(subject.flow, bounds);
    let report = verify(&model, &subject.expectations, Limits::default(), &mut |_| ControlFlow::Continue(()));
    let is_violated = |verdict: &Verdict| matches!(verdict, Verdict::Violated(_));
    report.judgements.iter().filter(|one| is_violated(&one.verdict)).map(|one| one.property).collect()
}

/// Holds each advice against a verification of its own.
fn assert_sound(advised: &Advised, before: &[Property], bounds: Bounds) {
    for advice in &advised.advice {
        let after = violated(&advice.file, bounds);
        assert_eq!(after, advice.remains, "{:?}", advice.edits);
        assert!(after.iter().all(|one| before.contains(one)), "{:?} violates {after:?}", advice.edits);
        assert!(advice.mends.iter().all(|one| !after.contains(one)), "{:?} mends {after:?}", advice.edits);
        assert!((1..=2).contains(&advice.edits.len()), "{:?}", advice.edits);
    }
}

const COUPON: &str = r#"# our coupons
about = "our coupons: check, mark as used, pay out"
expect_broken = ["S2", "S3", "S5", "L1"] # as of today

[object]
noun = "coupon"          # the word in messages
approvers = 0
bound = false
audited = false

# the row
[[step]]
do = "validate"          # SELECT
checks = ["owner", "status", "expiry"]

[[step]]
do = "check"
name = "basket"
refusals = ["412 basket_too_small"]

# the swap
[[step]]
do = "consume"           # UPDATE
guards = []              # the conditions in its WHERE

[[step]]
do = "act"
name = "payout"          # INSERT
via = "row"
"#;

#[test]
fn every_real_bug_has_advice_for_each_violated_promise() {
    let mut without = Vec::new();
    let mut whole = 0;
    for case in CASES {
        let bug = case.bug();
        let before = violated(bug.source, SEARCH.bounds);
        let advised = advise(bug.source, &before, &SEARCH);
        assert!(advised.complete, "{}", bug.name);
        assert_sound(&advised, &before, SEARCH.bounds);
        without.extend(advised.without.iter().map(|property| format!("{} {property}", bug.name)));
        let mended = mend(bug.source, &before, &SEARCH);
        assert_eq!(violated(&mended.file, SEARCH.bounds), mended.remains, "{}", bug.name);
        whole += usize::from(mended.remains.is_empty());
    }
    assert!(without.is_empty(), "no advice for {without:?}");
    // In one the provider may refuse the call, and a job could not tell that to the caller.
    assert_eq!(whole, 19, "files that keep every promise after all advice is followed");
}

#[test]
fn the_coupon_is_mended_and_its_comments_are_kept() {
    let before = violated(COUPON, SEARCH.bounds);
    let Mended { edits, file, remains } = mend(COUPON, &before, &SEARCH);
    assert_eq!(
        edits,
        [
            "make `consume` conditional on `status` and `expiry`",
            "put `consume` and `payout` into one transaction"
        ]
    );
    assert_eq!(remains, []);
    assert_eq!(violated(&file, SEARCH.bounds), []);
    for comment in COUPON.split('#').skip(1).filter_map(|text| text.lines().next()) {
        assert!(file.contains(&format!("#{comment}")), "{comment} is lost:\n{file}");
    }
    assert!(file.contains("expect_broken = []"), "{file}");
    let group = "\n[[step]]\nname = \"commit\"\natomic = [\n";
    assert!(file.contains(group), "{file}");
    let order = ["[object]", "do = \"validate\"", "do = \"check\"", "atomic = ["].map(|text| file.find(text));
    assert!(order.is_sorted() && order[0].is_some(), "{file}");
}

#[test]
fn a_move_takes_its_comments_along() {
    let file = "[object]\napprovers = 0\nbound = false\naudited = false\nexpires = false\n\n# swap\n[[step]]\n\
                do = \"consume\" # c\nguards = [\"status\"]\n\n# look\n[[step]]\ndo = \"validate\" # v\n\
                checks = [\"owner\"]\n";
    let before = violated(file, SEARCH.bounds);
    let mended = mend(file, &before, &SEARCH);
    assert_eq!(mended.edits, ["move `validate` before `consume`"]);
    let expected = "[object]\napprovers = 0\nbound = false\naudited = false\nexpires = false\n\n# look\n[[step]]\n\
                    do = \"validate\" # v\nchecks = [\"owner\"]\n\n# swap\n[[step]]\ndo = \"consume\" # c\n\
                    guards = [\"status\"]\n";
    assert_eq!(mended.file, expected);
}

/// The control: paying out first keeps L1, and pays for what is not used.
#[test]
fn an_edit_that_violates_another_promise_is_not_offered() {
    let sound = COUPON.replace("guards = []  ", "guards = [\"status\", \"expiry\"]");
    let before = violated(&sound, SEARCH.bounds);
    assert_eq!(before, [Property::L1]);
    let (head, tail) = sound.split_once("# the swap\n").expect("the swap");
    let (swap, payout) = tail.split_once("\n\n").expect("the payout");
    let tempting = format!("{head}{payout}\n{swap}\n");
    let after = violated(&tempting, SEARCH.bounds);
    assert!(!after.contains(&Property::L1) && after.contains(&Property::S17), "{after:?}");
    let advised = advise(&sound, &before, &SEARCH);
    let offered: Vec<&str> = advised.advice.iter().flat_map(|one| &one.edits).map(String::as_str).collect();
    assert_eq!(offered, ["put `consume` and `payout` into one transaction"]);
}

#[test]
fn a_search_that_was_stopped_says_so() {
    let before = violated(COUPON, SEARCH.bounds);
    let stopped = advise(COUPON, &before, &Search { is_stopped: &|| true, ..SEARCH });
    assert_eq!((stopped.complete, stopped.without), (false, before.clone()));
    let few = advise(COUPON, &before, &Search { states: 1, ..SEARCH });
    assert!(!few.complete);
    assert_sound(&few, &before, SEARCH.bounds);
}

#[test]
fn a_large_flow_takes_no_more_states_than_are_left() {
    let before = violated(COUPON, SEARCH.bounds);
    let looks = AtomicUsize::new(0);
    let is_stopped = || {
        looks.fetch_add(1, Ordering::Relaxed);
        false
    };
    let large = Search { size: 1_000, states: 1_000, is_stopped: &is_stopped, ..SEARCH };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    let alone = pool.install(|| advise(COUPON, &before, &large));
    let few = looks.swap(0, Ordering::Relaxed);
    let together = pool.install(|| advise(COUPON, &before, &Search { size: 0, ..large }));
    assert!(!alone.complete && !together.complete);
    assert!(few < looks.into_inner(), "one candidate at a time ends sooner");
}

#[test]
fn a_key_that_a_crash_wedges_is_mended_without_a_success_that_never_happened() {
    const WEDGED: &str = r#"
[object]
noun = "request"
approvers = 0
expires = false
bound = false
owner = false
audited = false

[endpoint]
retry = "key"

[[step]]
do = "recall"
claim = true
claim_expires = false

[[step]]
name = "handler"
atomic = [
  { do = "consume", guards = ["status"] },
  { do = "act", name = "charge", via = "row" },
]

[[step]]
do = "remember"
"#;
    let before = violated(WEDGED, SEARCH.bounds);
    assert_eq!(before, [Property::S7, Property::S13, Property::L4]);
    let advised = advise(WEDGED, &before, &SEARCH);
    assert_sound(&advised, &before, SEARCH.bounds);
    let words: Vec<&str> = advised.advice.iter().flat_map(|one| &one.edits).map(String::as_str).collect();
    for expected in ["let the marker of `recall` expire", "put `handler` and `remember` into one transaction"]
    {
        assert!(words.contains(&expected), "{words:?}");
    }
}

#[test]
fn an_outcome_is_not_remembered_before_an_act_that_nothing_uses_the_object_for() {
    const UNUSED: &str = r#"
[object]
noun = "request"
approvers = 0
expires = false
bound = false
owner = false
audited = false

[endpoint]
retry = "key"

[[step]]
do = "recall"
claim = true

[[step]]
do = "act"
name = "thread"
via = "row"

[[step]]
do = "remember"
"#;
    let bounds = Bounds { consumers: 1, ..SEARCH.bounds };
    let before = violated(UNUSED, bounds);
    assert!(before.contains(&Property::S13), "{before:?}");
    let advised = advise(UNUSED, &before, &Search { bounds, ..SEARCH });
    assert_sound(&advised, &before, bounds);
    let words: Vec<&str> = advised.advice.iter().flat_map(|one| &one.edits).map(String::as_str).collect();
    assert!(words.iter().all(|one| !one.starts_with("move `remember`")), "{words:?}");
}
