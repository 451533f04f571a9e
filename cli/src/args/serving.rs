//! What can be asked of a running gate, by option or by environment variable.

use std::{path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, ValueEnum};
use countersign::{instance::wall::Secret, store::Plan};
use uuid::Uuid;

use crate::serve::values::{Listen, MailAddress, PublicUrl, plan, secret, switch};

pub(super) const SERVE_EXIT_CODES: &str = "\
An option comes before its environment variable, that before the configuration file, and that before the default.
`countersign help config` tells how the file is written.

Exit codes:
  0  it was asked to stop, and did; or --check found nothing wrong
  2  bad usage, a bad configuration, or something that it needs is not there";

/// An option has no default here: the configuration file comes in between.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct ServeArgs {
    /// Where everything is kept: sqlite:PATH, postgres://… or memory [default: sqlite:countersign.db]
    #[arg(long, env = "COUNTERSIGN_STORE", hide_env_values = true)]
    pub(crate) store: Option<String>,
    /// How a SQL store consumes an approval [default: conditional-update]
    #[arg(long, env = "COUNTERSIGN_STRATEGY", hide_env_values = true)]
    pub(crate) strategy: Option<String>,
    /// Where to listen; port 0 takes any that is free [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT", env = "COUNTERSIGN_LISTEN", hide_env_values = true)]
    pub(crate) listen: Option<Listen>,
    /// Where operators reach it, for the links [default: where it listens]
    #[arg(long, value_name = "URL", env = "COUNTERSIGN_PUBLIC_URL", hide_env_values = true)]
    pub(crate) public_url: Option<PublicUrl>,
    /// The order of the steps, by name or by file; any but the default is there to be attacked [default: atomic-commit]
    #[arg(long, env = "COUNTERSIGN_FLOW", hide_env_values = true)]
    pub(crate) flow: Option<String>,
    /// Run another flow than atomic-commit, broken as it may be
    #[arg(long, env = "COUNTERSIGN_ALLOW_UNSAFE_FLOW", hide_env_values = true, value_parser = switch)]
    pub(crate) allow_unsafe_flow: bool,
    /// What those do who want the same approval at once: all plan, and one commits; or one plans, and the others wait
    /// [default: optimistic]
    #[arg(long, value_enum, env = "COUNTERSIGN_CONTENTION", hide_env_values = true)]
    pub(crate) contention: Option<Contention>,
    /// What tokens are signed with and links are made from: 32 bytes or more. Better not given here, where other users
    /// of this machine can see it
    #[arg(long, env = "COUNTERSIGN_SECRET", hide_env_values = true, value_parser = secret)]
    pub(crate) secret: Option<Secret>,
    /// The folder for links by mail, as .eml files [default: mail]
    #[arg(long, value_name = "FOLDER", env = "COUNTERSIGN_MAIL_DIR", hide_env_values = true)]
    pub(crate) mail_dir: Option<PathBuf>,
    /// Who is sent links, of every team that has no operators of its own [default: operator@localhost]
    #[arg(
        long,
        value_name = "EMAIL",
        env = "COUNTERSIGN_OPERATOR",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub(crate) operator: Vec<MailAddress>,
    /// Send nobody the link of what they asked for themselves
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
    /// A file with these and all other settings
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// How to log, on standard error [default: human]
    #[arg(long, value_enum, env = "COUNTERSIGN_LOG", hide_env_values = true)]
    pub(crate) log: Option<LogFormat>,
    /// See whether all of it would work, and exit
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TokenArgs {
    /// The server's secret
    #[arg(long, env = "COUNTERSIGN_SECRET", hide_env_values = true, value_parser = secret)]
    pub(crate) secret: Secret,
    /// The team that the caller belongs to
    #[arg(long, value_name = "UUID")]
    pub(crate) team: Uuid,
    /// The caller's e-mail address
    #[arg(long)]
    pub(crate) email: MailAddress,
    /// What the team pays for: free, pro or enterprise [default: what the server's configuration says, or pro]
    #[arg(long, value_parser = plan)]
    pub(crate) plan: Option<Plan>,
    /// The caller administers the team
    #[arg(long)]
    pub(crate) admin: bool,
    /// How long the token is good: 30m, 12h, 7days
    #[arg(long, default_value = "12h", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Duration,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DemoArgs {
    /// Leave the server running afterwards, to play with
    #[arg(long)]
    pub(crate) keep: bool,
}

/// What those do who want the same approval at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Contention {
    /// All of them plan, and one commits.
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
