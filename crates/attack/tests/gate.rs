//! Attacks the project's own gate with each order of its steps: what the model finds is found from outside, too, and the
//! shipped order is not accused.
//!
//! Needs PostgreSQL, and the gate's program: `cargo build -p countersign-gate`, or its path in `COUNTERSIGN_GATE`.

mod trials;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use countersign_attack::{
    campaign::{self, Options},
    report::{Report, Verdict},
    safety::Limits,
    target::{self, Target},
};
use countersign_models::flows::BUILT_IN;
use countersign_testkit::{Cluster, Fsync, unused_port};
use libtest_mimic::Trial;

const FLOWS: [&str; 3] = ["consume-first", "consume-last", "atomic-commit"];
/// Properties that are visible from outside, and judged by the model on some of these flows.
const VISIBLE: [&str; 8] = ["S1", "S5", "S6", "S7", "S8", "S11", "L1", "L2"];
/// Those that need a crash, or an order of statements that races alone rarely meet.
const NEEDS_STATEMENTS: [&str; 5] = ["S5", "S8", "S11", "L1", "L2"];
const SECRET: &str = "a secret for an attack on the gate, long enough";
const TEAM: &str = "6f1f4c1e-6f0e-4f5e-9d7b-1f2a3b4c5d6e";
const CONFIG: &str = r#"
[workers]
poll = "50ms"
lease = "1s"
[deployer]
dry_run = "5ms"
[notifier]
folder = "mail"
[postgres]
# The throwaway server does not sync.
allow_data_loss = true
statement_timeout = "800ms"
[sqlite]
busy_timeout = "800ms"
[http]
request_time = "1s"
key_lease = "1s"
[[tenant]]
team = "6f1f4c1e-6f0e-4f5e-9d7b-1f2a3b4c5d6e"
plan = "enterprise"
deployment_cap = 1000000
"#;

fn main() {
    let mut trials = Vec::new();
    for flow in FLOWS {
        let postgres = Trial::test(format!("postgres/{flow}"), move || {
            postgres(flow);
            Ok(())
        });
        let sqlite = Trial::test(format!("sqlite/{flow}"), move || {
            sqlite(flow);
            Ok(())
        });
        trials.extend([postgres, sqlite]);
    }
    let interleaved = Trial::test("interleavings/atomic-commit", || {
        interleavings("atomic-commit");
        Ok(())
    });
    trials.push(interleaved);
    trials::run(missing(), trials);
}

fn gate() -> PathBuf {
    let built =
        || std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("countersign-gate");
    std::env::var_os("COUNTERSIGN_GATE").map_or_else(built, PathBuf::from)
}

fn missing() -> Option<String> {
    let gate = gate();
    let build = || format!("{} is not there: cargo build -p countersign-gate", gate.display());
    trials::without_postgresql().or_else(|| (!gate.exists()).then(build))
}

/// A folder with the gate's configuration.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("gate.toml"), CONFIG).unwrap();
        Self(home)
    }

    fn token() -> String {
        let arguments =
            ["token", "--secret", SECRET, "--team", TEAM, "--email", "dev@example.com", "--admin"];
        let output = Command::new(gate()).args(arguments).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The target file, for this machine.
    fn target(&self, flow: &str, database: &str, change: impl Fn(&str) -> String) -> Target {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gate/postgres.toml");
        let text = trials::on_unused_port(&fs::read_to_string(file).unwrap());
        let text = [
            ("{env.GATE}", gate().to_str().unwrap()),
            ("{env.GATE_TOKEN}", &Self::token()),
            ("{env.GATE_CONFIG}", "gate.toml"),
            ("{env.GATE_FLOW}", flow),
            ("{env.GATE_SECRET}", SECRET),
            ("{env.DATABASE_URL}", database),
        ]
        .iter()
        .fold(text, |text, (name, value)| text.replace(name, value));
        target::parse(change(&text).as_bytes(), self.0.path()).unwrap_or_else(|problem| panic!("{problem:?}"))
    }
}

/// Approves when the approval's notification is sent: the notifier's statements are then not among those of a promotion,
/// where their place changes from run to run.
fn when_notified(text: &str) -> String {
    let notified = "do $$ begin while exists (select from notices where approval = '{id}' and state <> 'done') \
                    loop perform pg_sleep(0.002); end loop; end $$;";
    let approval = "sql = \"update approvals set status = 'approved'";
    assert!(text.contains(approval), "{text}");
    text.replace(approval, &format!("sql = \"{notified} update approvals set status = 'approved'"))
}

