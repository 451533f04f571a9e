//! The result: as tables, and as JSON by the schema in `benches/README.md`.

use std::fmt;

use countersign::store::APPROVAL_LEASE_MS;
use serde_json::{Value, json};

use crate::{
    CONTENDERS, FAILING_PERCENT,
    contention::Contention,
    facts::{self, rounded},
    race::{ARRIVALS_MS, Finish, PREFLIGHT_MS},
};

/// The command that reproduces the recorded result.
const COMMAND: &str = "WASTED_JSON=benches/results/wasted-work.json cargo bench --bench wasted_work";

/// All races of one kind.
#[derive(PartialEq, Eq)]
pub(crate) struct Races {
    pub(crate) contention: Contention,
    pub(crate) contenders: usize,
    pub(crate) failing_percent: u64,
    pub(crate) first_dies: bool,
    pub(crate) finishes: Vec<Finish>,
}

/// Statistics of times.
struct Times {
    mean: f64,
    p50: u64,
    p99: u64,
}

impl Times {
    /// `None` for no times.
    fn of(times: impl Iterator<Item = u64>) -> Option<Self> {
        let mut times: Vec<u64> = times.collect();
        times.sort_unstable();
        // The smallest time that this percentage does not exceed.
        let at = |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { mean: mean(times.iter().map(|time| *time as f64)), p50: at(50)?, p99: at(99)? })
    }

    fn json(&self) -> Value {
        json!({"mean": rounded(self.mean), "p50": self.p50, "p99": self.p99})
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

impl Races {
    fn preflights(&self) -> f64 {
        mean(self.finishes.iter().map(|finish| finish.preflights as f64))
    }

    fn wasted(&self) -> f64 {
        mean(self.finishes.iter().map(|finish| finish.wasted() as f64))
    }

    fn nobody_executed(&self) -> f64 {
        mean(self.finishes.iter().map(|finish| f64::from(u8::from(finish.executed_ms.is_none()))))
    }

    /// Of the races with an execution.
    fn until_executed(&self) -> Option<Times> {
        Times::of(self.finishes.iter().filter_map(|finish| finish.executed_ms))
    }

    fn until_last_answer(&self) -> Option<Times> {
        Times::of(self.finishes.iter().map(|finish| finish.last_answer_ms))
    }

    fn json(&self) -> Value {
        json!({
            "contention": self.contention.name(),
            "kind": self.contention.kind(),
            "contenders": self.contenders,
            "preflight_failures": self.failing_percent as f64 / 100.0,
            "first_dies": self.first_dies,
            "preflights": rounded(self.preflights()),
            "wasted": rounded(self.wasted()),
            "nobody_executed": rounded(self.nobody_executed()),
            "until_executed_ms": self.until_executed().as_ref().map(Times::json),
            "until_last_answer_ms": self.until_last_answer().as_ref().map(Times::json),
        })
    }
}

/// The whole report.
pub(crate) struct Report {
    pub(crate) runs: u64,
    pub(crate) races: Vec<Races>,
}

impl Report {
    /// The whole, by the schema.
    pub(crate) fn json(&self) -> String {
        let report = json!({
            "schema": "countersign/wasted-work/1",
            "command": COMMAND,
            "machine": facts::machine(),
            "versions": facts::versions(&["tokio"]),
            "settings": {
                "runs": self.runs,
                "seeds": format!("0..{}", self.runs),
                "preflight_ms": PREFLIGHT_MS,
                "arrivals_ms": ARRIVALS_MS,
                "lease_ms": APPROVAL_LEASE_MS,
            },
            "races": self.races.iter().map(Races::json).collect::<Vec<_>>(),
        });
        let mut text = serde_json::to_string_pretty(&report).expect("every key is a string");
        text.push('\n');
        text
    }

    fn find(
        &self,
        contention: Contention,
        contenders: usize,
        failing_percent: u64,
        first_dies: bool,
    ) -> Option<&Races> {
        self.races.iter().find(|races| {
            races.contention == contention
                && races.contenders == contenders
                && races.failing_percent == failing_percent
                && races.first_dies == first_dies
        })
    }
}

fn percentiles(times: Option<Times>) -> String {
    times.map_or_else(|| "–".to_owned(), |times| format!("{} / {}", times.p50, times.p99))
}

/// A column of a table.
type Shown = (&'static str, fn(&Races) -> String);

const SHOWN: [Shown; 4] = [
    ("wasted preflights, mean", |races| format!("{:.2}", races.wasted())),
    ("races without an execution", |races| format!("{:.1} %", races.nobody_executed() * 100.0)),
    ("ms until executed, p50 / p99", |races| percentiles(races.until_executed())),
    ("ms until the last one has its answer, p50 / p99", |races| percentiles(races.until_last_answer())),
];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, show) in SHOWN {
            write!(f, "\n{title}; preflights that fail:\n{:<26}", "")?;
            for percent in FAILING_PERCENT {
                write!(f, "{:>16}", format!("{percent} %"))?;
            }
            writeln!(f, "{:>16}", "the first dies")?;
            for contention in Contention::ALL {
                for contenders in CONTENDERS {
                    let name = if contenders == CONTENDERS[0] { contention.name() } else { "" };
                    write!(f, "{name:<14}{contenders:>4} at once")?;
                    let with_luck = FAILING_PERCENT.map(|percent| (percent, false));
                    for (percent, dies) in with_luck.into_iter().chain([(0, true)]) {
                        let races = self.find(contention, contenders, percent, dies);
                        write!(f, "{:>16}", races.map_or_else(|| "–".to_owned(), show))?;
                    }
                    writeln!(f)?;
                }
            }
        }
        writeln!(f)
    }
}
