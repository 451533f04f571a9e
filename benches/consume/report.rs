//! The result: as a table, and as JSON by the schema in `benches/README.md`.

use std::{collections::BTreeMap, fmt};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::{
    commit::Taken,
    contenders::{Entry, Kind},
    facts::{self, cores, rounded},
    scenarios::{Loaded, Pass, Scenario, Sizes, ZIPF_EXPONENT, instant},
};

/// The baseline that is one in every ratio.
const ONE: &str = "frozen-load-cas";
/// The baseline of losers.
const BARE: &str = "bare-cas";

/// The command that reproduces the recorded result.
const COMMAND: &str =
    "scripts/instructions.sh && CONSUME_JSON=benches/results/consume-memory.json cargo bench --bench consume";

/// A contender with all that was measured of it.
pub(crate) struct Compared {
    /// The contender.
    pub(crate) entry: Entry,
    bytes_per_record: f64,
    measured: Vec<(Scenario, Vec<Pass>)>,
    /// Latencies of winners, and of losers.
    latencies: Option<[Histogram<u64>; 2]>,
}

impl Compared {
    /// An empty result with its size.
    pub(crate) fn new(loaded: &Loaded) -> Self {
        let bytes_per_record = loaded.bytes_per_record;
        Self { entry: loaded.entry, bytes_per_record, measured: Vec::new(), latencies: None }
    }

    /// Adds the result of its passes.
    pub(crate) fn add(&mut self, scenario: Scenario, passes: Vec<Pass>) {
        self.measured.push((scenario, passes));
    }

    /// Adds the latency of each try.
    pub(crate) fn add_latencies(&mut self, times: [Vec<u64>; 2]) {
        self.latencies = Some(times.map(|times| {
            let mut histogram = Histogram::new(3).expect("three digits are few enough");
            for time in times {
                histogram.record(time).expect("it grows");
            }
            histogram
        }));
    }

    /// Number of consumes of an already consumed approval.
    pub(crate) fn consumed_again(&self) -> usize {
        self.measured.iter().flat_map(|(_, passes)| passes).map(|pass| pass.consumed_again).sum()
    }

    fn passes(&self, scenario: Scenario) -> &[Pass] {
        self.measured.iter().find(|(other, _)| *other == scenario).map_or(&[], |(_, passes)| passes)
    }

    /// In ascending order: nanoseconds that a try took the core that made it.
    fn ns_per_try(&self, scenario: Scenario) -> Vec<f64> {
        let running = scenario.threads().min(cores()) as f64;
        let of_pass = |pass: &Pass| pass.wall.as_secs_f64() * 1e9 * running / pass.tries as f64;
        let mut times: Vec<f64> = self.passes(scenario).iter().map(of_pass).collect();
        times.sort_by(f64::total_cmp);
        times
    }

    /// The reported figure. Without contention, noise only adds time: the best round. With contention, the best round
    /// is the one with the fewest collisions: the median.
    fn figure(&self, scenario: Scenario) -> f64 {
        let times = self.ns_per_try(scenario);
        let at = if scenario.is_contended() { times.len() / 2 } else { 0 };
        times.get(at).copied().unwrap_or(f64::NAN)
    }
}

/// The whole report.
pub(crate) struct Report {
    sizes: Sizes,
    rounds: usize,
    compared: Vec<Compared>,
    /// The bare consume in the default strategy, and what is built on it.
    commits: [Taken; 3],
    /// Instructions a try, by contender and kind of try.
    instructions: BTreeMap<String, BTreeMap<String, f64>>,
}

impl Report {
    /// Builds the report.
    pub(crate) fn new(sizes: Sizes, rounds: usize, compared: Vec<Compared>, commits: [Taken; 3]) -> Self {
        Self { sizes, rounds, compared, commits, instructions: instructions() }
    }

    fn figure_of(&self, name: &str, scenario: Scenario) -> f64 {
        let found = self.compared.iter().find(|compared| compared.entry.name == name);
        found.map_or(f64::NAN, |compared| compared.figure(scenario))
    }

    fn bytes_of(&self, name: &str) -> f64 {
        let found = self.compared.iter().find(|compared| compared.entry.name == name);
        found.map_or(f64::NAN, |compared| compared.bytes_per_record)
    }

    /// The goals: name, limit, and measured value.
    fn goals(&self) -> Vec<(String, f64, f64)> {
        let uncontended =
            |name| self.figure_of(name, Scenario::Uncontended) / self.figure_of(ONE, Scenario::Uncontended);
        let loser = |name| self.figure_of(name, Scenario::Hot(2)) / self.figure_of(BARE, Scenario::Hot(2));
        let [bare, commit, whole] = &self.commits;
        let of_bare =
            |taken: &Taken| (format!("{} / {}", taken.what, bare.what), taken.median() / bare.median());
        let [commit, whole] = [commit, whole].map(of_bare);
        vec![
            (format!("slot-in-id, uncontended / {ONE}"), 0.7, uncontended("slot-in-id")),
            (format!("packed, uncontended / {ONE}"), 1.1, uncontended("packed")),
            (format!("slot-in-id, hot loser / {BARE}"), 0.2, loser("slot-in-id")),
            (format!("packed, hot loser / {BARE}"), 0.2, loser("packed")),
            ("packed, bytes per record".to_owned(), 136.0, self.bytes_of("packed")),
            (commit.0, 4.0, commit.1),
            (whole.0, 4.0, whole.1),
        ]
    }

