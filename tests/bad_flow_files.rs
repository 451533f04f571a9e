//! Flow files: what is wrong is told by place, by what was found and by what was expected; nothing makes it panic.

use countersign::{
    flow_file::{FlowFile, MAX_BYTES, Problem, parse, position},
    protocol::{Checks, Do, Flow, Guards, How, Member, Refusal, Step, What},
};

const PROPERTIES: &[&str] = &["S1", "S5", "L1"];

fn read(file: &str) -> Result<FlowFile, Problem> {
    parse(file.as_bytes(), PROPERTIES)
}

/// Line, column, found, expected, help.
fn told(bytes: &[u8]) -> (usize, usize, String, String, Option<String>) {
    let problem = parse(bytes, PROPERTIES).expect_err("a bad flow file");
    let (line, column) = position(bytes, problem.span.start);
    (line, column, problem.found, problem.expected, problem.help)
}

#[track_caller]
fn refused(file: &str, place: (usize, usize), found: &str, expected: &str, help: Option<&str>) {
    let told = told(file.as_bytes());
    let wanted = (place.0, place.1, found.to_owned(), expected.to_owned(), help.map(str::to_owned));
    assert_eq!(told, wanted, "{file}");
}

const CONSUME: &str = "[[step]]\ndo = \"consume\"\nguards = []\n";

#[test]
fn unknown_keys_are_refused_with_the_closest_one() {
    refused(
        "[[step]]\ndo = \"check\"\nrefusal = []\n",
        (3, 1),
        "the unknown key `refusal`",
        "only `do`, `name`, `refusals` in a check step",
        Some("did you mean `refusals`?"),
    );
    refused(
        "abuot = \"x\"\n",
        (1, 1),
        "the unknown key `abuot`",
        "only `about`, `expect_broken`, `expect_broken_in_simulation`, `expect_vacuous`, `step` in a flow file",
        Some("did you mean `about`?"),
    );
    refused(
        "[[step]]\natomic = []\ndo = \"audit\"\n",
        (3, 1),
        "the key `do`",
        "only `name`, `atomic` in a group",
        None,
    );
    refused(
        "[[step]]\ndo = \"audit\"\nguards = []\n",
        (3, 1),
        "the key `guards`",
        "only `do`, `name` in a step that takes no settings",
        None,
    );
}

#[test]
fn unknown_words_are_refused_with_the_closest_one() {
    refused(
        "[[step]]\ndo = \"valdiate\"\n",
        (2, 6),
        "\"valdiate\"",
        "one of `validate`, `check`, `lease`, `write`, `consume`, `audit`, `enqueue`, `launch`",
        Some("did you mean `validate`?"),
    );
    refused(
        "[[step]]\ndo = \"consume\"\nguards = [\"status\", \"expire\"]\n",
        (3, 21),
        "\"expire\"",
        "one of `status`, `expiry`, `digest`, `lease`",
        Some("did you mean `expiry`?"),
    );
    refused(
        "[[step]]\ndo = \"consume\"\nguards = [\"owner\"]\n",
        (3, 11),
        "\"owner\"",
        "one of `status`, `expiry`, `digest`, `lease`",
        None,
    );
    refused(
        "[[step]]\ndo = \"write\"\nwhat = \"Target\"\n",
        (3, 8),
        "\"Target\"",
        "one of `target`, `vault`",
        Some("did you mean `target`?"),
    );
    refused(
        "[[step]]\ndo = \"consume\"\nguards = []\nhow = \"at-once\"\n",
        (4, 7),
        "\"at-once\"",
        "one of `read-then-write`",
        None,
    );
    refused("expect_broken = [\"S99\"]\n", (1, 18), "\"S99\"", "one of `S1`, `S5`, `L1`", None);
    refused(
        "expect_vacuous = [\"s1\"]\n",
        (1, 19),
        "\"s1\"",
        "one of `S1`, `S5`, `L1`",
        Some("did you mean `S1`?"),
    );
}

