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
    for (file, place) in
        [("[object]\nuses = 01\n", (2, 8)), ("about = \n", (1, 9)), ("[object]\n= 1\n", (2, 1))]
    {
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
fn a_list_without_its_end_is_pointed_at_where_it_begins() {
    let list = "a list without its end";
    for (file, place, expected) in [
        (
            "[[step]]\nguards = [\"status\", \"expiry\"\n[[step]]\ndo = \"audit\"\n",
            (2, 10),
            "`]` before line 3",
        ),
        ("[[step]]\nchecks = [\"status\",\ndo = \"validate\"\n", (2, 10), "`]` before line 3"),
        ("[[step]]\nchecks = [\"status\"\n\n# a comment\n", (2, 10), "`]` at its end"),
        ("[[step]]\nchecks = [\"status\"", (2, 10), "`]` at its end"),
    ] {
        refused(file, place, list, expected, None);
    }
    refused(
        "[[step]]\natomic = [\n  { do = \"audit\" },\n  { do = \"audit\"\n]\n",
        (4, 3),
        "an inline table without its end",
        "`}` before line 5",
        None,
    );
    let (.., found, _, _) =
        message(b"about = \"\xc3\xa9 [ \" # [\n[[step]]\nchecks = [\"a[\", '{'\n[object]\n");
    assert_eq!(found, list, "brackets in texts and comments are none");
}

#[test]
fn a_text_without_one_of_its_quotes_is_pointed_at() {
    for (file, place) in [
        ("about = \"coupons\n[object]\n", (1, 9)),
        ("[[step]]\nchecks = [\"owner, \"status\"]\n", (2, 11)),
        ("[[step]]\ndo = 'consume\"\n", (2, 14)),
        ("about = coupons\"\n", (1, 16)),
    ] {
        refused(file, place, "a text without one of its quotes", "`\"` on both sides of each text", None);
    }
}

#[test]
fn a_key_or_a_table_that_comes_again_names_the_line_of_the_first_one() {
    let step = "each step begins with a `[[step]]` of its own";
    let merge = "put its keys into the first one";
    for (file, place, found, expected, help) in [
        (
            "# x\nabout = \"a\"\nabout = \"b\"\n",
            (3, 1),
            "`about`",
            "it once: the first one is in line 2",
            None,
        ),
        (
            "[[step]]\ndo = \"audit\"\n[[step]]\ndo = \"check\"\ndo = \"audit\"\n",
            (5, 1),
            "`do`",
            "it once: the first one is in line 4",
            Some(step),
        ),
        (
            "[object]\nuses = 1\n[endpoint]\n[object]\n",
            (4, 2),
            "`[object]`",
            "it once: the first one is in line 1",
            Some(merge),
        ),
        ("endpoint = { retry = \"key\", retry = \"none\" }\n", (1, 29), "`retry`", "it once", None),
        (
            "[step]\ndo = \"audit\"\n[step]\ndo = \"audit\"\n",
            (3, 2),
            "`[step]`",
            "`[[step]]`",
            Some("each step begins with `[[step]]`, in double brackets"),
        ),
    ] {
        refused(file, place, &format!("{found} for the second time"), expected, help);
    }
}

#[test]
fn other_slips_of_toml_say_what_is_missing() {
    let quotes = "a text in quotes, `true`, `false` or a number";
    for (file, place, found, expected, help) in [
        (
            "[[step]]\ndo = consume\n",
            (2, 6),
            "`consume` without quotes",
            quotes,
            Some("a text is written in quotes: `\"consume\"`"),
        ),
        (
            "[object]\nowner = flase\n",
            (2, 9),
            "`flase` without quotes",
            quotes,
            Some("did you mean `false`?"),
        ),
        ("[object]\nowner = True\n", (2, 9), "`True` without quotes", quotes, Some("did you mean `true`?")),
        (
            "[[step]]\natomic = [\n  { do = \"audit\" }\n  { do = \"audit\" }\n]\n",
            (4, 3),
            "two values without a comma between them",
            "`,` before this one",
            None,
        ),
        ("[[step]]\ndo: \"audit\"\n", (2, 3), "a colon after a key", "`=` between a key and its value", None),
        (
            "[[step]\ndo = \"audit\"\n",
            (1, 1),
            "a table's header without its end",
            "`[object]`, `[[step]]`: as many closing brackets as opening ones",
            None,
        ),
    ] {
        refused(file, place, found, expected, help);
    }
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
