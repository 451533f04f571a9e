//! The cost of many concurrent requests for one approval: the result file of `cargo bench --bench wasted_work`, and the
//! tables and charts made from it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    chart::{self, Axis, Series},
    figures::{grouped, listed, micros, number, percent},
    tables::{Table, kinded},
};
use crate::document::Kind;

/// The file's schema.
pub(crate) const SCHEMA: &str = "countersign/wasted-work/1";

/// The share of failing preflights that the charts show, or the nearest one that was measured.
const USUAL_FAILURES: f64 = 0.3;

/// One run of it. What is not named here is not looked at.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Document {
    pub(crate) command: String,
    pub(crate) versions: BTreeMap<String, Option<String>>,
    pub(crate) settings: Settings,
    races: Vec<Races>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Settings {
    runs: u64,
    seeds: String,
    preflight_ms: f64,
    arrivals_ms: f64,
    lease_ms: f64,
}

/// All races of one kind.
#[derive(Clone, Debug, Deserialize)]
struct Races {
    contention: String,
    kind: Kind,
    contenders: usize,
    preflight_failures: f64,
    /// The contender that began the first preflight died in it.
    first_dies: bool,
    wasted: f64,
    nobody_executed: f64,
    /// `None` without an execution.
    until_executed_ms: Option<Times>,
    until_last_answer_ms: Option<Times>,
}

#[derive(Clone, Debug, Deserialize)]
struct Times {
    p50: f64,
    p99: f64,
}

impl Times {
    fn pair(times: Option<&Self>) -> String {
        times.map_or_else(|| "–".to_owned(), |times| format!("{} / {}", millis(times.p50), millis(times.p99)))
    }
}

fn millis(value: f64) -> String {
    micros(value * 1_000.0)
}

impl Document {
    /// The contention policies, in the order of the file.
    fn contentions(&self) -> Vec<(&str, Kind)> {
        let mut names: Vec<(&str, Kind)> = Vec::new();
        for races in &self.races {
            if names.iter().all(|(name, _)| *name != races.contention) {
                names.push((&races.contention, races.kind));
            }
        }
        names
    }

    fn contenders(&self) -> Vec<usize> {
        let mut contenders: Vec<usize> = self.races.iter().map(|races| races.contenders).collect();
        contenders.sort_unstable();
        contenders.dedup();
        contenders
    }

    fn most(&self) -> usize {
        self.contenders().last().copied().unwrap_or(0)
    }

    fn failures(&self) -> Vec<f64> {
        let lucky = self.races.iter().filter(|races| !races.first_dies);
        let mut failures: Vec<f64> = lucky.map(|races| races.preflight_failures).collect();
        failures.sort_by(f64::total_cmp);
        failures.dedup();
        failures
    }

    fn usual_failures(&self) -> f64 {
        let far = |failures: &f64| (failures - USUAL_FAILURES).abs();
        let nearest = self.failures().into_iter().min_by(|one, other| far(one).total_cmp(&far(other)));
        nearest.unwrap_or(USUAL_FAILURES)
    }

    /// The races without a death.
    fn races(&self, contention: &str, contenders: usize, failures: f64) -> Option<&Races> {
        self.races.iter().find(|races| {
            !races.first_dies
                && races.contention == contention
                && races.contenders == contenders
                && races.preflight_failures.total_cmp(&failures).is_eq()
        })
    }

    fn first_dies(&self, contention: &str, contenders: usize) -> Option<&Races> {
        self.races.iter().find(|races| {
            races.first_dies && races.contention == contention && races.contenders == contenders
        })
    }

    /// The parameters that determine the result: the machine is not among them.
    pub(crate) fn provenance(&self) -> String {
        let Settings { runs, seeds, preflight_ms, arrivals_ms, lease_ms } = &self.settings;
        let known = self.versions.iter().filter(|(name, _)| *name != "rustc");
        let versions: Vec<String> =
            known.filter_map(|(name, version)| Some(format!("{name} {}", version.as_deref()?))).collect();
        format!(
            "Many at one approval: in virtual time, {} races of each kind, seeds {seeds}; all come within {}, a preflight \
             takes {}, a lease runs out after {}; {}. Made by `{}`.",
            grouped(i64::try_from(*runs).unwrap_or(i64::MAX)),
            millis(*arrivals_ms),
            millis(*preflight_ms),
            millis(*lease_ms),
            listed(&versions),
            self.command,
        )
    }
}

