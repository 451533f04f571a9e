//! The oracle's reading of a flow file: no more than it needs, of files that are known to be good.

/// Conditions of a validate or a consume that can ever matter (owner and binding always pass).
#[derive(Clone, Copy)]
pub(super) struct Conditions {
    pub(super) status: bool,
    pub(super) expiry: bool,
    pub(super) digest: bool,
    /// Of a consume only.
    pub(super) lease: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum What {
    Target,
    Vault,
}

pub(super) enum Step {
    Validate(Conditions),
    Check { refuses: bool },
    Lease,
    Write { what: What, two_actions: bool, refuses: bool, best_effort: bool },
    Consume { guards: Conditions, two_actions: bool },
    Audit,
    Enqueue,
    Launch,
    Atomic(Vec<Step>),
}

pub(super) fn parse(text: &str) -> Vec<Step> {
    let file: toml::Table = text.parse().expect("a flow file is TOML");
    let steps = file["step"].as_array().expect("[[step]]");
    steps.iter().map(|s| parse_step(s.as_table().expect("a step is a table"))).collect()
}

fn parse_step(t: &toml::Table) -> Step {
    let words = |key: &str| -> Vec<&str> {
        let list = t.get(key).map(|v| v.as_array().expect("a list").as_slice()).unwrap_or(&[]);
        list.iter().map(|v| v.as_str().expect("a string")).collect()
    };
    let conditions = |key: &str| {
        let w = words(key);
        Conditions {
            status: w.contains(&"status"),
            expiry: w.contains(&"expiry"),
            digest: w.contains(&"digest"),
            lease: w.contains(&"lease"),
        }
    };
    let is = |key: &str, word: &str| t.get(key).and_then(|v| v.as_str()) == Some(word);
    if let Some(members) = t.get("atomic") {
        let members = members.as_array().expect("a list of members");
        return Step::Atomic(members.iter().map(|m| parse_step(m.as_table().unwrap())).collect());
    }
    let two_actions = is("how", "read-then-write");
    let refuses = !words("refusals").is_empty();
    match t["do"].as_str().expect("do = \"…\"") {
        "validate" => Step::Validate(conditions("checks")),
        "check" => Step::Check { refuses },
        "lease" => Step::Lease,
        "write" => Step::Write {
            what: if is("what", "target") { What::Target } else { What::Vault },
            two_actions,
            refuses,
            best_effort: t.get("best_effort").and_then(|v| v.as_bool()).unwrap_or(false),
        },
        "consume" => Step::Consume { guards: conditions("guards"), two_actions },
        "audit" => Step::Audit,
        "enqueue" => Step::Enqueue,
        "launch" => Step::Launch,
        other => panic!("unknown step {other}"),
    }
}
