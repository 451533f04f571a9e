//! The command line: commands, options and their limits.

use std::{ffi::OsString, num::NonZeroUsize, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, value_parser};
use clap_complete::Shell;
use countersign_models::{
    explorer::Limits,
    flows::{BUILT_IN, CASES, KEYED, SHIPPED},
    model::Bounds,
    world::MAX_CONSUMERS,
};
use countersign_terminal::output::Color;

/// Model-check, simulate and attack actions that must happen once
#[derive(Debug, Parser)]
#[command(name = "countersign", version, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Colours: where the terminal shows them, always, or never
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    pub(crate) color: Color,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Exit codes, and the built-in flows.
fn with_built_in_flows() -> String {
    let names: Vec<&str> = BUILT_IN.iter().map(|flow| flow.name).collect();
    let keyed: Vec<&str> = KEYED.iter().map(|flow| flow.name).collect();
    let bugs: Vec<&str> = CASES.iter().map(|case| case.bug().name).collect();
    format!(
        "Built-in flows:\n  {}\n\nAs the library ships them, with repeated requests under a key (verify with --callers 1):\n  {}\n\n\
         Public bug reports; their fixes end in -fixed:\n  {}\n\n{EXIT_CODES}",
        names.join("\n  "),
        keyed.join("\n  "),
        bugs.join("\n  "),
    )
}

const EXIT_CODES: &str = "\
Exit codes:
  0  every verdict is the expected one
  1  a verdict is not the expected one
  2  bad usage, or a bad flow file
  3  a limit stopped it before it was complete, and nothing unexpected was found
130  interrupted; what was found until then is printed";

const SIMULATE_EXIT_CODES: &str = "\
Exit codes:
  0  nothing is violated but what is expected, and every fault and property was exercised
  1  an unexpected violation, a step that is not an edge of the model, or a canary that was not noticed
  2  bad usage, a bad flow file or a bad report
  3  nothing unexpected was found, but something was never exercised: more seeds may cover it
130  interrupted; what was found until then is printed";

const REPLAY_EXIT_CODES: &str = "\
Exit codes:
  0  the failure no longer reproduces; every event of the log is allowed
  1  the failure reproduces; an event of the log is not allowed
  2  bad usage, a bad failure or a bad log; or the schedule no longer applies to this version";

const EXPORT_EXIT_CODES: &str = "\
Exit codes:
  0  the file was printed
  2  bad usage, a bad flow file, or a flow that cannot be exported
  3  a limit stopped it before it was complete; nothing was printed
130  interrupted; nothing was printed";

const EXPORT_HELP: &str = "\
The rules in the file are tabulated from the model of `verify`: another tool checks the exploration, the number of
states and the verdicts on its own, not the rules. The comment at the top of the file says how to run it.

  promela  for spin: every state within the bounds, S1 to S22 as far as they apply
  tla      for tla-checker or TLC: the same
  smt2     for z3: any number of callers, crashes and faults; the bounds are ignored. Not for flows with a lease, with
           `undo` of a write or of a use, or with `uses` above 1

L1 to L4 ask what is possible from a state, and are in none of the files.";

const CERTIFY_EXIT_CODES: &str = "\
Exit codes:
  0  the certificate proves what it says
  1  it does not: a view is missing, does not follow, or violates a property
  2  bad usage, not a certificate, or one of another version or another flow";