/// Wasted preflights.
pub(crate) fn preflights(document: &Document) -> Table {
    let failures = document.failures();
    let caption = "Many at one approval: wasted preflights in a race, by how many of the preflights fail";
    let mut table = Table::new(caption, &["contention", "contenders"]);
    table.head.extend(failures.iter().map(|failures| percent(*failures)));
    for (name, kind) in document.contentions() {
        for contenders in document.contenders() {
            let wasted = |failures: &f64| {
                let races = document.races(name, contenders, *failures);
                races.map_or_else(|| "–".to_owned(), |races| number(races.wasted))
            };
            let mut row = vec![kinded(name, kind), contenders.to_string()];
            row.extend(failures.iter().map(wasted));
            table.rows.push(row);
        }
    }
    table
}

/// Duration of the largest crowd, and the number of failures.
pub(crate) fn times(document: &Document) -> Table {
    let most = document.most();
    let caption = format!("{most} at one approval: duration, p50 / p99, and the share without an execution");
    let head = [
        "contention",
        "preflights that fail",
        "until executed",
        "until the last one has its answer",
        "no execution",
    ];
    let mut table = Table::new(caption, &head);
    let mut add = |name: &str, kind: Kind, luck: String, races: &Races| {
        table.rows.push(vec![
            kinded(name, kind),
            luck,
            Times::pair(races.until_executed_ms.as_ref()),
            Times::pair(races.until_last_answer_ms.as_ref()),
            percent(races.nobody_executed),
        ]);
    };
    for (name, kind) in document.contentions() {
        for failures in document.failures() {
            if let Some(races) = document.races(name, most, failures) {
                add(name, kind, percent(failures), races);
            }
        }
        if let Some(races) = document.first_dies(name, most) {
            add(name, kind, "0 %, and the first dies in it".to_owned(), races);
        }
    }
    table
}

/// A chart's figure of races.
type Figure = fn(&Races) -> Option<f64>;

/// Captions and charts.
pub(crate) fn charts(document: &Document) -> Vec<(String, String)> {
    let usual = percent(document.usual_failures());
    let shown: [(&str, &str, Figure); 2] = [
        ("Preflights that nothing came of", "wasted preflights in a race (mean)", |races| Some(races.wasted)),
        ("How long until one has executed", "milliseconds until executed (p99)", |races| {
            races.until_executed_ms.as_ref().map(|times| times.p99)
        }),
    ];
    let drawn = shown.into_iter().filter_map(|(caption, unit, of)| {
        let series = series(document, of);
        let values = || series.iter().flat_map(|one| one.points.iter().map(|point| point.1));
        values().next()?;
        let x = Axis::counts("contenders", &document.contenders());
        let y = Axis::log(unit, values(), number);
        let about = format!("{unit} by the number of contenders, {usual} of preflights fail");
        Some((format!("{caption}, {usual} of preflights fail"), chart::lines(&about, &x, &y, &series)))
    });
    drawn.collect()
}

/// A line for each contention, where a logarithm has a place for its points.
fn series(document: &Document, of: Figure) -> Vec<Series> {
    let mut all = Vec::new();
    for (colour, (name, kind)) in document.contentions().into_iter().enumerate() {
        let point = |contenders: usize| {
            let races = document.races(name, contenders, document.usual_failures())?;
            Some((contenders as f64, of(races).filter(|value| *value > 0.0)?))
        };
        let points: Vec<(f64, f64)> = document.contenders().into_iter().filter_map(point).collect();
        if !points.is_empty() {
            all.push(Series { name: name.to_owned(), colour, dashed: kind != Kind::Strategy, points });
        }
    }
    all
}
