//! The commands of the gate and their options, each with its environment variable.

use std::{path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use countersign::store::Plan;
use countersign_gate::instance::system_clock::Secret;
use uuid::Uuid;

use crate::serve::values::{Listen, MailAddress, PublicUrl, plan, secret, switch};

/// A single-use approval gate: HTTP, workers, and links to operators
#[derive(Debug, Parser)]
#[command(name = "countersign-gate", version, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gate until it receives SIGTERM or SIGINT
    #[command(after_help = SERVE_HELP)]
    Serve(ServeArgs),
    /// Validate the configuration, and exit
    #[command(after_help = CHECK_HELP)]
    Check(ServeArgs),
    /// Write old approvals as lines of JSON, and delete them; the gate may serve meanwhile
    #[command(after_help = ARCHIVE_HELP)]
    Archive(ArchiveArgs),
    /// Print a bearer token for the gate's API, for development
    Token(TokenArgs),
    /// Walk through a promote in a minute: request, approve, promote, and the loser's 409
    Demo(DemoArgs),
    /// Explain a command, or the configuration of the gate (`help config`)
    Help(HelpArgs),
}

const SERVE_HELP: &str = "\
Precedence: option, environment variable, configuration file, default.
`countersign-gate help config` describes the file.

Exit codes:
  0  stopped by a signal, after a graceful shutdown
  2  bad usage, a bad configuration, or a missing resource";

const CHECK_HELP: &str = "\
Takes the options of `serve`. Nothing is created, and nothing is changed.

Exit codes:
  0  the configuration is valid, and the store and the addresses can be used; it says what was not tried
  2  bad usage, a bad configuration, or a missing resource";

const ARCHIVE_HELP: &str = "\
Also takes the options of `serve`, and reads its configuration.
An approval stays while its window is open, while its deploy is not done, and while it is its target's latest.
What is deleted has been written before: after a crash some approvals may be in two archives.

Exit codes:
  0  every approval of that age was written and deleted, or stays for one of these reasons
  2  bad usage, a bad configuration, or a missing resource";

#[derive(Debug, ClapArgs)]
pub(crate) struct ArchiveArgs {
    /// Age of the approvals, at least 2d: 90d, 1y
    #[arg(long, value_name = "AGE", value_parser = archive_age)]
    pub(crate) older_than: Duration,
    /// File to append to, readable by its owner only [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

/// Parses an age of two days or more: by then every window of a day has passed, also where clocks differ.
fn archive_age(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_secs(2 * 24 * 60 * 60);
    match humantime::parse_duration(text) {
        Ok(age) if age >= SHORTEST => Ok(age),
        _ => Err("expected an age of at least 2d, as in 90d or 1y".to_owned()),
    }
}

/// An option has no default here: the configuration file comes in between.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct ServeArgs {
    /// Store: sqlite:PATH, postgres://… or memory [default: sqlite:countersign.db]
    #[arg(long, env = "COUNTERSIGN_STORE", hide_env_values = true)]
    pub(crate) store: Option<String>,
    /// Strategy of a SQL store's consume [default: conditional-update]
    #[arg(long, env = "COUNTERSIGN_STRATEGY", hide_env_values = true)]
    pub(crate) strategy: Option<String>,
    /// Address to listen on; port 0 takes any free port [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT", env = "COUNTERSIGN_LISTEN", hide_env_values = true)]
    pub(crate) listen: Option<Listen>,
    /// Base URL of approval links, as approvers reach it [default: the listening address]
    #[arg(long, value_name = "URL", env = "COUNTERSIGN_PUBLIC_URL", hide_env_values = true)]
    pub(crate) public_url: Option<PublicUrl>,
    /// Flow to run, by name or file; only atomic-commit is safe in production [default: atomic-commit]
    #[arg(long, env = "COUNTERSIGN_FLOW", hide_env_values = true)]
    pub(crate) flow: Option<String>,
    /// Allow a flow other than atomic-commit, even one that is known to be broken
    #[arg(long, env = "COUNTERSIGN_ALLOW_UNSAFE_FLOW", hide_env_values = true, value_parser = switch)]
    pub(crate) allow_unsafe_flow: bool,
    /// Order of concurrent requests for one approval: optimistic (all plan, the first commit wins) or lease (one plans,
    /// the others wait) [default: optimistic]
    #[arg(long, value_enum, env = "COUNTERSIGN_CONTENTION", hide_env_values = true)]
    pub(crate) contention: Option<Contention>,
    /// Secret that signs tokens and links, at least 32 bytes. For development only: elsewhere use --secret-file
    #[arg(long, env = "COUNTERSIGN_SECRET", hide_env_values = true, value_parser = secret)]
    pub(crate) secret: Option<Secret>,
    /// File with the secret; systemd's credential `countersign-secret` needs no option
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_SECRET_FILE", hide_env_values = true)]
    pub(crate) secret_file: Option<PathBuf>,
    /// Folder that receives approval links as .eml files [default: mail]
    #[arg(long, value_name = "FOLDER", env = "COUNTERSIGN_MAIL_DIR", hide_env_values = true)]
    pub(crate) mail_dir: Option<PathBuf>,
    /// Recipients of approval links, for teams without operators of their own [default: operator@localhost]
    #[arg(
        long,
        value_name = "EMAIL",
        env = "COUNTERSIGN_OPERATOR",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub(crate) operator: Vec<MailAddress>,
    /// Never send an approval link to the requester
    #[arg(
        long,
        value_name = "true|false",
        env = "COUNTERSIGN_FORBID_SELF_APPROVAL",
        hide_env_values = true,
        value_parser = switch,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(crate) forbid_self_approval: Option<bool>,
    /// Configuration file with these and all other settings
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// Log format, on standard error [default: human]
    #[arg(long, value_enum, env = "COUNTERSIGN_LOG", hide_env_values = true)]
    pub(crate) log: Option<LogFormat>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TokenArgs {
    /// The server's secret
    #[arg(long, env = "COUNTERSIGN_SECRET", hide_env_values = true, value_parser = secret)]
    #[arg(required_unless_present = "secret_file")]
    pub(crate) secret: Option<Secret>,
    /// File with the server's secret
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_SECRET_FILE", hide_env_values = true)]
    pub(crate) secret_file: Option<PathBuf>,
    /// The team that the caller belongs to
    #[arg(long, value_name = "UUID")]
    pub(crate) team: Uuid,
    /// The caller's e-mail address
    #[arg(long)]
    pub(crate) email: MailAddress,
    /// The team's tier: free, pro or enterprise [default: the server's configuration, or pro]
    #[arg(long, value_parser = plan)]
    pub(crate) plan: Option<Plan>,
    /// The caller administers the team
    #[arg(long)]
    pub(crate) admin: bool,
    /// Validity of the token: 30m, 12h, 7days
    #[arg(long, default_value = "12h", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Duration,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DemoArgs {
    /// Keep the server running afterwards
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct HelpArgs {
    /// `config`, or a command
    pub(crate) topic: Option<String>,
}

/// Order of concurrent requests for one approval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Contention {
    /// All requests plan concurrently; the first commit wins.
    #[default]
    Optimistic,
    /// One plans at a time, under the approval's lease; the others wait.
    Lease,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Human,
    Json,
}
