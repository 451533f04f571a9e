//! Mistakes in a step or in a member of a group: keys, words, types, and what is required.

use super::{CONSUME, message, refused};

const WORDS: &str =
    "one of `validate`, `check`, `recall`, `lease`, `write`, `consume`, `act`, `audit`, `remember`";
const MEMBERS: &str = "one of `consume`, `act`, `write`, `audit`, `remember`";
const GUARDS: &str = "one of `status`, `expiry`, `digest`, `target`, `lease`";

/// The last line of a step, and what is wrong with it from which column on.
#[track_caller]
fn in_step(step: &str, line: &str, column: usize, found: &str, expected: &str, help: Option<&str>) {
    let place = step.lines().count() + 2;
    refused(&format!("[[step]]\n{step}\n{line}\n"), (place, column), found, expected, help);
}

#[test]
fn unknown_keys_are_refused_with_the_closest_one() {
    in_step(
        "do = \"check\"",
        "refusal = []",
        1,
        "the unknown key `refusal`",
        "only `do`, `name`, `on_error`, `refusals` in a check step",
        Some("did you mean `refusals`?"),
    );
    in_step(
        "atomic = [{ do = \"audit\" }]",
        "do = \"audit\"",
        1,
        "the key `do`",
        "only `name`, `on_error`, `atomic` in a group",
        None,
    );
    in_step(
        "do = \"audit\"",
        "guards = []",
        1,
        "the key `guards`",
        "only `do`, `name`, `on_error` in an audit step",
        None,
    );
    in_step(
        "do = \"lease\"",
        "claim = true",
        1,
        "the key `claim`",
        "only `do`, `name`, `on_error`, `on_held`, `expires`, `renewed`, `reentrant`, `until`, `undo` in a lease step",
        None,
    );
    in_step(
        "do = \"remember\"",
        "expires = true",
        1,
        "the key `expires`",
        "only `do`, `name`, `on_error` in a remember step",
        None,
    );
    refused(
        "[[step]]\nchekcs = []\n",
        (2, 1),
        "the unknown key `chekcs`",
        "only `do`, `atomic`, `checks`, `accept_own`, `refusals`, `guards`, `how`, `on_conflict`, `store`, `undo`, \
         `via`, `unique`, `key`, `what`, `on_held`, `expires`, `renewed`, `reentrant`, `until`, `claim`, \
         `claim_expires`, `name`, `on_error` in a step",
        Some("did you mean `checks`?"),
    );
}

#[test]
fn unknown_words_are_refused_with_the_closest_one() {
    refused("[[step]]\ndo = \"valdiate\"\n", (2, 6), "\"valdiate\"", WORDS, Some("did you mean `validate`?"));
    in_step(
        "do = \"validate\"",
        "checks = [\"stauts\"]",
        11,
        "\"stauts\"",
        "one of `owner`, `status`, `binding`, `expiry`, `digest`, `target`",
        Some("did you mean `status`?"),
    );
    let consume = "do = \"consume\"";
    in_step(
        consume,
        "guards = [\"status\", \"expire\"]",
        21,
        "\"expire\"",
        GUARDS,
        Some("did you mean `expiry`?"),
    );
    in_step(consume, "guards = [\"owner\"]", 11, "\"owner\"", GUARDS, None);
    let unguarded = "do = \"consume\"\nguards = []";
    in_step(unguarded, "how = \"at-once\"", 7, "\"at-once\"", "`read-then-write`", None);
    in_step(unguarded, "store = \"redis\"", 9, "\"redis\"", "`memory`", None);
    let refuse_or_continue = "one of `refuse`, `continue`";
    in_step(
        unguarded,
        "on_conflict = \"contine\"",
        15,
        "\"contine\"",
        refuse_or_continue,
        Some("did you mean `continue`?"),
    );
    in_step(unguarded, "on_conflict = \"retry\"", 15, "\"retry\"", refuse_or_continue, None);
    in_step(
        unguarded,
        "on_error = \"retries\"",
        12,
        "\"retries\"",
        "one of `refuse`, `continue`, `retry`",
        Some("did you mean `retry`?"),
    );
    in_step(
        "do = \"write\"",
        "what = \"Target\"",
        8,
        "\"Target\"",
        "one of `target`, `vault`",
        Some("did you mean `target`?"),
    );
    in_step(
        "do = \"lease\"",
        "on_held = \"waiting\"",
        11,
        "\"waiting\"",
        "one of `wait`, `refuse`",
        Some("did you mean `wait`?"),
    );
    in_step(
        "do = \"act\"",
        "via = \"cal\"",
        7,
        "\"cal\"",
        "one of `memory`, `outbox`, `row`, `call`, `answer`",
        Some("did you mean `call`?"),
    );
}