#[test]
fn wrong_types_are_told_by_both_names() {
    refused("about = 3\n", (1, 9), "an integer", "a string", None);
    refused("step = 3\n", (1, 8), "an integer", "an array of tables", None);
    refused("step = [1]\n", (1, 9), "an integer", "a table", None);
    refused("[step]\ndo = \"consume\"\n", (1, 1), "a table", "an array of tables", None);
    refused("[[step]]\ndo = [\"consume\"]\n", (2, 6), "an array", "a string", None);
    refused(
        "[[step]]\ndo = \"validate\"\nchecks = \"owner\"\n",
        (3, 10),
        "a string",
        "an array of strings",
        None,
    );
    refused("[[step]]\ndo = \"validate\"\nchecks = [1.5]\n", (3, 11), "a float", "a string", None);
    refused(
        "[[step]]\ndo = \"write\"\nwhat = \"vault\"\nbest_effort = 1979-05-27\n",
        (4, 15),
        "a date",
        "true or false",
        None,
    );
    refused("[[step]]\natomic = [true]\n", (2, 11), "a boolean", "a table", None);
}

#[test]
fn what_is_required_is_asked_for() {
    refused(
        "[[step]]\nname = \"x\"\n",
        (1, 1),
        "a step without `do`",
        "`do` = one of `validate`, `check`, `lease`, `write`, `consume`, `audit`, `enqueue`, `launch`",
        None,
    );
    refused(
        "[[step]]\ndo = \"validate\"\n",
        (2, 6),
        "no `checks`",
        "`checks` = any of `owner`, `status`, `binding`, `expiry`, `digest`",
        None,
    );
    refused(
        "[[step]]\ndo = \"consume\"\n",
        (2, 6),
        "no `guards`",
        "`guards` = any of `status`, `expiry`, `digest`, `lease`",
        Some("`guards = []` is an unconditional update"),
    );
    refused("[[step]]\ndo = \"write\"\n", (2, 6), "no `what`", "`what` = \"target\" or \"vault\"", None);
}

#[test]
fn the_guard_of_a_lease_needs_a_lease_before_it() {
    let lease = "[[step]]\ndo = \"lease\"\n";
    let consume = "[[step]]\ndo = \"consume\"\nguards = [\"lease\"]\n";
    let why = ("the guard \"lease\", and no lease before it", "a step that takes the lease first");
    let help = Some("`[[step]]`, `do = \"lease\"`");
    refused(consume, (1, 1), why.0, why.1, help);
    refused(&format!("{consume}{lease}"), (1, 1), why.0, why.1, help);
    let group = "[[step]]\ndo = \"audit\"\n[[step]]\natomic = [{ do = \"consume\", guards = [\"lease\"] }]\n";
    refused(group, (3, 1), why.0, why.1, help);
    let read = parse(format!("{lease}{consume}").as_bytes(), &[]).expect("a flow file");
    assert!(read.flow.takes_lease());
    refused(
        "[[step]]\ndo = \"lease\"\nrefusals = []\n",
        (3, 1),
        "the key `refusals`",
        "only `do`, `name` in a step that takes no settings",
        None,
    );
    refused(
        "[[step]]\natomic = [{ do = \"lease\" }]\n",
        (2, 18),
        "\"lease\" within a group",
        "one of `consume`, `write`, `audit`, `enqueue`",
        None,
    );
}

#[test]
fn refusals_have_a_status_and_a_code() {
    let case = |refusal: &str, expected: &str| {
        let file = format!("[[step]]\ndo = \"check\"\nrefusals = [\"{refusal}\"]\n");
        refused(&file, (3, 13), &format!("\"{refusal}\""), expected, None);
    };
    case("no_services", "a status and a code, as in \"412 no_services\"");
    case("399 no_services", "a status from 400 to 599");
    case("600 no_services", "a status from 400 to 599");
    case("412  no_services", "a code of small letters, digits and underscores, as in \"no_services\"");
    case("412 No_Services", "a code of small letters, digits and underscores, as in \"no_services\"");
    refused(
        "[[step]]\ndo = \"check\"\nrefusals = [\"412 a\", \"412 a\"]\n",
        (3, 22),
        "the same word twice",
        "each word once",
        None,
    );
}

