//! Bad target files are refused by line and column, with what was found, what was expected, and what was probably meant.

use std::path::Path;

use countersign::flow_file::position;
use countersign_attack::target;

const GOOD: &str = r#"base_url = "http://127.0.0.1:3000"
[arrange]
request = "POST /cards"
[use]
request = "POST /redeem"
"#;

/// The message for a file, as `line:column found, expected; help`.
fn message(text: &str) -> String {
    match target::parse(text.as_bytes(), Path::new(".")) {
        Ok(_) => "accepted".into(),
        Err(problem) => {
            let (line, column) = position(text.as_bytes(), problem.span.start);
            let help = problem.help.map_or_else(String::new, |help| format!("; {help}"));
            format!("{line}:{column} found {}, expected {}{help}", problem.found, problem.expected)
        }
    }
}

#[test]
fn a_minimal_file_is_accepted() {
    assert_eq!(message(GOOD), "accepted");
}

#[test]
fn what_is_wrong_is_named_where_it_is() {
    let with = |more: &str| format!("{GOOD}{more}");
    let cases = [
        (String::new(), "no table `[use]`"),
        (with("[observ]\n"), "6:2 found the unknown key `observ`"),
        (with("[observ]\n"), "did you mean `observe`?"),
        (with("sucess = [200]\n"), "6:1 found the unknown key `sucess`"),
        (with("sucess = [200]\n"), "did you mean `success`?"),
        (with("success = [20]\n"), "6:12 found 20, expected an integer from 100 to 599"),
        (with("success = 200\n"), "6:11 found an integer, expected an array of integers"),
        (with("json = { code = \"{co de}\" }\n"), "expected a placeholder such as {code}"),
        (with("json = {}\nbody = \"x\"\n"), "7:8 found `json` and `body`, expected one body"),
        (with("capture = { code = \"code\" }\n"), "expected a JSONPath"),
        (with("capture = { code = { regex = \"(\" } }\n"), "6:30 found a bad expression"),
        (with("headers = { \"a b\" = \"x\" }\n"), "6:13 found `a b`, expected the name of a header"),
        (with("headers = { A = \"x\\ny\" }\n"), "found a line end in a header"),
        (with("[observe]\nrequest = \"GET /x\"\n"), "no `used`"),
        (with("[effects]\nrequest = \"GET /x\"\n"), "no `count`"),
        (with("[service]\nstart = []\n"), "7:9 found no command"),
        (with("[service]\nstart = [\"x\"]\nready = \"/healthz\"\n"), "expected \"GET /healthz\""),
        (with("[database]\nupstream = \"mysql://x\"\n"), "expected a URL that begins with `postgres://`"),
        (with("[mend]\nrequest = \"POST /x\"\n"), "no table `[spoil]`"),
        (with("[object]\nuses = 9\n"), "7:8 found 9, expected an integer from 1 to 3"),
        (with("[object]\nfailed_attempt = \"keeps\"\n"), "expected \"keep\" or \"burn\""),
        (GOOD.replace("POST /redeem", "PSOT /redeem"), "5:11 found \"PSOT /redeem\""),
        (GOOD.replace("POST /redeem", "PSOT /redeem"), "did you mean `POST`?"),
        (GOOD.replace("POST /redeem", "POST redeem"), "expected a method and a path"),
        (GOOD.replace("http:", "ftp:"), "1:12 found \"ftp://127.0.0.1:3000\""),
        (format!("ca = \"ca.pem\"\n{GOOD}"), "1:6 found `ca` for a service without encryption"),
        (GOOD.replace("[arrange]\nrequest = \"POST /cards\"\n", ""), "no table `[arrange]`"),
        (GOOD.replace("[use]", "[use"), "expected TOML"),
    ];
    for (text, expected) in cases {
        let found = message(&text);
        assert!(found.contains(expected), "{found}\nexpected: {expected}\n{text}");
    }
}

#[test]
fn bytes_that_are_no_text_and_files_that_are_too_long_are_refused() {
    let folder = Path::new(".");
    assert!(target::parse(b"about = \"\xff\"", folder).unwrap_err().found.contains("UTF-8"));
    assert!(target::parse(&vec![b' '; target::MAX_BYTES + 1], folder).is_err());
}