#[test]
fn words_of_sql_and_of_other_code_are_mapped_to_the_vocabulary() {
    for (word, mean) in [
        ("select", "`validate`"),
        ("VERIFY", "`validate`"),
        ("update", "`consume`"),
        ("delete", "`consume`"),
        ("redeem", "`consume`"),
        ("insert", "`act`"),
        ("email", "`act`"),
        ("notify", "`act`"),
        ("charge", "`act`"),
        ("lock", "`lease`"),
        ("begin", "`atomic = […]`"),
        ("rollback", "`undo = true`"),
    ] {
        for (file, place) in [
            (format!("[[step]]\ndo = \"{word}\"\n"), (2, 6)),
            (format!("[[step]]\natomic = [{{ do = \"{word}\" }}]\n"), (2, 18)),
        ] {
            let (line, column, found, _, help) = message(file.as_bytes());
            assert_eq!(((line, column), found), (place, format!("\"{word}\"")));
            let help = help.unwrap_or_default();
            assert!(help.starts_with(&format!("did you mean {mean}")), "{word}: {help}");
        }
    }
    in_step(
        "do = \"consume\"",
        "guards = [\"locked\"]",
        11,
        "\"locked\"",
        GUARDS,
        Some("did you mean `lease`? its holder still has it"),
    );
    in_step(
        "do = \"act\"",
        "via = \"http\"",
        7,
        "\"http\"",
        "one of `memory`, `outbox`, `row`, `call`, `answer`",
        Some("did you mean `call`? a call of another system"),
    );
}

#[test]
fn words_of_an_earlier_version_are_refused_with_the_new_ones() {
    let earlier = |word: &str| format!("`{word}`, a word of an earlier version");
    for (word, now) in [
        ("launch", "`do = \"act\"` with `via = \"memory\"`"),
        ("enqueue", "`do = \"act\"` with `via = \"outbox\"`"),
    ] {
        refused(&format!("[[step]]\ndo = \"{word}\"\n"), (2, 6), &earlier(word), now, None);
        refused(&format!("[[step]]\natomic = [{{ do = \"{word}\" }}]\n"), (2, 18), &earlier(word), now, None);
    }
    in_step(
        "do = \"write\"\nwhat = \"vault\"",
        "best_effort = true",
        1,
        &earlier("best_effort"),
        "`on_error = \"continue\"`",
        None,
    );
}

#[test]
fn wrong_types_are_reported_by_both_names() {
    refused("[[step]]\ndo = [\"consume\"]\n", (2, 6), "an array", "a string", None);
    let strings = "an array of strings";
    in_step("do = \"validate\"", "checks = \"owner\"", 10, "a string", strings, None);
    in_step("do = \"validate\"", "checks = [1.5]", 11, "a float", "a string", None);
    in_step("do = \"consume\"", "guards = true", 10, "a boolean", strings, None);
    in_step("do = \"check\"", "refusals = { a = 1 }", 12, "a table", strings, None);
    in_step("do = \"audit\"", "name = 1", 8, "an integer", "a string", None);
    in_step("do = \"audit\"", "on_error = false", 12, "a boolean", "a string", None);
    refused("[[step]]\natomic = [true]\n", (2, 11), "a boolean", "a table", None);
    refused("[[step]]\natomic = true\n", (2, 10), "a boolean", "an array of tables", None);
    let flag = "true or false";
    let consume = "do = \"consume\"\nguards = []";
    let cases: &[(&str, &[&str], &str)] = &[
        (consume, &["accept_own", "undo"], flag),
        (consume, &["how", "on_conflict", "store"], "a string"),
        ("do = \"validate\"\nchecks = []", &["accept_own"], flag),
        ("do = \"lease\"", &["expires", "renewed", "reentrant", "undo"], flag),
        ("do = \"lease\"", &["on_held", "until"], "a string"),
        ("do = \"act\"\nvia = \"call\"", &["unique", "key", "undo"], flag),
        ("do = \"act\"", &["via"], "a string"),
        ("do = \"write\"\nwhat = \"target\"", &["undo"], flag),
        ("do = \"write\"\nwhat = \"target\"", &["how"], "a string"),
        ("do = \"write\"", &["what"], "a string"),
        ("do = \"recall\"", &["claim", "claim_expires"], flag),
    ];
    for (step, keys, expected) in cases {
        for key in *keys {
            in_step(step, &format!("{key} = 1979-05-27"), key.len() + 4, "a date", expected, None);
        }
    }
}

