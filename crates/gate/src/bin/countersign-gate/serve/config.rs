//! The configuration file: what may be in it, and where it is wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::{NonZeroU16, NonZeroU32},
    ops::Range,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::Spanned;
use uuid::Uuid;

use super::values::{
    From, Listen, MailAddress, Pause, PlanName, PublicUrl, SecretText, Size, StoreAddress, Text, Time,
};
use crate::args::{Contention, LogFormat, ServeArgs};
use countersign_terminal::{
    BadInput, input,
    input::{Finding, closest},
};

/// The longest configuration file, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// A configuration file, or none.
#[derive(Debug, Default)]
pub(crate) struct Config {
    name: String,
    text: String,
    pub(crate) file: File,
}

/// The configuration file. Unknown keys are refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    pub(crate) store: Option<Text<StoreAddress>>,
    pub(crate) strategy: Option<Spanned<String>>,
    pub(crate) listen: Option<Text<Listen>>,
    pub(crate) probe_listen: Option<Text<Listen>>,
    pub(crate) public_url: Option<Text<PublicUrl>>,
    pub(crate) flow: Option<String>,
    pub(crate) contention: Option<Contention>,
    pub(crate) secret: Option<Text<SecretText>>,
    pub(crate) secret_file: Option<PathBuf>,
    pub(crate) earlier_secret_files: Vec<PathBuf>,
    pub(crate) operators: Option<Spanned<Vec<Text<MailAddress>>>>,
    pub(crate) forbid_self_approval: Option<bool>,
    pub(crate) log: Option<LogFormat>,
    pub(crate) drain: Option<Text<Time>>,
    pub(crate) workers: WorkersTable,
    pub(crate) deployer: Option<Spanned<DeployerTable>>,
    pub(crate) notifier: Option<Spanned<NotifierTable>>,
    pub(crate) http: HttpTable,
    pub(crate) postgres: PostgresTable,
    pub(crate) sqlite: SqliteTable,
    pub(crate) identity: Option<Spanned<IdentityTable>>,
    pub(crate) tenant: Vec<Spanned<TenantTable>>,
}

/// Settings of the workers.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WorkersTable {
    pub(crate) count: Option<NonZeroU16>,
    pub(crate) lease: Option<Spanned<Text<Pause>>>,
    pub(crate) poll: Option<Text<Pause>>,
}

/// Settings of deploys: a command, or a dry run.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DeployerTable {
    pub(crate) command: Option<Spanned<Vec<String>>>,
    pub(crate) timeout: Option<Text<Time>>,
    pub(crate) user: Option<Spanned<String>>,
    pub(crate) dry_run: Option<Text<Time>>,
    pub(crate) fails: Option<bool>,
}

/// Settings of notifications: one of folder, smtp and webhook.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NotifierTable {
    pub(crate) folder: Option<Spanned<PathBuf>>,
    pub(crate) smtp: Option<Spanned<String>>,
    pub(crate) webhook: Option<Spanned<String>>,
    pub(crate) webhook_secret: Option<Spanned<String>>,
    pub(crate) from: Option<Text<From>>,
    pub(crate) retry_after: Option<Text<Pause>>,
    pub(crate) retry_at_most_after: Option<Text<Pause>>,
    pub(crate) lease: Option<Spanned<Text<Pause>>>,
}

/// Limits of the HTTP server.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpTable {
    pub(crate) max_body: Option<Text<Size>>,
    pub(crate) body_time: Option<Text<Time>>,
    pub(crate) header_time: Option<Text<Time>>,
    pub(crate) write_time: Option<Text<Time>>,
    pub(crate) request_time: Option<Text<Time>>,
    pub(crate) max_connections: Option<NonZeroU32>,
    pub(crate) max_under_way: Option<NonZeroU32>,
    pub(crate) max_pending_approvals: Option<NonZeroU32>,
    pub(crate) key_lease: Option<Spanned<Text<Time>>>,
    pub(crate) page_requests_per_second: Option<NonZeroU32>,
    pub(crate) max_connections_per_address: Option<NonZeroU32>,
    pub(crate) max_requests_per_address: Option<NonZeroU32>,
    pub(crate) max_requests_per_token: Option<NonZeroU32>,
    pub(crate) trust_forwarded_for: Option<bool>,
    pub(crate) trust_forwarded: Option<Spanned<bool>>,
    pub(crate) grace: Option<Text<Time>>,
}

/// Settings for PostgreSQL.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PostgresTable {
    pub(crate) schema: Option<String>,
    pub(crate) connections: Option<NonZeroU16>,
    pub(crate) statement_timeout: Option<Text<Time>>,
    pub(crate) allow_data_loss: Option<bool>,
}

/// Settings for SQLite.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SqliteTable {
    pub(crate) busy_timeout: Option<Text<Pause>>,
}

/// An identity provider.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IdentityTable {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) jwks: String,
}

/// A team.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantTable {
    pub(crate) team: Uuid,
    pub(crate) plan: Option<Text<PlanName>>,
    pub(crate) deployment_cap: Option<usize>,
    pub(crate) operators: Option<Spanned<Vec<Text<MailAddress>>>>,
}

impl Config {
    /// The file that these options name, or none.
    pub(crate) fn of(args: &ServeArgs) -> Result<Self, BadInput> {
        args.config.as_deref().map_or_else(|| Ok(Self::default()), Self::read)
    }

    /// Reads this file.
    pub(crate) fn read(path: &Path) -> Result<Self, BadInput> {
        let text = input::text(path, MAX_BYTES, "a configuration file (`countersign-gate help config`)")?;
        let mut config = Self { name: path.display().to_string(), text, file: File::default() };
        match toml::from_str(&config.text) {
            Ok(file) => config.file = file,
            Err(error) => return Err(config.refused(&explained(&error))),
        }
        config.every_team_is_there_once()?;
        Ok(config)
    }