const FLOW: &str = "The name of a built-in flow, or the path of a flow file (`countersign help flows`)";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Judge flows: every property, by every interleaving, crash and fault within the bounds
    #[command(after_help = EXIT_CODES, after_long_help = with_built_in_flows())]
    Verify(VerifyArgs),
    /// Check the certificate of a proof (`verify --certificate`) without the prover
    #[command(after_help = CERTIFY_EXIT_CODES)]
    Certify(CertifyArgs),
    /// Draw the shortest run that violates a property, as a sequence diagram
    #[command(after_help = EXIT_CODES, after_long_help = with_built_in_flows())]
    Show(ShowArgs),
    /// Explain a property: why it matters, a run that violates it, public reports, how to fix it
    Explain(ExplainArgs),
    /// Play seeds and faults on the production driver or, where it does not carry the flow out, on the model; or add up the reports of shards (`simulate merge`)
    #[command(after_help = SIMULATE_EXIT_CODES)]
    Simulate(SimulateArgs),
    /// Replay a failure of `simulate`, or check an audit log against the approval's transitions
    #[command(after_help = REPLAY_EXIT_CODES)]
    Replay(ReplayArgs),
    /// Attack a running service: races, every interleaving of its SQL statements, kills
    #[command(disable_help_flag = true)]
    Attack(AttackArgs),
    /// Print a flow within the bounds as a file for spin or another tool, which then judges it by itself
    #[command(after_help = EXPORT_EXIT_CODES, after_long_help = format!("{EXPORT_HELP}\n\n{EXPORT_EXIT_CODES}"))]
    Export(ExportArgs),
    /// Walk through the states of a flow in the browser
    #[command(after_long_help = with_built_in_flows())]
    Explore(ExploreArgs),
    /// Print the JSON Schema of a flow file, for editors: `countersign schema > flow.schema.json`
    Schema,
    /// Print the completions of a shell: `countersign completions bash > countersign.bash`
    Completions(CompletionsArgs),
    /// Explain a command, or the format of flow files and target files (`help flows`, `help targets`)
    Help(HelpArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct VerifyArgs {
    #[arg(value_name = "FLOW", help = FLOW, long_help = format!("{FLOW}. None: all built-in ones"))]
    pub(crate) flows: Vec<String>,
    /// Judge these properties only: S1,S2
    #[arg(long, value_name = "PROPERTY", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Follow the advice, and write the edited flow: into the given file, or into a new FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub(crate) fix: Option<Option<PathBuf>>,
    #[command(flatten)]
    pub(crate) bounds: BoundsArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Search within the bounds only: prove nothing for any number of callers, crashes and faults
    #[arg(long)]
    pub(crate) bounded: bool,
    /// Write what was proved of one flow to this new file, for `countersign certify`
    #[arg(long, value_name = "FILE", conflicts_with = "bounded")]
    pub(crate) certificate: Option<PathBuf>,
    /// The format of the results
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CertifyArgs {
    /// A certificate
    pub(crate) certificate: PathBuf,
    /// The flow that it has to be about: the name of a built-in one, or the path of a flow file. None: the one in the
    /// certificate, which is printed
    pub(crate) flow: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AttackArgs {
    /// What the program `countersign-attack` is given: a target file and options, or one of its commands (`--help`)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<OsString>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExplainArgs {
    /// The property: S7, or refusal_leaves_no_trace [default: list all]
    pub(crate) property: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ShowArgs {
    #[arg(help = FLOW)]
    pub(crate) flow: String,
    /// The property: S1, or no_burn_on_refusal
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
    #[arg(help = FLOW, default_value = SHIPPED)]
    pub(crate) flow: String,
    /// The first seed, and the one after the last
    #[arg(long, value_name = "A..B", default_value = "0..100000", value_parser = seeds)]
    pub(crate) seeds: (u64, u64),
    /// Only every n-th seed, beginning with the i-th: for campaigns on many machines
    #[arg(long, value_name = "i/n", default_value = "1/1", value_parser = shard)]
    pub(crate) shard: (u64, u64),
    /// Threads [default: one for each core]
    #[arg(long, value_parser = threads)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Stop after this time: 90s, 5m. The report says which seeds were run
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) time: Option<Duration>,
    /// The folder for the files of failures
    #[arg(long, value_name = "FOLDER", default_value = "failures")]
    pub(crate) failures: PathBuf,
    /// Write every step of every schedule to this file, a line of JSON each
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Put the SHA-256 of the trace of these seeds into the report: the same for the same code on every machine
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    pub(crate) trace_digest: Option<(u64, u64)>,
    /// Break the platform on purpose, as a control: canary, or the name of a mutant
    #[arg(long, value_name = "MUTANT")]
    pub(crate) mutant: Option<String>,
    /// The format of the results
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SimulateCommand {
    /// Add up the reports of shards (`--format json`)
    Merge(MergeArgs),
    /// After how many seeds each known-bad flow, mutant and control is found, as a table in Markdown
    Detection(DetectionArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DetectionArgs {
    /// The first seed of each campaign, and the one after the last
    #[arg(long, value_name = "A..B", default_value = "0..10000", value_parser = seeds)]
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
    /// The format of the results
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ReplayArgs {
    /// A failure that `simulate` or `attack` wrote
    #[arg(required_unless_present = "audit", conflicts_with_all = ["audit", "flow"])]
    pub(crate) failure: Option<PathBuf>,
    /// An audit log, a JSON object on each line: checks the transitions of each approval, not the order of the steps
    #[arg(long, value_name = "FILE.ndjson")]
    pub(crate) audit: Option<PathBuf>,
    /// The flow whose transitions have to allow the log
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
    /// The address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:3000")]
    pub(crate) listen: String,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExportArgs {
    #[arg(help = FLOW)]
    pub(crate) flow: String,
    /// The language of the file
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    pub(crate) to: Language,
    #[command(flatten)]
    pub(crate) bounds: BoundsArgs,
    /// Stop after this time: 90s, 5m
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) time: Option<Duration>,
    /// Stop after this many unique states, or rows of a table for any number
    #[arg(long, default_value_t = 5_000_000)]
    pub(crate) max_states: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Promela, for spin
    Promela,
    /// TLA+, for tla-checker or TLC
    Tla,
    /// Constrained Horn clauses, for z3: for any number of callers, crashes and faults
    Smt2,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct HelpArgs {
    /// `flows`, `targets`, or a command
    pub(crate) topic: Option<String>,
}

/// The bounds of the world.
#[derive(Debug, ClapArgs)]
pub(crate) struct BoundsArgs {
    /// Concurrent callers; from two on the last one asks for another payload, where the object is bound to one
    /// [default: 3, or fewer where the states are too many]
    #[arg(long = "callers", visible_alias = "consumers", value_parser = value_parser!(u8).range(1..=MAX_CONSUMERS as i64))]
    consumers: Option<u8>,
    /// Crashes that may happen
    #[arg(long, default_value_t = Bounds::default().crashes, value_parser = value_parser!(u8).range(..=i64::from(Bounds::MAX_BUDGET)))]
    crashes: u8,
    /// Faults that may be injected
    #[arg(long, default_value_t = Bounds::default().faults, value_parser = value_parser!(u8).range(..=i64::from(Bounds::MAX_BUDGET)))]
    faults: u8,
}

impl BoundsArgs {
    pub(crate) fn bounds(&self) -> Bounds {
        let consumers = self.consumers.unwrap_or(Bounds::default().consumers);
        Bounds { consumers, crashes: self.crashes, faults: self.faults }
    }

    /// True if the number of callers was left to the program.
    pub(crate) fn may_take_fewer_callers(&self) -> bool {
        self.consumers.is_none()
    }
}

/// The limits of a run.
#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// Threads [default: one for each core]
    #[arg(long, value_parser = threads)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Stop each flow after this time: 90s, 5m
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) time: Option<Duration>,
    /// Stop when states and edges take more than this: 16GiB, 500MB
    #[arg(long, default_value = "4GiB", value_parser = size)]
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

/// A size with its unit: a bare number is more often meant as gigabytes than as bytes.
fn size(text: &str) -> Result<ByteSize, String> {
    const EXPECTED: &str = "expected a size with its unit, as in 4GiB or 500MB";
    if text.trim().parse::<f64>().is_ok() {
        return Err(EXPECTED.to_owned());
    }
    text.parse().map_err(|_| EXPECTED.to_owned())
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
