//! The benchmark as a user meets it: what is wrong is called wrong, the report is the figures', bad input is explained.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use countersign_testkit::{Installation, may_be_skipped};
use insta::assert_snapshot;
use serde_json::Value;

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign-bench"));
    command.args(args).current_dir(folder).env("NO_COLOR", "1");
    command
}

fn run(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().expect("the binary was built")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded").join(name)
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).expect("it was written")).expect("JSON")
}

#[test]
fn a_recorded_run_gives_this_markdown() {
    let folder = folder();
    let [database, memory, wasted] =
        ["database.json", "memory.json", "wasted.json"].map(|name| recorded(name).display().to_string());
    let output = run(folder.path(), &["report", &database, &memory, &wasted, "--out", "report"]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "report/benchmark.html\nreport/benchmark.md\n");
    let markdown = fs::read_to_string(folder.path().join("report/benchmark.md")).expect("it was written");
    assert_snapshot!(markdown);
}

#[test]
fn the_page_needs_no_network_and_no_script_and_knows_both_themes() {
    let folder = folder();
    let [database, memory, wasted] =
        ["database.json", "memory.json", "wasted.json"].map(|name| recorded(name).display().to_string());
    run(folder.path(), &["report", &database, &memory, &wasted]);
    let page = fs::read_to_string(folder.path().join("benchmark.html")).expect("it was written");
    for foreign in ["http:", "https:", "<script", "src=", "<link", "@import", "url("] {
        assert!(!page.contains(foreign), "the page has {foreign}");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
    // Contention on two stores, latencies, what was measured in memory, and what many at one approval cost each other.
    assert!(page.matches("<svg").count() >= 14, "{} charts", page.matches("<svg").count());
    assert!(!page.contains("NaN") && !page.contains("inf"), "a figure that is none");
    assert!(page.contains("WRONG"), "the run has a strategy that is");
    for axis in ["contenders", "wasted preflights in a race (mean)", "milliseconds until executed (p99)"] {
        assert!(page.contains(&format!(">{axis}</text>")), "no axis says {axis}");
    }
}

#[test]
fn what_is_recorded_can_be_reported_on() {
    let folder = folder();
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/results");
    let [memory, wasted] =
        ["consume-memory.json", "wasted-work.json"].map(|name| results.join(name).display().to_string());
    let output = run(folder.path(), &["report", &memory, &wasted]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let output = run(folder.path(), &["report", &wasted, "--out", "alone"]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let markdown = fs::read_to_string(folder.path().join("alone/benchmark.md")).expect("it was written");
    assert!(markdown.contains("| `optimistic` | 2 |"), "{markdown}");
}

#[test]
fn bad_reports_are_explained() {
    let folder = folder();
    let [good, wasted] =
        ["database.json", "wasted.json"].map(|name| fs::read_to_string(recorded(name)).expect("it is there"));
    let cases = [
        ("empty", String::new(), "empty:1:0: EOF"),
        ("other", "{\"schema\": \"something/1\"}".to_owned(), "found the schema `something/1`, expected"),
        ("none", "{\"runs\": []}".to_owned(), "found no `schema`, expected"),
        ("cut", good[..good.len() / 2].to_owned(), "cut:"),
        ("typed", good.replacen("\"runs\": [", "\"runs\": [7, ", 1), "invalid type: integer `7`"),
        ("unknown", good.replacen("\"runs\":", "\"walks\":", 1), "unknown field `walks`"),
        ("cut_races", wasted[..wasted.len() / 2].to_owned(), "cut_races:"),
        ("typed_races", wasted.replacen("\"races\": [", "\"races\": [7, ", 1), "invalid type: integer `7`"),
        ("no_races", wasted.replacen("\"races\":", "\"walks\":", 1), "missing field `races`"),
        ("other_kind", wasted.replacen("\"strategy\"", "\"hope\"", 1), "unknown variant `hope`"),
        (
            "other_version",
            wasted.replacen("wasted-work/1", "wasted-work/2", 1),
            "or `countersign/wasted-work/1`",
        ),
    ];
    for (name, content, expected) in cases {
        fs::write(folder.path().join(name), content).expect("a file");
        let output = run(folder.path(), &["report", name]);
        let said = text(&output.stderr);
        assert_eq!(code(&output), 2, "{name}: {said}");
        assert!(said.contains(expected), "{name}: {said}");
        assert!(!folder.path().join("benchmark.html").exists(), "{name}: a page was written all the same");
    }
    assert_eq!(code(&run(folder.path(), &["report", "missing.json"])), 2);
}

#[test]
fn bad_usage_is_explained() {
    let folder = folder();
    fs::write(folder.path().join("there.db"), "precious").expect("a file");
    let cases: [(&[&str], &str); 5] = [
        (&["--strategy", "hope"], "unknown strategy `hope`"),
        (&["--store", "mysql"], "expected sqlite"),
        (&["--store", "sqlite:there.db"], "there is such a file already"),
        (&["--clients", "0"], "expected numbers from 1"),
        (&["--rate", "never"], "as in 500/s"),
    ];
    for (args, expected) in cases {
        let output = run(folder.path(), args);
        let said = text(&output.stderr);
        assert_eq!(code(&output), 2, "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("there.db")).expect("it is there"), "precious");
    let unreachable = ["--store", "postgres://nobody@127.0.0.1:1/none", "--time", "50ms"];
    assert_eq!(code(&run(folder.path(), &unreachable)), 2);
}

#[test]
fn a_sound_strategy_has_exactly_one_winner_and_leaves_nothing_behind() {
    let folder = folder();
    let temp = folder.path().join("temp");
    fs::create_dir(&temp).expect("a folder");
    let args = [
        "--store",
        "sqlite",
        "--strategy",
        "version_column",
        "--time",
        "90ms",
        "--clients",
        "4",
        "--out",
        "run.json",
    ];
    let output = command(folder.path(), &args).env("TMPDIR", &temp).output().expect("the binary was built");
    assert_eq!(code(&output), 0, "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(fs::read_dir(&temp).expect("it is there").count(), 0, "temporary files are left");
    let run = json(&folder.path().join("run.json"));
    let runs = run["runs"].as_array().expect("a list");
    assert_eq!(runs.len(), 3, "distinct, hot, at a fixed rate");
    for run in runs {
        assert_eq!(run["exactly_one_winner"], true, "{run}");
        assert!(run["wins"].as_u64() > Some(0), "{run}");
    }
    assert_eq!(code(&self::run(folder.path(), &["report", "run.json"])), 0, "what it writes it can read");
}

#[test]
fn an_unconditional_update_is_reported_as_wrong() {
    let folder = folder();
    let args = [
        "--store",
        "sqlite",
        "--strategy",
        "unconditional",
        "--time",
        "90ms",
        "--clients",
        "4",
        "--out",
        "run.json",
    ];
    let output = run(folder.path(), &args);
    let said = text(&output.stdout);
    assert_eq!(code(&output), 1, "{said}");
    assert!(said.contains("WRONG"), "{said}");
    let run = json(&folder.path().join("run.json"));
    let hot = run["runs"].as_array().expect("a list").iter().find(|run| run["scenario"] == "hot");
    assert!(hot.expect("it was measured")["won_again"].as_u64() > Some(0));
}

#[test]
fn on_postgres_an_unconditional_update_is_wrong_only_where_clients_meet() {
    if let Err(missing) = Installation::find() {
        may_be_skipped(&missing).expect("in CI nothing is left out");
        return;
    }
    let folder = folder();
    let strategies = "unconditional,conditional_update";
    let args = [
        "--store",
        "postgres",
        "--strategy",
        strategies,
        "--time",
        "300ms",
        "--clients",
        "8",
        "--out",
        "run.json",
    ];
    let output = run(folder.path(), &args);
    assert_eq!(code(&output), 1, "{}{}", text(&output.stdout), text(&output.stderr));
    let run = json(&folder.path().join("run.json"));
    let right = |contender: &str, scenario: &str| {
        let runs = run["runs"].as_array().expect("a list");
        let is_it = |run: &&Value| run["contender"] == contender && run["scenario"] == scenario;
        runs.iter().find(is_it).expect("it was measured")["exactly_one_winner"].as_bool()
    };
    assert_eq!(right("unconditional", "hot"), Some(false));
    assert_eq!(right("unconditional", "distinct"), Some(true), "there nobody meets anybody");
    assert_eq!(right("conditional_update", "hot"), Some(true));
}

#[test]
fn an_interrupted_run_removes_its_files_and_says_that_it_is_not_complete() {
    let folder = folder();
    let temp = folder.path().join("temp");
    fs::create_dir(&temp).expect("a folder");
    // There are several passes of this time, and the approvals of each are created before it.
    let args = ["--store", "sqlite", "--time", "20s", "--clients", "2", "--out", "run.json"];
    let mut bench = command(folder.path(), &args)
        .env("TMPDIR", &temp)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary was built");
    // The signal handler is installed before the files are created.
    while fs::read_dir(&temp).expect("it is there").count() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let sent = Command::new("kill").args(["-INT", &bench.id().to_string()]).status().expect("kill is there");
    assert!(sent.success());
    let mut said = String::new();
    bench.stdout.take().expect("piped").read_to_string(&mut said).expect("text");
    assert_eq!(bench.wait().expect("it has ended").code(), Some(3), "{said}");
    assert!(said.contains("Stopped before everything was measured"), "{said}");
    assert_eq!(json(&folder.path().join("run.json"))["complete"], false);
    assert_eq!(fs::read_dir(&temp).expect("it is there").count(), 0, "temporary files are left");
}
