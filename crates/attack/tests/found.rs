//! Attacks every service of `services/`: its bug is found, and nothing is found in the correct services.
//!
//! Needs PostgreSQL, and what `scripts/attack-services.sh` installs. One trial is one campaign, of at most a minute.

mod trials;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use countersign_attack::{
    campaign::{self, Options},
    report::{Report, Verdict},
    safety::Limits,
    target::{self, Target},
    template::Template,
};
use countersign_testkit::{Cluster, Fsync, unused_port};
use libtest_mimic::Trial;

/// A service, and the properties of which at least one is found violated. None: it is correct.
#[derive(Clone, Copy, Debug)]
struct Case {
    service: &'static str,
    bug: &'static [&'static str],
}

const fn case(service: &'static str, bug: &'static [&'static str]) -> Case {
    Case { service, bug }
}

const CASES: &[Case] = &[
    case("read_then_write", &["S2"]),
    case("count_ignored", &["S2"]),
    case("consumed_before_check", &["S1", "L3"]),
    case("consumed_on_get", &["S15"]),
    case("expiry_checked_early", &["S5"]),
    case("todays_payload", &["S6"]),
    case("effect_before_record", &["S2"]),
    case("effect_lost_in_crash", &["L1"]),
    case("lock_without_fence", &["S2"]),
    case("claim_released_after_effect", &["S2"]),
    case("key_wedged_by_crash", &["S13", "L4"]),
    case("loser_gets_500", &["S3"]),
    case("correct_conditional_update", &[]),
    case("correct_for_update", &[]),
    case("correct_serializable", &[]),
    case("correct_unique_row", &[]),
];

/// The roles of the target file that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Roles {
    All,
    WithoutEffects,
    WithoutDatabase,
}

impl Roles {
    fn word(self) -> &'static str {
        match self {
            Self::All => "all_roles",
            Self::WithoutEffects => "without_effects",
            Self::WithoutDatabase => "without_database",
        }
    }
}

const LIMIT: Duration = Duration::from_secs(60);
/// Races of a correct service, with all roles and nothing else.
const RACES: usize = 10_000;

fn main() {
    let mut trials = Vec::new();
    for roles in [Roles::All, Roles::WithoutEffects, Roles::WithoutDatabase] {
        for case in CASES {
            let run = move || {
                attacked(*case, roles);
                Ok(())
            };
            trials.push(Trial::test(format!("{}/{}", roles.word(), case.service), run));
        }
    }
    let bypassing = Trial::test("a_service_that_bypasses_the_proxy_is_not_judged", || {
        a_service_that_bypasses_the_proxy_is_not_judged();
        Ok(())
    });
    trials.push(bypassing);
    for case in CASES.iter().filter(|case| case.bug.is_empty()) {
        let run = move || {
            raced(*case);
            Ok(())
        };
        trials.push(Trial::test(format!("{RACES}_races/{}", case.service), run));
    }
    trials::run(missing(), trials);
}

fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/attack-services")
}

fn missing() -> Option<String> {
    let not_installed = !installed().join("installed").exists();
    let services = not_installed.then(|| "scripts/attack-services.sh has not been run".to_owned());
    trials::without_postgresql().or(services)
}

/// A PostgreSQL that listens on a port of the loopback address.
struct Bench {
    cluster: Cluster,
    port: u16,
}

impl Bench {
    fn start() -> Self {
        let cluster = Cluster::start(Fsync::Off).unwrap();
        let port = unused_port();
        let bench = Self { cluster, port };
        for statement in
            ["alter system set listen_addresses = '127.0.0.1'", &format!("alter system set port = {port}")]
        {
            bench.sql(&bench.cluster.url(), statement);
        }
        bench.cluster.stop().unwrap();
        bench.cluster.start_again().unwrap();
        bench.sql(&bench.url("postgres"), "create database shop");
        bench
    }

    fn sql(&self, url: &str, statement: &str) {
        let psql = self.cluster.program("psql");
        let done = Command::new(psql).args(["-q", url, "-c", statement]).status().unwrap();
        assert!(done.success(), "{statement}");
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://{}@127.0.0.1:{}/{database}", self.cluster.user(), self.port)
    }
}

fn source(case: Case) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services");
    fs::read_to_string(folder.join(case.service).with_extension("toml")).unwrap()
}

