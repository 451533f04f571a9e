//! The command line: what can be asked for, and within which limits.

pub(crate) mod attacking;

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, value_parser};
use countersign_models::{explorer::Limits, model::Bounds, world::MAX_CONSUMERS};

/// Which promises does the order of your approval's steps keep? And which run breaks each of the others?
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  every verdict is the expected one
  1  a verdict is not the expected one
  2  bad usage, or a bad flow file
  3  a limit stopped it before it was complete, and nothing unexpected was found";

const SIMULATE_EXIT_CODES: &str = "\
Exit codes:
  0  nothing was broken but what is expected to be, and everything that can happen has happened
  1  something was broken that should hold, a step was no edge of the model, or the canary was not noticed
  2  bad usage, a bad flow file or a bad report
  3  nothing unexpected was found, but something never happened: more seeds may cover it";

const REPLAY_EXIT_CODES: &str = "\
Exit codes:
  0  nothing is broken any more; all of the log was allowed
  1  it is broken again; something in the log was not allowed
  2  bad usage, a bad failure or a bad log; or this version cannot do all that the failure does, and nothing is broken";

const FLOW: &str = "The name of a built-in flow, or the path of a flow file (`countersign help flows`)";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Judge flows: every property, by every interleaving, crash and fault within the bounds
    #[command(after_help = EXIT_CODES)]
    Verify(VerifyArgs),
    /// Draw the shortest run that breaks a property, as a sequence diagram
    #[command(after_help = EXIT_CODES)]
    Show(ShowArgs),
    /// Play the real service under seeds and faults, or add up the reports of shards (`simulate merge`)
    #[command(after_help = SIMULATE_EXIT_CODES)]
    Simulate(SimulateArgs),
    /// Play a failure of `simulate` again; or ask whether an audit log was allowed
    #[command(after_help = REPLAY_EXIT_CODES)]
    Replay(ReplayArgs),
    /// Attack a running service: races, every interleaving of its SQL statements, kills
    Attack(attacking::AttackArgs),
    /// Walk through the states of a flow in the browser
    Explore(ExploreArgs),
    /// Print the JSON Schema of a flow file, for editors: `countersign schema > flow.schema.json`
    Schema,
    /// Explain a command, or how flow files and target files are written (`help flows`, `help targets`)
    Help(HelpArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct VerifyArgs {
    #[arg(value_name = "FLOW", help = FLOW, long_help = format!("{FLOW}. None: all built-in ones"))]
    pub(crate) flows: Vec<String>,
    #[command(flatten)]
    pub(crate) bounds: BoundsArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ShowArgs {
    #[arg(help = FLOW)]
    pub(crate) flow: String,
    /// The property: S1, say, or no_burn_on_preflight_failure
    pub(crate) property: String,
    #[command(flatten)]
    pub(crate) bounds: BoundsArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// A drawing for the terminal, or a mermaid diagram for a page
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: DiagramFormat,
}

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct SimulateArgs {
    #[command(subcommand)]
    pub(crate) command: Option<SimulateCommand>,
    #[arg(help = FLOW, default_value = "atomic-commit")]
    pub(crate) flow: String,
    /// From which seed to before which
    #[arg(long, value_name = "A..B", default_value = "0..100000", value_parser = seeds)]
    pub(crate) seeds: (u64, u64),
    /// Only every n-th seed, beginning with the i-th: for campaigns on many machines
    #[arg(long, value_name = "i/n", default_value = "1/1", value_parser = shard)]
    pub(crate) shard: (u64, u64),
    /// Threads [default: one for each core]
    #[arg(long, value_parser = threads)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Stop after this long: 90s, 5m. The report says which seeds were played
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) time: Option<Duration>,
    /// Where the files of failures go
    #[arg(long, value_name = "FOLDER", default_value = "failures")]
    pub(crate) failures: PathBuf,
    /// Write every step of every schedule to this file, a line of JSON each
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Put the SHA-256 of the trace of these seeds into the report: what they do under the same code, on any machine
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    pub(crate) trace_digest: Option<(u64, u64)>,
    /// Break the platform on purpose, to see that it is noticed: canary, or the name of a mutant
    #[arg(long, value_name = "MUTANT")]
    pub(crate) mutant: Option<String>,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SimulateCommand {
    /// Add up the reports of shards (`--format json`)
    Merge(MergeArgs),
    /// How soon everything that is known to be bad is found: flows, mutants and controls, as a table in markdown
    Detection(DetectionArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DetectionArgs {
    /// From which seed to before which, in each campaign
    #[arg(long, value_name = "A..B", default_value = "0..30000", value_parser = seeds)]
    pub(crate) seeds: (u64, u64),
    /// Threads [default: one for each core]
    #[arg(long, value_parser = threads)]
    pub(crate) threads: Option<NonZeroUsize>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct MergeArgs {
    /// The reports
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ReplayArgs {
    /// A failure that `simulate` wrote
    #[arg(required_unless_present = "audit", conflicts_with_all = ["audit", "flow"])]
    pub(crate) failure: Option<PathBuf>,
    /// An audit log, a JSON object on each line: was it allowed?
    #[arg(long, value_name = "FILE.ndjson")]
    pub(crate) audit: Option<PathBuf>,
    /// By which flow it has to be allowed
    #[arg(long, requires = "audit", default_value = "atomic-commit")]
    pub(crate) flow: String,
    /// A drawing for the terminal, or a mermaid diagram for a page
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: DiagramFormat,
}

fn seeds(text: &str) -> Result<(u64, u64), String> {
    const EXPECTED: &str = "expected two numbers, the first one smaller, as in 0..100000";
    let (from, to) = text.split_once("..").ok_or(EXPECTED)?;
    let number = |text: &str| text.replace('_', "").parse::<u64>().map_err(|_| EXPECTED);
    let (from, to) = (number(from)?, number(to)?);
    if from < to { Ok((from, to)) } else { Err(EXPECTED.to_owned()) }
}

fn shard(text: &str) -> Result<(u64, u64), String> {
    const EXPECTED: &str = "expected two numbers from 1, the first one not larger, as in 3/16";
    let (place, of) = text.split_once('/').ok_or(EXPECTED)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| EXPECTED);
    let (place, of) = (number(place)?, number(of)?);
    if (1..=of).contains(&place) && of <= 1_000_000 { Ok((place, of)) } else { Err(EXPECTED.to_owned()) }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExploreArgs {
    #[arg(help = FLOW)]
    pub(crate) flow: String,
    #[command(flatten)]
    pub(crate) bounds: BoundsArgs,
    /// Where to listen; port 0 takes any that is free
    #[arg(long, default_value = "127.0.0.1:3000")]
    pub(crate) listen: String,
    /// Threads [default: one for each core]
    #[arg(long, value_parser = threads)]
    pub(crate) threads: Option<NonZeroUsize>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct HelpArgs {
    /// `flows`, `targets`, or a command
    pub(crate) topic: Option<String>,
}

/// What may happen in the world.
#[derive(Debug, ClapArgs)]
pub(crate) struct BoundsArgs {
    /// Concurrent callers; from two on the last one asks for another payload, where the object is bound to one
    #[arg(long = "callers", visible_alias = "consumers", default_value_t = Bounds::default().consumers, value_parser = value_parser!(u8).range(1..=MAX_CONSUMERS as i64))]
    consumers: u8,
    /// Crashes that may happen
    #[arg(long, default_value_t = Bounds::default().crashes, value_parser = value_parser!(u8).range(..=i64::from(Bounds::MAX_BUDGET)))]
    crashes: u8,
    /// Faults that may be injected
    #[arg(long, default_value_t = Bounds::default().faults, value_parser = value_parser!(u8).range(..=i64::from(Bounds::MAX_BUDGET)))]
    faults: u8,
}

impl BoundsArgs {
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds { consumers: self.consumers, crashes: self.crashes, faults: self.faults }
    }
}

/// With what, and for how long at most.
#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// Threads [default: one for each core]
    #[arg(long, value_parser = threads)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Stop each flow after this long: 90s, 5m
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) time: Option<Duration>,
    /// Stop when states and edges take more than this: 16GiB, 500MB
    #[arg(long, default_value = "4GiB")]
    memory: ByteSize,
    /// Stop after this many unique states
    #[arg(long)]
    max_states: Option<usize>,
    /// Explore no run of more actions than this
    #[arg(long)]
    max_depth: Option<usize>,
}

impl RunArgs {
    pub(crate) fn limits(&self) -> Limits {
        let none = Limits::default();
        Limits {
            max_states: self.max_states.unwrap_or(none.max_states),
            max_depth: self.max_depth.unwrap_or(none.max_depth),
            max_bytes: self.memory.as_u64() as usize,
        }
    }
}

fn threads(text: &str) -> Result<NonZeroUsize, String> {
    const MOST: usize = 1024;
    let threads: NonZeroUsize = text.parse().map_err(|_| format!("expected a number from 1 to {MOST}"))?;
    if threads.get() > MOST { Err(format!("at most {MOST}")) } else { Ok(threads) }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Human,
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiagramFormat {
    #[default]
    Human,
    Mermaid,
}
