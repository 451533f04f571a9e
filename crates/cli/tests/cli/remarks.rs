//! What is said of a flow file besides its verdicts: comparisons of what is not promised, default promises, and fewer callers.

use std::{fs, process::Command};

use super::{COUPON, code, countersign, stderr, stdout};

#[test]
fn a_file_next_to_its_name_is_suggested() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("coupon.toml"), COUPON).expect("a file");
    for (name, expected) in
        [("coupon", "did you mean `./coupon.toml`?"), ("./coupon", "did you mean `./coupon.toml`?")]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["verify", name])
            .current_dir(folder.path())
            .output()
            .expect("the binary was built");
        let said = stderr(&output);
        assert!(code(&output) == 2 && said.contains(expected), "{said}");
    }
}

#[test]
fn what_is_compared_and_not_promised_is_remarked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("coupon.toml");
    let name = path.to_str().expect("text");
    let sound =
        COUPON.replace("guards = []", "guards = [\"status\"]").replace("via = \"row\"", "via = \"outbox\"");
    let compared = sound
        .replace(
            "[[step]]\ndo = \"consume\"",
            "[[step]]\ndo = \"validate\"\nchecks = [\"owner\", \"expiry\"]\n\n[[step]]\ndo = \"consume\"",
        )
        .replace("[\"status\"]", "[\"status\", \"expiry\"]");
    fs::write(&path, format!("{compared}\n[[step]]\ndo = \"audit\"\n")).expect("a file");
    let remarked = countersign(&["verify", name, "--bounded", "--only", "S2"]);
    let said = stderr(&remarked);
    for remark in [
        "warning: coupon: step `validate` checks `owner`, and `[object]` has `owner = false`: S12 is not judged",
        "step `validate` checks `expiry`, and `[object]` has `expires = false`: S5 is not judged",
        "step `consume` compares `expiry`, and `[object]` has `expires = false`: S5 is not judged",
        "step `audit` audits, and `[object]` has `audited = false`: S8 is not judged",
    ] {
        assert!(said.contains(remark), "{remark} in\n{said}");
    }
    assert_eq!((code(&remarked), said.lines().count()), (0, 4), "{said}");
    fs::write(&path, sound).expect("a file");
    let silent = countersign(&["verify", name, "--bounded", "--only", "S2"]);
    assert_eq!((code(&silent), stderr(&silent)), (0, String::new()));
}

#[test]
fn a_file_without_promises_is_told_the_default_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bare.toml");
    let name = path.to_str().expect("text");
    let remark =
        "no `[object]`: promised by default: an approver (S4 S10 S18), an expiry (S5), a bound payload (S6),";
    let step = "[[step]]\ndo = \"consume\"\nguards = [\"status\", \"expiry\", \"digest\"]\n";
    fs::write(&path, step).expect("a file");
    let bare = stdout(&countersign(&["verify", name, "--bounded"]));
    assert!(bare.contains(remark), "{bare}");
    fs::write(&path, format!("[object]\n{step}")).expect("a file");
    let written = stdout(&countersign(&["verify", name, "--bounded"]));
    assert!(
        written.contains("S8 every_use_audited is violated") && !written.contains("no `[object]`"),
        "{written}"
    );
}

/// Two requests for each of three callers, and a lease that may run out at any time.
const LEASED: &str = "\
[object]
approvers = 0
bound = false
owner = false
audited = false

[endpoint]
retry = \"keyless\"

[[step]]
do = \"lease\"

[[step]]
do = \"validate\"
checks = [\"status\", \"expiry\"]

[[step]]
do = \"act\"
name = \"charge\"
via = \"call\"

[[step]]
do = \"consume\"
guards = [\"status\", \"expiry\"]
";

#[test]
fn a_search_with_too_many_states_takes_fewer_callers_unless_they_are_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("leased.toml");
    let name = path.to_str().expect("text");
    fs::write(&path, LEASED).expect("a file");
    let fewer = countersign(&["verify", name, "--bounded", "--only", "S1"]);
    let said = stderr(&fewer);
    let expected = "leased: more than 1,500,000 states with 3 callers: judged with 2 callers (search all of them with \
                    --callers 3)";
    assert!(said.contains(expected), "{said}");
    assert!(stdout(&fewer).contains("Within 2 callers, 1 crash, 1 fault:"), "{}", stdout(&fewer));
    assert_eq!(code(&fewer), 0, "{said}");
    let given =
        countersign(&["verify", name, "--bounded", "--only", "S1", "--callers", "3", "--max-states", "1000"]);
    assert_eq!((code(&given), stderr(&given)), (3, String::new()));
}