/// Every interleaving of two promotions' statements. The only worker has a deploy that does not end, so that it leases no job:
/// the effect is the job, and launches are left to the crash points.
fn interleavings(flow: &'static str) {
    let cluster = Cluster::start(Fsync::Off).unwrap();
    let home = Home::new();
    let busy =
        CONFIG.replace("dry_run = \"5ms\"", "dry_run = \"1h\"").replace("[workers]", "[workers]\ncount = 1");
    fs::write(home.0.path().join("gate.toml"), busy).unwrap();
    let change = |text: &str| {
        when_notified(text).replace("count(distinct approval) from deploy_logs", "count(*) from jobs")
    };
    let mut target = Target {
        payload: None,
        settled: None,
        drift: None,
        spoil: None,
        mend: None,
        expire: None,
        ..home.target(flow, &cluster.url(), change)
    };
    // A promotion reads the whole vault, which only a preflight that is to be spoilt needs.
    target
        .arrange
        .retain(|step| !step.path.source().contains("vault") && !step.path.source().contains("/env"));
    let limits = Limits { time: Duration::from_secs(1_800), requests: u64::MAX, ..Limits::default() };
    let log = home.0.path().join("log");
    let options = Options {
        limits,
        races: 20,
        callers: 8,
        schedules: u64::MAX,
        preemptions: None,
        kills: false,
        log,
        ..Options::default()
    };
    let report = campaign::attack(&target, &options, &mut |_| {}).unwrap_or_else(|stop| panic!("{stop}"));
    let [pair] = report.interleaved.as_slice() else { panic!("{}", report.text()) };
    println!("{pair:#?}");
    judge("interleavings", flow, &report, &VISIBLE);
    let at_most_once = report.verdicts.iter().find(|line| line.id == "S2").unwrap();
    assert_eq!(at_most_once.verdict, Verdict::NotViolated, "{}", report.text());
    assert!(pair.complete, "{}", report.text());
}

/// Every crash point of a promotion, and a promotion that is held before each of its statements.
fn postgres(flow: &'static str) {
    let cluster = Cluster::start(Fsync::Off).unwrap();
    let home = Home::new();
    let target = home.target(flow, &cluster.url(), when_notified);
    let limits = Limits { time: Duration::from_secs(1_800), kills: 500, ..Limits::default() };
    let log = home.0.path().join("log");
    let options = Options {
        limits,
        races: 20,
        callers: 8,
        // Every crash point is wanted here, and the interleavings have a trial of their own.
        schedules: 50,
        preemptions: None,
        log: log.clone(),
        ..Options::default()
    };
    let report = campaign::attack(&target, &options, &mut |_| {});
    let report =
        report.unwrap_or_else(|stop| panic!("{stop}\n{}", fs::read_to_string(log).unwrap_or_default()));
    assert!(report.notes.iter().any(|note| note.ends_with("at every one")), "{}", report.text());
    judge("postgres", flow, &report, &[]);
}

/// Races.
fn sqlite(flow: &'static str) {
    let home = Home::new();
    let (front, gate) = start_with_sqlite(&home, flow);
    let target = home.target(flow, "postgres://nothing@127.0.0.1/", |text| for_sqlite(text, front));
    let limits = Limits { time: Duration::from_secs(60), ..Limits::default() };
    let report = campaign::attack(&target, &Options { limits, ..Options::default() }, &mut |_| {}).unwrap();
    drop(gate);
    judge("sqlite", flow, &report, &NEEDS_STATEMENTS);
}

/// Holds a report against the model's expectations. `optional`: what may be missed.
fn judge(store: &str, flow: &str, report: &Report, optional: &[&str]) {
    let lines = report.verdicts.iter().filter(|line| line.verdict == Verdict::Violated);
    let violated: Vec<&str> = lines.map(|line| line.id).collect();
    println!("{store} {flow}: {} violated: {violated:?}", violated.len());
    println!("{}", report.text().split("the shortest history").next().unwrap_or_default());
    let built_in = BUILT_IN.iter().find(|built_in| built_in.name == flow).unwrap();
    let broken: Vec<&str> =
        built_in.subject().expectations.broken.iter().map(|property| property.id()).collect();
    let missed: Vec<&&str> = VISIBLE
        .iter()
        .filter(|id| broken.contains(id) && !violated.contains(id) && !optional.contains(id))
        .collect();
    assert!(missed.is_empty(), "missed: {missed:?}\n{}", report.text());
    if broken.is_empty() {
        assert!(violated.is_empty(), "{flow} breaks nothing\n{}", report.text());
    }
}

