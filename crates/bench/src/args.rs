//! The options of `countersign-bench`.

use std::{path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

const BENCH_EXIT_CODES: &str = "\
Exit codes:
  0  every approval had exactly one winner, in every run
  1  a strategy is wrong: an approval had two winners, or none
  2  bad usage, bad input, or a store that cannot be reached
  3  stopped before everything was measured, and nothing was wrong";

/// Compare the ways to use an approval once, on SQLite and PostgreSQL; or write a report (`report`)
#[derive(Debug, Parser)]
#[command(name = "countersign-bench", version, args_conflicts_with_subcommands = true, after_help = BENCH_EXIT_CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<BenchCommand>,
    /// Store: sqlite (a temporary file), sqlite:PATH (a file, created and removed), postgres (a server, started and
    /// removed), postgres://… (a running server; a schema is created and removed). May be given more than once
    /// [default: sqlite, and postgres where it is installed]
    #[arg(long, value_name = "STORE", value_parser = store)]
    pub(crate) store: Vec<StoreChoice>,
    /// Only these strategies: conditional_update, version_column, for_update, serializable, advisory_lock,
    /// consumption_row [default: all, with baselines and comparisons]
    #[arg(long, value_delimiter = ',')]
    pub(crate) strategy: Vec<String>,
    /// Numbers of concurrent clients
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 32], value_parser = clients)]
    pub(crate) clients: Vec<usize>,
    /// Duration of each measurement
    #[arg(long, default_value = "5s", value_parser = time)]
    pub(crate) time: Duration,
    /// Number of approvals requested at a fixed rate: 500/s [default: half of the first strategy's throughput]
    #[arg(long, value_name = "N/s", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Write the measurements to this file, for `report`
    #[arg(long, value_name = "FILE.json")]
    pub(crate) out: Option<PathBuf>,
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Write a page and a Markdown table from measurements (of `--out`, and of `cargo bench` for `consume` and
    /// `wasted_work`)
    Report(BenchReportArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BenchReportArgs {
    /// Files with measurements
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Folder for benchmark.html and benchmark.md
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub(crate) out: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Human,
    Json,
}

/// A store to be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreChoice {
    /// In this file, or a temporary one.
    Sqlite(Option<PathBuf>),
    /// On this server, or one that is started.
    Postgres(Option<String>),
}

fn store(text: &str) -> Result<StoreChoice, String> {
    match text.split_once(':') {
        None if text == "sqlite" => Ok(StoreChoice::Sqlite(None)),
        None if text == "postgres" => Ok(StoreChoice::Postgres(None)),
        Some(("sqlite", path)) if !path.is_empty() => Ok(StoreChoice::Sqlite(Some(path.into()))),
        Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
            Ok(StoreChoice::Postgres(Some(text.to_owned())))
        }
        _ => Err("expected sqlite, sqlite:PATH, postgres or postgres://…".to_owned()),
    }
}

fn clients(text: &str) -> Result<usize, String> {
    const MOST: usize = 512;
    match text.parse() {
        Ok(clients) if (1..=MOST).contains(&clients) => Ok(clients),
        _ => Err(format!("expected numbers from 1 to {MOST}, as in 1,8,32")),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    const BOUNDS: std::ops::RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(600);
    match humantime::parse_duration(text) {
        Ok(time) if BOUNDS.contains(&time) => Ok(time),
        Ok(_) => Err("expected from 50ms to 10m".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    const MOST: f64 = 1e6;
    match text.strip_suffix("/s").unwrap_or(text).parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= MOST => Ok(rate),
        _ => Err(format!("expected a number up to {MOST} a second, as in 500/s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_stores_are_parsed_and_others_refused() {
        assert_eq!(store("sqlite"), Ok(StoreChoice::Sqlite(None)));
        assert_eq!(store("sqlite:a:b.db"), Ok(StoreChoice::Sqlite(Some("a:b.db".into()))));
        assert_eq!(store("postgresql://h/d"), Ok(StoreChoice::Postgres(Some("postgresql://h/d".into()))));
        for bad in ["", "sqlite:", "mysql", "postgres:x", "memory"] {
            assert!(store(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_and_times_have_bounds() {
        assert_eq!(rate("500/s"), Ok(500.0));
        assert!(rate("0").is_err() && rate("-1/s").is_err() && rate("NaN").is_err() && rate("1e9").is_err());
        assert!(time("1ms").is_err() && time("1s").is_ok() && time("1h").is_err());
    }
}