#[test]
fn what_is_required_is_asked_for() {
    let words = "`\"validate\"`, `\"check\"`, `\"recall\"`, `\"lease\"`, `\"write\"`, `\"consume\"`, `\"act\"`, \
                 `\"audit\"`, `\"remember\"`";
    let do_is = format!("`do` = {words}");
    refused("[[step]]\nname = \"x\"\n", (1, 1), "a step without `do`", &do_is, None);
    refused(
        "[[step]]\ndo = \"validate\"\n",
        (2, 6),
        "a validate step without `checks`",
        "`checks` = a list of `\"owner\"`, `\"status\"`, `\"binding\"`, `\"expiry\"`, `\"digest\"`, `\"target\"`",
        None,
    );
    let guards = "`guards` = a list of `\"status\"`, `\"expiry\"`, `\"digest\"`, `\"target\"`, `\"lease\"`";
    let unconditional = Some("`guards = []` is an unconditional update");
    refused("[[step]]\ndo = \"consume\"\n", (2, 6), "a consume step without `guards`", guards, unconditional);
    refused(
        "[[step]]\natomic = [{ do = \"consume\" }]\n",
        (2, 18),
        "a consume within a group without `guards`",
        guards,
        unconditional,
    );
    refused(
        "[[step]]\ndo = \"write\"\n",
        (2, 6),
        "a write step without `what`",
        "`what` = `\"target\"`, `\"vault\"`",
        None,
    );
    refused(
        "[[step]]\ndo = \"act\"\n",
        (2, 6),
        "an act step without `via`",
        "`via` = `\"memory\"`, `\"outbox\"`, `\"row\"`, `\"call\"`, `\"answer\"`",
        None,
    );
    refused(
        "[[step]]\natomic = [{ do = \"act\" }]\n",
        (2, 18),
        "an act within a group without `via`",
        "`via` = `\"outbox\"`, `\"row\"`",
        None,
    );
    refused(
        "[[step]]\natomic = [{ what = \"vault\" }]\n",
        (2, 11),
        "a member of a group without `do`",
        &do_is,
        None,
    );
}

#[test]
fn refusals_have_a_status_and_a_code() {
    let case = |refusal: &str, expected: &str| {
        in_step(
            "do = \"check\"",
            &format!("refusals = [\"{refusal}\"]"),
            13,
            &format!("\"{refusal}\""),
            expected,
            None,
        );
    };
    case("no_services", "a status and a code, as in \"412 no_services\"");
    case("399 no_services", "a status from 400 to 599");
    case("600 no_services", "a status from 400 to 599");
    case("412  no_services", "a code of small letters, digits and underscores, as in \"no_services\"");
    case("412 No_Services", "a code of small letters, digits and underscores, as in \"no_services\"");
    let twice = "refusals = [\"412 a\", \"412 a\"]";
    in_step("do = \"check\"", twice, 22, "the same word twice", "each word once", None);
}

#[test]
fn groups_take_single_members_only() {
    let group = |member: &str| format!("[[step]]\natomic = [\n  {member},\n]\n");
    for word in ["validate", "check", "recall", "lease"] {
        let file = group(&format!("{{ do = \"{word}\" }}"));
        refused(&file, (3, 10), &format!("\"{word}\" within a group"), MEMBERS, None);
    }
    refused(&group("{ atomic = [] }"), (3, 14), "a group within a group", "a group of single members", None);
    for via in ["memory", "call", "answer"] {
        let file = group(&format!("{{ do = \"act\", via = \"{via}\" }}"));
        refused(&file, (3, 23), &format!("\"{via}\""), "one of `outbox`, `row`", None);
    }
    let keys = "only `do`, `guards`, `on_conflict`, `store`, `accept_own` in a consume within a group";
    for (key, value) in [("how", "\"read-then-write\""), ("undo", "true"), ("on_error", "\"retry\"")] {
        let file = group(&format!("{{ do = \"consume\", guards = [], {key} = {value} }}"));
        refused(&file, (3, 34), &format!("the key `{key}`"), keys, None);
    }
    let write = "only `do`, `what`, `refusals` in a write within a group";
    refused(
        &group("{ do = \"write\", what = \"vault\", undo = true }"),
        (3, 35),
        "the key `undo`",
        write,
        None,
    );
    refused(
        &group("{ do = \"act\", via = \"row\", undo = true }"),
        (3, 30),
        "the key `undo`",
        "only `do`, `name`, `via`, `unique`, `refusals` in an act within a group",
        None,
    );
    refused(
        &group("{ do = \"audit\", on_error = \"continue\" }"),
        (3, 19),
        "the key `on_error`",
        "only `do` in an audit within a group",
        None,
    );
    let after_consume = format!("{CONSUME}{}", group("{ do = \"remember\", name = \"x\" }"));
    refused(&after_consume, (6, 22), "the key `name`", "only `do` in a remember within a group", None);
}
