//! The command line: what can be asked for, and within which limits.

use std::{num::NonZeroUsize, time::Duration};

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

const FLOW: &str = "The name of a built-in flow, or the path of a flow file (`countersign help flows`)";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Judge flows: every property, by every interleaving, crash and fault within the bounds
    #[command(after_help = EXIT_CODES)]
    Verify(VerifyArgs),
    /// Draw the shortest run that breaks a property, as a sequence diagram
    #[command(after_help = EXIT_CODES)]
    Show(ShowArgs),
    /// Walk through the states of a flow in the browser
    Explore(ExploreArgs),
    /// Explain a command, or how flow files are written (`help flows`)
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
    /// `flows`, or a command
    pub(crate) topic: Option<String>,
}

/// What may happen in the world.
#[derive(Debug, ClapArgs)]
pub(crate) struct BoundsArgs {
    /// Promotions that may begin; from two on the last one asks for another stack
    #[arg(long, default_value_t = Bounds::default().consumers, value_parser = value_parser!(u8).range(1..=MAX_CONSUMERS as i64))]
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
