//! The document that a run of the benchmark is written to: JSON, for `bench report` and for other tools.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use countersign_terminal::{Exit, print_line};

/// The file's schema.
pub(crate) const SCHEMA: &str = "countersign/consume-database/1";

/// The mark of what is not single-use after a crash.
pub(crate) const FORGETS: &str = " †";

/// The stores' default strategy.
pub(crate) const DEFAULT: &str = "conditional_update";

/// One call of `countersign-bench`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    pub(crate) schema: String,
    /// The command that reproduces it.
    pub(crate) command: String,
    /// False when it was stopped before everything was measured.
    pub(crate) complete: bool,
    pub(crate) machine: Machine,
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) settings: Settings,
    pub(crate) runs: Vec<Run>,
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) goals: Vec<Goal>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Machine {
    pub(crate) processor: Option<String>,
    pub(crate) cores: usize,
    pub(crate) memory: Option<String>,
    pub(crate) system: String,
    pub(crate) architecture: String,
    /// Over the last five minutes: the excess over the run's own load belongs to other processes.
    pub(crate) load: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Maximum duration of each measurement.
    pub(crate) seconds: f64,
    pub(crate) clients: Vec<usize>,
    /// Configuration of each store, as the store reports it.
    pub(crate) stores: BTreeMap<String, BTreeMap<String, String>>,
}

/// Kind of a contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// One of the stores' own.
    Strategy,
    /// The usual way without a strategy.
    Baseline,
    /// Broken on purpose, to see that it is noticed.
    Wrong,
}

/// Pattern of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scenario {
    /// Every client has approvals of its own, and asks for the next one as soon as it has its answer.
    Distinct,
    /// All clients ask for one approval at the same time; when all have their answers, for the next one.
    Hot,
    /// Distinct ones, asked for at a fixed rate whether or not earlier answers have come.
    Arrivals,
}

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Distinct => "distinct",
            Self::Hot => "hot",
            Self::Arrivals => "arrivals",
        }
    }
}

/// One contender in one scenario with a number of clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    pub(crate) store: String,
    pub(crate) contender: String,
    pub(crate) kind: Kind,
    /// State of a commit at the time of its answer: on the disk, or not.
    pub(crate) durability: String,
    pub(crate) single_use_after_a_crash: bool,
    pub(crate) scenario: Scenario,
    pub(crate) clients: usize,
    /// Number of approvals requested per second, if that was fixed.
    pub(crate) rate_per_second: Option<f64>,
    pub(crate) seconds: f64,
    pub(crate) wins: u64,
    pub(crate) losses: u64,
    /// Tries that the store had no answer for.
    pub(crate) errors: u64,
    pub(crate) wins_per_second: f64,
    pub(crate) tries_per_second: f64,
    pub(crate) winner: Option<Latency>,
    pub(crate) loser: Option<Latency>,
    /// Share of each client, sorted as the clients are.
    pub(crate) win_share: Vec<f64>,
    /// True if every approval that was tried has exactly one winner, and the store agrees.
    pub(crate) exactly_one_winner: bool,
    /// Approvals that were won more than once.
    pub(crate) won_again: u64,
    /// Approvals that were tried and never won, though no try failed.
    pub(crate) never_won: u64,
    /// Approvals that are executed, as the store says afterwards.
    pub(crate) executed_in_store: u64,
    pub(crate) retries_per_win: Option<f64>,
    pub(crate) round_trips_per_win: Option<f64>,
    pub(crate) wal_bytes_per_win: Option<f64>,
}

/// Latency of tries, in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Latency {
    pub(crate) tries: u64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    /// Percentiles and what was not exceeded at them.
    pub(crate) curve: Vec<(f64, f64)>,
}

/// Ours against something else that does the same, measured alternately in one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Comparison {
    pub(crate) store: String,
    pub(crate) name: String,
    pub(crate) clients: usize,
    pub(crate) unit: String,
    pub(crate) less_is_better: bool,
    pub(crate) ours: f64,
    /// The baseline.
    pub(crate) against: String,
    pub(crate) theirs: f64,
    /// Ours by theirs: the median of the rounds' ratios.
    pub(crate) ratio: f64,
    /// Each round's, in their order.
    pub(crate) ratios: Vec<f64>,
}

/// A goal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Goal {
    pub(crate) goal: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at_most: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at_least: Option<f64>,
    pub(crate) measured: f64,
    pub(crate) met: bool,
}

impl Goal {
    pub(crate) fn at_most(goal: String, limit: f64, measured: f64) -> Self {
        Self {
            goal,
            at_most: Some(limit),
            at_least: None,
            measured: rounded(measured),
            met: measured <= limit,
        }
    }

    pub(crate) fn at_least(goal: String, limit: f64, measured: f64) -> Self {
        Self {
            goal,
            at_most: None,
            at_least: Some(limit),
            measured: rounded(measured),
            met: measured >= limit,
        }
    }

    /// The limit in words.
    pub(crate) fn limit(&self) -> String {
        match (self.at_most, self.at_least) {
            (Some(limit), _) => format!("≤ {limit}"),
            (None, Some(limit)) => format!("≥ {limit}"),
            (None, None) => "no limit".to_owned(),
        }
    }
}

impl Run {
    /// Its name in a table: with a weaker durability it is another contender.
    pub(crate) fn name(&self) -> String {
        let mark = if self.single_use_after_a_crash { "" } else { FORGETS };
        format!("{}{mark}", self.contender)
    }
}

impl Document {
    pub(crate) fn exit(&self) -> Exit {
        match (self.runs.iter().all(|run| run.exactly_one_winner), self.complete) {
            (false, _) => Exit::Unexpected,
            (true, false) => Exit::CutOff,
            (true, true) => Exit::Expected,
        }
    }

    pub(crate) fn json(&self) -> String {
        match serde_json::to_string_pretty(self) {
            Ok(json) => json,
            Err(error) => unreachable!("numbers and texts can always be written: {error}"),
        }
    }

    pub(crate) fn print(&self) {
        print_line!("{}", self.json());
    }
}

/// Three digits after the point: more than a measurement has.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}
