//! The result file of the benchmark in memory (`cargo bench --bench consume`), as far as the report uses it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::document::{Goal, Kind};

/// The file's schema.
pub(crate) const SCHEMA: &str = "countersign/consume-memory/1";

/// One run of it. What is not named here is not looked at.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Document {
    pub(crate) command: String,
    pub(crate) machine: Machine,
    pub(crate) versions: BTreeMap<String, Option<String>>,
    pub(crate) contenders: Vec<Contender>,
    pub(crate) goals: Vec<Goal>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: Option<String>,
    pub(crate) cores: usize,
    pub(crate) memory: Option<String>,
    pub(crate) system: String,
    pub(crate) architecture: String,
    pub(crate) load: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) bytes_per_record: Option<f64>,
    /// By kind of try.
    pub(crate) instructions_per_try: Option<BTreeMap<String, f64>>,
    /// Latency of two threads that race for the same list.
    pub(crate) race_2_latency_ns: Option<Latencies>,
    pub(crate) scenarios: BTreeMap<String, Scenario>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Latencies {
    pub(crate) winner: Quantiles,
    pub(crate) loser: Quantiles,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Scenario {
    pub(crate) ns_per_try: Spread,
    /// Which of the rounds counts: `best` or `median`. The best where clients do not contend.
    pub(crate) figure: Option<String>,
    pub(crate) ratio: BTreeMap<String, Option<f64>>,
    pub(crate) win_share: Vec<f64>,
    /// `None` without contention.
    pub(crate) exactly_one_winner: Option<bool>,
    pub(crate) consumed_again: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Spread {
    pub(crate) best: Option<f64>,
    pub(crate) median: Option<f64>,
}

impl Contender {
    /// Nanoseconds of a try in this scenario, in the round that counts.
    pub(crate) fn ns(&self, scenario: &str) -> Option<f64> {
        let scenario = self.scenarios.get(scenario)?;
        match scenario.figure.as_deref() {
            Some("median") => scenario.ns_per_try.median,
            _ => scenario.ns_per_try.best,
        }
    }

    /// The ratio of that to this baseline.
    pub(crate) fn ratio(&self, scenario: &str, to: &str) -> Option<f64> {
        self.scenarios.get(scenario)?.ratio.get(to).copied().flatten()
    }

    /// Number of consumes of an already consumed approval.
    pub(crate) fn consumed_again(&self) -> u64 {
        self.scenarios.values().map(|scenario| scenario.consumed_again).sum()
    }

    pub(crate) fn is_right(&self) -> bool {
        let each = |scenario: &Scenario| scenario.exactly_one_winner.unwrap_or(true);
        self.consumed_again() == 0 && self.scenarios.values().all(each)
    }
}