/// The target file of a service, for this machine.
fn target(case: Case, bench: &Bench, roles: Roles) -> Target {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services");
    let text = source(case);
    let database = bench.url("shop");
    let examples = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples");
    let mut text = trials::on_unused_port(&text)
        .replace("{env.DATABASE_URL}", &database)
        .replace("{env.ATTACK_EXAMPLES}", examples.to_str().unwrap());
    if roles == Roles::WithoutDatabase {
        text = text.replace("{database_url}", &database);
    }
    let mut target = target::parse(text.as_bytes(), &folder).unwrap_or_else(|problem| panic!("{problem:?}"));
    match roles {
        Roles::All => {}
        Roles::WithoutEffects => (target.effects, target.payload) = (None, None),
        Roles::WithoutDatabase => target.database = None,
    }
    let path = format!("{}:{}", installed().join("bin").display(), std::env::var("PATH").unwrap());
    let service = target.service.as_mut().unwrap();
    let modules = installed().join("node_modules");
    for (name, value) in
        [("PATH", path.as_str()), ("NODE_PATH", modules.to_str().unwrap()), ("PYTHONDONTWRITEBYTECODE", "1")]
    {
        service.env.push((name.to_owned(), Template::literal(value)));
    }
    target
}

fn attack(case: Case, roles: Roles, options: &Options) -> Report {
    let bench = Bench::start();
    campaign::attack(&target(case, &bench, roles), options, &mut |_| {}).unwrap()
}

/// The properties that a report shows violated.
fn violated(report: &Report) -> Vec<&'static str> {
    report.verdicts.iter().filter(|line| line.verdict == Verdict::Violated).map(|line| line.id).collect()
}

/// One campaign, and its line of the table. With all roles the bug has to be found.
fn attacked(case: Case, roles: Roles) {
    if roles == Roles::WithoutEffects && source(case).contains("{sink_url}") {
        println!(
            "| {} | {} | not run | its effect is what arrives at {{sink_url}} | | |",
            roles.word(),
            case.service
        );
        return;
    }
    // There is nothing to find in a correct service: all of its schedules are explored.
    let time = if case.bug.is_empty() { LIMIT * 10 } else { LIMIT };
    let limits = Limits { time, kills: 100, ..Limits::default() };
    let report = attack(case, roles, &Options { limits, ..Options::default() });
    let violated = violated(&report);
    let found = case.bug.iter().any(|id| violated.contains(id));
    let pairs = report.interleaved.iter();
    let schedules: Vec<String> = pairs
        .map(|pair| {
            let rate = pair.explored as f64 * 1_000.0 / pair.milliseconds.max(1) as f64;
            let of = pair.interleavings.as_deref().unwrap_or("?");
            format!("{}: {} of {of}, {rate:.0}/s", pair.pair, pair.explored)
        })
        .collect();
    println!(
        "| {} | {} | {} | {} | {} | {} s |",
        roles.word(),
        case.service,
        if found { "found" } else { "–" },
        violated.join(" "),
        schedules.join("; "),
        report.milliseconds / 1_000
    );
    if case.bug.is_empty() {
        assert!(violated.is_empty(), "{} is correct\n{}", case.service, report.text());
        let (within, all): (Vec<_>, Vec<_>) =
            report.interleaved.iter().partition(|pair| pair.max_preemptions.is_some());
        assert!(all.iter().all(|pair| pair.complete), "{}", report.text());
        // Three uses are interleaved for as long as there is time.
        assert!(within.iter().all(|pair| pair.explored > 0), "{}", report.text());
        assert_eq!(within.len(), usize::from(roles != Roles::WithoutDatabase), "{}", report.text());
    } else if roles == Roles::All {
        assert!(found, "{} is missed\n{}", case.service, report.text());
    }
}

fn a_service_that_bypasses_the_proxy_is_not_judged() {
    let case = CASES.iter().find(|case| case.service == "read_then_write").unwrap();
    let bench = Bench::start();
    let mut target = target(*case, &bench, Roles::WithoutDatabase);
    target.database = self::target(*case, &bench, Roles::All).database;
    let options = Options { races: 1, ..Options::default() };
    let stop = campaign::attack(&target, &options, &mut |_| {}).unwrap_err().to_string();
    assert!(stop.contains("sent no statement through the proxy"), "{stop}");
}

/// Races alone, many of them.
fn raced(case: Case) {
    let time = Duration::from_secs(4 * 3_600);
    let limits = Limits { time, requests: u64::MAX, ..Limits::default() };
    let options =
        Options { limits, races: RACES, callers: 4, schedules: 0, kills: false, ..Options::default() };
    let report = attack(case, Roles::All, &options);
    println!(
        "| {} | {} races | {} objects | {} s |",
        case.service,
        report.races,
        report.objects,
        report.milliseconds / 1_000
    );
    assert_eq!(report.races, RACES, "{:?}", report.notes);
    assert!(violated(&report).is_empty(), "{} is correct\n{}", case.service, report.text());
}
