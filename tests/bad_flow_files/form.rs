//! The form of a file: its length, its encoding, TOML, and the number of its steps.

use countersign::{
    flow_file::{MAX_BYTES, parse, parse_in_full, position},
    protocol::Flow,
};

use super::{CONSUME, PROPERTIES, message, read, refused};

#[test]
fn texts_that_would_act_on_a_terminal_are_refused() {
    refused(
        "about = \"\\u001b[2J\"\n[[step]]\ndo = \"audit\"\n",
        (1, 9),
        "the control character \\u{1b}",
        "text that can be printed",
        None,
    );
    let file = format!("about = \"\"\"two\nlines\tof text\"\"\"\n{CONSUME}");
    assert_eq!(read(&file).expect("a flow").about.as_deref(), Some("two lines of text"));
    let (.., found, _, _) = message(b"[[step]]\ndo = \"\\u001b[2J\"\n");
    assert_eq!(found, "\"\u{fffd}[2J\"", "what was found is printed, too");
}

#[test]
fn a_file_without_steps_is_no_flow() {
    let help = "the smallest flow is one step: `[[step]]`, `do = \"consume\"`, `guards = [\"status\"]`";
    for (file, place) in
        [("", (1, 1)), ("\n\n# nothing\n", (1, 1)), ("about = \"x\"\n", (1, 1)), ("step = []\n", (1, 8))]
    {
        refused(file, place, "a file without steps", "at least one [[step]]", Some(help));
    }
}

#[test]
fn ten_thousand_steps_are_refused_at_the_65th() {
    let step = "[[step]]\ndo = \"no such word\"\n";
    refused(&step.repeat(10_000), (129, 1), "10000 steps", "at most 64 steps", None);
    let longest = format!("{CONSUME}{}", "[[step]]\ndo = \"audit\"\n".repeat(63));
    assert_eq!(read(&longest).expect("64 steps").flow.steps().len(), Flow::MAX_STEPS);
}

#[test]
fn a_group_has_1_to_64_members() {
    let group = |audits| format!("{CONSUME}[[step]]\natomic = [{}]\n", "{ do = \"audit\" },".repeat(audits));
    assert!(read(&group(64)).is_ok());
    refused(&group(65), (5, 1099), "a group of 65 members", "at most 64 members", None);
    refused(&group(0), (5, 10), "a group without members", "at least one member", None);
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
        let (line, column, found, expected, _) = message(&padded(bytes));
        assert_eq!((line, column), (1, 1));
        assert_eq!(
            (found.as_str(), expected.as_str()),
            ("a file of more than 1048576 bytes", "at most 1 MiB")
        );
    }
}

#[test]
fn a_long_list_is_read_in_no_time() {
    let refusals: Vec<String> = (0..80_000).map(|n| format!("\"412 a{n}\"")).collect();
    let file = format!("[[step]]\ndo = \"check\"\nrefusals = [{}]\n", refusals.join(","));
    assert!(parse(file.as_bytes(), PROPERTIES).is_ok());
}

#[test]
fn bytes_that_are_not_utf_8_are_pointed_at() {
    let (line, column, found, expected, _) = message(b"# ok\nabout = \"\xe9t\xe9\"\n");
    assert_eq!((line, column), (2, 10));
    assert_eq!((found.as_str(), expected.as_str()), ("the byte 0xe9, which is not UTF-8", "text in UTF-8"));
}

#[test]
fn invalid_toml_is_pointed_at() {
    for (file, place) in [
        ("[[step]\n", (1, 8)),
        ("[[step]]\ndo = consume\n", (2, 6)),
        ("about = \"a\"\nabout = \"b\"\n", (2, 1)),
        ("[object]\nuses = 01\n", (2, 8)),
    ] {
        let (line, column, found, expected, _) = message(file.as_bytes());
        assert_eq!((line, column), place, "{found}");
        assert!(found.starts_with("invalid TOML: ") && expected == "TOML", "{found}");
        assert!(read(file).is_err());
    }
}

#[test]
fn deep_nesting_neither_hangs_nor_overflows() {
    for opening in ["[", "{a=", "[[", "a."] {
        let file = format!("a = {}", opening.repeat(500_000 / opening.len()));
        assert!(parse(file.as_bytes(), PROPERTIES).is_err());
    }
    assert!(parse("[".repeat(1 << 20).as_bytes(), PROPERTIES).is_err());
    assert!(parse("a.".repeat(1 << 19).as_bytes(), PROPERTIES).is_err());
}

#[test]
fn a_slip_of_toml_gets_a_suggestion() {
    for (file, help) in [
        ("[object]\nowner = flase\n", "did you mean `false`?"),
        ("[object]\nowner = True\n", "did you mean `true`?"),
        ("about = coupons\n", "a text is written in quotes: `\"coupons\"`"),
        (
            "[step]\ndo = \"audit\"\n[step]\ndo = \"audit\"\n",
            "each step begins with `[[step]]`, in double brackets",
        ),
    ] {
        let (_, _, found, expected, said) = message(file.as_bytes());
        assert!(found.starts_with("invalid TOML: "), "{found}");
        assert_eq!((expected.as_str(), said.as_deref()), ("TOML", Some(help)), "{file}");
    }
}

#[test]
fn a_key_that_comes_twice_gets_no_suggestion_for_a_value() {
    let (.., found, _, said) = message(b"about = \"a\"\nabout = \"b\"\n");
    assert_eq!((found.as_str(), said), ("invalid TOML: duplicate key", None));
}

#[test]
fn every_problem_that_does_not_follow_from_another_is_reported() {
    let file = "expect_broken = [\"S99\"]\nabot = \"x\"\n[object]\nuses = 9\n[endpoint]\nretry = \"keys\"\n\
                [[step]]\ndo = \"consune\"\n[[step]]\ndo = \"audit\"\n[[step]]\ndo = \"consume\"\n";
    let problems = parse_in_full(file.as_bytes(), PROPERTIES).expect_err("a bad flow file");
    let mut lines: Vec<usize> =
        problems.iter().map(|problem| position(file.as_bytes(), problem.span.start).0).collect();
    lines.sort_unstable();
    assert_eq!(lines, [1, 2, 4, 6, 8, 12]);
    assert_eq!(parse(file.as_bytes(), PROPERTIES).as_ref(), Err(&problems[0]), "the first one");
}