#[test]
fn groups_take_plain_members_only() {
    let group = |member: &str| format!("[[step]]\natomic = [\n  {member},\n]\n");
    let members = "one of `consume`, `write`, `audit`, `enqueue`";
    for word in ["validate", "check", "launch"] {
        let file = group(&format!("{{ do = \"{word}\" }}"));
        refused(&file, (3, 10), &format!("\"{word}\" within a group"), members, None);
    }
    refused(&group("{ atomic = [] }"), (3, 14), "a group within a group", "a group of plain members", None);
    refused(
        &group("{ do = \"consume\", guards = [], how = \"read-then-write\" }"),
        (3, 34),
        "the key `how`",
        "only `do`, `guards` in a consume within a group",
        None,
    );
    refused(
        &group("{ do = \"write\", what = \"vault\", best_effort = true }"),
        (3, 35),
        "the key `best_effort`",
        "only `do`, `what`, `refusals` in a write within a group",
        None,
    );
    refused(
        &group("{ what = \"vault\" }"),
        (3, 3),
        "a member without `do`",
        &format!("`do` = {members}"),
        None,
    );
    refused(
        &format!("{CONSUME}[[step]]\natomic = []\n"),
        (4, 1),
        "a group without members",
        "at least one member",
        None,
    );
}

#[test]
fn texts_that_would_act_on_a_terminal_are_refused() {
    refused(
        "about = \"\\u001b[2J\"\n",
        (1, 9),
        "the control character \\u{1b}",
        "text that can be printed",
        None,
    );
    let file = format!("about = \"\"\"two\nlines\tof text\"\"\"\n{CONSUME}");
    assert_eq!(read(&file).expect("a flow").about.as_deref(), Some("two lines of text"));
}

#[test]
fn how_is_for_consume_and_target_only() {
    refused(
        "[[step]]\ndo = \"write\"\nwhat = \"vault\"\nhow = \"read-then-write\"\n",
        (4, 7),
        "`how` on a write of the vault",
        "it on a consume or on a write of the target only",
        None,
    );
}

#[test]
fn a_flow_consumes_exactly_once() {
    let (line, column, found, expected, help) = told(b"[[step]]\ndo = \"launch\"\n");
    assert_eq!(
        (line, column, found.as_str(), expected.as_str()),
        (1, 1, "no consume in any step", "exactly one")
    );
    assert!(help.is_some());
    refused(&format!("{CONSUME}{CONSUME}"), (4, 1), "a second consume", "exactly one in a flow", None);
}

#[test]
fn a_file_without_steps_is_no_flow() {
    for file in ["", "\n\n# nothing\n", "about = \"x\"\n", "step = []\n"] {
        let (_, _, found, expected, help) = told(file.as_bytes());
        assert!(found == "a file without steps" || found == "no step", "{found}");
        assert_eq!(expected, "at least one [[step]]");
        assert!(help.is_some());
    }
}

#[test]
fn ten_thousand_steps_are_refused_at_the_65th() {
    let step = "[[step]]\ndo = \"no such word\"\n";
    let (line, column, found, expected, _) = told(step.repeat(10_000).as_bytes());
    assert_eq!((line, column), (129, 1));
    assert_eq!((found.as_str(), expected.as_str()), ("10000 steps", "at most 64 steps"));
    let longest = format!("{CONSUME}{}", "[[step]]\ndo = \"audit\"\n".repeat(63));
    assert_eq!(read(&longest).expect("64 steps").flow.steps().len(), Flow::MAX_STEPS);
}

#[test]
fn a_group_has_at_most_64_members() {
    let group = |audits| format!("{CONSUME}[[step]]\natomic = [{}]\n", "{ do = \"audit\" },".repeat(audits));
    assert!(read(&group(64)).is_ok());
    refused(&group(65), (4, 1), "a group of more than 64 members", "at most 64 members", None);
}