    /// Every key that has another value in the other file, as `table.key`.
    pub(crate) fn changed_keys(&self, other: &Self) -> BTreeSet<String> {
        let (one, other) = (flattened(&self.text), flattened(&other.text));
        let keys = one.keys().chain(other.keys()).collect::<BTreeSet<_>>();
        keys.into_iter().filter(|&key| one.get(key) != other.get(key)).cloned().collect()
    }

    /// An error at this position.
    pub(crate) fn problem(&self, at: Range<usize>, found: &str, expected: &str) -> BadInput {
        let (found, expected) = (found.to_owned(), expected.to_owned());
        self.refused(&Finding { span: at, found, expected, help: None })
    }

    /// The line is shown, unless it has a secret in it.
    fn refused(&self, problem: &Finding) -> BadInput {
        let Some((shown, problem)) = without_secret(&self.text, problem) else {
            return BadInput::in_file(&self.name, self.text.as_bytes(), problem);
        };
        BadInput::in_file(&self.name, shown.as_bytes(), &problem)
    }

    fn every_team_is_there_once(&self) -> Result<(), BadInput> {
        let mut seen = BTreeMap::new();
        for tenant in &self.file.tenant {
            if seen.insert(tenant.get_ref().team, ()).is_some() {
                let found = format!("team {} a second time", tenant.get_ref().team);
                return Err(self.problem(tenant.span(), &found, "each team once"));
            }
        }
        Ok(())
    }
}

/// The values of a configuration, each under `table.key`.
fn flattened(text: &str) -> BTreeMap<String, toml::Value> {
    // It has been parsed before.
    let table: toml::Table = toml::from_str(text).unwrap_or_default();
    let entries = table.into_iter().flat_map(|(key, value)| match value {
        toml::Value::Table(table) => {
            table.into_iter().map(|(inner, value)| (format!("{key}.{inner}"), value)).collect()
        }
        value => vec![(key, value)],
    });
    entries.collect()
}

/// The text and the problem without the value, where the line holds a secret.
fn without_secret(text: &str, problem: &Finding) -> Option<(String, Finding)> {
    /// An address may have a password in it.
    const SECRETS: &[&str] = &["secret", "store", "smtp", "webhook", "webhook_secret"];
    const LEFT_OUT: &str = "…";
    let at = problem.span.start.min(text.len());
    let begin = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let end = text.get(at..)?.find('\n').map_or(text.len(), |newline| at + newline);
    let (key, _) = text.get(begin..end)?.split_once('=')?;
    if !SECRETS.contains(&key.trim()) || at < begin + key.len() {
        return None;
    }
    let value = begin + key.len() + "= ".len();
    let shown = format!("{}= {LEFT_OUT}{}", &text[..begin + key.len()], &text[end..]);
    // The parser quotes the offending text.
    let found = if problem.found.starts_with("no TOML") { "no TOML" } else { "something else" };
    Some((shown, Finding { span: value..value + LEFT_OUT.len(), found: found.to_owned(), ..problem.clone() }))
}

/// The parser's error, reworded.
fn explained(error: &toml::de::Error) -> Finding {
    let span = error.span().unwrap_or_default();
    let message = error.message();
    let (found, expected) = message.split_once(", expected ").unwrap_or((message, "TOML"));
    let quoted = |text: &str| text.split('`').nth(1).map(str::to_owned);
    let mut help = None;
    let (found, expected) = if let Some(key) = found.strip_prefix("unknown field ") {
        let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        let close = quoted(key).and_then(|key| closest(&key, known.iter().copied()).map(str::to_owned));
        help = close.map(|close| format!("did you mean `{close}`?"));
        (format!("the unknown key {key}"), expected.to_owned())
    } else if let Some(word) = found.strip_prefix("unknown variant ") {
        (format!("the unknown word {word}"), expected.to_owned())
    } else if let Some(value) = found.strip_prefix("invalid type: ").or(found.strip_prefix("invalid value: "))
    {
        (value.to_owned(), expected.to_owned())
    } else if let Some(key) = found.strip_prefix("missing field ") {
        (format!("no {key}"), format!("{key} in this table"))
    } else if message.contains(", expected ") {
        (found.to_owned(), expected.to_owned())
    } else {
        (format!("no TOML: {}", message.trim_end()), "TOML".to_owned())
    };
    let help =
        help.or_else(|| Some("`countersign-gate help config` has an example of every setting".to_owned()));
    Finding { span, found, expected, help }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../../docs/gate.md");

    fn example() -> &'static str {
        let block = PAGE.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
        block.expect("the page has an example")
    }

    /// The names that the parser takes in this table.
    fn names(table: &str) -> Vec<String> {
        let error =
            toml::from_str::<File>(&format!("{table}\nno_such_key = 1\n")).expect_err("it is unknown");
        error.message().split('`').skip(3).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_example_in_the_documentation_is_a_configuration() {
        let file: File = toml::from_str(example()).expect("a configuration");
        assert_eq!(file.tenant.len(), 1);
    }

    #[test]
    fn every_key_is_in_the_documentation() {
        for table in [
            "",
            "[workers]",
            "[deployer]",
            "[notifier]",
            "[http]",
            "[postgres]",
            "[sqlite]",
            "[identity]",
            "[[tenant]]",
        ] {
            let names = names(table);
            assert!(!names.is_empty(), "{table}");
            for name in names {
                let written = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{name} = "));
                let is_table = example().contains(&format!("[{name}]"));
                assert!(is_table || example().lines().any(written), "{name} of {table:?} is missing");
            }
        }
    }
}
