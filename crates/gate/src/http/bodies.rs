//! Request bodies in JSON: unknown fields are refused, and so is text that a store may be unable to keep.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::header,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::{App, Backend, Problem, problem::Code};
use countersign::{
    service::Deployer,
    store::{ResourceKind, Service},
};

/// A body that has arrived in full, and has not been looked at: what is refused before it is looked at comes first.
pub(super) struct Body(Bytes);

impl Body {
    /// Reads it.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.0).map_err(|error| Problem::invalid_body(&error))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes in the body of a request.
    ///
    /// # Errors
    /// 415 unless it is of this type, 413 when it is too large, 408 when it is too slow.
    pub(super) async fn take<B: Backend, D: Deployer + 'static>(
        request: Request,
        app: &App<B, D>,
        kind: &str,
    ) -> Result<Self, Problem> {
        let sent = request.headers().get(header::CONTENT_TYPE).and_then(|sent| sent.to_str().ok());
        let essence = sent.map(|sent| sent.split(';').next().unwrap_or_default().trim());
        if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case(kind)) {
            return Err(Problem::new(Code::UnsupportedMediaType));
        }
        let arrived = tokio::time::timeout(app.settings().body_time, Bytes::from_request(request, app)).await;
        match arrived {
            Err(_) => Err(Problem::new(Code::BodyTooSlow)),
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(rejection)) if rejection.status() == 413 => Err(Problem::new(Code::BodyTooLarge)),
            Ok(Err(_)) => Err(Problem::invalid_body(&"the body did not arrive")),
        }
    }
}

impl<B: Backend, D: Deployer + 'static> FromRequest<App<B, D>> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App<B, D>) -> Result<Self, Problem> {
        Self::take(request, app, "application/json").await
    }
}

/// A stack to be deployed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StackBody {
    /// Display name: 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    pub(super) name: String,
    /// The environment: 1 to 64 of `[A-Za-z0-9_-]`.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    pub(super) env: String,
    /// The services, with distinct names.
    #[schema(max_items = 100)]
    pub(super) services: Vec<ServiceBody>,
    /// The variables. A value `vault:KEY` refers to `KEY` in the environment's vault.
    #[serde(default)]
    pub(super) env_vars: BTreeMap<String, String>,
}

/// A service of a stack to be deployed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceBody {
    /// Its name: 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    pub(super) name: String,
    /// The image that was built for it.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 500)]
    pub(super) image_ref: Option<String>,
    /// The port that it listens on.
    #[serde(default)]
    pub(super) port: Option<u16>,
    /// True if it is reachable from outside.
    #[serde(default)]
    pub(super) expose: bool,
}

/// A new build of a service.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ImageBody {
    /// Its image.
    #[schema(min_length = 1, max_length = 500)]
    pub(super) image_ref: String,
}

/// The value of a vault key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VaultBody {
    /// The value. No response contains it.
    pub(super) value: String,
}

/// Request to promote a stack.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PromoteBody {
    /// The source environment; if given, it has to match the stack's.
    #[serde(default)]
    pub(super) from: Option<String>,
    /// The target environment. `development` needs no approval.
    pub(super) to: String,
    /// The approval to use. Without it, an approval is requested.
    #[serde(default)]
    pub(super) approval_id: Option<String>,
    /// Name of a new target; by default that of the source.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 100)]
    pub(super) name: Option<String>,
    /// True to copy the vault keys that the target environment lacks.
    #[serde(default)]
    pub(super) copy_vault: bool,
}

/// A resource to be provisioned.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResourceBody {
    /// Display name: 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    pub(super) name: String,
    /// The product.
    pub(super) r#type: ResourceType,
    /// The environment.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    pub(super) env: String,
}

/// The product that a resource runs.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ResourceType {
    Postgres,
    Redis,
    Mongodb,
}

impl From<ResourceType> for ResourceKind {
    fn from(kind: ResourceType) -> Self {
        match kind {
            ResourceType::Postgres => Self::Postgres,
            ResourceType::Redis => Self::Redis,
            ResourceType::Mongodb => Self::Mongodb,
        }
    }
}

impl From<ResourceKind> for ResourceType {
    fn from(kind: ResourceKind) -> Self {
        match kind {
            ResourceKind::Postgres => Self::Postgres,
            ResourceKind::Redis => Self::Redis,
            ResourceKind::Mongodb => Self::Mongodb,
        }
    }
}

/// Request to provision a resource's twin in another environment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TwinBody {
    /// The environment of the twin.
    pub(super) env: String,
    /// Name of the twin; by default that of the source.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 100)]
    pub(super) name: Option<String>,
    /// The approval to use. Without it, an approval is requested.
    #[serde(default)]
    pub(super) approval_id: Option<String>,
}

/// A name, or an image: not empty, not endless, and nothing in it that cannot be printed.
pub(super) fn checked_text(what: &str, text: &str, longest: usize) -> Result<(), Problem> {
    if text.is_empty() || text.chars().count() > longest || text.contains(char::is_control) {
        let expected = format!("{what}: expected 1 to {longest} printable characters");
        return Err(Problem::invalid_body(&expected));
    }
    Ok(())
}

/// A secret, or the value of a variable: anything but what no database can keep.
pub(super) fn checked_value(what: &str, value: &str) -> Result<(), Problem> {
    if value.contains('\0') { Err(Problem::invalid_body(&format!("{what}: a NUL in it"))) } else { Ok(()) }
}

/// The name of a variable, or a vault key: 1 to 128 of `[A-Za-z0-9_.-]`.
pub(super) fn is_key(key: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=128).contains(&key.len()) && key.bytes().all(legal)
}

/// Names and values.
pub(super) fn checked_variables<'a>(
    variables: impl IntoIterator<Item = (&'a String, Option<&'a String>)>,
) -> Result<(), Problem> {
    for (name, value) in variables {
        if !is_key(name) {
            return Err(Problem::invalid_body(&"a variable's name is 1 to 128 of A-Z, a-z, 0-9, _, . and -"));
        }
        value.map_or(Ok(()), |value| checked_value(name, value))?;
    }
    Ok(())
}

impl StackBody {
    /// Its services, each of a name of its own.
    pub(super) fn services(&self) -> Result<Vec<Service>, Problem> {
        const MOST: usize = 100;
        checked_text("name", &self.name, LONGEST_NAME)?;
        checked_variables(self.env_vars.iter().map(|(name, value)| (name, Some(value))))?;
        if self.services.len() > MOST {
            return Err(Problem::invalid_body(&format!("services: at most {MOST} are allowed")));
        }
        let mut names = BTreeSet::new();
        for service in &self.services {
            checked_text("services.name", &service.name, LONGEST_NAME)?;
            if let Some(image) = &service.image_ref {
                checked_text("services.image_ref", image, LONGEST_IMAGE)?;
            }
            if !names.insert(&service.name) {
                return Err(Problem::invalid_body(&"services: two of one name"));
            }
        }
        let service = |body: &ServiceBody| Service {
            name: body.name.clone(),
            image_ref: body.image_ref.clone(),
            port: body.port,
            expose: body.expose,
        };
        Ok(self.services.iter().map(service).collect())
    }
}

/// The longest name, in characters.
pub(super) const LONGEST_NAME: usize = 100;
/// The longest image, in characters.
pub(super) const LONGEST_IMAGE: usize = 500;
