//! Safety limits of an attack: hosts, duration and secrets.

use std::{net::SocketAddr, time::Duration};

use crate::{clock::Clock, target::BaseUrl};

/// Why a run ends before it is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The target file does not fit the service, or the service cannot be attacked: exit code 2.
    BadInput(String),
    /// A limit was reached: exit code 3.
    CutOff(String),
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::BadInput(message) | Self::CutOff(message)) = self;
        f.write_str(message)
    }
}

impl std::error::Error for Stop {}

/// The bounds of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of requests.
    pub requests: u64,
    /// Maximum duration of the run.
    pub time: Duration,
    /// Maximum number of kills.
    pub kills: u64,
    /// Time limit of a request.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: 1_000_000,
            time: Duration::from_secs(60),
            kills: 20,
            patience: Duration::from_secs(10),
        }
    }
}

/// The remaining budget.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    clock: Clock,
    requests: u64,
    kills: u64,
}

impl Budget {
    /// The full budget.
    pub fn new(limits: Limits, clock: Clock) -> Self {
        Self { limits, clock, requests: 0, kills: 0 }
    }

    /// Spends requests.
    ///
    /// # Errors
    /// A limit was reached.
    pub fn spend(&mut self, requests: u64) -> Result<(), Stop> {
        if self.clock.elapsed() >= self.limits.time {
            return Err(Stop::CutOff(format!(
                "the time limit of {} s was reached",
                self.limits.time.as_secs()
            )));
        }
        if self.requests + requests > self.limits.requests {
            return Err(Stop::CutOff(format!("the limit of {} requests was reached", self.limits.requests)));
        }
        self.requests += requests;
        Ok(())
    }

    /// Spends one kill.
    ///
    /// # Errors
    /// The limit was reached.
    pub fn spend_kill(&mut self) -> Result<(), Stop> {
        if self.kills >= self.limits.kills {
            return Err(Stop::CutOff(format!("the limit of {} kills was reached", self.limits.kills)));
        }
        self.kills += 1;
        Ok(())
    }

    /// Requests sent so far.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Kills so far.
    pub fn kills(&self) -> u64 {
        self.kills
    }

    /// Time limit of a request.
    pub fn patience(&self) -> Duration {
        self.limits.patience
    }

    /// The share of the time that is spent, from 0 to 1.
    pub fn time_spent(&self) -> f64 {
        self.clock.elapsed().as_secs_f64() / self.limits.time.as_secs_f64().max(1e-9)
    }
}

/// The address of the service: on this machine, unless its owner allows another.
///
/// # Errors
/// The host has no address, or one elsewhere that is not `owned`.
pub fn address(url: &BaseUrl, owned: Option<&str>) -> Result<SocketAddr, Stop> {
    use std::net::ToSocketAddrs;
    let found = (url.host.as_str(), url.port)
        .to_socket_addrs()
        .map_err(|error| Stop::BadInput(format!("cannot resolve {}: {error}", url.authority())))?;
    let all: Vec<SocketAddr> = found.collect();
    if owned != Some(url.host.as_str()) && !all.iter().all(|address| address.ip().is_loopback()) {
        return Err(Stop::BadInput(format!(
            "{} is another host: attack it only if it is yours, with `--i-own-this-service {}`",
            url.host, url.host
        )));
    }
    // Services more often listen on IPv4 only.
    let four = all.iter().find(|address| address.is_ipv4()).or(all.first()).copied();
    four.ok_or_else(|| Stop::BadInput(format!("{} has no address", url.host)))
}

/// Values that a report must not contain.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Vec<String>);

const HIDDEN: &str = "‹hidden›";

impl Secrets {
    /// Hides this text from now on.
    pub fn add(&mut self, secret: &str) {
        let secret = secret.trim();
        if !secret.is_empty() && !self.0.iter().any(|known| known == secret) {
            self.0.push(secret.to_owned());
            // A longer one may contain a shorter one.
            self.0.sort_by_key(|known| std::cmp::Reverse(known.len()));
        }
    }

