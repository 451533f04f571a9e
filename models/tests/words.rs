//! Each word of the vocabulary decides something: a flow that is violated because of it, and one that holds because of
//! it. The words are those of the schema, so that none is left out.

use std::{collections::BTreeSet, ops::ControlFlow};

use countersign::flow_file::schema;
use countersign_models::{
    explorer::Limits,
    flows::Subject,
    model::{Bounds, Model},
    properties::Property,
    verdict::{Verdict, verify},
};
use serde_json::Value as Json;

/// A word, the property that it decides, and the two flows.
struct Word {
    /// A table's key, with its value if there are several; or a kind of step. Exactly one of the two flows has it.
    name: &'static str,
    decides: Property,
    /// Callers, crashes and faults.
    bounds: [u8; 3],
    /// The common text of both flows: `@` marks the difference.
    flow: &'static str,
    /// With this the property is violated.
    violated: &'static str,
    /// With this it holds, or does not apply.
    holds: &'static str,
}

/// Promises nothing but to be used once.
const BARE: [&str; 5] =
    ["approvers = 0", "expires = false", "bound = false", "owner = false", "audited = false"];

const USE: &str = "[[step]]\ndo = \"consume\"\nguards = [\"status\"]\n";
const VALIDATE: &str = "[[step]]\ndo = \"validate\"\nchecks = [\"status\"]\n";
const CHECK: &str = "[[step]]\ndo = \"check\"\nrefusals = [\"412 not_now\"]\n";

