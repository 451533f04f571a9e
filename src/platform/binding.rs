//! What an approval of the platform is for: the kind of promotion, and the environments from and to.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::protocol::Refusal;

/// The kind of promotion that an approval permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Promote a whole stack.
    Stack,
    /// Provision one resource's twin in another environment.
    ResourceTwin,
}

/// The name of an environment: 1 to 64 of `[A-Za-z0-9_-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Environment(Arc<str>);

impl Environment {
    /// Parses an environment name.
    ///
    /// # Errors
    /// [`Refusal::INVALID_ENV`] unless it is 1 to 64 of `[A-Za-z0-9_-]`.
    pub fn parse(name: impl Into<String>) -> Result<Self, Refusal> {
        let name = name.into();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=64).contains(&name.len()) && name.bytes().all(legal) {
            Ok(Self(name.into()))
        } else {
            Err(Refusal::INVALID_ENV)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Environment {
    type Error = Refusal;

    fn try_from(name: String) -> Result<Self, Refusal> {
        Self::parse(name)
    }
}

impl From<Environment> for String {
    fn from(environment: Environment) -> Self {
        environment.0.as_ref().to_owned()
    }
}

/// The fields that an approval is bound to and a request must repeat: kind, from and to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Binding {
    /// The kind of object to promote.
    pub kind: Kind,
    /// The source environment.
    pub from: Environment,
    /// The environment that it goes to.
    pub to: Environment,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_printed_as_it_is_written() {
        let environment = Environment::parse("eu-west_1").expect("a legal name");
        assert_eq!((environment.to_string().as_str(), environment.as_str()), ("eu-west_1", "eu-west_1"));
    }

    #[test]
    fn environment_names_have_limits() {
        for good in ["a", "production", "eu-west_1", &"x".repeat(64)] {
            assert_eq!(Environment::parse(good).map(String::from).as_deref(), Ok(good));
        }
        for bad in ["", "a b", "prod/1", "é", &"x".repeat(65)] {
            assert_eq!(Environment::parse(bad), Err(Refusal::INVALID_ENV), "{bad:?}");
        }
    }
}