    /// Hides what a header carries, if headers of its name carry secrets.
    pub fn add_header(&mut self, name: &str, value: &str) {
        const NAMES: &[&str] =
            &["auth", "cookie", "token", "secret", "api-key", "apikey", "password", "session"];
        let name = name.to_ascii_lowercase();
        if NAMES.iter().any(|part| name.contains(part)) {
            self.add(value);
            // The credential without its scheme is a secret, too.
            if let Some((_, credential)) = value.split_once(' ') {
                self.add(credential);
            }
        }
    }

    /// Hides the password of a URL.
    pub fn add_url(&mut self, url: &str) {
        let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
        if let Some((user, _)) = authority.rsplit_once('@')
            && let Some((_, password)) = user.split_once(':')
        {
            self.add(password);
        }
    }

    /// The text without secrets. One of fewer than four characters is replaced only where it is a whole word.
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if !text.contains(secret.as_str()) {
                continue;
            }
            if secret.chars().count() >= 4 {
                text = text.replace(secret.as_str(), HIDDEN);
                continue;
            }
            let mut redacted = String::new();
            let mut rest = text.as_str();
            while let Some(at) = rest.find(secret.as_str()) {
                let (before, from) = rest.split_at(at);
                let after = &from[secret.len()..];
                let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
                let before_is_word = word(before.chars().next_back().or(redacted.chars().next_back()));
                let whole = !before_is_word && !word(after.chars().next());
                redacted.push_str(before);
                redacted.push_str(if whole { HIDDEN } else { secret });
                rest = after;
            }
            text = redacted + rest;
        }
        text
    }

    /// Redacts every string of a JSON value.
    pub fn redact_json(&self, value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => *text = self.redact(text),
            serde_json::Value::Array(items) => items.iter_mut().for_each(|item| self.redact_json(item)),
            serde_json::Value::Object(map) => map.values_mut().for_each(|item| self.redact_json(item)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_hosts_need_the_word_of_their_owner() {
        let url = BaseUrl::parse("http://192.0.2.7:81").unwrap();
        assert!(address(&url, None).unwrap_err().to_string().contains("--i-own-this-service 192.0.2.7"));
        assert!(address(&url, Some("192.0.2.8")).is_err());
        assert!(address(&url, Some("192.0.2.7")).is_ok());
        assert!(address(&BaseUrl::parse("http://127.0.0.1:1").unwrap(), None).is_ok());
    }

    #[test]
    fn secrets_are_replaced_in_text_and_json() {
        let mut secrets = Secrets::default();
        secrets.add_header("Authorization", "Bearer abcdef");
        secrets.add_header("Accept", "text/html");
        secrets.add_url("postgres://app:pw@127.0.0.1/shop");
        assert_eq!(secrets.redact("Bearer abcdef"), "‹hidden›");
        assert_eq!(secrets.redact("x=abcdef text/html"), "x=‹hidden› text/html");
        assert_eq!(secrets.redact("app:pw@ pwd"), "app:‹hidden›@ pwd");
        let mut value = serde_json::json!({"a": ["abcdef"]});
        secrets.redact_json(&mut value);
        assert_eq!(value, serde_json::json!({"a": ["‹hidden›"]}));
    }

    #[test]
    fn limits_end_a_run() {
        let limits = Limits { requests: 3, kills: 1, ..Limits::default() };
        let mut budget = Budget::new(limits, Clock::start());
        assert!(budget.spend(3).is_ok() && budget.spend(1).is_err());
        assert!(budget.spend_kill().is_ok() && budget.spend_kill().is_err());
        let mut late = Budget::new(Limits { time: Duration::ZERO, ..limits }, Clock::start());
        assert!(matches!(late.spend(1), Err(Stop::CutOff(_))));
    }
}