const WORDS: &[Word] = {
    use Property::*;
    macro_rules! words {
        ($($name:literal $decides:ident $bounds:tt $flow:literal: $violated:literal | $holds:literal)+) => {
            &[$(Word {
                name: $name, decides: $decides, bounds: $bounds, flow: $flow, violated: $violated, holds: $holds,
            }),+]
        };
    }
    words! {
        "object.uses" S2 [2, 0, 0]
            "[object]\n@\n[[step]]\ndo = \"consume\"\nguards = []\n":
            "uses = 1"
            | "uses = 2"
        "object.approvers" S18 [1, 0, 0]
            "[object]\n@\n[decision]\nguards = [\"status\"]\n#USE":
            "approvers = 2"
            | "approvers = 1"
        "object.separate=true" S19 [1, 0, 0]
            "[object]\napprovers = 1\n@\n#USE":
            "separate = true"
            | "separate = false"
        "object.expires=false" S5 [1, 0, 0]
            "[object]\n@\n#USE":
            "expires = true"
            | "expires = false"
        "object.revocable=true" S20 [1, 0, 0]
            "[object]\n@\n[[step]]\ndo = \"consume\"\nguards = []\n":
            "revocable = true"
            | "revocable = false"
        "object.bound=false" S6 [2, 0, 0]
            "[object]\n@\n#USE[[step]]\ndo = \"act\"\nvia = \"row\"\n":
            "bound = true"
            | "bound = false"
        "object.target_bound=true" S22 [1, 0, 0]
            "[object]\n@\n#USE":
            "target_bound = true"
            | "target_bound = false"
        "object.owner=false" S12 [1, 0, 0]
            "[object]\n@\n#USE":
            "owner = true"
            | "owner = false"
        "object.audited=false" S8 [1, 0, 0]
            "[object]\n@\n#USE":
            "audited = true"
            | "audited = false"
        "object.failed_attempt=burn" S21 [1, 0, 0]
            "[object]\n@\n#CHECK#USE":
            "failed_attempt = \"burn\""
            | "failed_attempt = \"keep\""
        "decision.guards=status" S9 [1, 0, 0]
            "[object]\napprovers = 1\n[decision]\n@\n#USE":
            "guards = []"
            | "guards = [\"status\"]"
        "decision.guards=distinct" S18 [1, 0, 0]
            "[object]\napprovers = 2\n[decision]\n@\n#USE":
            "guards = [\"status\"]"
            | "guards = [\"status\", \"distinct\"]"
        "decision.guards=not_requester" S19 [1, 0, 0]
            "[object]\napprovers = 1\nseparate = true\n[decision]\n@\n#USE":
            "guards = [\"status\"]"
            | "guards = [\"status\", \"not_requester\"]"
        "decision.method=GET" S15 [1, 0, 0]
            "[object]\napprovers = 1\n[decision]\n@\n#USE":
            "method = \"GET\""
            | "method = \"POST\""
        "endpoint.method=GET" S15 [1, 0, 0]
            "[object]\n[endpoint]\n@\n#USE":
            "method = \"GET\""
            | "method = \"POST\""
        "endpoint.retry=keyless" S13 [1, 0, 0]
            "[object]\n[endpoint]\n@\n#USE":
            "retry = \"keyless\""
            | "retry = \"none\""
        "endpoint.retry=key" S13 [1, 0, 0]
            "[object]\n[endpoint]\n@\n#USE":
            "retry = \"key\""
            | "retry = \"none\""
        "validate.checks=owner" S12 [1, 0, 0]
            "[object]\nowner = true\n[[step]]\ndo = \"validate\"\n@\n#USE":
            "checks = [\"status\"]"
            | "checks = [\"owner\", \"status\"]"
        "validate.accept_own=true" S13 [1, 0, 0]
            "[object]\n[endpoint]\nretry = \"keyless\"\n#VALIDATE@\n[[step]]\ndo = \"consume\"\nguards = [\"status\"]\naccept_own = true\n":
            ""
            | "accept_own = true"
        "check.refusals" S1 [1, 0, 0]
            "[object]\n#USE[[step]]\ndo = \"check\"\n@\n":
            "refusals = [\"412 not_now\"]"
            | ""
        "recall" S13 [1, 0, 1]
            "[object]\n[endpoint]\nretry = \"key\"\n@[[step]]\natomic = [{ do = \"consume\", guards = [\"status\"] }, { do = \"remember\" }]\n":
            ""
            | "[[step]]\ndo = \"recall\"\n"
        "remember" S13 [1, 0, 1]
            "[object]\n[endpoint]\nretry = \"key\"\n[[step]]\ndo = \"recall\"\nclaim = true\n[[step]]\natomic = [{ do = \"consume\", guards = [\"status\"] }@]\n":
            ""
            | ", { do = \"remember\" }"
        "recall.claim=true" S2 [1, 0, 0]
            "[object]\n[endpoint]\nretry = \"key\"\n[[step]]\ndo = \"recall\"\n@\n[[step]]\natomic = [{ do = \"consume\", guards = [] }, { do = \"remember\" }]\n":
            "claim = false"
            | "claim = true\nclaim_expires = false"
        "recall.claim_expires=false" S2 [1, 0, 0]
            "[object]\n[endpoint]\nretry = \"key\"\n[[step]]\ndo = \"recall\"\nclaim = true\n@\n[[step]]\natomic = [{ do = \"consume\", guards = [] }, { do = \"remember\" }]\n":
            "claim_expires = true"
            | "claim_expires = false"
        "lease" S2 [2, 0, 0]
            "[object]\n@#VALIDATE[[step]]\ndo = \"consume\"\nguards = []\n":
            ""
            | "[[step]]\ndo = \"lease\"\nexpires = false\n"
        "lease.expires=false" S2 [2, 0, 0]
            "[object]\n[[step]]\ndo = \"lease\"\n@\n#VALIDATE[[step]]\ndo = \"consume\"\nguards = []\n":
            "expires = true"
            | "expires = false"
        "lease.renewed=true" S2 [2, 1, 0]
            "[object]\n[[step]]\ndo = \"lease\"\n@\n#VALIDATE[[step]]\ndo = \"consume\"\nguards = []\n":
            "renewed = false"
            | "renewed = true"
        "lease.until" S2 [2, 0, 0]
            "[object]\n[[step]]\ndo = \"lease\"\nrenewed = true\n@\n[[step]]\nname = \"look\"\ndo = \"validate\"\nchecks = [\"status\"]\n[[step]]\nname = \"use\"\ndo = \"consume\"\nguards = []\n":
            "until = \"look\""
            | "until = \"use\""
        "lease.on_held=refuse" S3 [2, 0, 0]
            "[object]\nuses = 2\n[[step]]\ndo = \"lease\"\nexpires = false\n@\n#USE":
            "on_held = \"refuse\""
            | "on_held = \"wait\""
        "lease.reentrant=true" S13 [1, 1, 0]
            "[object]\n[endpoint]\nretry = \"keyless\"\n[[step]]\ndo = \"lease\"\nexpires = false\non_held = \"refuse\"\n@\n[[step]]\ndo = \"consume\"\nguards = [\"status\"]\naccept_own = true\n":
            "reentrant = false"
            | "reentrant = true"
        "write.what=target" S11 [2, 0, 0]
            "[object]\n[[step]]\ndo = \"write\"\n@\n#USE":
            "what = \"target\"\nhow = \"read-then-write\""
            | "what = \"vault\""
        "write.how=read-then-write" S11 [2, 0, 0]
            "[object]\n[[step]]\ndo = \"write\"\nwhat = \"target\"\n@\n#USE":
            "how = \"read-then-write\""
            | ""
        "write.undo=true" S7 [1, 0, 0]
            "[object]\n[[step]]\ndo = \"write\"\nwhat = \"vault\"\n@\n#CHECK#USE":
            ""
            | "undo = true"
        "consume" S2 [2, 0, 0]
            "[object]\n@[[step]]\ndo = \"check\"\n":
            ""
            | "#USE"
        "consume.guards=status" S2 [2, 0, 0]
            "[object]\n[[step]]\ndo = \"consume\"\n@\n":
            "guards = []"
            | "guards = [\"status\"]"
        "consume.guards=expiry" S5 [1, 0, 0]
            "[object]\nexpires = true\n[[step]]\ndo = \"consume\"\nguards = [\"status\"@]\n":
            ""
            | ", \"expiry\""
        "consume.guards=digest" S6 [2, 0, 0]
            "[object]\nbound = true\n[[step]]\natomic = [{ do = \"consume\", guards = [\"status\"@] }, { do = \"act\", via = \"row\" }]\n":
            ""
            | ", \"digest\""
        "consume.guards=target" S22 [1, 0, 0]
            "[object]\ntarget_bound = true\n[[step]]\ndo = \"consume\"\nguards = [\"status\"@]\n":
            ""
            | ", \"target\""
        "consume.guards=lease" S2 [2, 0, 0]
            "[object]\n[[step]]\ndo = \"lease\"\n#VALIDATE[[step]]\ndo = \"consume\"\n@\n":
            "guards = []"
            | "guards = [\"lease\"]"
        "consume.how=read-then-write" S2 [2, 0, 0]
            "[object]\n#USE@\n":
            "how = \"read-then-write\""
            | ""
        "consume.on_conflict=continue" S2 [2, 0, 0]
            "[object]\n#USE@\n":
            "on_conflict = \"continue\""
            | "on_conflict = \"refuse\""
        "consume.store=memory" S2 [2, 1, 0]
            "[object]\n#USE@\n":
            "store = \"memory\""
            | ""
        "consume.accept_own=true" S13 [1, 0, 0]
            "[object]\n[endpoint]\nretry = \"keyless\"\n#USE@\n":
            "accept_own = false"
            | "accept_own = true"
        "consume.undo=true" S1 [1, 0, 0]
            "[object]\n#USE@\n#CHECK":
            ""
            | "undo = true"
        "act.via=row" S2 [2, 0, 0]
            "[object]\n[[step]]\ndo = \"act\"\nvia = @\n#USE":
            "\"row\""
            | "\"outbox\""
        "act.via=outbox" S2 [2, 0, 0]
            "[object]\n[[step]]\ndo = \"act\"\nvia = @\n#USE":
            "\"row\""
            | "\"outbox\""
        "act.via=memory" L2 [1, 1, 0]
            "[object]\n[[step]]\ndo = \"write\"\nwhat = \"target\"\n#USE[[step]]\ndo = \"act\"\n@\n":
            "via = \"memory\""
            | "via = \"row\""
        "act.via=call" S2 [1, 0, 1]
            "[object]\n[[step]]\ndo = \"act\"\non_error = \"retry\"\n@\n#USE":
            "via = \"call\""
            | "via = \"outbox\""
        "act.via=answer" L1 [1, 0, 1]
            "[object]\n[endpoint]\nretry = \"keyless\"\n[[step]]\n@\n":
            "atomic = [{ do = \"consume\", guards = [\"status\"] }]\n[[step]]\ndo = \"act\"\nvia = \"answer\""
            | "atomic = [{ do = \"consume\", guards = [\"status\"] }, { do = \"act\", via = \"row\" }]"
        "act.unique=true" S2 [2, 0, 0]
            "[object]\n[[step]]\ndo = \"act\"\nvia = \"row\"\n@\n":
            "unique = false"
            | "unique = true"
        "act.key=true" S2 [1, 0, 1]
            "[object]\n[[step]]\ndo = \"act\"\nvia = \"call\"\non_error = \"retry\"\n@\n#USE":
            "key = false"
            | "key = true"
        "act.undo=true" S7 [1, 0, 0]
            "[object]\n[[step]]\ndo = \"act\"\nvia = \"call\"\n@\n#CHECK#USE":
            ""
            | "undo = true"
        "act.refusals" S1 [1, 0, 0]
            "[object]\n#USE[[step]]\ndo = \"act\"\nvia = \"call\"\n@\n":
            "refusals = [\"412 not_now\"]"
            | ""
        "audit" S8 [1, 0, 0]
            "[object]\naudited = true\n#USE@\n":
            ""
            | "[[step]]\ndo = \"audit\""
        "atomic" S8 [1, 1, 0]
            "[object]\naudited = true\n@\n":
            "[[step]]\ndo = \"consume\"\nguards = [\"status\"]\n[[step]]\ndo = \"audit\""
            | "[[step]]\natomic = [{ do = \"consume\", guards = [\"status\"] }, { do = \"audit\" }]"
        "validate" S2 [2, 0, 0]
            "[object]\n[[step]]\ndo = \"lease\"\nexpires = false\n@[[step]]\ndo = \"consume\"\nguards = []\n":
            ""
            | "#VALIDATE"
        "validate.checks=status" S2 [2, 0, 0]
            "[object]\n[[step]]\ndo = \"lease\"\nexpires = false\n[[step]]\ndo = \"validate\"\nchecks = [\"owner\"@]\n[[step]]\ndo = \"consume\"\nguards = []\n":
            ""
            | ", \"status\""
        "validate.checks=expiry" S1 [1, 0, 0]
            "[object]\nexpires = true\n#USE[[step]]\ndo = \"validate\"\nchecks = [\"owner\"@]\n":
            ", \"expiry\""
            | ""
        "validate.checks=digest" S1 [2, 0, 0]
            "[object]\nbound = true\n#USE[[step]]\ndo = \"validate\"\nchecks = [\"owner\"@]\n":
            ", \"digest\""
            | ""
        "validate.checks=target" S1 [1, 0, 0]
            "[object]\ntarget_bound = true\n#USE[[step]]\ndo = \"validate\"\nchecks = [\"owner\"@]\n":
            ", \"target\""
            | ""
        "check" S1 [1, 0, 0]
            "[object]\n#USE@":
            "#CHECK"
            | ""
        "write" S7 [1, 0, 0]
            "[object]\n@#CHECK#USE":
            "[[step]]\ndo = \"write\"\nwhat = \"vault\"\n"
            | ""
        "write.refusals" S1 [1, 0, 0]
            "[object]\n#USE[[step]]\ndo = \"write\"\nwhat = \"vault\"\n@\n":
            "refusals = [\"412 not_now\"]"
            | ""
        "write.what=vault" S7 [1, 0, 0]
            "[object]\n@#CHECK#USE":
            "[[step]]\ndo = \"write\"\nwhat = \"vault\"\n"
            | ""
        "act" S17 [1, 0, 0]
            "[object]\n@#USE":
            "[[step]]\ndo = \"act\"\nvia = \"row\"\n"
            | ""
        "on_error=continue" S2 [2, 0, 1]
            "[object]\n#USE@\n":
            "on_error = \"continue\""
            | "on_error = \"refuse\""
        "on_error=retry" S2 [1, 0, 1]
            "[object]\n[[step]]\ndo = \"consume\"\nguards = []\n@\n":
            "on_error = \"retry\""
            | "on_error = \"refuse\""
    }
};

