//! The command line of `countersign-attack`: commands, options and their limits.

use std::{path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, value_parser};
use countersign_terminal::output::Color;

const EXIT_CODES: &str = "\
Exit codes:
  0  no property is violated
  1  a property is violated
  2  bad usage, a bad target file, or a target file that does not fit the service
  3  inconclusive: a limit was reached, the requests did not race, or the canary survived";

const REPLAY_EXIT_CODES: &str = "\
Exit codes:
  0  the violation does not occur any more
  1  it occurs again
  2  bad usage, a bad file, or a service that does not fit the target file
  3  inconclusive: a limit was reached, or the service no longer does what the violation needs";

/// Attack a running service: races, every interleaving of its SQL statements, kills
#[derive(Debug, Parser)]
#[command(
    name = "countersign-attack",
    bin_name = "countersign attack",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = EXIT_CODES
)]
pub(crate) struct Args {
    /// Colours: where the terminal shows them, always, or never
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    pub(crate) color: Color,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// A target file: the roles of the service
    #[arg(required = true)]
    pub(crate) target: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
    /// Stop after this long: 90s, 5m
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    pub(crate) time: Duration,
    /// Stop after this many requests
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) max_requests: u64,
    /// Kill the service at most this often; 0: never
    #[arg(long, default_value_t = 100)]
    pub(crate) max_kills: u64,
    /// Rounds of concurrent uses
    #[arg(long, default_value_t = 100)]
    pub(crate) races: usize,
    /// Callers of each round
    #[arg(long, default_value_t = 16, value_parser = value_parser!(u16).range(2..=256))]
    pub(crate) callers: u16,
    /// Schedules of statements for each two or three requests, at most; 0: none
    #[arg(long, default_value_t = 2_000)]
    pub(crate) schedules: u64,
    /// Three uses: only schedules with at most this many switches away from a request that could have gone on
    #[arg(long, default_value = "2")]
    pub(crate) preemptions: Option<usize>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Write the history of every object to this file, a line of JSON for each event
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
    /// Folder for the files of violations, for `attack replay`
    #[arg(long, value_name = "FOLDER", default_value = "failures")]
    pub(crate) failures: PathBuf,
}

#[derive(Debug, Default, ClapArgs)]
pub(crate) struct ReachArgs {
    /// Attack this host, other than this machine
    #[arg(long, value_name = "HOST")]
    pub(crate) i_own_this_service: Option<String>,
    /// File for the output of the service [default: a file in the folder for temporary files]
    #[arg(long, value_name = "FILE")]
    pub(crate) service_log: Option<PathBuf>,
}

#[derive(Debug, Default, ClapArgs)]
pub(crate) struct OutputArgs {
    /// Format of the report
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Write a page with the timelines of the violations to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a target file from a request
    Init(InitArgs),
    /// Run each role once: print its captures, and the testable properties
    Check(CheckArgs),
    /// Print the flow file of a service, from the SQL statements of one use
    Learn(LearnArgs),
    /// Run a violation again, from the file that it left
    #[command(after_help = REPLAY_EXIT_CODES)]
    Replay(AgainArgs),
    /// Judge a recorded history again
    #[command(after_help = EXIT_CODES)]
    Judge(JudgeArgs),
}

#[derive(Debug, ClapArgs)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub(crate) struct InitArgs {
    /// A curl command line, in quotes
    #[arg(long, value_name = "COMMAND", group = "source")]
    pub(crate) curl: Option<String>,
    /// A HAR file: its last request that changes something
    #[arg(long, value_name = "FILE", group = "source")]
    pub(crate) har: Option<PathBuf>,
    /// An OpenAPI document in JSON
    #[arg(long, value_name = "FILE", group = "source", requires = "operation")]
    pub(crate) openapi: Option<PathBuf>,
    /// The operation that uses the object
    #[arg(long, value_name = "ID")]
    pub(crate) operation: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CheckArgs {
    /// A target file
    pub(crate) target: PathBuf,
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LearnArgs {
    /// A target file with `[service]` and `[database]`
    pub(crate) target: PathBuf,
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AgainArgs {
    /// A file that `attack` wrote for a violation
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct JudgeArgs {
    /// A history that `attack --history` wrote
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Human,
    Json,
}