/// The target file without the roles that need PostgreSQL; its SQL goes to the front.
fn for_sqlite(text: &str, front: SocketAddr) -> String {
    let by_front = |line: &str| {
        let Some(sql) = line.strip_prefix("sql = ") else { return line.to_owned() };
        let sql = sql
            .replace("id = '{id}'", "id = unhex(replace('{id}', '-', ''))")
            .replace("approval = '{id}'", "approval = unhex(replace('{id}', '-', ''))")
            .replace("root = '{root}'", "root = unhex(replace('{root}', '-', ''))")
            .replace("countersign_now()", "created_at + 1");
        let count = if sql.starts_with("\"select") { "\ncount = \"$.value\"" } else { "" };
        format!("request = \"POST /sqlite\"\nbody = {sql}{count}")
    };
    let (roles, _) = text.split_once("[service]").unwrap();
    let mut lines: Vec<String> = roles.lines().map(by_front).collect();
    // The effects are counted by the front; what they were made with cannot be read by the same request.
    let effects = lines.iter().position(|line| line.starts_with("[effects]")).unwrap();
    let payload = lines.iter().position(|line| line.starts_with("payload")).unwrap();
    lines.drain(payload - 1..=payload);
    assert!(lines[effects + 1].starts_with("request"));
    let base = lines.iter_mut().find(|line| line.starts_with("base_url")).unwrap();
    *base = format!("base_url = \"http://{front}\"");
    lines.join("\n")
}

struct Gate(Child);

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Starts the gate, and a front before it that runs statements on its database and passes on everything else.
fn start_with_sqlite(home: &Home, flow: &str) -> (SocketAddr, Gate) {
    let folder = home.0.path();
    let log = fs::File::create(folder.join("log")).unwrap();
    let behind = SocketAddr::from(([127, 0, 0, 1], unused_port()));
    let listen = behind.to_string();
    let arguments = ["serve", "--listen", &listen, "--config", "gate.toml", "--store", "sqlite:gate.db"];
    let mut command = Command::new(gate());
    command.args(arguments).args(["--flow", flow, "--allow-unsafe-flow"]).current_dir(folder);
    let child = command.env("COUNTERSIGN_SECRET", SECRET).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let gate = Gate(child);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = listener.local_addr().unwrap();
    let database = folder.join("gate.db");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, database) = (stream.unwrap(), database.clone());
            std::thread::spawn(move || pass(stream, behind, &database).ok());
        }
    });
    // It listens once its database is up.
    while TcpStream::connect(behind).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    (front, gate)
}

fn pass(stream: TcpStream, behind: SocketAddr, database: &Path) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if line.starts_with("POST /sqlite ") {
        return run(stream, reader, database);
    }
    let upstream = TcpStream::connect(behind)?;
    upstream.set_nodelay(true)?;
    let (mut to, mut from) = (upstream.try_clone()?, upstream);
    to.write_all(line.as_bytes())?;
    let answers = stream.try_clone()?;
    std::thread::spawn(move || -> std::io::Result<()> {
        std::io::copy(&mut from, &mut &answers)?;
        answers.shutdown(Shutdown::Both)
    });
    // A client may also end by a reset.
    std::io::copy(&mut reader, &mut to).ok();
    // Otherwise the gate keeps the connection until it is idle for too long, and an address has a limited number.
    to.shutdown(Shutdown::Write)
}

/// Runs the statement in the body, and answers the first value of its first row.
fn run(mut stream: TcpStream, mut reader: BufReader<TcpStream>, database: &Path) -> std::io::Result<()> {
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut sql = String::new();
    reader.take(length).read_to_string(&mut sql)?;
    let connection = rusqlite::Connection::open(database).map_err(std::io::Error::other)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(std::io::Error::other)?;
    let value = if sql.starts_with("select") {
        connection.query_row(&sql, (), |row| row.get::<_, i64>(0))
    } else {
        connection.execute(&sql, ()).map(|rows| i64::try_from(rows).unwrap_or(0))
    };
    let (status, body) = match value {
        Ok(value) => ("200 OK", format!("{{\"value\":{value}}}")),
        Err(error) => ("500 Failed", error.to_string()),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}