fn file(word: &Word, differs: &str) -> String {
    let text = word
        .flow
        .replace('@', differs)
        .replace("#USE", USE)
        .replace("#VALIDATE", VALIDATE)
        .replace("#CHECK", CHECK);
    let object = text.split("[object]\n").nth(1).unwrap_or_default();
    let object: Vec<&str> = object.lines().take_while(|line| !line.starts_with('[')).collect();
    let promises = BARE.iter().filter(|line| {
        let key = line.split(' ').next().unwrap_or_default();
        !object.iter().any(|other| other.starts_with(&format!("{key} =")))
    });
    let promises: Vec<&str> = promises.copied().collect();
    text.replacen("[object]", &format!("[object]\n{}", promises.join("\n")), 1)
}

fn verdict(word: &Word, differs: &str) -> Verdict {
    let file = file(word, differs);
    let subject = Subject::read(file.as_bytes())
        .unwrap_or_else(|problem| panic!("{}: {problem} in\n{file}", word.name));
    let [consumers, crashes, faults] = word.bounds;
    let model = Model::new(subject.flow, Bounds { consumers, crashes, faults });
    let report = verify(&model, &subject.expectations, Limits::default(), &mut |_| ControlFlow::Continue(()));
    report.of(word.decides).verdict.clone()
}

