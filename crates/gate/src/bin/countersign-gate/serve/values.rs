//! The values of settings: parsed, or refused with the expected form.

use std::{fmt, marker::PhantomData, path::PathBuf, str::FromStr, time::Duration};

use countersign::store::Plan;
use countersign_gate::instance::{
    notify::{Sender, is_address},
    system_clock::Secret,
};
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

/// The expected form of a value.
type Expected = String;

/// Address of the store.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum StoreAddress {
    Memory,
    Sqlite(PathBuf),
    /// There may be a password in it.
    Postgres(String),
}

impl FromStr for StoreAddress {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let is_postgres = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
        match text.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            None if text == "memory" => Ok(Self::Memory),
            None if is_postgres => Ok(Self::Postgres(text.to_owned())),
            Some(_) | None => Err("expected sqlite:PATH, postgres://… or memory".to_owned()),
        }
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => {
                let place = url.split('@').next_back().filter(|_| url.contains('@'));
                let place = place.or_else(|| url.split("://").nth(1)).unwrap_or_default();
                write!(f, "postgres://{}", place.split('?').next().unwrap_or_default())
            }
        }
    }
}

impl fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen(pub(crate) String);

impl FromStr for Listen {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let has_port =
            text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if has_port {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected an address and a port, as in 127.0.0.1:8080".to_owned())
        }
    }
}

/// Base URL of the gate for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicUrl(pub(crate) String);

impl PublicUrl {
    pub(crate) fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl FromStr for PublicUrl {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let expected = || "expected https://HOST or http://HOST, and no path".to_owned();
        let (scheme, host) = text.trim_end_matches('/').split_once("://").ok_or_else(expected)?;
        let plain =
            |notification: char| notification.is_ascii_alphanumeric() || "-._:[]".contains(notification);
        if ["https", "http"].contains(&scheme) && !host.is_empty() && host.chars().all(plain) {
            Ok(Self(format!("{scheme}://{host}")))
        } else {
            Err(expected())
        }
    }
}

/// An e-mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MailAddress(pub(crate) String);

impl FromStr for MailAddress {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        if is_address(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected an e-mail address, as in ops@example.com".to_owned())
        }
    }
}

/// Sender of mails.
#[derive(Clone, Debug)]
pub(crate) struct From(pub(crate) Sender);

impl FromStr for From {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let expected = || "expected an e-mail address, as in `Gate <gate@example.com>`".to_owned();
        Sender::parse(text).map(Self).ok_or_else(expected)
    }
}

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Duration);

/// The longest that can be set. A multiple of it does not overflow.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl FromStr for Time {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        match humantime::parse_duration(text) {
            Ok(time) if time <= LONGEST => Ok(Self(time)),
            Ok(_) => Err("expected a length of time of at most 100 years".to_owned()),
            Err(_) => Err("expected a length of time, as in 500ms, 30s or 15m".to_owned()),
        }
    }
}

/// A positive polling interval: zero would be a busy loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pause(pub(crate) Duration);

impl FromStr for Pause {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        const SHORTEST: Duration = Duration::from_millis(10);
        match text.parse() {
            Ok(Time(time)) if time >= SHORTEST => Ok(Self(time)),
            _ => Err("expected a length of time from 10ms to 100 years, as in 500ms, 30s or 15m".to_owned()),
        }
    }
}

/// A number of bytes, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

impl FromStr for Size {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let size =
            text.parse::<bytesize::ByteSize>().ok().and_then(|size| usize::try_from(size.as_u64()).ok());
        size.filter(|size| *size > 0).map(Self).ok_or_else(|| "expected a size, as in 256KiB".to_owned())
    }
}

/// Name of a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlanName(pub(crate) Plan);

impl FromStr for PlanName {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        match text {
            "free" => Ok(Self(Plan::Free)),
            "pro" => Ok(Self(Plan::Pro)),
            "enterprise" => Ok(Self(Plan::Enterprise)),
            _ => Err("expected free, pro or enterprise".to_owned()),
        }
    }
}

/// A secret. Errors do not contain it.
#[derive(Clone, Debug)]
pub(crate) struct SecretText(pub(crate) Secret);

impl FromStr for SecretText {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        secret(text).map(Self)
    }
}

/// Reads a plan's name.
pub(crate) fn plan(text: &str) -> Result<Plan, Expected> {
    text.parse().map(|PlanName(plan)| plan)
}

/// Reads whether something is switched on, as variables of the environment are written.
pub(crate) fn switch(text: &str) -> Result<bool, Expected> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "y" | "on" => Ok(true),
        "false" | "0" | "no" | "n" | "off" => Ok(false),
        _ => Err("expected true or false (or 1 or 0, yes or no, on or off)".to_owned()),
    }
}

/// Reads a secret.
pub(crate) fn secret(text: &str) -> Result<Secret, Expected> {
    if text.is_empty() {
        Err("expected a secret that is not empty".to_owned())
    } else {
        Ok(Secret::new(text))
    }
}

/// A value that a file has as a text.
#[derive(Clone, Debug)]
pub(crate) struct Text<T>(pub(crate) T);

impl<'de, T: FromStr<Err = Expected>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FromText(PhantomData))
    }
}

struct FromText<T>(PhantomData<T>);

impl<T: FromStr<Err = Expected>> Visitor<'_> for FromText<T> {
    type Value = Text<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<T>, E> {
        // The text stays out of the message: the place is shown, and it may be a secret.
        text.parse().map(Text).map_err(|expected| E::custom(format!("something else, {expected}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stores_password_is_never_shown() {
        let shown = |text: &str| text.parse::<StoreAddress>().map(|store| format!("{store} {store:?}"));
        let expected = "postgres://db:5432/gate postgres://db:5432/gate";
        assert_eq!(shown("postgres://user:p@ss@db:5432/gate?password=x").as_deref(), Ok(expected));
        assert_eq!(shown("postgresql://db/gate").as_deref(), Ok("postgres://db/gate postgres://db/gate"));
        assert_eq!(shown("sqlite:a b.db").as_deref(), Ok("sqlite:a b.db sqlite:a b.db"));
        for text in ["", "sqlite:", "mysql://x", "Memory", "memory "] {
            assert!(shown(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_public_url_is_where_a_link_can_begin() {
        for (text, url) in
            [("https://a.example", "https://a.example"), ("http://[::1]:80/", "http://[::1]:80")]
        {
            assert_eq!(text.parse(), Ok(PublicUrl(url.to_owned())));
        }
        for text in [
            "",
            "a.example",
            "ftp://a",
            "https://",
            "https:///x",
            "https://a?b",
            "https://u@a",
            "https://a b",
            "https://a/b",
        ] {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
    }
}