    /// The whole, by the schema.
    pub(crate) fn json(&self) -> String {
        let goal = |(name, limit, measured): (String, f64, f64)| json!({"goal": name, "at_most": limit, "measured": rounded(measured), "met": measured <= limit});
        let Sizes { approvals, raced, hot, tries_at_hot, mixed } = self.sizes;
        let report = json!({
            "schema": "countersign/consume-memory/1",
            "command": COMMAND,
            "machine": facts::machine(),
            "versions": facts::versions(&["dashmap", "papaya", "scc", "gungraun"]),
            "settings": {
                "approvals": approvals, "rounds": self.rounds, "raced": raced, "hot": hot,
                "tries_at_each_hot": tries_at_hot, "tries_of_mix": mixed, "zipf_exponent": ZIPF_EXPONENT,
            },
            "clock_ns": rounded(clock_ns()),
            "contenders": self.compared.iter().map(|compared| self.contender(compared)).collect::<Vec<_>>(),
            "goals": self.goals().into_iter().map(goal).collect::<Vec<_>>(),
        });
        let mut text = serde_json::to_string_pretty(&report).expect("every key is a string");
        text.push('\n');
        text
    }

    fn contender(&self, compared: &Compared) -> Value {
        let scenarios: serde_json::Map<String, Value> = compared
            .measured
            .iter()
            .map(|(scenario, passes)| (scenario.name(), self.scenario(compared, *scenario, passes)))
            .collect();
        let latencies = compared
            .latencies
            .as_ref()
            .map(|[winner, loser]| json!({"winner": quantiles(winner), "loser": quantiles(loser)}));
        json!({
            "name": compared.entry.name,
            "kind": match compared.entry.kind {
                Kind::Strategy => "strategy",
                Kind::Baseline => "baseline",
                Kind::Wrong => "wrong",
            },
            "bytes_per_record": rounded(compared.bytes_per_record),
            "instructions_per_try": self.instructions.get(compared.entry.name),
            "race_2_latency_ns": latencies,
            "scenarios": scenarios,
        })
    }

    fn scenario(&self, compared: &Compared, scenario: Scenario, passes: &[Pass]) -> Value {
        let times = compared.ns_per_try(scenario);
        let figure = compared.figure(scenario);
        let wins: usize = passes.iter().flat_map(|pass| &pass.wins).sum();
        let share = |thread: usize| {
            let of_thread: usize = passes.iter().map(|pass| pass.wins[thread]).sum();
            rounded(of_thread as f64 / wins.max(1) as f64)
        };
        let running = scenario.threads().min(cores()) as f64;
        json!({
            "threads": scenario.threads(),
            "figure": if scenario.is_contended() { "median" } else { "best" },
            "ns_per_try": {
                "best": rounded(times[0]),
                "median": rounded(times[times.len() / 2]),
                "worst": rounded(times[times.len() - 1]),
            },
            "tries_per_second": (1e9 / figure * running).round(),
            "ratio": {
                ONE: rounded(figure / self.figure_of(ONE, scenario)),
                BARE: rounded(figure / self.figure_of(BARE, scenario)),
            },
            "win_share": (0..scenario.threads()).map(share).collect::<Vec<_>>(),
            "exactly_one_winner": scenario.is_contended().then(|| passes.iter().all(Pass::is_right)),
            "consumed_again": passes.iter().map(|pass| pass.consumed_again).sum::<usize>(),
        })
    }
}

fn quantiles(histogram: &Histogram<u64>) -> Value {
    json!({
        "tries": histogram.len(),
        "p50": histogram.value_at_quantile(0.5),
        "p99": histogram.value_at_quantile(0.99),
        "p999": histogram.value_at_quantile(0.999),
    })
}

/// The time of two clock reads, which every latency includes.
fn clock_ns() -> f64 {
    const LOOKS: u32 = 100_000;
    let begun = instant();
    for _ in 0..LOOKS {
        std::hint::black_box(instant());
    }
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(LOOKS)
}

/// The counts that `scripts/instructions.sh` has left, if it has: lines of contender, kind of try, instructions a try.
fn instructions() -> BTreeMap<String, BTreeMap<String, f64>> {
    let mut counts: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    let path = std::env::var("CONSUME_INSTRUCTIONS").unwrap_or_else(|_| INSTRUCTIONS.to_owned());
    for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
        if let [name, kind, count] = line.split_whitespace().collect::<Vec<_>>()[..]
            && let Ok(count) = count.parse()
        {
            counts.entry(name.to_owned()).or_default().insert(kind.to_owned(), count);
        }
    }
    counts
}

/// The script's default output.
const INSTRUCTIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/consume-instructions.txt");

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{:<16}{:>8}", "ns a try", "bytes")?;
        for scenario in Scenario::ALL {
            write!(f, "{:>19}", scenario.name())?;
        }
        writeln!(f, "   (× {ONE} | × {BARE} where it is hot)")?;
        for compared in &self.compared {
            write!(f, "{:<16}{:>8.1}", compared.entry.name, compared.bytes_per_record)?;
            for scenario in Scenario::ALL {
                let figure = compared.figure(scenario);
                let base = if matches!(scenario, Scenario::Hot(_)) { BARE } else { ONE };
                write!(f, "{figure:>10.1} ({:>5.2})", figure / self.figure_of(base, scenario))?;
                write!(
                    f,
                    "{}",
                    if compared.passes(scenario).iter().all(Pass::is_right) { " " } else { "!" }
                )?;
            }
            match compared.consumed_again() {
                0 => writeln!(f)?,
                again => writeln!(f, "  WRONG: consumed again {again} times")?,
            }
        }
        writeln!(f)?;
        for (goal, limit, measured) in self.goals() {
            let met = if measured <= limit { "met" } else { "MISSED" };
            writeln!(f, "{goal}: {measured:.3}, goal {limit}: {met}")?;
        }
        writeln!(f)
    }
}