#[test]
fn each_word_decides_a_property_in_both_directions() {
    let wrong: Vec<String> = WORDS
        .iter()
        .flat_map(|word| {
            let violated = matches!(verdict(word, word.violated), Verdict::Violated(_));
            let holds = matches!(verdict(word, word.holds), Verdict::Holds | Verdict::DoesNotApply);
            let say = |is: bool, what: &str| (!is).then(|| format!("{}: {} {what}", word.name, word.decides));
            [say(violated, "is not violated"), say(holds, "does not hold")]
        })
        .flatten()
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Words that decide no verdict, each with the reason.
const UNDECIDED: [(&str, &str); 3] = [
    (
        "decision.guards=expiry",
        "an approval past the deadline could have come before it, and a use past the deadline is the swap's to refuse",
    ),
    ("lease.undo=true", "a lease is released when its attempt ends; this releases it an action earlier"),
    ("validate.checks=binding", "no request asks for another kind, source or target"),
];

/// Keys that only messages use.
const NAMES: [&str; 2] = ["name", "noun"];

/// The words of a key: its values other than the default, where they can be listed, else the key.
fn words_of_key(word: &str, key: &str, declared: &Json) -> Vec<String> {
    let name = if key == "on_error" { key.to_owned() } else { format!("{word}.{key}") };
    let is_default = |value: &Json| Some(value) == declared.get("default");
    let valued = |value: &Json| format!("{name}={}", value.as_str().map_or(value.to_string(), str::to_owned));
    let listed = |values: &Json| values.as_array().expect("a list").iter().map(valued).collect();
    match (declared.get("enum"), declared.get("items"), declared["type"].as_str()) {
        (Some(values), ..) => {
            values.as_array().expect("a list").iter().filter(|value| !is_default(value)).map(valued).collect()
        }
        (None, Some(items), _) if items.get("enum").is_some() => listed(&items["enum"]),
        (.., Some("boolean")) => {
            vec![valued(&Json::Bool(!declared["default"].as_bool().expect("a default")))]
        }
        _ => vec![name],
    }
}

/// Every word that the schema knows. A member of a group has the words of its step.
fn vocabulary() -> BTreeSet<String> {
    let schema = schema(Property::IDS);
    let tables = ["object", "decision", "endpoint"].map(|table| (table, &schema["properties"][table]));
    let steps = schema["definitions"].as_object().expect("definitions");
    let steps = steps.iter().map(|(word, step)| (word.trim_end_matches("_member"), step));
    let mut words: BTreeSet<String> = steps.clone().map(|(word, _)| word.to_owned()).collect();
    for (word, table) in tables.into_iter().chain(steps) {
        let keys = table["properties"].as_object().expect("keys").iter();
        let keys = keys
            .filter(|(key, _)| !["do", "atomic"].contains(&key.as_str()) && !NAMES.contains(&key.as_str()));
        words.extend(keys.flat_map(|(key, declared)| words_of_key(word, key, declared)));
    }
    words
}

/// The words of a table, with a key whose values cannot be listed as the key and its value.
fn words_of_table(word: &str, table: &Json) -> BTreeSet<String> {
    let keys = table.as_object().expect("a table").iter();
    let keys = keys.filter(|(key, _)| !["do", "atomic"].contains(&key.as_str()));
    let words = keys.flat_map(|(key, value)| {
        let name = if key == "on_error" { key.clone() } else { format!("{word}.{key}") };
        let valued =
            |value: &Json| format!("{name}={}", value.as_str().map_or(value.to_string(), str::to_owned));
        value.as_array().map_or(vec![valued(value)], |values| values.iter().map(valued).collect())
    });
    words.chain([word.to_owned()]).collect()
}

fn words_of_file(file: &str) -> BTreeSet<String> {
    let file = serde_json::to_value(file.parse::<toml::Table>().expect("TOML")).expect("JSON");
    let tables = ["object", "decision", "endpoint"].map(|word| (word, file.get(word)));
    let mut words: BTreeSet<String> = tables
        .iter()
        .flat_map(|(word, table)| table.map(|table| words_of_table(word, table)))
        .flatten()
        .collect();
    for step in file["step"].as_array().expect("steps") {
        let members = step.get("atomic").and_then(Json::as_array).into_iter().flatten();
        words.extend(members.chain([step]).flat_map(|table| {
            words_of_table(table.get("do").and_then(Json::as_str).unwrap_or("atomic"), table)
        }));
    }
    words
}

#[test]
fn the_words_are_those_of_the_schema() {
    let mut listed: BTreeSet<String> = WORDS.iter().map(|word| word.name.to_owned()).collect();
    assert_eq!(listed.len(), WORDS.len(), "a word is listed twice");
    for (word, _) in UNDECIDED {
        assert!(listed.insert(word.to_owned()), "{word} decides a verdict");
    }
    assert_eq!(listed, vocabulary());
}

#[test]
fn exactly_one_of_two_flows_has_the_word() {
    for word in WORDS {
        let [violated, holds] =
            [word.violated, word.holds].map(|differs| words_of_file(&file(word, differs)));
        let is_it = |one: &&String| **one == word.name || one.starts_with(&format!("{}=", word.name));
        let differ = violated.symmetric_difference(&holds);
        assert!(differ.clone().any(|one| is_it(&one)), "{}: {:?}", word.name, differ.collect::<Vec<_>>());
    }
}