#[test]
fn a_file_that_is_too_long_is_not_read() {
    let padded = |bytes: usize| {
        let mut file = CONSUME.as_bytes().to_vec();
        file.resize(bytes, b'\n');
        file
    };
    assert!(parse(&padded(MAX_BYTES), PROPERTIES).is_ok());
    for bytes in [MAX_BYTES + 1, 10 << 20] {
        let (line, column, found, expected, _) = told(&padded(bytes));
        assert_eq!((line, column), (1, 1));
        assert_eq!(
            (found.as_str(), expected.as_str()),
            ("a file of more than 1048576 bytes", "at most 1 MiB")
        );
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_pointed_at() {
    let (line, column, found, expected, _) = told(b"# ok\nabout = \"\xe9t\xe9\"\n");
    assert_eq!((line, column), (2, 10));
    assert_eq!((found.as_str(), expected.as_str()), ("the byte 0xe9, which is not UTF-8", "text in UTF-8"));
}

#[test]
fn toml_that_is_none_is_pointed_at() {
    for (file, place) in [
        ("[[step]\n", (1, 8)),
        ("[[step]]\ndo = consume\n", (2, 6)),
        ("about = \"a\"\nabout = \"b\"\n", (2, 1)),
    ] {
        let (line, column, found, expected, _) = told(file.as_bytes());
        assert_eq!((line, column), place, "{found}");
        assert!(found.starts_with("no TOML: ") && expected == "TOML", "{found}");
    }
}

#[test]
fn deep_nesting_neither_hangs_nor_overflows() {
    for opening in ["[", "{a=", "[[", "a."] {
        let file = format!("a = {}", opening.repeat(500_000 / opening.len()));
        assert!(read(&file).is_err());
    }
    assert!(read(&"[".repeat(1 << 20)).is_err());
    assert!(read(&"a.".repeat(1 << 19)).is_err());
}

/// Every word of the vocabulary.
const EVERYTHING: &str = r#"
about = "é, every word"   # 🎉
expect_broken = ["S5", "L1"]
expect_vacuous = ["S1"]

[[step]]
name = "early"
do = "validate"
checks = ["owner", "status", "binding", "expiry", "digest"]

[[step]]
do = "check"

[[step]]
do = "write"
what = "target"
how = "read-then-write"
refusals = ["503 update_failed", "402 my_own_limit"]

[[step]]
do = "write"
what = "vault"
best_effort = true

[[step]]
do = "enqueue"

[[step]]
atomic = [
    { do = "consume", guards = ["digest", "status"] },
    { do = "write", what = "target", refusals = ["402 my_own_limit"] },
    { do = "audit" },
    { do = "enqueue" },
]

[[step]]
do = "audit"

[[step]]
do = "launch"
"#;

#[test]
fn every_word_is_read_as_what_it_means() {
    let own = || Refusal::parse("402 my_own_limit").expect("a refusal");
    let steps: Vec<Step> = vec![
        Step { name: Some("early".to_owned()), action: Do::Validate { checks: Checks::ALL } },
        Do::Check { refusals: vec![] }.into(),
        Do::Write {
            what: What::Target,
            how: How::ReadThenWrite,
            best_effort: false,
            refusals: vec![Refusal::UPDATE_FAILED, own()],
        }
        .into(),
        Do::Write { what: What::Vault, how: How::AtOnce, best_effort: true, refusals: vec![] }.into(),
        Do::Enqueue.into(),
        Do::Atomic(vec![
            Member::Consume { guards: Guards { status: true, expiry: false, digest: true, lease: false } },
            Member::Write { what: What::Target, refusals: vec![own()] },
            Member::Audit,
            Member::Enqueue,
        ])
        .into(),
        Do::Audit.into(),
        Do::Launch.into(),
    ];
    let expected = FlowFile {
        about: Some("é, every word".to_owned()),
        expect_broken: vec!["S5".to_owned(), "L1".to_owned()],
        expect_broken_in_simulation: Vec::new(),
        expect_vacuous: vec!["S1".to_owned()],
        flow: Flow::new(steps).expect("a flow"),
    };
    assert_eq!(read(EVERYTHING), Ok(expected.clone()));
    assert_eq!(read(&EVERYTHING.replace('\n', "\r\n")), Ok(expected.clone()), "lines that end as on Windows");
    assert_eq!(read(&format!("\u{feff}{EVERYTHING}")), Ok(expected), "a byte order mark");
}

#[test]
fn a_read_then_write_consume_has_its_how() {
    let file = "[[step]]\ndo = \"consume\"\nguards = [\"status\"]\nhow = \"read-then-write\"\n";
    let guards = Guards { status: true, expiry: false, digest: false, lease: false };
    let action = Do::Consume { guards, how: How::ReadThenWrite };
    assert_eq!(read(file).expect("a flow").flow.steps()[0].action, action);
}

#[test]
fn no_damage_to_a_good_file_makes_it_panic() {
    let good = EVERYTHING.as_bytes();
    for end in 0..good.len() {
        let _ = parse(&good[..end], PROPERTIES);
    }
    for place in 0..good.len() {
        for byte in [0, b'"', b'[', b'{', b'\n', 0x80, good[place] ^ 1, good[place] ^ 0x20] {
            let mut damaged = good.to_vec();
            damaged[place] = byte;
            if let Err(problem) = parse(&damaged, PROPERTIES) {
                let (line, column) = position(&damaged, problem.span.start);
                assert!(
                    line >= 1 && column >= 1 && !problem.found.is_empty() && !problem.expected.is_empty()
                );
            }
        }
    }
}
