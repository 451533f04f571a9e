//! Mistakes in the file's own keys and in `[object]`, `[decision]` and `[endpoint]`.

use countersign::flow_file::FlowFile;

use super::{CONSUME, message, read, refused};

#[test]
fn unknown_keys_of_the_file_are_refused_with_the_closest_one() {
    refused(
        &format!("abuot = \"x\"\n{CONSUME}"),
        (1, 1),
        "the unknown key `abuot`",
        "only `about`, `expect_broken`, `expect_broken_in_simulation`, `expect_vacuous`, `object`, `decision`, \
         `endpoint`, `step` in a flow file",
        Some("did you mean `about`?"),
    );
    refused(
        &format!("noun = \"coupon\"\n{CONSUME}"),
        (1, 1),
        "the key `noun`",
        "only `about`, `expect_broken`, `expect_broken_in_simulation`, `expect_vacuous`, `object`, `decision`, \
         `endpoint`, `step` in a flow file",
        None,
    );
}

#[test]
fn expectations_name_known_properties_once() {
    let file = |line: &str| format!("{line}\n{CONSUME}");
    let known = "one of `S1`, `S5`, `L1`";
    refused(&file("expect_broken = [\"S99\"]"), (1, 18), "\"S99\"", known, None);
    refused(&file("expect_vacuous = [\"s1\"]"), (1, 19), "\"s1\"", known, Some("did you mean `S1`?"));
    refused(&file("expect_broken = [\"S1\", 5]"), (1, 24), "an integer", "a string", None);
    refused(&file("expect_broken_in_simulation = \"S1\""), (1, 31), "a string", "an array of strings", None);
    refused(
        &file("expect_broken = [\"S1\", \"S1\"]"),
        (1, 24),
        "the same word twice",
        "each word once",
        None,
    );
}

#[test]
fn types_of_structures_are_reported_by_both_names() {
    refused("about = 3\n", (1, 9), "an integer", "a string", None);
    refused("step = 3\n", (1, 8), "an integer", "`[[step]]`, in double brackets, for each step", None);
    refused("step = [1]\n", (1, 9), "an integer", "a table", None);
    refused(
        "[step]\ndo = \"consume\"\n",
        (1, 1),
        "a table",
        "`[[step]]`, in double brackets, for each step",
        None,
    );
    for table in ["object", "decision", "endpoint"] {
        refused(&format!("{table} = 1\n{CONSUME}"), (1, table.len() + 4), "an integer", "a table", None);
        refused(&format!("[[{table}]]\n{CONSUME}"), (1, 1), "an array", "a table", None);
    }
}

/// One line in a table, and what is wrong with it from which column on.
#[track_caller]
fn in_table(table: &str, line: &str, column: usize, found: &str, expected: &str, help: Option<&str>) {
    refused(&format!("[{table}]\n{line}\n{CONSUME}"), (2, column), found, expected, help);
}

#[test]
fn each_key_of_the_object_has_its_type() {
    in_table("object", "noun = 1", 8, "an integer", "a string", None);
    in_table("object", "noun = \"\"", 8, "an empty text", "at least one character", None);
    for (key, value, found) in [
        ("separate", "\"yes\"", "a string"),
        ("expires", "1", "an integer"),
        ("revocable", "\"true\"", "a string"),
        ("bound", "[]", "an array"),
        ("target_bound", "1.0", "a float"),
        ("owner", "\"session\"", "a string"),
        ("audited", "1979-05-27", "a date"),
    ] {
        in_table("object", &format!("{key} = {value}"), key.len() + 4, found, "true or false", None);
    }
    for (key, range) in [("uses", "1 to 3"), ("approvers", "0 to 3")] {
        let expected = format!("a number from {range}");
        for number in ["4", "-1", "256", "0x10"] {
            in_table("object", &format!("{key} = {number}"), key.len() + 4, number, &expected, None);
        }
        in_table("object", &format!("{key} = \"1\""), key.len() + 4, "a string", "a number", None);
    }
    in_table("object", "uses = 0", 8, "0", "a number from 1 to 3", None);
    // Too large for the TOML reader that the schema's verdict needs.
    let (.., found, expected, _) = message(b"[object]\nuses = 99999999999999999999999999\n");
    assert_eq!((found.as_str(), expected.as_str()), ("99999999999999999999999999", "a number from 1 to 3"));
    in_table("object", "failed_attempt = true", 18, "a boolean", "a string", None);
    in_table(
        "object",
        "failed_attempt = \"burned\"",
        18,
        "\"burned\"",
        "one of `keep`, `burn`",
        Some("did you mean `burn`?"),
    );
}

#[test]
fn unknown_keys_of_a_table_are_refused_with_the_closest_one() {
    let object = "only `noun`, `uses`, `approvers`, `separate`, `expires`, `revocable`, `bound`, `target_bound`, \
                  `owner`, `audited`, `failed_attempt` in `[object]`";
    in_table("object", "use = 1", 1, "the unknown key `use`", object, Some("did you mean `uses`?"));
    in_table("object", "retry = \"key\"", 1, "the key `retry`", object, None);
    in_table(
        "decision",
        "guard = []",
        1,
        "the unknown key `guard`",
        "only `guards`, `method` in `[decision]`",
        Some("did you mean `guards`?"),
    );
    in_table(
        "endpoint",
        "retires = \"key\"",
        1,
        "the unknown key `retires`",
        "only `method`, `retry` in `[endpoint]`",
        Some("did you mean `retry`?"),
    );
}

#[test]
fn each_key_of_decision_and_endpoint_has_its_words() {
    let guards = "one of `status`, `expiry`, `distinct`, `not_requester`";
    in_table("decision", "guards = \"status\"", 10, "a string", "an array of strings", None);
    in_table(
        "decision",
        "guards = [\"distnct\"]",
        11,
        "\"distnct\"",
        guards,
        Some("did you mean `distinct`?"),
    );
    in_table("decision", "guards = [\"digest\"]", 11, "\"digest\"", guards, None);
    let method = "one of `POST`, `GET`";
    for table in ["decision", "endpoint"] {
        in_table(table, "method = 1", 10, "an integer", "a string", None);
        in_table(table, "method = \"get\"", 10, "\"get\"", method, Some("did you mean `GET`?"));
        in_table(table, "method = \"DELETE\"", 10, "\"DELETE\"", method, None);
    }
    in_table("endpoint", "retry = true", 9, "a boolean", "a string", None);
    let retry = "one of `none`, `key`, `keyless`";
    in_table("endpoint", "retry = \"keyles\"", 9, "\"keyles\"", retry, Some("did you mean `keyless`?"));
}

#[test]
fn defaults_may_be_written_out() {
    let written_out = "[object]\nnoun = \"approval\"\nuses = 1\napprovers = 1\nseparate = false\nexpires = true\n\
                       revocable = false\nbound = true\ntarget_bound = false\nowner = true\naudited = true\n\
                       failed_attempt = \"keep\"\n[decision]\nguards = [\"status\", \"expiry\"]\nmethod = \"POST\"\n\
                       [endpoint]\nmethod = \"POST\"\nretry = \"none\"\n";
    let short = read(CONSUME).expect("a flow file");
    assert!(!short.has_object);
    assert_eq!(read(&format!("{written_out}{CONSUME}")), Ok(FlowFile { has_object: true, ..short }));
}
