//! No input makes the parser panic: damaged files, random bytes, and random TOML from the words of the vocabulary.

use countersign::flow_file::{parse, position};
use proptest::prelude::*;

use super::{PROPERTIES, schema, whole::EVERYTHING};

/// Reads `bytes`, and holds what is said about them to its form, and to the schema.
fn survives(bytes: &[u8]) {
    let read = parse(bytes, PROPERTIES);
    if let Err(problem) = &read {
        let (line, column) = position(bytes, problem.span.start);
        assert!(line >= 1 && column >= 1);
        assert!(problem.span.end <= bytes.len().max(1) && problem.span.start <= problem.span.end);
        assert!(!problem.found().is_empty() && !problem.expected().is_empty());
        let _ = problem.help();
    } else if let Ok(text) = std::str::from_utf8(bytes) {
        schema::check(text, &read);
    }
}

#[test]
fn no_damage_to_a_good_file_makes_it_panic() {
    let good = EVERYTHING.as_bytes();
    for end in 0..good.len() {
        survives(&good[..end]);
    }
    for place in 0..good.len() {
        for byte in [0, b'"', b'[', b'{', b'\n', 0x80, good[place] ^ 1, good[place] ^ 0x20] {
            let mut damaged = good.to_vec();
            damaged[place] = byte;
            survives(&damaged);
        }
    }
}

/// Keys and values of the vocabulary, in any combination.
fn entry() -> impl Strategy<Value = String> {
    let keys = prop::sample::select(vec![
        "do",
        "name",
        "on_error",
        "on_conflict",
        "checks",
        "guards",
        "refusals",
        "via",
        "unique",
        "key",
        "undo",
        "how",
        "what",
        "store",
        "until",
        "expires",
        "renewed",
        "reentrant",
        "on_held",
        "claim",
        "claim_expires",
        "accept_own",
        "atomic",
        "uses",
        "approvers",
        "noun",
        "method",
        "retry",
        "bound",
        "launch",
    ]);
    let values = prop::sample::select(vec![
        "\"consume\"",
        "\"act\"",
        "\"validate\"",
        "\"lease\"",
        "\"recall\"",
        "\"remember\"",
        "\"write\"",
        "\"audit\"",
        "\"check\"",
        "\"launch\"",
        "\"row\"",
        "\"call\"",
        "\"outbox\"",
        "\"memory\"",
        "\"target\"",
        "\"vault\"",
        "\"key\"",
        "\"GET\"",
        "\"read-then-write\"",
        "\"continue\"",
        "\"x\"",
        "true",
        "false",
        "0",
        "1",
        "3",
        "-1",
        "1.5",
        "[]",
        "[\"status\"]",
        "[\"status\", \"expiry\"]",
        "[\"lease\"]",
        "[\"412 a\"]",
        "[{ do = \"audit\" }]",
        "[{ do = \"remember\" }]",
        "[{ do = \"consume\", guards = [] }]",
        "[{ do = \"act\", via = \"row\", unique = true }]",
        "{}",
        "1979-05-27",
        "inf",
    ]);
    (keys, values).prop_map(|(key, value)| format!("{key} = {value}\n"))
}

fn table() -> impl Strategy<Value = String> {
    let headers = prop::sample::select(vec![
        "[[step]]\n",
        "[[step]]\ndo = \"consume\"\nguards = []\n",
        "[[step]]\ndo = \"act\"\nvia = \"row\"\n",
        "[[step]]\ndo = \"lease\"\n",
        "[[step]]\ndo = \"recall\"\n",
        "[[step]]\natomic = [{ do = \"remember\" }]\n",
    ]);
    (headers, prop::collection::vec(entry(), 0..4))
        .prop_map(|(header, entries)| header.to_owned() + &entries.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_do_not_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survives(&bytes);
    }

    #[test]
    fn random_words_do_not_make_it_panic(
        top in prop::sample::select(vec!["", "[object]\n", "[endpoint]\nretry = \"key\"\n", "[object]\napprovers = 0\n"]),
        entries in prop::collection::vec(entry(), 0..2),
        tables in prop::collection::vec(table(), 0..4),
    ) {
        let file = top.to_owned() + &entries.concat() + &tables.concat();
        survives(file.as_bytes());
    }
}
